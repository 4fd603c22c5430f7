"""MAZ607: a threshold of ReadLatency or WriteLatency is in seconds."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import alarms
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

LONGEST_S = 1.0


def check(template: Template) -> Iterator[Problem]:
    """More than a second is taken for milliseconds."""
    for metric, choice, figure in alarms.thresholds(template, "ReadLatency", "WriteLatency"):
        if figure > LONGEST_S:
            yield Problem(choice.path, f"{metric} is in seconds: a threshold of {figure:g} s never rings")


RULE = Rule(
    id="MAZ607",
    title="A threshold of ReadLatency or WriteLatency is in seconds",
    severity=Severity.ERROR,
    source="RDS user guide, CloudWatch metrics",
    why="20 is taken for milliseconds and means 20 seconds: the alarm never rings.",
    check=check,
)
