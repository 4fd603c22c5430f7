"""MAZ104: a DB subnet group holds no public subnet."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.networks import public_subnets
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Public is a subnet that gives public addresses or is routed to an internet gateway of the template."""
    public = public_subnets(template)
    for group in template.of_type("AWS::RDS::DBSubnetGroup"):
        listed = group.raw("SubnetIds")
        for index, node in enumerate(listed if isinstance(listed, list) else ()):
            subnet = template.referred(node)
            if subnet is not None and subnet.name in public:
                yield Problem((*group.path, "Properties", "SubnetIds", index), f"the subnet {subnet.name} is public")


RULE = Rule(
    id="MAZ104",
    title="A DB subnet group holds no public subnet",
    severity=Severity.ERROR,
    source="AWS Security Hub, RDS.46",
    covers=("RDS.46",),
    check=check,
)
