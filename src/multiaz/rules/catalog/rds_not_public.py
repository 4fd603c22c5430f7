"""MAZ103: a DB instance is not reachable from the internet."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.networks import may_be_public
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Instances, members of Aurora and Multi-AZ clusters. One that does not say is public in the default VPC (without a
    subnet group), and in a VPC with an internet gateway. Source: RDS API reference, CreateDBInstance.
    """
    for resource in template.of_type(rds.INSTANCE, "AWS::RDS::DBCluster"):
        for choice in resource.choices("PubliclyAccessible"):
            if choice.flag:
                yield Problem(choice.path, f"{resource.name} has a public address: set PubliclyAccessible to false")
    for instance in rds.primaries(template):
        if not any(choice.is_absent for choice in instance.choices("PubliclyAccessible")):
            continue
        if not instance.has("DBSubnetGroupName"):
            text = f"{instance.name} has a public address, as all have in the default VPC: set PubliclyAccessible"
            yield Problem(instance.path, text)
        elif may_be_public(template, instance.raw("DBSubnetGroupName")):
            text = f"{instance.name} has a public address: its VPC has an internet gateway; set PubliclyAccessible"
            yield Problem(instance.path, text)


RULE = Rule(
    id="MAZ103",
    title="A DB instance is not reachable from the internet",
    severity=Severity.ERROR,
    source="AWS Security Hub, RDS.2",
    covers=("CKV_AWS_17", "RDS_INSTANCE_PUBLIC_ACCESS_CHECK", "RDS.2"),
    check=check,
)
