"""MAZ103: a DB instance is not reachable from the internet."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Without a subnet group an instance is in the default VPC, where public is the default."""
    for instance in rds.instances(template):
        for choice in instance.choices("PubliclyAccessible"):
            if choice.flag:
                yield Problem(choice.path, f"{instance.name} has a public address: set PubliclyAccessible to false")
            elif choice.is_absent and not rds.is_replica(instance) and not instance.has("DBSubnetGroupName"):
                text = f"{instance.name} has a public address, as all have in the default VPC: set PubliclyAccessible"
                yield Problem(instance.path, text)


RULE = Rule(
    id="MAZ103",
    title="A DB instance is not reachable from the internet",
    severity=Severity.ERROR,
    source="AWS Security Hub, RDS.2",
    covers=("CKV_AWS_17", "RDS_INSTANCE_PUBLIC_ACCESS_CHECK", "RDS.2"),
    check=check,
)
