"""MAZ304: the role of snapshot exports may do all an export does."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

NEEDED = (
    "s3:PutObject",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:DeleteObject",
    "s3:GetBucketLocation",
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:DescribeKey",
    "kms:CreateGrant",
)


def check(template: Template) -> Iterator[Problem]:
    """Roles RDS exports assume, unless a policy is not in this template. A key policy may give what is of keys."""
    for role in template.of_type(policies.ROLE):
        trusted = policies.statements(role, "AssumeRolePolicyDocument")
        if not any("export.rds.amazonaws.com" in statement.principals("Service") for statement in trusted):
            continue
        granted, is_complete = policies.of_role(role)
        granted += policies.of_keys(role)
        missing = [a for a in NEEDED if not any(s.allows and s.permits(a) for s in granted)]
        if missing and is_complete:
            yield role.problem(f"{role.name} lacks {', '.join(missing)}")


RULE = Rule(
    id="MAZ304",
    title="The role of snapshot exports may do all an export does",
    severity=Severity.ERROR,
    source="RDS user guide, exporting snapshots to S3",
    why="The export task fails after it was accepted.",
    check=check,
)
