"""MAZ606: a threshold of ReplicaLag is in seconds."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import alarms
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

LONGEST_S = 3600


def check(template: Template) -> Iterator[Problem]:
    """More than an hour is taken for milliseconds."""
    for _, choice, figure in alarms.thresholds(template, "ReplicaLag"):
        if figure > LONGEST_S:
            yield Problem(choice.path, f"ReplicaLag is in seconds: {figure:g} s is {figure / 3600:.1f} hours")


RULE = Rule(
    id="MAZ606",
    title="A threshold of ReplicaLag is in seconds",
    severity=Severity.ERROR,
    source="RDS user guide, CloudWatch metrics: ReplicaLag is in seconds",
    why="30000 is more than eight hours, not 30 seconds: the alarm never rings.",
    check=check,
)
