"""MAZ609: a DB instance has an alarm."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import alarms, rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template, text_of


def check(template: Template) -> Iterator[Problem]:
    """Any alarm that names it, unless one of the template is about an instance that cannot be known."""
    named: set[str] = set()
    identifiers: set[str] = set()
    for alarm in template.of_type("AWS::CloudWatch::Alarm"):
        named |= template.mentions(alarm)
        for node, path in alarms.dimensions(alarm, "DBInstanceIdentifier"):
            identifiers.add(text_of(node))
            values = template.alternatives(node, path)
            if template.referred(node) is None and any(not choice.is_known for choice in values):
                return
            identifiers.update(choice.text for choice in values if choice.text)
    for instance in rds.instances(template):
        given = {choice.text for choice in instance.choices("DBInstanceIdentifier")}
        given.add(text_of(instance.raw("DBInstanceIdentifier")) or None)
        if instance.name not in named and not given & (identifiers - {""}):
            yield instance.problem(f"no alarm of this template names {instance.name}")


RULE = Rule(
    id="MAZ609",
    title="A DB instance has an alarm",
    severity=Severity.INFO,
    source="RDS user guide, recommended alarms",
    check=check,
)
