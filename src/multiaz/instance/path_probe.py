"""Goes the way a client goes, again and again: a new connection through the postmaster, a backend, a flushed commit.

What it costs: one connection every `PACE_S` (about 3 ms of CPU; three log lines with `log_connections`), and a flushed
record only if nobody else has flushed anything for `COMMIT_EVERY_S`. Measured on 17.10: 58 bytes of WAL, and 50 more by
the background writer because of it, so an idle primary writes about 1 MB a day.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import psycopg

from multiaz.instance.progress import Question
from multiaz.postgres.config import OWN_DATABASE
from multiaz.postgres.server import Server

PACE_S = 2.0
"""Between two probes while nothing is suspicious; a suspicion (`poke`) asks at once."""
COMMIT_EVERY_S = 10.0
"""A primary on which nothing is flushed for so long is made to flush something."""
RETRY_S = 0.05

_numbers = itertools.count(1)


class PathProbe:
    """Asks one server in a thread of its own; `pending` is the question that has no answer yet."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pending: Question | None = None
        self.commit_due = False
        """Set by the observer: nothing has been flushed for `COMMIT_EVERY_S`."""
        self._suspicious = False
        self._stop = threading.Event()
        self._poke = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"path-{server.name}", daemon=True)
        self._thread.start()

    @property
    def thread_id(self) -> int | None:
        """Kernel id of the thread that asks."""
        return self._thread.native_id

    def poke(self) -> None:
        """Something is suspicious: ask now, with a commit."""
        if self.pending is None:
            self._suspicious = True
            self._poke.set()

    def stop(self) -> None:
        """End the thread (a question that hangs ends with the process)."""
        self._stop.set()
        self._poke.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            pid = self.server.pid()
            answered = pid is None or self.server.status_word() != "ready" or self._ask(pid)
            if answered:
                self.pending = None
            self._poke.wait(PACE_S if answered else RETRY_S)
            self._poke.clear()

    def _ask(self, pid: int) -> bool:
        """Ask once; whether there was an answer. "No" is one too: it was the server that said so."""
        kept = self.pending
        if kept is None or kept.postmaster != pid:
            kept = Question(next(_numbers), pid, asked_boot_s=time.clock_gettime(time.CLOCK_BOOTTIME))
        commit, self._suspicious = self._suspicious or self.commit_due, False
        self.pending = Question(kept.number, pid, asked_boot_s=kept.asked_boot_s)
        try:
            with self.server.connect(OWN_DATABASE, options="-c synchronous_commit=local") as connection:
                self.pending = Question(kept.number, pid, connection.info.backend_pid, kept.asked_boot_s)
                connection.execute(_commit(connection) if commit else "SELECT 1")
                self.pending = None  # before the connection is closed
        except psycopg.OperationalError as error:
            self._suspicious = commit
            return not _unheard(error)
        except psycopg.Error:
            pass
        self.commit_due = self.commit_due and not commit
        return True


def _commit(connection: psycopg.Connection[Any]) -> str:
    """SQL that makes a primary flush a record, waiting for no standby; on a standby it does nothing.

    From 17 on without a transaction id and without a commit record, so that ReplicaLag of an idle source still rises
    as on RDS. Source: PostgreSQL manual, "Replication Management Functions", pg_logical_emit_message.
    """
    emit = "false, 'multiaz', '', true" if connection.info.server_version >= 170000 else "true, 'multiaz', ''"
    return f"SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_logical_emit_message({emit}) END"


def _unheard(error: psycopg.OperationalError) -> bool:
    """Nobody answered: libpq's timeout, or the queue of connections that nobody takes is full (EAGAIN)."""
    return isinstance(error, psycopg.errors.ConnectionTimeout) or "Resource temporarily unavailable" in str(error)
