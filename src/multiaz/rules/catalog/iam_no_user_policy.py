"""MAZ309: no policy is attached to a user directly."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Groups and roles are where policies belong."""
    for policy in template.of_type(policies.MANAGED, policies.INLINE, "AWS::IAM::UserPolicy"):
        if policy.items("Users") or policy.type == "AWS::IAM::UserPolicy":
            yield policy.problem(f"{policy.name} is attached to a user", *(["Users"] if policy.has("Users") else []))
    for user in template.of_type("AWS::IAM::User"):
        for name in ("Policies", "ManagedPolicyArns"):
            if user.items(name):
                yield user.problem(f"{user.name} has policies of its own", name)


RULE = Rule(
    id="MAZ309",
    title="No policy is attached to a user directly",
    severity=Severity.WARNING,
    source="CIS AWS Foundations Benchmark; AWS Security Hub, IAM.2",
    covers=("CKV_AWS_40", "IAM.2", "IAM_USER_NO_POLICIES_CHECK"),
    check=check,
)
