"""MAZ608: a threshold of FreeableMemory or FreeStorageSpace is in bytes."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import alarms
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

LEAST_BYTES = 1_000_000


def check(template: Template) -> Iterator[Problem]:
    """Less than a megabyte is taken for another unit. Metric math has units of its own and is not judged."""
    for limit in alarms.limits(template, "FreeableMemory", "FreeStorageSpace"):
        if limit.figure < 0 or (limit.figure == 0 and limit.operators == {"LessThanThreshold"}):
            effect = "always" if limit.is_ceiling else "never"
            yield Problem(limit.path, f"{limit.metric} is not below 0: at {limit.figure:g} the alarm {effect} rings")
        elif 0 < limit.figure < LEAST_BYTES:
            effect = "always rings" if limit.is_ceiling else "rings when there is nothing left"
            yield Problem(limit.path, f"{limit.metric} is in bytes: at {limit.figure:g} bytes the alarm {effect}")


RULE = Rule(
    id="MAZ608",
    title="A threshold of FreeableMemory or FreeStorageSpace is in bytes",
    severity=Severity.ERROR,
    source="RDS user guide, CloudWatch metrics",
    why="10 is taken for gigabytes or per cent and means 10 bytes: the alarm rings too late or never.",
    check=check,
)
