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
    for metric, choice, figure in alarms.thresholds(template, "FreeableMemory", "FreeStorageSpace"):
        if 0 < figure < LEAST_BYTES:
            yield Problem(choice.path, f"{metric} is in bytes: a threshold of {figure:g} bytes never rings")


RULE = Rule(
    id="MAZ608",
    title="A threshold of FreeableMemory or FreeStorageSpace is in bytes",
    severity=Severity.ERROR,
    source="RDS user guide, CloudWatch metrics",
    why="10 is taken for gigabytes or per cent and means 10 bytes: the alarm never rings.",
    check=check,
)
