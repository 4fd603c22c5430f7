"""MAZ206: a read replica has a standby in another zone."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """False is the default."""
    for replica in rds.replicas(template):
        yield from rds.not_true(replica, "MultiAZ", f"{replica.name} has no standby")


RULE = Rule(
    id="MAZ206",
    title="A read replica has a standby in another zone",
    severity=Severity.INFO,
    source="AWS Security Hub, RDS.5",
    covers=("CKV_AWS_157", "RDS_MULTI_AZ_SUPPORT", "AwsSolutions-RDS3", "RDS.5"),
    why="It costs a second instance for each replica; several replicas in several zones may do.",
    check=check,
)
