"""MAZ507: a bucket has a lifecycle."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import s3
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """At least one rule."""
    for bucket in template.of_type(s3.BUCKET):
        for choice in bucket.choices("LifecycleConfiguration"):
            rules = template.inside(choice, "Rules")
            if any(rule.is_absent or rule.value == [] for rule in rules):
                yield Problem(choice.path, f"{bucket.name} grows for ever: set LifecycleConfiguration")


RULE = Rule(
    id="MAZ507",
    title="A bucket has a lifecycle",
    severity=Severity.WARNING,
    source="AWS Security Hub, S3.10 and S3.13",
    covers=("S3_LIFECYCLE_POLICY_CHECK", "S3.13"),
    related=("S3.10",),
    check=check,
)
