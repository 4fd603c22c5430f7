"""When a primary that nobody could take over from was started again in place: the supervisor keeps no record of that.

So its log is asked for the moment it decided, and PostgreSQL's `postmaster.pid` for the moment it took clients again.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

LATEST_BYTES = 65536
"""Of the log: a restart that was just awaited is in its last lines."""
STARTED = re.compile(r"^(\S+Z) INFO \S+ \[recover\] (.* is being started)$", re.MULTILINE)
STATUS_LINE, READY = 7, "ready"
"""Source: PostgreSQL's src/include/utils/pidfile.h, LOCK_FILE_LINE_PM_STATUS and PM_STATUS_READY: the status is
the last that is written to the file until the server stops."""


def latest(log: Path, data: Path) -> dict[str, Any] | None:
    """The latest restart as `last_failover` is told: why, and the unix times `detected` and `restarted`.

    None if there was none, or it is not over. `log` is instance.log of a supervisor, `data` the primary's directory.
    """
    try:
        with log.open("rb") as opened:
            opened.seek(max(0, log.stat().st_size - LATEST_BYTES))
            decided = decision(opened.read().decode(errors="replace"))
        pid_file = data / "postmaster.pid"
        written = pid_file.stat().st_mtime
        ready = is_ready(pid_file.read_text())
    except OSError:
        return None
    if decided is None or not ready or written < decided[0]:
        return None
    at, why = decided
    return {"cause": why, "detected": at, "restarted": written}


def decision(log: str) -> tuple[float, str] | None:
    """Unix time and reason of the latest restart a supervisor's log tells of."""
    found = STARTED.findall(log)
    if not found:
        return None
    when, why = found[-1]
    return datetime.fromisoformat(when).timestamp(), why


def is_ready(pid_file: str) -> bool:
    """PostgreSQL says there that it takes clients."""
    lines = pid_file.splitlines()
    return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == READY
