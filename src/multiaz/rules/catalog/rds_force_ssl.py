"""MAZ108: a parameter group of PostgreSQL refuses connections without TLS."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Also an instance with the default group of a version before 15."""
    for group in template.of_type(rds.PARAMETER_GROUP):
        if any((family.text or "").startswith("postgres") for family in group.choices("Family")):
            for choice in group.choices("Parameters", "rds.force_ssl"):
                if choice.is_absent or (choice.is_known and choice.number != 1):
                    yield Problem(choice.path, f"{group.name} does not set rds.force_ssl to 1")
    for instance in rds.instances(template):
        if rds.is_postgres(instance) and not instance.has("DBParameterGroupName") and not rds.is_replica(instance):
            for choice in instance.choices("EngineVersion"):
                major = (choice.text or "").partition(".")[0]
                if major.isdecimal() and int(major) < 15:
                    yield Problem(
                        choice.path, f"{instance.name} has the default parameter group, which takes plain connections"
                    )


RULE = Rule(
    id="MAZ108",
    title="A parameter group of PostgreSQL refuses connections without TLS",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.38",
    covers=("CKV2_AWS_69", "RDS.38"),
    why="From PostgreSQL 15 on it is the default; scanners want it written.",
    check=check,
)
