"""MAZ604: a log group is encrypted with a key of one's own."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Logs of a database hold its statements."""
    for group in template.of_type("AWS::Logs::LogGroup"):
        for choice in group.choices("KmsKeyId"):
            if choice.is_absent:
                yield Problem(choice.path, f"{group.name} is encrypted with the key of AWS: set KmsKeyId")


RULE = Rule(
    id="MAZ604",
    title="A log group is encrypted with a key of one's own",
    severity=Severity.WARNING,
    source="cfn-guard rules registry, CLOUDWATCH_LOG_GROUP_ENCRYPTED",
    covers=("CKV_AWS_158", "CLOUDWATCH_LOG_GROUP_ENCRYPTED"),
    check=check,
)
