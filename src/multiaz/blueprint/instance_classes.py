"""Facts of the DB instance classes the stack offers, and the figures that follow from them.

Source: Amazon RDS user guide, "Hardware specifications for DB instance classes".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

GIB = 1024**3
BYTES_PER_CONNECTION = 9_531_392
"""Divisor of RDS's own formula for max_connections."""
MAX_CONNECTIONS_CEILING = 5000
"""Upper end of RDS's own formula for max_connections."""
CONNECTIONS_ALARM_PERCENT = 90
FREEABLE_MEMORY_ALARM_PERCENT = 25


@dataclass(frozen=True)
class InstanceClass:
    """One DB instance class: processors and nominal memory."""

    name: str
    vcpu: int
    memory_gib: int

    @property
    def memory_bytes(self) -> int:
        """Nominal memory; the DBInstanceClassMemory RDS computes with is a little less."""
        return self.memory_gib * GIB

    @property
    def max_connections(self) -> int:
        """LEAST(memory / 9531392, 5000), from nominal memory: never below what RDS grants."""
        return min(self.memory_bytes // BYTES_PER_CONNECTION, MAX_CONNECTIONS_CEILING)

    @property
    def max_worker_processes(self) -> int:
        """GREATEST(2 x vCPU, 8), RDS's own formula."""
        return max(self.vcpu * 2, 8)

    @property
    def connections_alarm(self) -> int:
        """Connections above which somebody should look."""
        return self.max_connections * CONNECTIONS_ALARM_PERCENT // 100

    @property
    def freeable_memory_alarm_bytes(self) -> int:
        """Freeable memory below which somebody should look."""
        return self.memory_bytes * FREEABLE_MEMORY_ALARM_PERCENT // 100


_ALL = (
    InstanceClass("db.m5.large", 2, 8),
    InstanceClass("db.m5.xlarge", 4, 16),
    InstanceClass("db.m5.2xlarge", 8, 32),
    InstanceClass("db.r5.large", 2, 16),
    InstanceClass("db.r5.xlarge", 4, 32),
    InstanceClass("db.r5.2xlarge", 8, 64),
)

INSTANCE_CLASSES: Mapping[str, InstanceClass] = MappingProxyType({c.name: c for c in _ALL})
PRIMARY_CLASSES: tuple[str, ...] = tuple(INSTANCE_CLASSES)
"""What the primary may be (the seed's list)."""
REPLICA_CLASSES: tuple[str, ...] = tuple(name for name in INSTANCE_CLASSES if name != "db.r5.2xlarge")
"""What a read replica may be (the seed's list)."""


def largest_max_connections(names: Iterable[str]) -> int:
    """The highest max_connections any of the classes can have."""
    return max(INSTANCE_CLASSES[name].max_connections for name in names)


def largest_max_worker_processes(names: Iterable[str]) -> int:
    """The highest max_worker_processes any of the classes can have."""
    return max(INSTANCE_CLASSES[name].max_worker_processes for name in names)
