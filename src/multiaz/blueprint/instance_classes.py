"""Facts of the DB instance classes of PostgreSQL on RDS, and the figures that follow from them.

A class is a family and a size; processors follow from the size, memory from both. Source: Amazon RDS user
guide, "Hardware specifications for DB instance classes". A test compares the names with cfn-lint's data.
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
USABLE_MEMORY_PERCENT = 90
"""Of the nominal memory, what RDS computes with at least: 413 connections are reported for 4 GiB, where nominal memory
would give 450. An assumption on the careful side: an alarm above the true limit never rings."""
FREEABLE_MEMORY_ALARM_PERCENT = 25


@dataclass(frozen=True)
class InstanceClass:
    """One DB instance class: processors and nominal memory."""

    name: str
    vcpu: int
    memory_gib: int

    @property
    def family(self) -> str:
        """m5 of db.m5.large."""
        return self.name.split(".")[1]

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
        granted = min(self.memory_bytes * USABLE_MEMORY_PERCENT // 100 // BYTES_PER_CONNECTION, MAX_CONNECTIONS_CEILING)
        return granted * CONNECTIONS_ALARM_PERCENT // 100

    @property
    def freeable_memory_alarm_bytes(self) -> int:
        """Freeable memory below which somebody should look."""
        return self.memory_bytes * FREEABLE_MEMORY_ALARM_PERCENT // 100


@dataclass(frozen=True)
class Family:
    """Classes of one kind of machine, which differ in size only."""

    name: str
    memory_gib_of_large: int
    sizes: tuple[str, ...]
    burstable: bool = False
    """Its processors run on credits: below the baseline they are saved, above it they are spent."""


_SIZES: Mapping[str, tuple[int, float]] = MappingProxyType(
    {
        "medium": (2, 0.5),
        "large": (2, 1),
        "xlarge": (4, 2),
        "2xlarge": (8, 4),
        "4xlarge": (16, 8),
        "8xlarge": (32, 16),
    }
)
"""Size to vCPU, and to memory as a multiple of the family's large."""

_STEADY = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge")
"""Nothing above 8xlarge: 32 processors carry a million orders a day (capacity.py), and every class is three
lines of the template."""

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            *(Family(name, 8, _STEADY) for name in ("m5", "m6i", "m6g", "m7i", "m7g", "m8g")),
            *(Family(name, 16, _STEADY) for name in ("r5", "r6i", "r6g", "r7i", "r7g", "r8g")),
            Family("t3", 8, ("medium", "large"), burstable=True),
            Family("t4g", 8, ("medium", "large", "xlarge"), burstable=True),
        )
    }
)
"""The families offered, general purpose first; g is Graviton, i Intel."""

SEED_CLASSES: tuple[str, ...] = (
    *("db.m5.large", "db.m5.xlarge", "db.m5.2xlarge"),
    *("db.r5.large", "db.r5.xlarge", "db.r5.2xlarge"),
)
"""The classes the first version of the stack offered: they stay first, in this order."""


def _classes() -> Iterable[InstanceClass]:
    for family in FAMILIES.values():
        for size in family.sizes:
            vcpu, multiple = _SIZES[size]
            yield InstanceClass(f"db.{family.name}.{size}", vcpu, int(family.memory_gib_of_large * multiple))


def _seed_first(classes: Iterable[InstanceClass]) -> dict[str, InstanceClass]:
    by_name = {found.name: found for found in classes}
    return {name: by_name[name] for name in (*SEED_CLASSES, *by_name)}


INSTANCE_CLASSES: Mapping[str, InstanceClass] = MappingProxyType(_seed_first(_classes()))
"""Every class by its name."""
PRIMARY_CLASSES: tuple[str, ...] = tuple(INSTANCE_CLASSES)
"""What the template offers for the primary."""
REPLICA_CLASSES: tuple[str, ...] = PRIMARY_CLASSES
"""What the template offers for a read replica: nothing forbids one that is larger than its primary."""


def largest_max_connections(names: Iterable[str]) -> int:
    """The highest max_connections any of the classes can have."""
    return max(INSTANCE_CLASSES[name].max_connections for name in names)


def largest_max_worker_processes(names: Iterable[str]) -> int:
    """The highest max_worker_processes any of the classes can have."""
    return max(INSTANCE_CLASSES[name].max_worker_processes for name in names)
