"""MAZ508: What is written to a bucket cannot be overwritten."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Object lock must be enabled when the bucket is created."""
    for bucket in template.of_type(s3.BUCKET):
        for choice in bucket.choices("ObjectLockEnabled"):
            if choice.is_absent or choice.flag is False:
                yield Problem(choice.path, f"{bucket.name} has no object lock")


RULE = Rule(
    id="MAZ508",
    title="What is written to a bucket cannot be overwritten",
    severity=Severity.INFO,
    source="AWS Security Hub, S3.15",
    covers=("S3_BUCKET_DEFAULT_LOCK_ENABLED", "S3.15"),
    why="An option: a bucket with object lock cannot be emptied before time.",
    check=check,
)
