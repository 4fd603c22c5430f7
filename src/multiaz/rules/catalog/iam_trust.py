"""MAZ310: a role is not assumed by everybody."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """A condition binds it to somebody."""
    for role in template.of_type(policies.ROLE):
        for statement in policies.statements(role, "AssumeRolePolicyDocument"):
            everyone = "*" in (*statement.principals("AWS"), *statement.principals("Service"))
            if statement.allows and everyone and not statement.has_condition:
                yield Problem(statement.path, f"anybody may assume {role.name}")


RULE = Rule(
    id="MAZ310",
    title="A role is not assumed by everybody",
    severity=Severity.ERROR,
    source="checkov CKV_AWS_60 and CKV_AWS_61",
    covers=("CKV_AWS_60",),
    related=("CKV_AWS_61",),
    check=check,
)
