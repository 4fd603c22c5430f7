"""MAZ503: no bucket is public by its ACL."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

PUBLIC = frozenset({"PublicRead", "PublicReadWrite", "AuthenticatedRead"})


def check(template: Template) -> Iterator[Problem]:
    """AuthenticatedRead is anybody with any account of AWS."""
    for bucket in template.of_type(s3.BUCKET):
        for choice in bucket.choices("AccessControl"):
            if isinstance(choice.value, str) and choice.value in PUBLIC:
                yield Problem(choice.path, f"{bucket.name} is {choice.value}")


RULE = Rule(
    id="MAZ503",
    title="No bucket is public by its ACL",
    severity=Severity.ERROR,
    source="AWS Security Hub, S3.2 and S3.3",
    related=(
        "CKV_AWS_20",
        "CKV_AWS_57",
        "S3_BUCKET_PUBLIC_READ_PROHIBITED",
        "S3_BUCKET_PUBLIC_WRITE_PROHIBITED",
        "S3.2",
        "S3.3",
    ),
    check=check,
)
