"""MAZ106: a DB instance has Enhanced Monitoring."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """An interval of 0 turns it off; that is also the default."""
    for instance in rds.instances(template):
        for choice in instance.choices("MonitoringInterval"):
            if choice.is_absent or choice.number == 0:
                yield Problem(choice.path, f"{instance.name} has no Enhanced Monitoring: set MonitoringInterval")


RULE = Rule(
    id="MAZ106",
    title="A DB instance has Enhanced Monitoring",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.6",
    covers=("CKV_AWS_118", "RDS_ENHANCED_MONITORING_ENABLED", "RDS.6"),
    check=check,
)
