"""MAZ205: a read replica takes IAM tokens."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Asked for where the engine is known to have it."""
    for replica in rds.replicas(template):
        if rds.takes_iam_tokens(replica):
            text = f"{replica.name} takes no IAM tokens: set EnableIAMDatabaseAuthentication"
            yield from rds.not_true(replica, "EnableIAMDatabaseAuthentication", text)


RULE = Rule(
    id="MAZ205",
    title="A read replica takes IAM tokens",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.10",
    covers=("CKV_AWS_161", "RDS.10"),
    why="It does not take the setting from its source.",
    check=check,
)
