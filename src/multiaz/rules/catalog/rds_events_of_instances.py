"""MAZ116: Somebody is told of maintenance, configuration changes and failures of DB instances."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rds import missing_events
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

CATEGORIES = frozenset({"maintenance", "configuration change", "failure"})


def check(template: Template) -> Iterator[Problem]:
    """Told at the first instance of the template."""
    yield from missing_events(template, "db-instance", CATEGORIES)


RULE = Rule(
    id="MAZ116",
    title="Somebody is told of maintenance, configuration changes and failures of DB instances",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.20",
    covers=("RDS.20",),
    check=check,
)
