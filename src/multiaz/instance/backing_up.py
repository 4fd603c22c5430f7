"""When an automated backup is due, and which are no longer needed. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from multiaz.instance.records import BackupPlan, BackupRecord, BaseBackup

DAY_S = 86_400.0
RACE_S = 1.0
"""A commit takes its time before it writes its record: one of a second ago is surely written."""


class Due(StrEnum):
    """What is to be done now."""

    BASE = "base backup"
    POINT = "archive point"
    """The WAL of by now is archived, so that this moment can be restored to."""


def due(plan: BackupPlan, record: BackupRecord, now: float, pointed_at: float) -> Due | None:
    """What is due `now` (Unix time), if the last archive point was begun at `pointed_at`.

    A base backup at once if there is none, then daily: as soon as the window has opened, also if that was while nothing
    ran here. RDS would let such a day pass; its machines do not sleep.
    """
    if not record.bases or record.bases[-1].began_at < last_opening(plan.window, now):
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
