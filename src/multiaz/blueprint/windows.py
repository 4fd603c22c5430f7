"""Backup and maintenance windows of RDS: their form, their length, and that they do not overlap."""

from __future__ import annotations

import re

DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
MINIMUM_MINUTES = 30
"""Source: Amazon RDS API, CreateDBInstance, PreferredBackupWindow and PreferredMaintenanceWindow."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TIME = r"([01]\d|2[0-3]):([0-5]\d)"
_DAY = f"({'|'.join(DAYS)})"
BACKUP_WINDOW_PATTERN = f"{_TIME}-{_TIME}"
MAINTENANCE_WINDOW_PATTERN = f"{_DAY}:{_TIME}-{_DAY}:{_TIME}"


def parse_backup_window(text: str) -> tuple[int, int]:
    """Minute of the day it starts, and its length in minutes. Raises ValueError."""
    match = re.fullmatch(BACKUP_WINDOW_PATTERN, text)
    if match is None:
        raise ValueError("must look like 03:00-04:00 (UTC)")
    start = int(match[1]) * 60 + int(match[2])
    end = int(match[3]) * 60 + int(match[4])
    return start, _length(start, end, DAY_MINUTES)


def parse_maintenance_window(text: str) -> tuple[int, int]:
    """Minute of the week (Monday 00:00 is 0) it starts, and its length in minutes. Raises ValueError."""
    match = re.fullmatch(MAINTENANCE_WINDOW_PATTERN, text, re.IGNORECASE)
    if match is None:
        raise ValueError("must look like sun:04:00-sun:05:00 (UTC)")
    start = DAYS.index(match[1].lower()) * DAY_MINUTES + int(match[2]) * 60 + int(match[3])
    end = DAYS.index(match[4].lower()) * DAY_MINUTES + int(match[5]) * 60 + int(match[6])
    length = _length(start, end, WEEK_MINUTES)
    if length > DAY_MINUTES:
        raise ValueError("must be shorter than 24 hours")
    return start, length


def windows_overlap(backup: str, maintenance: str) -> bool:
    """True if the daily backup falls into the weekly maintenance."""
    backup_start, backup_length = parse_backup_window(backup)
    start, length = parse_maintenance_window(maintenance)
    # The week is a ring: also the day before and the days after.
    begins = [day * DAY_MINUTES + backup_start for day in range(-1, 9)]
    return any(begin < start + length and start < begin + backup_length for begin in begins)


def _length(start: int, end: int, ring: int) -> int:
    length = (end - start) % ring
    if length < MINIMUM_MINUTES:
        raise ValueError(f"must be at least {MINIMUM_MINUTES} minutes long")
    return length
