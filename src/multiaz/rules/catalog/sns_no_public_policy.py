"""MAZ610: no topic policy lets everybody in."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Every statement that allows; a condition binds it to somebody."""
    for policy in template.of_type("AWS::SNS::TopicPolicy"):
        for statement in policies.statements(policy, "PolicyDocument"):
            if statement.is_public:
                allowed = ", ".join(statement.actions[:3]) or "something"
                yield Problem(statement.path, f"{policy.name} allows everybody {allowed}: name who may")


RULE = Rule(
    id="MAZ610",
    title="No topic policy lets everybody in",
    severity=Severity.ERROR,
    source="AWS Security Hub, SNS.4; checkov CKV_AWS_169",
    covers=("CKV_AWS_169", "SNS.4"),
    why="Anybody could ring the alarm, or read what it says.",
    check=check,
)
