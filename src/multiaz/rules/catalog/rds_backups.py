"""MAZ110: Automated backups are kept for at least 7 days."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """The default is one day, 0 is none."""
    for instance in rds.primaries(template):
        for choice in instance.choices("BackupRetentionPeriod"):
            if choice.is_absent or (choice.number is not None and choice.number < 7):
                days = "1 day" if choice.is_absent else f"{choice.number:g} days"
                yield Problem(
                    choice.path, f"{instance.name} keeps backups for {days}: set BackupRetentionPeriod to 7 or more"
                )


RULE = Rule(
    id="MAZ110",
    title="Automated backups are kept for at least 7 days",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.11",
    covers=("CKV_AWS_133", "DB_INSTANCE_BACKUP_ENABLED", "AwsSolutions-RDS13", "RDS.11"),
    check=check,
)
