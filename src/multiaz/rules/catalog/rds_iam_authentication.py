"""MAZ107: a DB instance takes IAM tokens."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """PostgreSQL, MySQL and MariaDB have it. Replicas are judged by MAZ205."""
    for instance in rds.primaries(template):
        if rds.takes_iam_tokens(instance):
            text = f"{instance.name} takes no IAM tokens: set EnableIAMDatabaseAuthentication"
            yield from rds.not_true(instance, "EnableIAMDatabaseAuthentication", text)


RULE = Rule(
    id="MAZ107",
    title="A DB instance takes IAM tokens",
    severity=Severity.WARNING,
    source="AWS Security Hub, RDS.10",
    covers=("CKV_AWS_161", "RDS.10"),
    check=check,
)
