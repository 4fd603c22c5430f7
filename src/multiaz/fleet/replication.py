"""What the databases tell of replication, and what it means. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from multiaz.errors import MultiazError

Sync = str
"""sync_state of pg_stat_replication: "sync", "quorum", "potential", "async"; or "none": no standby streams."""


class SqlUnavailable(MultiazError):
    """A database could not be asked."""

    retryable = True


@dataclass(frozen=True)
class StandbySeen:
    """The best standby the primary streams to."""

    sync: Sync
    lag_bytes: int | None
    """WAL flushed here and not there yet; None without a standby."""


@dataclass(frozen=True)
class ReplicaSeen:
    """How far a read replica follows."""

    streaming: bool
    lag_s: float | None
    """0 when all that came was replayed and the stream is up; None: never replayed a commit."""


def replica_seen(receiver: str | None, caught_up: bool | None, behind_s: float | None) -> ReplicaSeen:
    """What the columns of REPLICA_QUERY mean.

    An idle source commits nothing, so the age of the last replayed commit grows although nothing is
    missing: with the stream up and everything replayed the lag is 0.
    """
    streaming = receiver == "streaming"
    if streaming and caught_up:
        return ReplicaSeen(streaming=True, lag_s=0.0)
    return ReplicaSeen(streaming=streaming, lag_s=None if behind_s is None else max(behind_s, 0.0))
