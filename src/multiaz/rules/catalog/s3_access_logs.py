"""MAZ501: a bucket logs who reads and writes it."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """A bucket that is itself the target of such logs need not."""
    targets = s3.log_targets(template)
    for bucket in template.of_type(s3.BUCKET):
        if bucket.name not in targets:
            for choice in bucket.choices("LoggingConfiguration"):
                if choice.is_absent:
                    yield Problem(choice.path, f"{bucket.name} has no access log: set LoggingConfiguration")


RULE = Rule(
    id="MAZ501",
    title="A bucket logs who reads and writes it",
    severity=Severity.WARNING,
    source="AWS Security Hub, S3.9",
    covers=("CKV_AWS_18", "S3_BUCKET_LOGGING_ENABLED", "AwsSolutions-S1", "S3.9"),
    check=check,
)
