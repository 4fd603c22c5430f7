"""MAZ506: the policy of a bucket refuses plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies, s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.s3 import refuses_plain_http
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """A statement that denies where aws:SecureTransport is false."""
    guarded: set[str] = set()
    unknown = False
    for policy in template.of_type("AWS::S3::BucketPolicy"):
        if any(s.denies and refuses_plain_http(s) for s in policies.statements(policy, "PolicyDocument")):
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
