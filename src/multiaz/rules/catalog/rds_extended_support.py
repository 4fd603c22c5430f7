"""MAZ130: an instance says whether it wants paid Extended Support."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

NAME = "EngineLifecycleSupport"


def check(template: Template) -> Iterator[Problem]:
    """PostgreSQL and MySQL have it."""
    for instance in rds.primaries(template):
        if any(choice.text in ("postgres", "mysql") for choice in instance.choices("Engine")):
            for choice in instance.choices(NAME):
                if choice.is_absent:
                    text = f"{instance.name} is enrolled in Extended Support unless it says otherwise: set {NAME}"
                    yield Problem(choice.path, text)


RULE = Rule(
    id="MAZ130",
    title="An instance says whether it wants paid Extended Support",
    severity=Severity.INFO,
    source="RDS user guide, Extended Support",
    why="By default an instance is enrolled, and billed once its major version reaches the end of standard support.",
    check=check,
)
