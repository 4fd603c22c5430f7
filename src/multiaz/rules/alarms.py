"""Alarms as the rules need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from multiaz.rules.findings import Path
from multiaz.rules.template import Resource, Template

_BELOW = frozenset({"LessThanThreshold", "LessThanOrEqualToThreshold"})
_ABOVE = frozenset({"GreaterThanThreshold", "GreaterThanOrEqualToThreshold"})


@dataclass(frozen=True)
class Limit:
    """A threshold of an alarm on a metric of AWS/RDS."""

    metric: str
    figure: float
    path: Path
    operators: frozenset[str]
    """What the ComparisonOperator may be, as far as it is known."""

    @property
    def is_floor(self) -> bool:
        """The alarm rings below."""
        return bool(self.operators) and self.operators <= _BELOW

    @property
    def is_ceiling(self) -> bool:
        """The alarm rings above."""
        return bool(self.operators) and self.operators <= _ABOVE


def limits(template: Template, *metrics: str) -> Iterator[Limit]:
    """Each known threshold of each alarm on one of the metrics; metric math is not judged."""
    for alarm in template.of_type("AWS::CloudWatch::Alarm"):
        if any(choice.value == "AWS/RDS" for choice in alarm.choices("Namespace")):
            operators = frozenset(choice.text for choice in alarm.choices("ComparisonOperator") if choice.text)
            for metric in alarm.choices("MetricName"):
                if metric.text in metrics:
                    for threshold in alarm.choices("Threshold"):
                        if threshold.number is not None:
                            yield Limit(metric.text, threshold.number, threshold.path, operators)


def dimensions(alarm: Resource, name: str) -> Iterator[tuple[object, Path]]:
    """Each value the alarm has for the dimension, as it is written, and where."""
    listed = alarm.raw("Dimensions")
    for index, entry in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(entry, dict) and entry.get("Name") == name:
            yield entry.get("Value"), (*alarm.path, "Properties", "Dimensions", index, "Value")
