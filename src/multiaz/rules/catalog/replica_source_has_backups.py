"""MAZ207: the source of a read replica has automated backups."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Without a period there is one day of backups, which will do."""
    for name in rds.sources(template):
        for choice in template.resources[name].choices("BackupRetentionPeriod"):
            if choice.number == 0:
                yield Problem(choice.path, f"{name} has read replicas and so must keep backups")


RULE = Rule(
    id="MAZ207",
    title="The source of a read replica has automated backups",
    severity=Severity.ERROR,
    source="RDS user guide, read replicas",
    why="RDS refuses to create the replica.",
    check=check,
)
