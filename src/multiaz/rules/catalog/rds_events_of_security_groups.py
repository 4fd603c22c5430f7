"""MAZ118: Somebody is told of changes of DB security groups."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rds import missing_events
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Told at the first instance of the template."""
    yield from missing_events(template, "db-security-group", frozenset({"configuration change", "failure"}))


RULE = Rule(
    id="MAZ118",
    title="Somebody is told of changes of DB security groups",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.22",
    covers=("RDS.22",),
    check=check,
)
