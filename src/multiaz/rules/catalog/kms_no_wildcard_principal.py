"""MAZ402: a key is not for everybody."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """A condition binds it to somebody, as with keys of a service."""
    for key in template.of_type("AWS::KMS::Key"):
        for statement in policies.statements(key, "KeyPolicy"):
            if statement.allows and "*" in statement.principals("AWS") and not statement.has_condition:
                yield Problem(statement.path, f"everybody may use {key.name}")


RULE = Rule(
    id="MAZ402",
    title="A key is not for everybody",
    severity=Severity.ERROR,
    source="cfn-guard rules registry, KMS_NO_WILDCARD_PRINCIPAL",
    covers=("CKV_AWS_33", "KMS_NO_WILDCARD_PRINCIPAL"),
    check=check,
)
