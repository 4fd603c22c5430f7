"""MAZ125: Performance Insights are kept for 7 days, 1 to 23 months of 31 days, or 731 days."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

PERIODS = frozenset({7, 731, *(31 * months for months in range(1, 24))})


def check(template: Template) -> Iterator[Problem]:
    """A default of a parameter counts."""
    for instance in template.of_type("AWS::RDS::DBInstance"):
        for choice in instance.choices("PerformanceInsightsRetentionPeriod"):
            if choice.number is not None and choice.number not in PERIODS:
                text = (
                    f"{choice.number:g} days is no retention of Performance Insights: use 7, a multiple of 31, or 731"
                )
                yield Problem(choice.path, text)


RULE = Rule(
    id="MAZ125",
    title="Performance Insights are kept for 7 days, 1 to 23 months of 31 days, or 731 days",
    severity=Severity.ERROR,
    source="RDS API reference, CreateDBInstance, PerformanceInsightsRetentionPeriod",
    check=check,
)
