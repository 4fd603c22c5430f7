"""MAZ302: a secret is rotated on a schedule."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template, direct_references


def check(template: Template) -> Iterator[Problem]:
    """A schedule of the template names the secret, or its attachment."""
    rotated: set[str] = set()
    for schedule in template.of_type("AWS::SecretsManager::RotationSchedule"):
        for name in direct_references(schedule.raw("SecretId")):
            rotated.add(name)
            attachment = template.resources.get(name)
            if attachment is not None:
                rotated.update(direct_references(attachment.raw("SecretId")))
    for secret in template.of_type("AWS::SecretsManager::Secret"):
        if secret.name not in rotated:
            yield secret.problem(f"no rotation schedule names {secret.name}")


RULE = Rule(
    id="MAZ302",
    title="A secret is rotated on a schedule",
    severity=Severity.WARNING,
    source="AWS Security Hub, SecretsManager.1",
    covers=("SECRETSMANAGER_ROTATION_ENABLED_CHECK", "AwsSolutions-SMG4", "SecretsManager.1"),
    check=check,
)
