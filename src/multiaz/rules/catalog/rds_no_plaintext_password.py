"""MAZ121: no password stands in the template or its parameters."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Choice, Problem, Resource, Template, function_of


def check(template: Template) -> Iterator[Problem]:
    """A parameter is taken for plain text too, even with NoEcho: somebody has to type it somewhere."""
    for kind in ("AWS::RDS::DBInstance", "AWS::RDS::DBCluster"):
        for resource in template.of_type(kind):
            for choice in _written(resource):
                yield Problem(
                    choice.path,
                    f"the password of {resource.name} is not taken from a secret: use {{{{resolve:secretsmanager:…}}}}",
                )


def _written(resource: Resource) -> Iterator[Choice]:
    raw = resource.raw("MasterUserPassword")
    function = function_of(raw)
    if function and function[0] == "Ref" and resource.template.parameter(function[1]):
        yield Choice(raw, (*resource.path, "Properties", "MasterUserPassword"))
        return
    for choice in resource.choices("MasterUserPassword"):
        if isinstance(choice.value, str) and not choice.value.startswith("{{resolve:"):
            yield choice


RULE = Rule(
    id="MAZ121",
    title="No password stands in the template or its parameters",
    severity=Severity.ERROR,
    source="cfn-guard rules registry, RDS_MASTER_USER_NAME_NO_PLAINTEXT_PASSWORD",
    covers=("RDS_MASTER_USER_NAME_NO_PLAINTEXT_PASSWORD",),
    related=("CKV_SECRET_6",),
    why="Whoever may read the template or describe the stack would know it. Use a dynamic reference to a secret.",
    check=check,
)
