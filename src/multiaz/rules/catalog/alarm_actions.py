"""MAZ605: an alarm tells somebody."""

from __future__ import annotations

import re
from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Resource, Template, text_of

_CHILD = re.compile(r"\b(?:ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*[\"']?([^\"')]*)")


def check(template: Template) -> Iterator[Problem]:
    """An alarm that only feeds a composite alarm need not."""
    composites = list(template.of_type("AWS::CloudWatch::CompositeAlarm"))
    feeding = {name for composite in composites for name in template.mentions(composite)}
    named = {name for composite in composites for name in _named(composite)}
    for alarm in (*template.of_type("AWS::CloudWatch::Alarm"), *composites):
        for choice in alarm.choices("ActionsEnabled"):
            if choice.flag is False:
                yield Problem(choice.path, f"the actions of {alarm.name} are turned off")
        is_heard = alarm.name in feeding or text_of(alarm.raw("AlarmName")) in named
        if not is_heard and not alarm.items("AlarmActions"):
            yield alarm.problem(
                f"{alarm.name} rings and nobody hears: set AlarmActions",
                *(["AlarmActions"] if alarm.raw("AlarmActions") is not None else []),
            )


def _named(composite: Resource) -> Iterator[str]:
    """Names of alarms in the rule of a composite one: `ALARM("shop-cpu")`, or by ARN."""
    for name in _CHILD.findall(text_of(composite.raw("AlarmRule"))):
        if name.strip():
            yield name.strip().rpartition(":alarm:")[2]


RULE = Rule(
    id="MAZ605",
    title="An alarm tells somebody",
    severity=Severity.ERROR,
    source="AWS Security Hub, CloudWatch.15 and CloudWatch.17",
    covers=("CLOUDWATCH_ALARM_ACTION_CHECK", "CloudWatch.15"),
    related=("CLOUDWATCH_ALARM_ACTION_ENABLED_CHECK", "CloudWatch.17"),
    check=check,
)
