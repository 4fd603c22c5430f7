"""MAZ506: the policy of a bucket refuses plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies, s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

ACTIONS = ("s3:GetObject", "s3:PutObject")


def check(template: Template) -> Iterator[Problem]:
    """A statement that denies everybody reading and writing the bucket and its objects without aws:SecureTransport."""
    guarded: set[str] = set()
    unknown = False
    for policy in template.of_type("AWS::S3::BucketPolicy"):
        statements = policies.statements(policy, "PolicyDocument")
        if any(s.refuses_plain_http(*ACTIONS) and s3.is_of_bucket_and_objects(s) for s in statements):
            bucket = s3.named(template, policy.raw("Bucket"))
            unknown = unknown or bucket is None
            guarded.update([bucket.name] if bucket is not None else [])
    for bucket in template.of_type(s3.BUCKET):
        if bucket.name not in guarded and not unknown:
            yield bucket.problem(f"no policy of {bucket.name} refuses plain HTTP")


RULE = Rule(
    id="MAZ506",
    title="The policy of a bucket refuses plain HTTP",
    severity=Severity.WARNING,
    source="AWS Security Hub, S3.5",
    covers=("S3_BUCKET_SSL_REQUESTS_ONLY", "AwsSolutions-S10", "S3.5"),
    check=check,
)
