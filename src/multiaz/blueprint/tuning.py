"""The values of the two DB parameter groups, each with its reason, as data.

Tuned for a read-heavy shop: small transactions, hot tables that are updated all day, reports on the
readers. What is not listed keeps the default of RDS. A value is valid in every family from `since` on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from multiaz.blueprint.engines import OLDEST_FAMILY
from multiaz.blueprint.instance_classes import (
    BYTES_PER_CONNECTION,
    MAX_CONNECTIONS_CEILING,
    PRIMARY_CLASSES,
    largest_max_connections,
    largest_max_worker_processes,
)

Group = Literal["primary", "replica"]
BOTH: tuple[Group, ...] = ("primary", "replica")


@dataclass(frozen=True)
class TunedParameter:
    """One value of a parameter group: static ones wait for a reboot."""

    name: str
    value: str
    apply: Literal["static", "dynamic"]
    reason: str
    groups: tuple[Group, ...] = BOTH
    since: int = OLDEST_FAMILY
    """The first major version that has it; older families leave it out."""


TUNED_PARAMETERS: tuple[TunedParameter, ...] = (
    # Memory and connections
    TunedParameter(
        "max_connections",
        f"LEAST({{DBInstanceClassMemory/{BYTES_PER_CONNECTION}}},{MAX_CONNECTIONS_CEILING})",
        "static",
        "RDS's own formula, stated so that the connection alarm and the limit cannot drift apart",
        ("primary",),
    ),
    TunedParameter(
        "max_connections",
        str(largest_max_connections(PRIMARY_CLASSES)),
        "static",
        "a hot standby must allow at least as many connections as its primary; this is the most any "
        "class offered for the primary can have, so neither a smaller replica nor a larger primary stops replay",
        ("replica",),
    ),
    TunedParameter(
        "max_worker_processes",
        str(largest_max_worker_processes(PRIMARY_CLASSES)),
        "static",
        "must not be below the primary's either; the most any class offered for the primary has. On the smallest "
        "replica these two cost 220 MB of shared memory, nearly all of it for the connections",
        ("replica",),
    ),
    TunedParameter(
        "shared_buffers",
        "{DBInstanceClassMemory/32768}",
        "static",
        "RDS's own formula: a quarter of the memory, in pages of 8 kB",
    ),
    TunedParameter("work_mem", "16384", "dynamic", "kB; catalogue sorts and joins stay in memory without a disk spill"),
    # Planner
    TunedParameter("random_page_cost", "1.1", "dynamic", "gp3 reads at random almost as fast as in sequence"),
    TunedParameter(
        "effective_io_concurrency", "200", "dynamic", "gp3 serves many reads at once: prefetch for bitmap scans"
    ),
    # Vacuum
    TunedParameter(
        "autovacuum_vacuum_scale_factor",
        "0.05",
        "dynamic",
        "stock and order tables change all day: vacuum after 5 % instead of 20 %",
    ),
    TunedParameter(
        "autovacuum_analyze_scale_factor",
        "0.02",
        "dynamic",
        "fresh statistics for the planner after 2 % of changes",
    ),
    TunedParameter("log_autovacuum_min_duration", "1000", "dynamic", "ms; shows which tables keep vacuum busy"),
    TunedParameter(
        "rds.force_autovacuum_logging_level",
        "warning",
        "dynamic",
        "RDS drops autovacuum's log lines unless this is set",
    ),
    # What the person on call needs
    TunedParameter(
        "shared_preload_libraries",
        "pg_stat_statements,auto_explain",
        "static",
        "per-statement figures, and plans of slow statements",
    ),
    TunedParameter("track_activity_query_size", "4096", "static", "bytes; the shop's statements are longer than 1 kB"),
    TunedParameter("track_io_timing", "1", "dynamic", "time spent reading and writing, per statement"),
    TunedParameter("log_min_duration_statement", "1000", "dynamic", "ms; a statement this slow is a finding"),
    TunedParameter(
        "auto_explain.log_min_duration", "2000", "dynamic", "ms; the plan of a statement this slow is logged"
    ),
    TunedParameter("log_lock_waits", "1", "dynamic", "who waits for whom, once it lasts a second"),
    TunedParameter("log_temp_files", "10240", "dynamic", "kB; sorts that no longer fit work_mem"),
    # Nothing may hold the shop up
    TunedParameter(
        "idle_in_transaction_session_timeout",
        "60000",
        "dynamic",
        "ms; a forgotten transaction holds locks and stops vacuum",
    ),
    TunedParameter("statement_timeout", "60000", "dynamic", "ms; a backstop: set a shorter one per role (ALTER ROLE)"),
    TunedParameter(
        "transaction_timeout",
        "600000",
        "dynamic",
        "ms; many short statements in one transaction hold locks as well: a backstop, set another per role",
        ("primary",),
        since=17,
    ),
    TunedParameter(
        "idle_replication_slot_timeout",
        "86400",
        "dynamic",
        "s; a slot nobody has read for a day is given up before it fills the disk",
        ("primary",),
        since=18,
    ),
    TunedParameter(
        "max_slot_wal_keep_size",
        "20480",
        "dynamic",
        "MB; the default -1 lets an abandoned replication slot fill the primary's disk",
    ),
    # Security
    TunedParameter("rds.force_ssl", "1", "dynamic", "no connection without TLS"),
    # Readers
    TunedParameter(
        "hot_standby_feedback",
        "1",
        "dynamic",
        "readers' queries are not cancelled by vacuum; the price is some bloat on the primary",
        ("replica",),
    ),
    TunedParameter(
        "max_standby_streaming_delay",
        "30000",
        "dynamic",
        "ms; a long report delays replay this much at most, then it is cancelled",
        ("replica",),
    ),
)


def tuned(group: Group) -> list[TunedParameter]:
    """The values of one of the two parameter groups, in the order of the list."""
    return [p for p in TUNED_PARAMETERS if group in p.groups]


def group_values(group: Group, major: int) -> dict[str, str]:
    """Name to value in the family of this major version."""
    return {p.name: p.value for p in tuned(group) if p.since <= major}
