"""MAZ115: Snapshots carry the tags of their DB instance."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """False is the default."""
    for instance in rds.instances(template):
        yield from rds.not_true(
            instance, "CopyTagsToSnapshot", f"snapshots of {instance.name} have no tags: set CopyTagsToSnapshot"
        )


RULE = Rule(
    id="MAZ115",
    title="Snapshots carry the tags of their DB instance",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.17",
    covers=("RDS.17",),
    check=check,
)
