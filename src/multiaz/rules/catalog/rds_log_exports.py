"""MAZ109: a DB instance sends its logs to CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rds import missing_log_exports
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Of PostgreSQL both logs, `postgresql` and `upgrade`. Replicas are judged by MAZ203."""
    for instance in rds.primaries(template):
        yield from missing_log_exports(instance)


RULE = Rule(
    id="MAZ109",
    title="A DB instance sends its logs to CloudWatch Logs",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.9 and RDS.36",
    covers=("CKV_AWS_129", "RDS_INSTANCE_LOGGING_ENABLED", "RDS.9", "RDS.36"),
    check=check,
)
