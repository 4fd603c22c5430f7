"""MAZ502: a bucket is encrypted with a key of KMS."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """A target of access logs, of S3 or of a load balancer, can have keys of S3 only."""
    targets = s3.takes_only_keys_of_s3(template)
    for bucket in template.of_type(s3.BUCKET):
        for choice in bucket.choices("BucketEncryption"):
            if choice.is_absent:
                yield Problem(choice.path, f"{bucket.name} says nothing of encryption: set BucketEncryption")
        if bucket.name not in targets:
            for rule in bucket.items("BucketEncryption", "ServerSideEncryptionConfiguration"):
                for default in template.inside(rule, "ServerSideEncryptionByDefault"):
                    for algorithm in template.inside(default, "SSEAlgorithm"):
                        if algorithm.value == "AES256":
                            yield Problem(algorithm.path, f"{bucket.name} is encrypted with a key of S3, not of KMS")


RULE = Rule(
    id="MAZ502",
    title="A bucket is encrypted with a key of KMS",
    severity=Severity.WARNING,
    source="AWS Security Hub, S3.17",
    covers=("CKV_AWS_145", "S3_DEFAULT_ENCRYPTION_KMS", "S3.17"),
    related=("CKV_AWS_19", "S3_BUCKET_SERVER_SIDE_ENCRYPTION_ENABLED"),
    check=check,
)
