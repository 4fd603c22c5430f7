"""MAZ112: a DB instance is protected from deletion."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Replicas too."""
    for instance in rds.instances(template):
        yield from rds.not_true(
            instance, "DeletionProtection", f"{instance.name} can be deleted by one call: set DeletionProtection"
        )


RULE = Rule(
    id="MAZ112",
    title="A DB instance is protected from deletion",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.8",
    covers=("CKV_AWS_293", "RDS_INSTANCE_DELETION_PROTECTION_ENABLED", "AwsSolutions-RDS10", "RDS.8"),
    check=check,
)
