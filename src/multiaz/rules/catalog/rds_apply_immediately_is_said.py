"""MAZ123: an instance with a parameter group of its own says whether changes are applied at once."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Either value will do."""
    for instance in rds.instances(template):
        if instance.has("DBParameterGroupName"):
            for choice in instance.choices("ApplyImmediately"):
                if choice.is_absent:
                    yield Problem(
                        choice.path,
                        f"{instance.name} leaves ApplyImmediately to its default, true: an update may reboot it",
                    )


RULE = Rule(
    id="MAZ123",
    title="An instance with a parameter group of its own says whether changes are applied at once",
    severity=Severity.WARNING,
    source="aws-cloudformation resource handlers for RDS: the default is true",
    why="A changed static parameter leaves the group pending-reboot; the next unrelated update reboots the database.",
    check=check,
)
