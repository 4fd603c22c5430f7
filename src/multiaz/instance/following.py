"""Whether a server that follows another one really does: its history is checked, and a pause is explained.

A stream is no proof. Two servers that were promoted apart both call their timeline 2, and PostgreSQL compares the
number only; so the histories are compared once for each stream, in a thread, because the upstream may hang.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from multiaz.errors import MultiazError
from multiaz.instance.probe import Sight
from multiaz.postgres.server import Server
from multiaz.postgres.timelines import fork

log = logging.getLogger("multiaz.instance")

FOLLOWED = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
"""Parameters a standby must not have lower than its primary, and how pg_controldata calls them.
Source: PostgreSQL manual, "Hot Standby", Administrator's Overview."""
AGAIN_S = 0.5
"""Pause before an upstream that did not tell its history is asked again."""
TAKES_WRITES = "it takes writes of its own"
WAS_PRIMARY = "it was a primary and has rows of its own"
PAUSED = "replay is paused"


@dataclass(frozen=True)
class Finding:
    """What was found out about a follower; empty strings: nothing is wrong, as far as is known."""

    diverged: str = ""
    """Why it can never follow its upstream as it is."""
    paused: str = ""
    """Why it replays nothing although it may receive."""


NOTHING = Finding()
_Key = tuple[int, int | None, int | None, bool, Path]


class Following:
    """Looks after one follower. Each new stream, and each pause, is looked into once."""

    def __init__(self, server: Server, wake: Callable[[], None]) -> None:
        self._server = server
        self._wake = wake
        self._key: _Key | None = None
        self._found = NOTHING
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        self._down, self._looked_down = NOTHING, 0

    def look(self, sight: Sight | None, upstream: Path | None) -> Finding:
        """What is known now; a look that takes long goes on beside."""
        if sight is None or upstream is None or not sight.in_recovery:
            self._key, self._found = None, NOTHING
            return NOTHING if sight is None or upstream is None else Finding(diverged=TAKES_WRITES)
        if not sight.paused and self._found.paused:
            self._found = Finding(diverged=self._found.diverged)
        if not (sight.receiving or sight.paused):
            return self._found
        key = (sight.postmaster, sight.receiver, sight.timeline, sight.paused, upstream)
        looking = self._thread is not None and self._thread.is_alive()
        if key != self._key and not looking and time.monotonic() >= self._not_before:
            self._thread = threading.Thread(target=self._find, args=(key, sight), daemon=True)
            self._thread.start()
        if self._key is not None and key[0] != self._key[0]:
            return NOTHING  # what was found is of another postmaster
        return self._found

    def look_down(self, upstream: Path | None) -> Finding:
        """What is known of a server that does not run: whether it was a primary although it is to follow.

        Compared with nobody, because a diverged server that streams from the start of a segment overwrites the proof.
        """
        control = self._server.data / "global" / "pg_control"
        try:
            changed = control.stat().st_mtime_ns
            if upstream is None or changed == self._looked_down:
                return self._down if upstream is not None else NOTHING
            self._down = Finding(diverged=WAS_PRIMARY) if self._server.was_primary() else NOTHING
            self._looked_down = changed
        except (MultiazError, OSError):
            return NOTHING  # what cannot be read does not start either
        return self._down

    def _find(self, key: _Key, sight: Sight) -> None:
        try:
            found = Finding(
                diverged=(diverged(self._server, key[4], sight.timeline, sight.replayed) or "")
                if sight.receiving
                else "",
                paused=_why_paused(self._server) if sight.paused else "",
            )
        except (MultiazError, OSError, psycopg.Error) as error:
            self._not_before = time.monotonic() + AGAIN_S
            log.info("%s: its history cannot be compared now: %s", self._server.name, error)
            return
        if found != self._found:
            log.warning("%s: %s", self._server.name, found.diverged or found.paused or "follows again")
        self._key, self._found = key, found
        self._wake()


def diverged(server: Server, upstream: Path, timeline: int | None, replayed: int | None) -> str | None:
    """Why the server's history is no beginning of its upstream's; None if it is one.

    `timeline` is the one it receives; `replayed` bytes of WAL. Raises ServerFailed if the upstream does not tell.
    """
    if timeline is None:
        return None
    its = server.history_of(upstream)
    own = server.history(timeline)
    return None if own is None else fork(own, replayed, its)


def _why_paused(server: Server) -> str:
    control, short = server.control(), []
    with contextlib.suppress(psycopg.OperationalError), server.connect() as connection:
        for name, label in FOLLOWED.items():
            row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            own, its = str(row[0]) if row else "", control.get(label, "")
            if own.isdigit() and its.isdigit() and int(own) < int(its):
                short.append(f"{name} is {own} here and {its} on its source")
    return f"{PAUSED}: {', '.join(short)}: reboot the replica" if short else PAUSED
