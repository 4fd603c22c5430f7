"""MAZ603: a log group forgets after a time."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Without a period logs are kept, and paid for, for ever."""
    for group in template.of_type("AWS::Logs::LogGroup"):
        for choice in group.choices("RetentionInDays"):
            if choice.is_absent:
                yield Problem(choice.path, f"{group.name} keeps its logs for ever: set RetentionInDays")


RULE = Rule(
    id="MAZ603",
    title="A log group forgets after a time",
    severity=Severity.WARNING,
    source="cfn-guard rules registry, CW_LOGGROUP_RETENTION_PERIOD_CHECK",
    covers=("CKV_AWS_66", "CW_LOGGROUP_RETENTION_PERIOD_CHECK", "CloudWatch.16"),
    check=check,
)
