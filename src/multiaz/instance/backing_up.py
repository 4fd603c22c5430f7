"""When an automated backup is due, and which are no longer needed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from multiaz.instance.records import BackupPlan, BackupRecord, BaseBackup

DAY_S = 86_400.0
RACE_S = 1.0
"""A commit takes its time before it writes its record: one of a second ago is surely written."""


MOST_TRANSACTIONS = 1000
"""More than so many since the last archive point are not looked at one by one."""


@dataclass(frozen=True)
class Snapshot:
    """Which transactions had ended. Source: PostgreSQL manual, "Transaction ID and Snapshot Information Functions"."""

    end: int
    """All from this one on had not."""
    running: frozenset[int]
    """Nor had these before it."""

    @staticmethod
    def parse(text: str) -> Snapshot:
        """From pg_current_snapshot()::text: "10:20:10,14"."""
        _, end, running = text.split(":")
        return Snapshot(int(end), frozenset(int(one) for one in running.split(",") if one))


def quiet(before: Snapshot, after: Snapshot, ours: frozenset[int]) -> bool:
    """No transaction but `ours` ended between the two snapshots: nothing was committed that is worth archiving."""
    if not 0 <= after.end - before.end <= MOST_TRANSACTIONS:
        return False
    ended = (before.running - after.running) | (set(range(before.end, after.end)) - after.running)
    return ended <= ours


class Due(StrEnum):
    """What is to be done now."""

    BASE = "base backup"
    POINT = "archive point"
    """The WAL of by now is archived, so that this moment can be restored to."""


def due(plan: BackupPlan, record: BackupRecord, now: float, pointed_at: float) -> Due | None:
    """What is due `now` (Unix time), if the last archive point was begun at `pointed_at`.

    A base backup at once if there is none, then daily: as soon as the window has opened, also if that was while nothing
    ran here. RDS would let such a day pass; its machines do not sleep. One from the future (a clock put back) is none.
    """
    if not record.bases or not last_opening(plan.window, now) <= record.bases[-1].began_at <= now:
        return Due.BASE
    return Due.POINT if now - pointed_at >= plan.archive_every_s or now < pointed_at else None


def last_opening(window: str, now: float) -> float:
    """Unix time at which the daily window ("hh:mm-hh:mm", UTC) last opened."""
    hours, minutes = (int(word) for word in window.partition("-")[0].split(":"))
    today = datetime.fromtimestamp(now, UTC).replace(hour=hours, minute=minutes, second=0, microsecond=0)
    return (today if today.timestamp() <= now else today - timedelta(days=1)).timestamp()


def kept(bases: tuple[BaseBackup, ...], retention_days: int, now: float) -> tuple[BaseBackup, ...]:
    """The base backups that restoring to any moment of the retention needs: those within it, and the last before it."""
    before = [base for base in bases if base.ended_at <= now - retention_days * DAY_S]
    return bases[max(0, len(before) - 1) :]


def restorable_until(begun_at: float, bases: tuple[BaseBackup, ...]) -> float | None:
    """Up to when everything that was committed is in an archive point that was begun at `begun_at`."""
    return max(begun_at - RACE_S, bases[-1].ended_at) if bases else None
