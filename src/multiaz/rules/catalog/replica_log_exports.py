"""MAZ203: a read replica sends its logs to CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rds import missing_log_exports
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Of PostgreSQL both logs."""
    for replica in rds.replicas(template):
        yield from missing_log_exports(replica)


RULE = Rule(
    id="MAZ203",
    title="A read replica sends its logs to CloudWatch Logs",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.9 and RDS.36",
    covers=("CKV_AWS_129", "RDS_INSTANCE_LOGGING_ENABLED", "RDS.9", "RDS.36"),
    why="It does not take the setting from its source.",
    check=check,
)
