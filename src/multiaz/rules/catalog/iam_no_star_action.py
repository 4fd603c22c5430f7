"""MAZ311: no policy allows every action."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Identity policies, NotAction on every resource too; a key policy that leaves rights to IAM names one service."""
    for statement in policies.identity_statements(template):
        if statement.allows and any(action in ("*", "*:*") for action in statement.actions):
            yield Problem(statement.path, f"{statement.resource.name} allows every action")
        elif statement.allows and statement.excepted and statement.is_of_all_resources and not statement.has_condition:
            left = ", ".join(statement.excepted[:3])
            yield Problem(statement.path, f"{statement.resource.name} allows every action but {left}: name those meant")


RULE = Rule(
    id="MAZ311",
    title="No policy allows every action",
    severity=Severity.ERROR,
    source="CIS AWS Foundations Benchmark; AWS Security Hub, IAM.1",
    covers=("CKV_AWS_62", "CKV_AWS_63", "IAM.1", "IAM_POLICY_NO_STATEMENTS_WITH_ADMIN_ACCESS"),
    check=check,
)
