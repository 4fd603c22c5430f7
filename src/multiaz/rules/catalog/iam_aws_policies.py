"""MAZ313: Roles have policies of one's own, not those of AWS."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template, function_of


def check(template: Template) -> Iterator[Problem]:
    """An ARN with the account `aws`."""
    for holder in template.of_type(*policies.HOLDERS):
        listed = holder.raw("ManagedPolicyArns")
        for index, node in enumerate(listed if isinstance(listed, list) else ()):
            function = function_of(node)
            text = function[1] if function and function[0] == "Fn::Sub" else node
            if isinstance(text, str) and ":iam::aws:policy/" in text:
                path = (*holder.path, "Properties", "ManagedPolicyArns", index)
                yield Problem(path, f"{holder.name} has the policy {text.rpartition('/')[2]} of AWS", _part(text))


def _part(arn: str) -> str:
    """As cdk-nag names it: `Policy::arn:<AWS::Partition>:iam::aws:policy/…`."""
    return "Policy::" + arn.replace("${", "<").replace("}", ">")


RULE = Rule(
    id="MAZ313",
    title="Roles have policies of one's own, not those of AWS",
    severity=Severity.INFO,
    source="cdk-nag AwsSolutions-IAM4",
    covers=("AwsSolutions-IAM4",),
    why="AWS changes its policies, and they name no resources.",
    check=check,
)
