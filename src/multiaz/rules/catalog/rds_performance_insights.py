"""MAZ126: a DB instance has Performance Insights, encrypted with a key of one's own."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """Seven days cost nothing."""
    for instance in rds.instances(template):
        name = "EnablePerformanceInsights"
        yield from rds.not_true(instance, name, f"{instance.name} has no Performance Insights: set {name}")
        if any(choice.flag for choice in instance.choices(name)):
            for key in instance.choices("PerformanceInsightsKMSKeyId"):
                if key.is_absent:
                    yield Problem(
                        key.path,
                        f"Performance Insights of {instance.name} have no key: set PerformanceInsightsKMSKeyId",
                    )


RULE = Rule(
    id="MAZ126",
    title="A DB instance has Performance Insights, encrypted with a key of one's own",
    severity=Severity.INFO,
    source="checkov CKV_AWS_353 and CKV_AWS_354",
    related=("CKV_AWS_353", "CKV_AWS_354"),
    check=check,
)
