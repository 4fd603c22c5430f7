"""MAZ704: a VPC that holds only databases has no NAT gateway."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

USERS = (
    "AWS::EC2::Instance",
    "AWS::ECS::Service",
    "AWS::Lambda::Function",
    "AWS::EKS::Cluster",
    "AWS::AutoScaling::AutoScalingGroup",
)


def check(template: Template) -> Iterator[Problem]:
    """A template with DB instances, a NAT gateway, and nothing that could use it."""
    if any(rds.instances(template)) and not any(template.of_type(*USERS)):
        for gateway in template.of_type("AWS::EC2::NatGateway"):
            yield gateway.problem(f"{gateway.name} is billed by the hour, and nothing in this template needs it")


RULE = Rule(
    id="MAZ704",
    title="A VPC that holds only databases has no NAT gateway",
    severity=Severity.INFO,
    source="AWS Well-Architected, COST05-BP05",
    why="A gateway is billed by the hour, and DB instances need no way to the internet.",
    check=check,
)
