"""MAZ202: a read replica does not promise a final snapshot."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Only where it is written: without a policy nobody was promised anything."""
    for replica in rds.replicas(template):
        for name in ("DeletionPolicy", "UpdateReplacePolicy"):
            if replica.attribute(name) == "Snapshot":
                yield Problem(
                    (*replica.path, name), f"{replica.name} is a read replica: no snapshot of it will be taken"
                )


RULE = Rule(
    id="MAZ202",
    title="A read replica does not promise a final snapshot",
    severity=Severity.WARNING,
    source="aws-cloudformation resource handlers for RDS",
    why="RDS takes no final snapshot of a replica, whatever DeletionPolicy says.",
    check=check,
)
