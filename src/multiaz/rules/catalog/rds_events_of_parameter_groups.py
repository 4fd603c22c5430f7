"""MAZ117: Somebody is told of changes of DB parameter groups."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rds import missing_events
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Told at the first instance of the template."""
    yield from missing_events(template, "db-parameter-group", frozenset({"configuration change"}))


RULE = Rule(
    id="MAZ117",
    title="Somebody is told of changes of DB parameter groups",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.21",
    covers=("RDS.21",),
    check=check,
)
