"""MAZ114: a minor version is not both written down and upgraded automatically."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Resource, Template


def check(template: Template) -> Iterator[Problem]:
    """A major version alone (`17`) goes with automatic upgrades."""
    for instance in rds.instances(template):
        if any(c.is_absent or c.flag for c in instance.choices("AutoMinorVersionUpgrade")):
            for choice in instance.choices("EngineVersion"):
                if _is_minor(instance, choice.text or ""):
                    text = f"{instance.name} names version {choice.text} and lets RDS upgrade it: forbid that"
                    yield Problem(choice.path, text)


def _is_minor(instance: Resource, version: str) -> bool:
    major, _, rest = version.partition(".")
    if not major.isdecimal():
        return False
    # PostgreSQL has majors of one number since 10; of other engines a third number makes the minor version.
    return bool(rest) if rds.is_postgres(instance) and int(major) >= 10 else rest.count(".") >= 1


RULE = Rule(
    id="MAZ114",
    title="A minor version is not both written down and upgraded automatically",
    severity=Severity.WARNING,
    source="aws-cdk issue 15475",
    why="Once RDS has upgraded, the next change of the stack asks for the older version and fails.",
    check=check,
)
