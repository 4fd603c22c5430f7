"""What sizing assumes of a shop and of PostgreSQL: every figure with its source, or marked as an assumption.

Measured figures beat these: after a week in production, compare them with the dashboard and with
pg_stat_statements, and change the load or the class.
"""

from __future__ import annotations

from dataclasses import dataclass

from multiaz.blueprint.instance_classes import BYTES_PER_CONNECTION, FREEABLE_MEMORY_ALARM_PERCENT
from multiaz.blueprint.tuning import SLOT_WAL_PERCENT


@dataclass(frozen=True)
class Assumption:
    """One figure sizing computes with."""

    name: str
    value: float
    unit: str
    source: str


INTERACTIONS_PER_ORDER = Assumption(
    "page interactions for each order", 145, "", "TPC-W, browsing mix; a conversion of 2.2 % agrees"
)
QUERIES_PER_INTERACTION = Assumption("queries for each page interaction", 4, "", "assumption: the middle of 3 to 5")
WRITES_PER_ORDER = Assumption(
    "writes an order takes at least", 12, "", "assumption: order, three lines, their stock, payment, address, states"
)
FRESH_READS = Assumption(
    "reads that must see the visitor's own writes",
    0.2,
    "of all reads",
    "assumption: cart, checkout and account stay on the primary, replicas lag",
)

READ_CPU_MS = Assumption(
    "processor time of a read", 0.5, "ms", "assumption: ten lookups by primary key, each 0.03 to 0.05 ms in pgbench -S"
)
WRITE_CPU_MS = Assumption(
    "processor time of a write", 2, "ms", "assumption: four reads; indexes, WAL, constraints, later vacuum"
)
REPLAY_CPU_MS = Assumption(
    "processor time of replaying a write", 0.5, "ms", "assumption: no planning, no constraints, no sending"
)
BUSY_AT_PEAK = Assumption(
    "share of the processors used in the peak hour", 0.5, "", "assumption: above it queues grow faster than load"
)
BUSY_WITH_ONE_LESS = Assumption(
    "the same when one replica is lost", 0.8, "", "assumption: slower, but below the CPU alarm at 90 %"
)

BASE_GIB = Assumption(
    "data that does not grow with orders", 10, "GiB", "assumption: catalogue, customers, sessions, with their indexes"
)
BYTES_PER_ORDER = Assumption(
    "data an order leaves", 3072, "bytes", "assumption: a dozen rows of 170 bytes, half as much again of indexes"
)
GROWTH_PER_YEAR = Assumption("growth of orders in a year", 0.2, "", "assumption")
SLOT_WAL_SHARE = Assumption(
    "share of the volume for WAL a replication slot holds back",
    SLOT_WAL_PERCENT / 100,
    "",
    "max_slot_wal_keep_size in the parameter group",
)
FREE_STORAGE = Assumption("storage kept free", 0.1, "", "the alarm rings below it, and autoscaling begins")
MAX_STORAGE_FACTOR = Assumption(
    "what autoscaling may reach, over the allocated storage",
    10,
    "",
    "assumption: stops a runaway, not a growing shop",
)

HOT_BASE = Assumption("share of that data in use", 0.2, "", "assumption: few products get most of the views")
HOT_DAYS = Assumption("days an order stays in use", 14, "days", "assumption: until delivered and seldom looked at")
SYSTEM_GIB = Assumption("memory of the operating system and RDS's agents", 1, "GiB", "assumption")
FREE_MEMORY = Assumption(
    "memory kept free", FREEABLE_MEMORY_ALARM_PERCENT / 100, "", "the alarm on FreeableMemory rings below it"
)
CONNECTION_BYTES = Assumption(
    "memory of a connection", BYTES_PER_CONNECTION, "bytes", "divisor of RDS's formula for max_connections"
)

HELD_MS = Assumption(
    "how long a query holds its connection", 10, "ms", "assumption: its own time, network, the application between"
)
POOL_USE = Assumption("share of a pool in use at peak", 0.5, "", "assumption: bursts within the second")
OTHER_CONNECTIONS = Assumption(
    "connections that are not the shop's", 20, "", "assumption: people, monitoring, rotation, reports"
)

IOS_PER_WRITE = Assumption(
    "disk operations of a write", 3, "", "assumption: WAL, and its share of pages written by checkpoints"
)
IOS_PER_READ = Assumption(
    "disk operations of a read", 0.1, "", "assumption: one read in twenty misses memory, by two pages"
)

ASSUMPTIONS: tuple[Assumption, ...] = (
    *(INTERACTIONS_PER_ORDER, QUERIES_PER_INTERACTION, WRITES_PER_ORDER, FRESH_READS),
    *(READ_CPU_MS, WRITE_CPU_MS, REPLAY_CPU_MS, BUSY_AT_PEAK, BUSY_WITH_ONE_LESS),
    *(HELD_MS, POOL_USE, OTHER_CONNECTIONS),
    *(HOT_BASE, HOT_DAYS, SYSTEM_GIB, FREE_MEMORY, CONNECTION_BYTES),
    *(BASE_GIB, BYTES_PER_ORDER, GROWTH_PER_YEAR, SLOT_WAL_SHARE, FREE_STORAGE, MAX_STORAGE_FACTOR),
    *(IOS_PER_WRITE, IOS_PER_READ),
)
"""All of them, in the order in which the arithmetic uses them."""
