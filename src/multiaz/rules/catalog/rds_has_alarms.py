"""MAZ609: a DB instance has an alarm."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Any alarm that names it, unless one of the template is about an instance that cannot be known."""
    named: set[str] = set()
    for alarm in template.of_type("AWS::CloudWatch::Alarm"):
        named |= template.mentions(alarm)
    for instance in rds.instances(template):
        if instance.name not in named:
            yield instance.problem(f"no alarm of this template names {instance.name}")


RULE = Rule(
    id="MAZ609",
    title="A DB instance has an alarm",
    severity=Severity.INFO,
    source="RDS user guide, recommended alarms",
    check=check,
)
