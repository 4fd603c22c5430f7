"""MAZ127: Database Insights `advanced` has Performance Insights and 465 days."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template


def check(template: Template) -> Iterator[Problem]:
    """465 days is the least retention of the mode."""
    for instance in template.of_type("AWS::RDS::DBInstance"):
        if any(choice.value == "advanced" for choice in instance.choices("DatabaseInsightsMode")):
            for choice in instance.choices("EnablePerformanceInsights"):
                if choice.is_absent or choice.flag is False:
                    yield Problem(
                        choice.path, f"{instance.name} has Database Insights advanced without Performance Insights"
                    )
            for choice in instance.choices("PerformanceInsightsRetentionPeriod"):
                if choice.is_absent or (choice.number is not None and choice.number < 465):
                    yield Problem(
                        choice.path, f"Database Insights advanced of {instance.name} needs 465 days of retention"
                    )


RULE = Rule(
    id="MAZ127",
    title="Database Insights `advanced` has Performance Insights and 465 days",
    severity=Severity.ERROR,
    source="RDS user guide, Database Insights",
    why="RDS refuses the instance.",
    check=check,
)
