"""MAZ129: Enhanced Monitoring has an interval RDS knows, and a role."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

INTERVALS = frozenset({0, 1, 5, 10, 15, 30, 60})


def check(template: Template) -> Iterator[Problem]:
    """The role is asked for where the interval is surely above 0."""
    for instance in template.of_type("AWS::RDS::DBInstance"):
        numbers = [(choice, choice.number) for choice in instance.choices("MonitoringInterval")]
        for choice, number in numbers:
            if number is not None and number not in INTERVALS:
                yield Problem(
                    choice.path, f"{number:g} s is no interval of Enhanced Monitoring: use 1, 5, 10, 15, 30 or 60"
                )
        if all(number for _, number in numbers) and not instance.has("MonitoringRoleArn"):
            yield instance.problem(f"{instance.name} has Enhanced Monitoring without a role: set MonitoringRoleArn")


RULE = Rule(
    id="MAZ129",
    title="Enhanced Monitoring has an interval RDS knows, and a role",
    severity=Severity.ERROR,
    source="RDS API reference, CreateDBInstance, MonitoringInterval",
    why="RDS refuses the instance.",
    check=check,
)
