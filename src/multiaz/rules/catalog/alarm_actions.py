"""MAZ605: an alarm tells somebody."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """An alarm that only feeds a composite alarm need not."""
    composites = list(template.of_type("AWS::CloudWatch::CompositeAlarm"))
    feeding = {name for composite in composites for name in template.mentions(composite)}
    for alarm in (*template.of_type("AWS::CloudWatch::Alarm"), *composites):
        for choice in alarm.choices("ActionsEnabled"):
            if choice.flag is False:
                yield Problem(choice.path, f"the actions of {alarm.name} are turned off")
        if alarm.name not in feeding and not alarm.items("AlarmActions"):
            yield alarm.problem(
                f"{alarm.name} rings and nobody hears: set AlarmActions",
                *(["AlarmActions"] if alarm.raw("AlarmActions") is not None else []),
            )


RULE = Rule(
    id="MAZ605",
    title="An alarm tells somebody",
    severity=Severity.ERROR,
    source="AWS Security Hub, CloudWatch.15 and CloudWatch.17",
    covers=("CLOUDWATCH_ALARM_ACTION_CHECK", "CloudWatch.15"),
    related=("CLOUDWATCH_ALARM_ACTION_ENABLED_CHECK", "CloudWatch.17"),
    check=check,
)
