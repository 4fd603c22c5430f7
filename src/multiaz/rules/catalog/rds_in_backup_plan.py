"""MAZ111: DB instances are in a plan of AWS Backup."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """A selection anywhere in the template counts: what it selects by tags is not known here."""
    if not any(template.of_type("AWS::Backup::BackupSelection")):
        for instance in rds.primaries(template):
            yield instance.problem(f"no backup plan of this template selects {instance.name}")


RULE = Rule(
    id="MAZ111",
    title="DB instances are in a plan of AWS Backup",
    severity=Severity.INFO,
    source="AWS Security Hub, RDS.26",
    covers=("RDS_IN_BACKUP_PLAN", "RDS.26"),
    why="Automated backups go with the instance and its account; those of AWS Backup can be locked and copied.",
    check=check,
)
