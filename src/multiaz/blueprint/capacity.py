"""From orders a day to instance classes, replicas, storage and connections, with the arithmetic shown.

Two machines are sized: the primary, which takes every write and the reads that must be fresh, and a read
replica, which shares the other reads and replays every write. Processors are sized for the peak hour of
today, because a class is changed in minutes; storage for a year, because a volume never shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from multiaz.blueprint import assumptions as a
from multiaz.blueprint.instance_classes import FAMILIES, GIB, INSTANCE_CLASSES, InstanceClass
from multiaz.blueprint.workload import (
    DAYS_PER_YEAR,
    Load,
    Rates,
    Sheet,
    Step,
    figure,
    peak_rates,
    working_set_gib,
)
from multiaz.errors import BadInput

__all__ = ["DEFAULT_FAMILY", "STEADY_FAMILIES", "Capacity", "Load", "LoadTooLarge", "Need", "Step", "capacity_for"]

DEFAULT_FAMILY = "m5"
MIN_REPLICAS = 2
"""With one of two lost there is still one: with one of one lost the primary would take every read."""
MAX_REPLICAS = 5
"""What sizing proposes at most: a shop that needs more is limited by its primary first."""

STORAGE_STEP_GIB = 10
GP3_MIN_GIB = 20
GP3_MAX_GIB = 65_536
GP3_SMALL_IOPS = 3_000
GP3_LARGE_FROM_GIB = 400
GP3_LARGE_IOPS = 12_000
GP3_MAX_IOPS = 64_000
"""Source of the gp3 figures, PostgreSQL: Amazon RDS user guide, "Amazon RDS DB instance storage"."""
AUTOSCALING_MIN_FACTOR = 1.1
"""Source: Amazon RDS user guide, "Managing capacity automatically with storage autoscaling"."""

STEADY_FAMILIES: tuple[str, ...] = tuple(name for name, family in FAMILIES.items() if not family.burstable)
"""Families to size with: a burstable one runs on credits, and a peak hour uses them up."""


class LoadTooLarge(BadInput):
    """No class, or no volume, of RDS carries the load."""


@dataclass(frozen=True)
class Need:
    """What one instance must have."""

    vcpu: float
    memory_gib: float
    connections: int
    iops: float


@dataclass(frozen=True)
class Capacity:
    """What carries the load, and why."""

    load: Load
    family: str
    steps: tuple[Step, ...]
    peak: Rates
    primary_need: Need
    replica_need: Need
    primary: InstanceClass
    replica: InstanceClass
    read_replicas: int
    data_now_gib: float
    data_in_a_year_gib: float
    allocated_storage: int
    """GiB."""
    max_allocated_storage: int
    """GiB."""
    storage_iops: int | None
    """Operations a second to provision; None: those that come with the volume do."""

    def settings(self) -> dict[str, str | int]:
        """The settings that follow, by the names they have in `Settings`."""
        wanted: dict[str, str | int] = {
            "db_instance_class": self.primary.name,
            "read_replica_instance_class": self.replica.name,
            "read_replicas": self.read_replicas,
            "allocated_storage": self.allocated_storage,
            "max_allocated_storage": self.max_allocated_storage,
        }
        return wanted if self.storage_iops is None else {**wanted, "storage_iops": self.storage_iops}

    def thresholds(self, of: InstanceClass) -> Mapping[str, int]:
        """Alarm thresholds that follow from a class and the storage, by the metric they watch."""
        return {
            "DatabaseConnections": of.connections_alarm,
            "DBLoad": of.vcpu,
            "FreeableMemory": of.freeable_memory_alarm_bytes,
            "FreeStorageSpace": round(self.allocated_storage * GIB * a.FREE_STORAGE.value),
        }


def capacity_for(load: Load, family: str = DEFAULT_FAMILY) -> Capacity:
    """The smallest classes, storage and number of replicas that carry the load.

    Of a general purpose family also its memory-optimised sibling is considered: r5 beside m5.
    More orders never give less of anything. Raises BadInput for a family that cannot be sized
    with, LoadTooLarge if nothing RDS has is enough.
    """
    candidates = _candidates(family)
    sheet = Sheet()
    peak = peak_rates(load, sheet)
    hot_gib = working_set_gib(load, sheet)

    primary_need = _primary_need(peak, hot_gib, sheet)
    primary = _smallest(candidates, primary_need)
    if primary is None:
        raise _too_large(load, family, candidates, "the primary", primary_need)

    replicas, replica_need, replica = _replicas(load, family, candidates, peak, hot_gib, sheet)
    for who, needed, chosen in (("primary", primary_need, primary), ("replica", replica_need, replica)):
        _show_choice(sheet, who, needed, chosen)

    data_now, data_later, allocated = _storage(load, sheet)
    iops = max(primary_need.iops, replica_need.iops)
    allocated, provisioned = _with_iops(load, allocated, iops, sheet)
    maximum = min(round(allocated * a.MAX_STORAGE_FACTOR.value), GP3_MAX_GIB)
    sheet.step(
        "storage autoscaling may reach",
        maximum,
        "GiB",
        "allocated storage x factor, at most what gp3 has",
        f"least of {figure(allocated)} x {figure(a.MAX_STORAGE_FACTOR.value)} and {figure(GP3_MAX_GIB)}",
    )
    return Capacity(
        load=load,
        family=family,
        steps=tuple(sheet.steps),
        peak=peak,
        primary_need=primary_need,
        replica_need=replica_need,
        primary=primary,
        replica=replica,
        read_replicas=replicas,
        data_now_gib=data_now,
        data_in_a_year_gib=data_later,
        allocated_storage=allocated,
        max_allocated_storage=maximum,
        storage_iops=provisioned,
    )


def _primary_need(peak: Rates, hot_gib: float, sheet: Sheet) -> Need:
    busy_ms = peak.writes * a.WRITE_CPU_MS.value + peak.fresh_reads * a.READ_CPU_MS.value
    vcpu = sheet.step(
        "primary: processors",
        busy_ms / 1000 / a.BUSY_AT_PEAK.value,
        "vCPU",
        "(writes x their time + fresh reads x theirs) / share used at peak",
        f"({figure(peak.writes)} x {figure(a.WRITE_CPU_MS.value)} ms + {figure(peak.fresh_reads)} x "
        f"{figure(a.READ_CPU_MS.value)} ms) / {figure(a.BUSY_AT_PEAK.value)}",
    )
    connections = _connections("primary", peak.writes + peak.fresh_reads, sheet)
    memory = _memory("primary", hot_gib, connections, sheet)
    return Need(vcpu, memory, connections, _iops("primary", peak.writes, peak.fresh_reads, sheet))


def _replicas(
    load: Load, family: str, candidates: tuple[InstanceClass, ...], peak: Rates, hot_gib: float, sheet: Sheet
) -> tuple[int, Need, InstanceClass]:
    """The fewest replicas a class is large enough for, what each needs, and that class.

    Connections and memory are those of one replica that has all the readers' connections, however many
    replicas there are: pools turn where the names lead, and not evenly.
    """
    shared = Sheet()
    connections = _connections("replica", peak.reads, shared)
    memory = _memory("replica", hot_gib, connections, shared)
    iops = _iops("replica", peak.writes, peak.reads, shared)
    number = MIN_REPLICAS
    while True:
        own = Sheet()
        need = Need(_replica_vcpu(peak, number, own), memory, connections, iops)
        chosen = _smallest(candidates, need)
        if chosen is not None:
            break
        if number == MAX_REPLICAS:
            raise _too_large(load, family, candidates, f"each of {number} replicas", need)
        number += 1
    sheet.step(
        "read replicas",
        number,
        "",
        f"from {MIN_REPLICAS} to {MAX_REPLICAS}, as few as a class is large enough for",
        f"{MIN_REPLICAS} to {MAX_REPLICAS}",
    )
    sheet.steps.extend((*own.steps, *shared.steps))
    return number, need, chosen


def _replica_vcpu(peak: Rates, number: int, sheet: Sheet) -> float:
    replay_ms = peak.writes * a.REPLAY_CPU_MS.value
    read_ms = peak.reads * a.READ_CPU_MS.value
    shown = f"{figure(peak.reads)} x {figure(a.READ_CPU_MS.value)} ms"
    replayed = f"{figure(peak.writes)} x {figure(a.REPLAY_CPU_MS.value)} ms"
    with_all = sheet.step(
        "replica: processors",
        (read_ms / number + replay_ms) / 1000 / a.BUSY_AT_PEAK.value,
        "vCPU",
        "(reads x their time / replicas + writes x replay time) / share used at peak",
        f"({shown} / {number} + {replayed}) / {figure(a.BUSY_AT_PEAK.value)}",
    )
    with_one_less = sheet.step(
        "replica: processors, one replica lost",
        (read_ms / (number - 1) + replay_ms) / 1000 / a.BUSY_WITH_ONE_LESS.value,
        "vCPU",
        "(reads x their time / replicas left + writes x replay time) / share used then",
        f"({shown} / {number - 1} + {replayed}) / {figure(a.BUSY_WITH_ONE_LESS.value)}",
    )
    return max(with_all, with_one_less)


def _connections(who: str, queries_per_s: float, sheet: Sheet) -> int:
    value = math.ceil(queries_per_s * a.HELD_MS.value / 1000 / a.POOL_USE.value + a.OTHER_CONNECTIONS.value)
    sheet.step(
        f"{who}: connections",
        value,
        "",
        "queries x time held / share of the pool in use + others",
        f"{figure(queries_per_s)} x {figure(a.HELD_MS.value)} ms / {figure(a.POOL_USE.value)} + "
        f"{figure(a.OTHER_CONNECTIONS.value)}",
    )
    return value


def _memory(who: str, hot_gib: float, connections: int, sheet: Sheet) -> float:
    used = hot_gib + connections * a.CONNECTION_BYTES.value / GIB + a.SYSTEM_GIB.value
    return sheet.step(
        f"{who}: memory",
        used / (1 - a.FREE_MEMORY.value),
        "GiB",
        "(data in use + connections + system) / (1 - share kept free)",
        f"({figure(hot_gib)} + {figure(connections)} x {figure(a.CONNECTION_BYTES.value)} B + "
        f"{figure(a.SYSTEM_GIB.value)}) / (1 - {figure(a.FREE_MEMORY.value)})",
    )


def _iops(who: str, writes: float, reads: float, sheet: Sheet) -> float:
    return sheet.step(
        f"{who}: disk operations",
        writes * a.IOS_PER_WRITE.value + reads * a.IOS_PER_READ.value,
        "/s",
        "writes x operations a write + reads x operations a read",
        f"{figure(writes)} x {figure(a.IOS_PER_WRITE.value)} + {figure(reads)} x {figure(a.IOS_PER_READ.value)}",
    )


def _show_choice(sheet: Sheet, who: str, need: Need, chosen: InstanceClass) -> None:
    sheet.step(
        f"{who}: {chosen.name}",
        chosen.vcpu,
        f"vCPU, {chosen.memory_gib} GiB, {chosen.connections_alarm:,} connections",
        "the smallest class with the processors, memory and connections",
        f"{figure(need.vcpu)} vCPU, {figure(need.memory_gib)} GiB, {figure(need.connections)} connections",
    )


def _storage(load: Load, sheet: Sheet) -> tuple[float, float, int]:
    """GiB of data now and in a year, and the storage to allocate. Raises LoadTooLarge."""
    data_now = a.BASE_GIB.value
    year = sheet.step(
        "orders of the first year",
        load.orders_per_day * DAYS_PER_YEAR * (1 + a.GROWTH_PER_YEAR.value / 2),
        "",
        "orders a day x days x (1 + half of the year's growth)",
        f"{figure(load.orders_per_day)} x {DAYS_PER_YEAR} x (1 + {figure(a.GROWTH_PER_YEAR.value)} / 2)",
    )
    data_later = sheet.step(
        "data in a year",
        data_now + year * a.BYTES_PER_ORDER.value / GIB,
        "GiB",
        "base + orders of the year x bytes an order",
        f"{figure(data_now)} + {figure(year)} x {figure(a.BYTES_PER_ORDER.value)} B",
    )
    needed = data_later / (1 - a.FREE_STORAGE.value - a.SLOT_WAL_SHARE.value)
    allocated = max(math.ceil(needed / STORAGE_STEP_GIB) * STORAGE_STEP_GIB, GP3_MIN_GIB)
    if allocated * AUTOSCALING_MIN_FACTOR > GP3_MAX_GIB:
        raise LoadTooLarge(
            f"Cannot size the storage for {load.orders_per_day:,} orders a day",
            f"a year takes {allocated:,} GiB and gp3 ends at {GP3_MAX_GIB:,}, of which autoscaling needs a tenth",
            "move finished orders elsewhere during the year, or divide the shop over several databases",
        )
    sheet.step(
        "allocated storage",
        allocated,
        "GiB",
        f"data in a year / (1 - share kept free - share for WAL of a slot), in steps of {STORAGE_STEP_GIB}",
        f"{figure(data_later)} / (1 - {figure(a.FREE_STORAGE.value)} - {figure(a.SLOT_WAL_SHARE.value)}) "
        f"= {figure(needed)}",
    )
    return data_now, data_later, allocated


def _with_iops(load: Load, allocated: int, iops: float, sheet: Sheet) -> tuple[int, int | None]:
    """The storage that comes with enough operations a second, or what to provision. Raises LoadTooLarge."""
    if iops > GP3_MAX_IOPS:
        raise LoadTooLarge(
            f"Cannot size the storage for {load.orders_per_day:,} orders a day",
            f"it takes {iops:,.0f} disk operations a second at peak and gp3 ends at {GP3_MAX_IOPS:,}",
            "divide the shop over several databases, or take io2 volumes, which multiaz does not make",
        )
    if iops > GP3_SMALL_IOPS and allocated < GP3_LARGE_FROM_GIB:
        allocated = GP3_LARGE_FROM_GIB
    included = GP3_SMALL_IOPS if allocated < GP3_LARGE_FROM_GIB else GP3_LARGE_IOPS
    provisioned = math.ceil(iops / 1000) * 1000 if iops > included else None
    sheet.step(
        "disk operations to be had",
        provisioned or included,
        "/s",
        f"{figure(GP3_SMALL_IOPS)} come with gp3, {figure(GP3_LARGE_IOPS)} from {GP3_LARGE_FROM_GIB} GiB on",
        f"{figure(iops)} needed, {figure(allocated)} GiB",
    )
    return allocated, provisioned


def _candidates(family: str) -> tuple[InstanceClass, ...]:
    """Classes to choose from, by processors and then memory, which is also the order of their prices."""
    if family not in STEADY_FAMILIES:
        rule = "is burstable: its credits end in a peak hour" if family in FAMILIES else "is no family RDS has here"
        raise BadInput(
            f"Cannot size with the family {family}", f"it {rule}", f"choose one of {', '.join(STEADY_FAMILIES)}"
        )
    families = {family, family.replace("m", "r", 1)}
    found = [facts for facts in INSTANCE_CLASSES.values() if facts.family in families]
    return tuple(sorted(found, key=lambda facts: (facts.vcpu, facts.memory_gib)))


def _smallest(candidates: tuple[InstanceClass, ...], need: Need) -> InstanceClass | None:
    return next((facts for facts in candidates if not _lacks(facts, need)), None)


def _lacks(facts: InstanceClass, need: Need) -> list[str]:
    """What the class has too little of, in words."""
    compared = (
        (need.vcpu, facts.vcpu, "vCPU"),
        (need.memory_gib, facts.memory_gib, "GiB of memory"),
        (need.connections, facts.connections_alarm, "connections below the alarm"),
    )
    return [f"{figure(needed)} {unit} of {figure(has)}" for needed, has, unit in compared if needed > has]


def _too_large(load: Load, family: str, candidates: tuple[InstanceClass, ...], who: str, need: Need) -> LoadTooLarge:
    largest = candidates[-1]
    return LoadTooLarge(
        f"Cannot size {load.orders_per_day:,} orders a day with the family {family}",
        f"{who} needs more than {largest.name}, the largest class, has: {', '.join(_lacks(largest, need))}",
        "put a cache before the reads or divide the shop over several databases; "
        "a lower peak_factor sizes for a lower peak",
    )
