"""What Amazon RDS measures for PostgreSQL: the metrics of `AWS/RDS` used here, each with its unit.

Source: Amazon RDS user guide, "Amazon CloudWatch metrics for Amazon RDS" and, for DBLoad, "Amazon CloudWatch
metrics for Amazon RDS Performance Insights". A threshold in the wrong unit never rings.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

NAMESPACE = "AWS/RDS"

_METRICS_OF_UNIT: Mapping[str, tuple[str, ...]] = {
    "bytes": (
        *("FreeableMemory", "FreeStorageSpace", "SwapUsage"),
        *("TransactionLogsDiskUsage", "OldestReplicationSlotLag"),
    ),
    "bytes/s": (
        *("ReadThroughput", "WriteThroughput", "TransactionLogsGeneration"),
        *("NetworkReceiveThroughput", "NetworkTransmitThroughput"),
    ),
    "operations/s": ("ReadIOPS", "WriteIOPS"),
    "connections": ("DatabaseConnections",),
    "requests": ("DiskQueueDepth",),
    "transactions": ("MaximumUsedTransactionIDs",),
    "sessions": ("DBLoad", "DBLoadNonCPU"),
    "seconds": ("ReadLatency", "WriteLatency", "ReplicaLag", "CheckpointLag"),
    "percent": ("CPUUtilization", "EBSByteBalance%", "EBSIOBalance%"),
}

UNITS: Mapping[str, str] = MappingProxyType({metric: unit for unit, of in _METRICS_OF_UNIT.items() for metric in of})
"""Metric to the unit of its values."""
