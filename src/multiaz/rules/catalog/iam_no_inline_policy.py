"""MAZ308: Policies are managed, not written inside users, roles and groups."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Also a policy resource that is put into its holders."""
    for holder in template.of_type(*policies.HOLDERS):
        if any(isinstance(c.value, list) and c.value for c in holder.choices("Policies")):
            yield holder.problem(f"{holder.name} has an inline policy", "Policies")
    for policy in template.of_type(policies.INLINE, *policies.INLINE_OF_ONE):
        yield policy.problem(f"{policy.name} becomes an inline policy of what it names")


RULE = Rule(
    id="MAZ308",
    title="Policies are managed, not written inside users, roles and groups",
    severity=Severity.INFO,
    source="cfn-guard rules registry, IAM_NO_INLINE_POLICY_CHECK",
    covers=("IAM_NO_INLINE_POLICY_CHECK",),
    why="A managed policy has versions and can be found.",
    check=check,
)
