"""MAZ303: the secret of a DB instance knows where the instance is."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template, direct_references, references


def check(template: Template) -> Iterator[Problem]:
    """Secrets a MasterUserPassword of the template is taken from."""
    attached = {
        name
        for attachment in template.of_type("AWS::SecretsManager::SecretTargetAttachment")
        for name in direct_references(attachment.raw("SecretId"))
    }
    for instance in template.of_type("AWS::RDS::DBInstance", "AWS::RDS::DBCluster"):
        for name in references(instance.raw("MasterUserPassword")):
            secret = template.resources.get(name)
            if secret is not None and secret.type == "AWS::SecretsManager::Secret" and name not in attached:
                yield secret.problem(f"{name} has the password of {instance.name} and no SecretTargetAttachment")


RULE = Rule(
    id="MAZ303",
    title="The secret of a DB instance knows where the instance is",
    severity=Severity.WARNING,
    source="Secrets Manager user guide, SecretTargetAttachment",
    why="Without host and port in the secret neither rotation nor clients find the instance.",
    check=check,
)
