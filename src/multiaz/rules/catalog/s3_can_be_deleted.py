"""MAZ510: a versioned bucket that goes with its stack is emptied first."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Resource, Template


def check(template: Template) -> Iterator[Problem]:
    """Emptied by a custom resource that names the bucket, or its name."""
    for bucket in template.of_type(s3.BUCKET):
        policy = bucket.attribute("DeletionPolicy")
        if policy not in (None, "Delete") or not any(
            c.value == "Enabled" for c in bucket.choices("VersioningConfiguration", "Status")
        ):
            continue
        if not any(_is_custom(r) and bucket.name in template.mentions(r) for r in template.resources.values()):
            yield bucket.problem(f"{bucket.name} keeps versions, goes with the stack, and nothing empties it")


def _is_custom(resource: Resource) -> bool:
    return resource.type.startswith("Custom::") or resource.type == "AWS::CloudFormation::CustomResource"


RULE = Rule(
    id="MAZ510",
    title="A versioned bucket that goes with its stack is emptied first",
    severity=Severity.WARNING,
    source="CloudFormation user guide, DeletionPolicy: only an empty bucket can be deleted",
    why="Deleting the stack fails as soon as one object was written.",
    check=check,
)
