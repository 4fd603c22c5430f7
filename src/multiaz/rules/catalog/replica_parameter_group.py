"""MAZ204: a read replica has a parameter group."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Asked for where the source has one, or is not here."""
    for replica in rds.replicas(template):
        origin = rds.source(replica)
        if origin is None or origin.has("DBParameterGroupName"):
            for choice in replica.choices("DBParameterGroupName"):
                if choice.is_absent:
                    yield Problem(
                        choice.path, f"{replica.name} has no parameter group of its own: set DBParameterGroupName"
                    )


RULE = Rule(
    id="MAZ204",
    title="A read replica has a parameter group",
    severity=Severity.WARNING,
    source="RDS user guide, read replicas",
    why="Without one it may run with other parameters than its source.",
    check=check,
)
