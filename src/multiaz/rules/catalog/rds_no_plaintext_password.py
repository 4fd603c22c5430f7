"""MAZ121: no password stands in the template or its parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from multiaz.rules.findings import Path, Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template, function_of, text_of

NAME = "MasterUserPassword"
DYNAMIC = "{{resolve:"
REFERENCE = re.compile(r"\$\{([^{}]*)\}")
PASSWORD = re.compile(r'"[^"]{0,40}(?:password|passwd|pwd)[^"]{0,40}"\s{0,20}:\s{0,20}"([^"]*)"', re.IGNORECASE)


def check(template: Template) -> Iterator[Problem]:
    """A parameter is taken for plain text too, even with NoEcho: somebody has to type it somewhere."""
    for resource in template.of_type("AWS::RDS::DBInstance", "AWS::RDS::DBCluster"):
        path = (*resource.path, "Properties", NAME)
        for place in _typed(template, resource.raw(NAME), path):
            text = f"the password of {resource.name} is not taken from a secret: use {{{{resolve:secretsmanager:…}}}}"
            yield Problem(place, text)
    for secret in template.of_type("AWS::SecretsManager::Secret"):
        for place in _kept(template, secret.raw("SecretString"), (*secret.path, "Properties", "SecretString")):
            yield Problem(place, f"the value of {secret.name} stands in the template: use GenerateSecretString")


def _typed(template: Template, node: Any, path: Path) -> Iterator[Path]:
    """Where the node, or a branch of it, is text or a parameter."""
    function = function_of(node)
    match function:
        case None:
            if isinstance(node, str | int | float) and not str(node).startswith(DYNAMIC):
                yield path
        case "Ref", str(name):
            if template.parameter(name) is not None:
                yield path
        case "Fn::If", [_, first, second]:
            yield from _typed(template, first, (*path, "Fn::If", 1))
            yield from _typed(template, second, (*path, "Fn::If", 2))
        case (("Fn::Sub" | "Fn::Join"), _):
            text = text_of(node)
            if text and not text.startswith(DYNAMIC) and _has_words(template, text):
                yield path


def _has_words(template: Template, text: str) -> bool:
    """The text of a Sub holds more than what the deployment fills in, or a parameter."""
    names = [name for name in REFERENCE.findall(text) if not name.startswith("!")]
    return bool(REFERENCE.sub("", text).strip()) or any(template.parameter(name) is not None for name in names)


def _kept(template: Template, node: Any, path: Path) -> Iterator[Path]:
    """Where the value of a secret is text: of JSON what is called a password, of other text the whole."""
    match function_of(node):
        case "Fn::If", [_, first, second]:
            yield from _kept(template, first, (*path, "Fn::If", 1))
            yield from _kept(template, second, (*path, "Fn::If", 2))
            return
        case None:
            text = node if isinstance(node, str) else ""
        case _:
            text = text_of(node)
    passwords = PASSWORD.findall(text)
    if text.lstrip().startswith("{"):
        values = [value for value in passwords if value and not value.startswith(DYNAMIC)]
        if any(REFERENCE.sub("", value) for value in values):
            yield path
    elif text and not text.startswith(DYNAMIC) and REFERENCE.sub("", text).strip():
        yield path


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
