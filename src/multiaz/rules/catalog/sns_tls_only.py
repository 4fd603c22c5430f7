"""MAZ602: the policy of a topic refuses plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template, direct_references


def check(template: Template) -> Iterator[Problem]:
    """A statement that denies everybody to publish without aws:SecureTransport. A topic with a key takes only TLS as it
    is. Source: cdk-nag, AwsSolutions-SNS3.
    """
    guarded: set[str] = set()
    for policy in template.of_type("AWS::SNS::TopicPolicy"):
        if any(s.refuses_plain_http("sns:Publish") for s in policies.statements(policy, "PolicyDocument")):
            listed = policy.raw("Topics")
            for node in listed if isinstance(listed, list) else [listed]:
                guarded.update(direct_references(node))
    for topic in template.of_type("AWS::SNS::Topic"):
        if topic.name not in guarded and any(choice.is_absent for choice in topic.choices("KmsMasterKeyId")):
            yield topic.problem(f"no policy of {topic.name} refuses plain HTTP")


RULE = Rule(
    id="MAZ602",
    title="The policy of a topic refuses plain HTTP",
    severity=Severity.WARNING,
    source="cdk-nag AwsSolutions-SNS3",
    covers=("AwsSolutions-SNS3",),
    check=check,
)
