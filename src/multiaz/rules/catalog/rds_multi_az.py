"""MAZ105: a DB instance that is no replica has a standby in another zone."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Replicas are judged by MAZ206."""
    for instance in rds.primaries(template):
        yield from rds.not_true(instance, "MultiAZ", f"{instance.name} has no standby: set MultiAZ")


RULE = Rule(
    id="MAZ105",
    title="A DB instance that is no replica has a standby in another zone",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.5",
    covers=("CKV_AWS_157", "RDS_MULTI_AZ_SUPPORT", "AwsSolutions-RDS3", "RDS.5"),
    check=check,
)
