"""MAZ401: a key is rotated."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Only symmetric keys of KMS itself can be."""
    for key in template.of_type("AWS::KMS::Key"):
        kinds = [*key.choices("KeySpec"), *key.choices("Origin"), *key.choices("KeyUsage")]
        if all(k.is_absent or k.value in ("SYMMETRIC_DEFAULT", "AWS_KMS", "ENCRYPT_DECRYPT") for k in kinds):
            for choice in key.choices("EnableKeyRotation"):
                if choice.is_absent or choice.flag is False:
                    yield Problem(choice.path, f"{key.name} is not rotated: set EnableKeyRotation")


RULE = Rule(
    id="MAZ401",
    title="A key is rotated",
    severity=Severity.WARNING,
    source="AWS Security Hub, KMS.4",
    covers=("CKV_AWS_7", "CMK_BACKING_KEY_ROTATION_ENABLED", "AwsSolutions-KMS5", "KMS.4"),
    check=check,
)
