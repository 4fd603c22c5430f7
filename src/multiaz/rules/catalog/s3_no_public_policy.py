"""MAZ511: no bucket policy lets everybody in."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Every statement that allows; a condition binds it to somebody."""
    for policy in template.of_type("AWS::S3::BucketPolicy"):
        for statement in policies.statements(policy, "PolicyDocument"):
            if statement.is_public:
                allowed = ", ".join(statement.actions[:3]) or "something"
                yield Problem(statement.path, f"{policy.name} allows everybody {allowed}: name who may")


RULE = Rule(
    id="MAZ511",
    title="No bucket policy lets everybody in",
    severity=Severity.ERROR,
    source="AWS Security Hub, S3.2 and S3.3; checkov CKV_AWS_70",
    covers=("CKV_AWS_70",),
    related=("S3_BUCKET_PUBLIC_READ_PROHIBITED", "S3_BUCKET_PUBLIC_WRITE_PROHIBITED", "S3.2", "S3.3"),
    why="Where public policies are blocked the stack fails; where not, the bucket is everybody's.",
    check=check,
)
