"""MAZ601: a topic is encrypted."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """With a key of one's own: alarms and RDS may not use the key of AWS."""
    for topic in template.of_type("AWS::SNS::Topic"):
        for choice in topic.choices("KmsMasterKeyId"):
            if choice.is_absent:
                yield Problem(choice.path, f"{topic.name} is not encrypted: set KmsMasterKeyId")
            elif (choice.text or "").endswith("alias/aws/sns"):
                text = (
                    f"{topic.name} has the key of AWS, which alarms and events of RDS may not use: set one of your own"
                )
                yield Problem(choice.path, text)


RULE = Rule(
    id="MAZ601",
    title="A topic is encrypted",
    severity=Severity.WARNING,
    source="AWS Security Hub, SNS.1 (of NIST SP 800-53; in FSBP until April 2024)",
    covers=("CKV_AWS_26", "SNS_ENCRYPTED_KMS", "AwsSolutions-SNS2", "SNS.1"),
    check=check,
)
