"""MAZ301: a secret is encrypted with a key of one's own."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """The key of AWS by its alias is none of one's own."""
    for secret in template.of_type("AWS::SecretsManager::Secret"):
        for choice in secret.choices("KmsKeyId"):
            if choice.is_absent or (choice.text or "").endswith("alias/aws/secretsmanager"):
                yield Problem(choice.path, f"{secret.name} is encrypted with the key of AWS: set KmsKeyId")


RULE = Rule(
    id="MAZ301",
    title="A secret is encrypted with a key of one's own",
    severity=Severity.WARNING,
    source="cfn-guard rules registry, SECRETSMANAGER_USING_CMK",
    covers=("CKV_AWS_149", "SECRETSMANAGER_USING_CMK"),
    check=check,
)
