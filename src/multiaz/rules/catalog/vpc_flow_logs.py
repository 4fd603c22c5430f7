"""MAZ703: a VPC has flow logs."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template, direct_references


def check(template: Template) -> Iterator[Problem]:
    """A flow log of the template names the VPC."""
    logged = {n for log in template.of_type("AWS::EC2::FlowLog") for n in direct_references(log.raw("ResourceId"))}
    for vpc in template.of_type("AWS::EC2::VPC"):
        if vpc.name not in logged:
            yield vpc.problem(f"no flow log names {vpc.name}")


RULE = Rule(
    id="MAZ703",
    title="A VPC has flow logs",
    severity=Severity.WARNING,
    source="AWS Security Hub, EC2.6",
    covers=("AwsSolutions-VPC7", "VPC_FLOW_LOGS_ENABLED", "EC2.6"),
    check=check,
)
