"""MAZ602: the policy of a topic refuses plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.s3 import refuses_plain_http
from multiaz.rules.template import Problem, Template, direct_references


def check(template: Template) -> Iterator[Problem]:
    """A statement that denies where aws:SecureTransport is false. An encrypted topic takes TLS only for publishing."""
    guarded: set[str] = set()
    for policy in template.of_type("AWS::SNS::TopicPolicy"):
        if any(s.denies and refuses_plain_http(s) for s in policies.statements(policy, "PolicyDocument")):
            listed = policy.raw("Topics")
            for node in listed if isinstance(listed, list) else [listed]:
                guarded.update(direct_references(node))
    for topic in template.of_type("AWS::SNS::Topic"):
        if topic.name not in guarded:
            yield topic.problem(f"no policy of {topic.name} refuses plain HTTP")


RULE = Rule(
    id="MAZ602",
    title="The policy of a topic refuses plain HTTP",
    severity=Severity.WARNING,
    source="cdk-nag AwsSolutions-SNS3",
    covers=("AwsSolutions-SNS3",),
    check=check,
)
