"""The dashboard: the figures a person on call looks at first, for all instances at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from multiaz.blueprint.alarms import ALARMS
from multiaz.blueprint.members import Member, members
from multiaz.blueprint.settings import Settings

FULL_WIDTH = 24
"""Columns of a dashboard; a graph without a size takes 6 x 6, so four stand side by side."""
HEIGHT = 6


@dataclass(frozen=True)
class Graph:
    """One graph: a metric of `AWS/RDS`, a line for each instance."""

    title: str
    metric: str
    statistic: str = "Average"
    where: Literal["all", "primary", "replicas"] = "all"

    def members(self, s: Settings) -> tuple[Member, ...]:
        """The instances it draws."""
        return {"all": members(s), "primary": members(s)[:1], "replicas": members(s)[1:]}[self.where]


GRAPHS: tuple[Graph, ...] = (
    Graph("CPU, percent", "CPUUtilization"),
    Graph("Active sessions", "DBLoad"),
    Graph("Connections", "DatabaseConnections"),
    Graph("Replica lag, seconds", "ReplicaLag", "Maximum", "replicas"),
    Graph("Read latency p90, seconds", "ReadLatency", "p90"),
    Graph("Write latency p90, seconds", "WriteLatency", "p90"),
    Graph("Free storage, bytes", "FreeStorageSpace", "Minimum"),
    Graph("Freeable memory, bytes", "FreeableMemory"),
    Graph("Oldest transaction ids", "MaximumUsedTransactionIDs", "Maximum", "primary"),
)


def dashboard_body(s: Settings) -> str:
    """Body of a Fn::Sub: the dashboard as JSON."""
    widgets = [_alarms(s), *(_graph(graph, s) for graph in GRAPHS if graph.members(s))]
    return json.dumps({"widgets": widgets}, separators=(",", ":"))


def _alarms(s: Settings) -> dict[str, Any]:
    arns = [f"${{{name}.Arn}}" for alarm in ALARMS for name in alarm.logical_ids(s)]
    return {
        "type": "alarm",
        "width": FULL_WIDTH,
        "height": HEIGHT,
        "properties": {"title": "Alarms of ecommerce-db ${EnvironmentSuffix}", "alarms": arns},
    }


def _graph(graph: Graph, s: Settings) -> dict[str, Any]:
    first, *others = graph.members(s)
    lines: list[list[Any]] = [["AWS/RDS", graph.metric, "DBInstanceIdentifier", f"${{{first.logical_id}}}"]]
    lines += [["...", f"${{{m.logical_id}}}"] for m in others]
    return {
        "type": "metric",
        "properties": {
            "title": graph.title,
            "region": "${AWS::Region}",
            "stat": graph.statistic,
            "metrics": lines,
        },
    }
