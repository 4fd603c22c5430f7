"""MAZ120: the master user has no name everybody tries."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

GUESSED = frozenset({"admin", "administrator", "master", "mysql", "postgres", "root", "sa"})


def check(template: Template) -> Iterator[Problem]:
    """A default of a parameter counts."""
    for instance in rds.primaries(template):
        for choice in instance.choices("MasterUsername"):
            if (choice.text or "").lower() in GUESSED:
                yield Problem(choice.path, f"the master user of {instance.name} is called {choice.text}")


RULE = Rule(
    id="MAZ120",
    title="The master user has no name everybody tries",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.25",
    covers=("RDS.25",),
    check=check,
)
