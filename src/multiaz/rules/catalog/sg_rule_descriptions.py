"""MAZ701: Security groups and each of their rules say what they are for."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.networks import rules_of_groups
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Rules inside of groups and rules of their own."""
    for rule in rules_of_groups(template):
        for choice in template.inside(rule, "Description"):
            if choice.is_absent:
                yield Problem(choice.path, "a rule of a security group has no Description")


RULE = Rule(
    id="MAZ701",
    title="Security groups and each of their rules say what they are for",
    severity=Severity.WARNING,
    source="checkov CKV_AWS_23; cdk-nag AwsSolutions-EC27",
    covers=("CKV_AWS_23", "AwsSolutions-EC27"),
    check=check,
)
