"""MAZ505: a bucket keeps old versions."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Suspended is not enabled."""
    for bucket in template.of_type(s3.BUCKET):
        for choice in bucket.choices("VersioningConfiguration", "Status"):
            if choice.is_absent or choice.value == "Suspended":
                yield Problem(choice.path, f"{bucket.name} keeps no old versions: enable VersioningConfiguration")


RULE = Rule(
    id="MAZ505",
    title="A bucket keeps old versions",
    severity=Severity.WARNING,
    source="AWS Security Hub, S3.14",
    covers=("CKV_AWS_21", "S3_BUCKET_VERSIONING_ENABLED", "S3.14"),
    check=check,
)
