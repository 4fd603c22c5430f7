"""MAZ607: a threshold of ReadLatency or WriteLatency is in seconds."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import alarms
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

LEAST_MS = 10.0
"""A volume answers in milliseconds, and in single seconds at its very worst: from here on a figure is one of those."""


def check(template: Template) -> Iterator[Problem]:
    """Ten or more is taken for milliseconds."""
    for limit in alarms.limits(template, "ReadLatency", "WriteLatency"):
        if limit.figure >= LEAST_MS:
            effect = (
                ": the alarm never rings" if limit.is_ceiling else ": the alarm always rings" if limit.is_floor else ""
            )
            text = f"{limit.metric} is in seconds, and {limit.figure:g} can only be meant as milliseconds{effect}"
            yield Problem(limit.path, text)


RULE = Rule(
    id="MAZ607",
    title="A threshold of ReadLatency or WriteLatency is in seconds",
    severity=Severity.ERROR,
    source="RDS user guide, CloudWatch metrics",
    why="20 is taken for milliseconds and means 20 seconds.",
    check=check,
)
