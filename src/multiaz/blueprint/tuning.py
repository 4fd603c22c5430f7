"""The values of the two DB parameter groups, each with its reason, as data.

Tuned for a read-heavy shop: small transactions, hot tables that are updated all day, reports on the
readers. What is not listed keeps the default of RDS. Every value is valid in the families 16, 17 and 18, and every
parameter one that RDS lets a parameter group set: one that it does not fails the whole stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from multiaz.blueprint.instance_classes import (
    BYTES_PER_CONNECTION,
    MAX_CONNECTIONS_CEILING,
    PRIMARY_CLASSES,
    largest_max_connections,
    largest_max_worker_processes,
)

if TYPE_CHECKING:
    from multiaz.blueprint.settings import Settings

Group = Literal["primary", "replica"]
BOTH: tuple[Group, ...] = ("primary", "replica")
SLOT_WAL_PERCENT = 20
"""Of the volume at creation: what a replication slot may hold back before PostgreSQL gives it up."""


@dataclass(frozen=True)
class TunedParameter:
    """One value of a parameter group: static ones wait for a reboot."""

    name: str
    value: str
    apply: Literal["static", "dynamic"]
    reason: str
    groups: tuple[Group, ...] = BOTH
    percent_of_storage: int = 0
    """If not 0, the value is this share of `allocated_storage`, in MB, and `value` says so in words."""

    def value_for(self, s: Settings) -> str:
        """The value in a stack of these settings."""
        if self.percent_of_storage:
            return str(s.allocated_storage * 1024 * self.percent_of_storage // 100)
        return self.value


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
        "max_slot_wal_keep_size",
        f"{SLOT_WAL_PERCENT} % of allocated_storage",
        "dynamic",
        "MB; the default -1 lets an abandoned replication slot fill the primary's disk",
        percent_of_storage=SLOT_WAL_PERCENT,
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


def group_values(group: Group, s: Settings) -> dict[str, str]:
    """Name to value for one of the two parameter groups, in the order of the list."""
    return {p.name: p.value_for(s) for p in tuned(group)}
