"""The dashboard: what a person on call looks at first, in the order of the questions asked at night.

Does anything ring? Who is overloaded? Are the readers current? Will it fill up? Each graph draws the thresholds of the
alarms on its metric, so that a line is near or far from ringing at a glance.

Limits: 500 widgets, 500 metrics in a graph, 100 alarms in a list of alarms. Source: Amazon CloudWatch user guide,
"CloudWatch service quotas"; Amazon CloudWatch API reference, "Dashboard Body Structure and Syntax".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from multiaz.blueprint.alarms import ALARMS, PERIOD_S, Alarm, Severity, Where
from multiaz.blueprint.composites import composites
from multiaz.blueprint.instance_classes import GIB
from multiaz.blueprint.members import Member, members, replicas
from multiaz.blueprint.parameters import class_fact
from multiaz.blueprint.rds_metrics import NAMESPACE, UNITS
from multiaz.blueprint.runbook import commands
from multiaz.blueprint.settings import Settings

FULL_WIDTH = 24
"""Columns of a dashboard; a graph without a size takes 6 x 6, so four stand side by side."""
HEIGHT = 6
MAX_ALARMS_OF_A_WIDGET = 100

RUNBOOK = (
    *("AlarmsCommand", "EventsCommand", "PasswordCommand", "ConnectPrimaryCommand"),
    *("FailoverCommand", "SnapshotCommand", "RestoreCommand"),
)
"""Outputs of the stack the dashboard points to, in the order they are needed."""


@dataclass(frozen=True)
class Graph:
    """One graph: a metric of `AWS/RDS`, a line for each instance, and the thresholds of its alarms."""

    title: str
    metric: str
    statistic: str = "Average"
    where: Where = "all"
    percent_of_storage: bool = False

    @property
    def unit(self) -> str:
        """What its figures are."""
        return "percent of the allocated" if self.percent_of_storage else UNITS[self.metric]

    def members(self, s: Settings) -> tuple[Member, ...]:
        """The instances it draws."""
        return {"all": members(s), "primary": members(s)[:1], "replicas": replicas(s)}[self.where]

    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms whose thresholds are in its unit."""
        return tuple(
            alarm
            for alarm in ALARMS
            if alarm.metric == self.metric
            and alarm.percent_of_storage == self.percent_of_storage
            and alarm.statistic != "SampleCount"
        )


GRAPHS: tuple[Graph, ...] = (
    # Overload
    Graph("Active sessions", "DBLoad"),
    Graph("Of these waiting", "DBLoadNonCPU"),
    Graph("CPU", "CPUUtilization"),
    Graph("Connections", "DatabaseConnections"),
    # What customers feel
    Graph("Read latency p90", "ReadLatency", "p90"),
    Graph("Write latency p90", "WriteLatency", "p90"),
    Graph("Replica lag", "ReplicaLag", "Maximum", "replicas"),
    Graph("Waiting for the disk", "DiskQueueDepth"),
    # What fills up
    Graph("Free storage", "FreeStorageSpace", "Minimum", percent_of_storage=True),
    Graph("WAL on disk", "TransactionLogsDiskUsage", where="primary", percent_of_storage=True),
    Graph("Oldest replication slot", "OldestReplicationSlotLag", where="primary"),
    Graph("Oldest transaction ids", "MaximumUsedTransactionIDs", where="primary"),
    # Memory, and the bursts of small classes
    Graph("Freeable memory", "FreeableMemory"),
    Graph("Swap", "SwapUsage"),
    Graph("Throughput burst left", "EBSByteBalance%"),
    Graph("I/O burst left", "EBSIOBalance%"),
    # Disk and network
    Graph("Reads", "ReadIOPS"),
    Graph("Writes", "WriteIOPS"),
    Graph("Read throughput", "ReadThroughput"),
    Graph("Write throughput", "WriteThroughput"),
    Graph("WAL written", "TransactionLogsGeneration", where="primary"),
    Graph("Checkpoint lag", "CheckpointLag", "Maximum"),
    Graph("Network in", "NetworkReceiveThroughput"),
    Graph("Network out", "NetworkTransmitThroughput"),
)


def dashboard_body(s: Settings) -> tuple[str, dict[str, Any]]:
    """Body of a Fn::Sub, the dashboard as JSON, and the variables it takes from the class mapping."""
    lines = _Lines()
    widgets = [
        _summary(s),
        _runbook(s),
        *_alarm_lists(s),
        *(_graph(graph, s, lines) for graph in GRAPHS if graph.members(s)),
    ]
    # A widget a line: people read the template.
    text = ",\n".join(json.dumps(widget, separators=(",", ":")) for widget in widgets)
    return lines.as_numbers(f'{{"widgets":[\n{text}\n]}}'), lines.figures


class _Lines:
    """Horizontal lines at the thresholds; those of the class become variables, collected in `figures`."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def of(self, graph: Graph, s: Settings) -> list[dict[str, Any]]:
        """One for each threshold; one for the primary and one for the readers if it depends on the class."""
        return [
            line
            for alarm in graph.alarms()
            for line in (
                self._of_class(alarm, alarm.threshold, s)
                if isinstance(alarm.threshold, str)
                else [{"label": f"alarm: {alarm.name}", "value": alarm.threshold}]
            )
        ]

    def _of_class(self, alarm: Alarm, column: str, s: Settings) -> Iterator[dict[str, Any]]:
        for member in members(s)[:2]:
            who = "primary" if member.is_primary else "replicas"
            name = f"{column}Of{who.capitalize()}"
            self.figures[name] = class_fact(member, column)
            yield {"label": f"alarm: {alarm.name}, {who}", "value": f"${{{name}}}"}

    def as_numbers(self, text: str) -> str:
        """The JSON with its variables as numbers: quoted, they would be text, and no line."""
        for name in self.figures:
            text = text.replace(f'"${{{name}}}"', f"${{{name}}}")
        return text


def _summary(s: Settings) -> dict[str, Any]:
    title = "ecommerce-db ${EnvironmentSuffix}: is the shop up?"
    return _alarm_list(title, [found.logical_id for found in composites(s)], FULL_WIDTH // 2)


def _runbook(s: Settings) -> dict[str, Any]:
    by_name = {command.name: command for command in commands(s)}
    rows = [f"- `{name}`: {by_name[name].description}" for name in RUNBOOK]
    text = "\n".join(("### Runbook: outputs of the stack ${AWS::StackName}, ready to paste", *rows))
    return {"type": "text", "width": FULL_WIDTH // 2, "height": HEIGHT, "properties": {"markdown": text}}


def _alarm_lists(s: Settings) -> Iterator[dict[str, Any]]:
    """Critical ones first; as many lists as it takes."""
    severities: tuple[Severity, ...] = ("critical", "warning")
    for severity in severities:
        ids = [
            alarm.logical_id(member)
            for alarm in ALARMS
            for member in alarm.members(s)
            if alarm.severity_of(member) == severity
        ]
        for start in range(0, len(ids), MAX_ALARMS_OF_A_WIDGET):
            yield _alarm_list(severity.capitalize(), ids[start : start + MAX_ALARMS_OF_A_WIDGET], FULL_WIDTH)


def _alarm_list(title: str, ids: Sequence[str], width: int) -> dict[str, Any]:
    return {
        "type": "alarm",
        "width": width,
        "height": HEIGHT,
        "properties": {"title": title, "sortBy": "stateUpdatedTimestamp", "alarms": [f"${{{i}.Arn}}" for i in ids]},
    }


def _graph(graph: Graph, s: Settings, lines: _Lines) -> dict[str, Any]:
    metrics: list[list[Any]] = [
        [*(("...",) if number else (NAMESPACE, graph.metric, "DBInstanceIdentifier")), f"${{{member.logical_id}}}"]
        for number, member in enumerate(graph.members(s))
    ]
    if graph.percent_of_storage:
        # The metrics are drawn through the expression, not beside it.
        metrics = [[*metric, {"id": f"m{number}", "visible": False}] for number, metric in enumerate(metrics, 1)]
        metrics.insert(0, [{"id": "share", "expression": f"100 * METRICS() / (${{AllocatedStorage}} * {GIB})"}])
    thresholds = lines.of(graph, s)
    return {
        "type": "metric",
        "properties": {
            "title": f"{graph.title}, {graph.unit}" if graph.title.lower() != graph.unit else graph.title,
            "region": "${AWS::Region}",
            "stat": graph.statistic,
            "period": PERIOD_S,
            "yAxis": {"left": {"min": 0}},
            "metrics": metrics,
            **({"annotations": {"horizontal": thresholds}} if thresholds else {}),
        },
    }
