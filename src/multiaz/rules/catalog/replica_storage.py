"""MAZ210: a read replica whose storage may grow says what it begins with."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """MaxAllocatedStorage without AllocatedStorage."""
    for replica in rds.replicas(template):
        if replica.has("MaxAllocatedStorage") and not replica.has("AllocatedStorage"):
            yield replica.problem(
                f"{replica.name} has MaxAllocatedStorage without AllocatedStorage", "MaxAllocatedStorage"
            )


RULE = Rule(
    id="MAZ210",
    title="A read replica whose storage may grow says what it begins with",
    severity=Severity.WARNING,
    source="aws-cloudformation resource handlers for RDS",
    why="The limit arrives by a later change, which needs AllocatedStorage.",
    check=check,
)
