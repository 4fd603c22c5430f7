"""MAZ122: a source of read replicas does not let RDS manage the master password."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Sources and replicas of one template. SQL Server is the one engine that allows it."""
    for name in rds.sources(template):
        origin = template.resources[name]
        engines = [choice.text for choice in rds.engines(origin)]
        if all(engine and not engine.startswith("sqlserver") for engine in engines):
            for choice in origin.choices("ManageMasterUserPassword"):
                if choice.flag:
                    yield Problem(choice.path, f"{name} has read replicas, which exclude ManageMasterUserPassword")


RULE = Rule(
    id="MAZ122",
    title="A source of read replicas does not let RDS manage the master password",
    severity=Severity.ERROR,
    source="RDS user guide, password management with Secrets Manager, limitations",
    why="RDS refuses to create the replica.",
    check=check,
)
