"""Alarms as the rules need them."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.template import Choice, Template


def thresholds(template: Template, *metrics: str) -> Iterator[tuple[str, Choice, float]]:
    """Metric of AWS/RDS, threshold and its figure, of each alarm on one of the metrics; metric math is not judged."""
    for alarm in template.of_type("AWS::CloudWatch::Alarm"):
        if any(choice.value == "AWS/RDS" for choice in alarm.choices("Namespace")):
            for metric in alarm.choices("MetricName"):
                if metric.text in metrics:
                    for threshold in alarm.choices("Threshold"):
                        if threshold.number is not None:
                            yield metric.text, threshold, threshold.number
