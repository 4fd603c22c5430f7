"""Waits for a promotion, and says when it goes on no more: by what is replayed, and by the process that replays it."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass, replace

import psycopg
from psycopg import pq

from multiaz.errors import NoProgress
from multiaz.postgres.config import OWN_DATABASE
from multiaz.postgres.pulse import Pulse, pulses_of_server, title_of
from multiaz.postgres.server import Server

STOPPED_AFTER_S = 1.0
"""A startup process that has been stopped (SIGSTOP) for so long promotes nothing."""
PAUSED_AFTER_S = 3.0
"""A promotion ends a pause within a second, but for one because of parameters that are lower than the primary's:
"promotion is not possible because of insufficient parameter settings" (PostgreSQL, xlogrecovery.c)."""
ASLEEP_AFTER_S = 10.0
"""So long nothing is replayed and the startup process does not run at all."""
PATIENCE_S = 60.0
"""So long nothing is replayed though it runs."""
LONGEST_GAP_S = 0.3
"""The most that counts between two looks: what passes while we do not run ourselves is nobody's fault."""
PULSE_EVERY_S = 0.1

_QUERY = b"""
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(),
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' ELSE false END
"""


@dataclass(frozen=True)
class Promoting:
    """What has been seen of a promotion; seconds of one clock. Pure."""

    replayed: str = ""
    replayed_at: float = 0.0
    """When that position was first seen."""
    ran: tuple[int, int] = (0, 0)
    """What the startup process has had of a CPU, and waited for one."""
    ran_at: float = 0.0
    stopped_at: float | None = None
    """Since when the startup process has been stopped."""
    paused_at: float | None = None
    """Since when the replay has been paused."""

    def answered(self, now: float, replayed: str, *, paused: bool) -> Promoting:
        """The server said how far it has replayed."""
        moved_at = self.replayed_at if replayed == self.replayed else now
        since = self.paused_at if self.paused_at is not None else now
        return replace(self, replayed=replayed, replayed_at=moved_at, paused_at=since if paused else None)

    def felt(self, now: float, startup: Pulse | None) -> Promoting:
        """The startup process was looked at; None: there is none, or none any more."""
        if startup is None:
            return replace(self, stopped_at=None)
        ran = (startup.ran_ns, startup.waited_ns)
        since = self.stopped_at if self.stopped_at is not None else now
        return replace(
            self, ran=ran, ran_at=self.ran_at if ran == self.ran else now,
            stopped_at=since if startup.state in "Tt" else None,
        )  # fmt: skip

    def standstill(self, now: float) -> str | None:
        """Why it will not go on; None: it goes on, or may."""
        if self.stopped_at is not None and now - self.stopped_at >= STOPPED_AFTER_S:
            return "its startup process is stopped"
        if self.paused_at is not None and now - self.paused_at >= PAUSED_AFTER_S:
            return "its replay is paused, because its parameters are lower than its primary's were"
        quiet_s = now - self.replayed_at
        if quiet_s >= ASLEEP_AFTER_S and now - self.ran_at >= ASLEEP_AFTER_S:
            return f"its replay stands at {self.replayed or 'an unknown position'} and its startup process sleeps"
        return f"its replay stands at {self.replayed}" if quiet_s >= PATIENCE_S else None


def wait_until_primary(server: Server) -> None:
    """Wait until a promoted server has left recovery and takes writes.

    Raises NoProgress if it will not do so as it runs now (`Promoting`), also where it does not answer at all:
    end it, and start it again.
    """
    seen, now, last, felt_at = Promoting(), 0.0, time.monotonic(), -PULSE_EVERY_S
    with server.connect(OWN_DATABASE) as connection:
        asker = _Asker(connection.pgconn)
        while True:
            row = asker.answer(0.05)
            now += min(LONGEST_GAP_S, time.monotonic() - last)
            last = time.monotonic()
            if row is not None:
                if row[0] == b"f":
                    return
                seen = seen.answered(now, row[1].decode(), paused=row[2] == b"t")
            if now - felt_at >= PULSE_EVERY_S:
                felt_at, seen = now, seen.felt(now, _startup(server))
            why = seen.standstill(now)
            if why is not None:
                raise NoProgress(
                    f"The promotion of {server.name} makes no progress", why, "it is ended and started again"
                )
            time.sleep(0.002)


class _Asker:
    """Asks on one connection, and waits for an answer no longer than it is told to."""

    def __init__(self, raw: pq.abc.PGconn) -> None:
        self._raw = raw
        self._asked = False
        self._row: list[bytes] | None = None

    def answer(self, timeout_s: float) -> list[bytes] | None:
        """The row, if it comes in time; asked for again only after that. Raises psycopg.OperationalError."""
        if not self._asked:
            self._raw.send_query(_QUERY)
            self._asked = True
        if select.select([self._raw.socket], [], [], timeout_s)[0]:
            self._raw.consume_input()
            while not self._raw.is_busy():
                result = self._raw.get_result()
                if result is None:
                    self._asked, row, self._row = False, self._row, None
                    return row
                if result.status != pq.ExecStatus.TUPLES_OK:
                    raise psycopg.OperationalError(result.error_message.decode(errors="replace").strip())
                self._row = [result.get_value(0, column) or b"" for column in range(3)]
        return None


def _startup(server: Server) -> Pulse | None:
    pid = server.pid()
    pulses = {} if pid is None else pulses_of_server(pid, server.data)
    return next((pulse for pid, pulse in pulses.items() if title_of(pid).startswith("its startup")), None)
