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
    for limit in alarms.limits(template, "ReplicaLag"):
        if limit.figure > LONGEST_S:
            text = f"ReplicaLag is in seconds: {limit.figure:g} s is {limit.figure / 3600:.1f} hours"
            yield Problem(limit.path, text)


RULE = Rule(
    id="MAZ606",
    title="A threshold of ReplicaLag is in seconds",
    severity=Severity.ERROR,
    source="RDS user guide, CloudWatch metrics: ReplicaLag is in seconds",
    why="30000 is more than eight hours, not 30 seconds: the alarm never rings.",
    check=check,
)
