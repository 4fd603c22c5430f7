"""MAZ128: Storage may grow to at least 1.1 times what is allocated."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Judged where both figures are known and single; equal figures turn autoscaling off."""
    for instance in rds.instances(template):
        allocated, most = instance.choices("AllocatedStorage"), instance.choices("MaxAllocatedStorage")
        size, limit = allocated[0].number, most[0].number
        if (
            len(allocated) == len(most) == 1
            and size is not None
            and limit is not None
            and size != limit < 11 * size / 10
        ):
            text = f"MaxAllocatedStorage {limit:g} is less than 1.1 times AllocatedStorage {size:g}"
            yield Problem(most[0].path, text)


RULE = Rule(
    id="MAZ128",
    title="Storage may grow to at least 1.1 times what is allocated",
    severity=Severity.ERROR,
    source="RDS user guide, storage autoscaling",
    why="RDS refuses the instance. From 1.26 on it raises no event either.",
    check=check,
)
