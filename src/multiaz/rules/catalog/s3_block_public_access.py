"""MAZ504: a bucket blocks public access, in all four ways."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

WAYS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


def check(template: Template) -> Iterator[Problem]:
    """Each way is false by default, once the configuration is written."""
    for bucket in template.of_type(s3.BUCKET):
        missing = [
            way
            for way in WAYS
            if any(c.is_absent or c.flag is False for c in bucket.choices("PublicAccessBlockConfiguration", way))
        ]
        if missing:
            yield bucket.problem(f"{bucket.name} lacks {', '.join(missing)}", "PublicAccessBlockConfiguration")


RULE = Rule(
    id="MAZ504",
    title="A bucket blocks public access, in all four ways",
    severity=Severity.WARNING,
    source="AWS Security Hub, S3.8",
    covers=("S3_BUCKET_LEVEL_PUBLIC_ACCESS_PROHIBITED", "AwsSolutions-S2", "S3.8"),
    related=("CKV_AWS_53", "CKV_AWS_54", "CKV_AWS_55", "CKV_AWS_56"),
    check=check,
)
