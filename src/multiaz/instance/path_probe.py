"""Goes the server's part of a client's way, again and again: by its socket a new connection through the postmaster, a
backend, a flushed commit. The endpoint's part has a question of its own (`endpoint_probe.py`).

What it costs: one connection every `PACE_S` (about 3 ms of CPU; three log lines with `log_connections`), and a flushed
record only if nobody else has flushed anything for `COMMIT_EVERY_S`. Measured on 17.10: 58 bytes of WAL, and 50 more by
the background writer because of it, so an idle primary writes about 1 MB a day.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from typing import Any

import psycopg

from multiaz.instance.bootstrap import QUIET_OPTIONS
from multiaz.instance.progress import Question
from multiaz.postgres.config import OWN_DATABASE
from multiaz.postgres.server import Server

PACE_S = 2.0
"""Between two probes while nothing is suspicious; a suspicion (`poke`) asks at once."""
COMMIT_EVERY_S = 10.0
"""A primary on which nothing is flushed for so long is made to flush something."""
RETRY_S = 0.05
UNHEARD = ("Resource temporarily unavailable", "No such file or directory", "Connection refused")
"""What connect(2) says where nobody answers: the queue of connections that nobody takes is full (EAGAIN); the socket's
file is gone, or nobody listens there. A server that runs is then out of every client's reach."""

log = logging.getLogger("multiaz.instance")
_OPTIONS = f"{QUIET_OPTIONS} -c synchronous_commit=local"
_numbers = itertools.count(1)


class PathProbe:
    """Asks one server in a thread of its own; `pending` is the question that has no answer yet."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pending: Question | None = None
        self.commit_due = False
        """Set by the observer: nothing has been flushed for `COMMIT_EVERY_S`."""
        self.answered_at = 0.0
        """time.monotonic() when a question was answered last, by a connection that was made for it."""
        self.unheard = ""
        """Why the question that waits was not even heard; empty: nothing is known of that."""
        self._refused, self._times_refused = "", 0
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
            try:
                pid = self.server.pid()
                answered = pid is None or self.server.status_word() != "ready" or self._ask(pid)
                if answered:
                    self.pending = None
                pace = PACE_S if answered else RETRY_S
            except Exception as error:  # noqa: BLE001 - a probe that ended would find no hang
                self.pending, pace = None, PACE_S
                self._say(f"it cannot be asked: {error}")
            self._poke.wait(pace)
            self._poke.clear()

    def _ask(self, pid: int) -> bool:
        """Ask once; whether there was an answer. "No" is one too: it was the server that said so."""
        kept = self.pending
        if kept is None or kept.postmaster != pid:
            kept = Question(next(_numbers), pid, asked_boot_s=time.clock_gettime(time.CLOCK_BOOTTIME))
        commit, self._suspicious = self._suspicious or self.commit_due, False
        self.pending = Question(kept.number, pid, asked_boot_s=kept.asked_boot_s)
        try:
            with self.server.connect(OWN_DATABASE, options=_OPTIONS) as connection:
                self.pending = Question(kept.number, pid, connection.info.backend_pid, kept.asked_boot_s)
                connection.execute(_commit(connection) if commit else "SELECT 1")
                self.pending = None  # before the connection is closed
        except psycopg.OperationalError as error:
            self._suspicious = commit
            self.unheard = unheard(error)
            if self.unheard:
                return False
            self._say(_words(error))
            return True
        except psycopg.Error as error:
            self._say(_words(error))
        else:
            self.answered_at, self._refused, self._times_refused = time.monotonic(), "", 0
        self.unheard = ""
        self.commit_due = self.commit_due and not commit
        return True

    def _say(self, refused: str) -> None:
        """Tell, once for each reason that lasts, that the server takes no client and says why: that is no hang.

        One that cannot fork, say, answers those it has; its standby would have the same machine and user.
        """
        self._times_refused = self._times_refused + 1 if refused == self._refused else 1
        self._refused = refused
        if self._times_refused == 2:  # once happens while a server is made, or ends
            log.warning("%s takes no new client: %s", self.server.name, refused)


def _commit(connection: psycopg.Connection[Any]) -> str:
    """SQL that makes a primary flush a record, waiting for no standby; on a standby it does nothing.

    From 17 on without a transaction id and without a commit record, so that ReplicaLag of an idle source still rises
    as on RDS. Source: PostgreSQL manual, "Replication Management Functions", pg_logical_emit_message.
    """
    emit = "false, 'multiaz', '', true" if connection.info.server_version >= 170000 else "true, 'multiaz', ''"
    return f"SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_logical_emit_message({emit}) END"


def unheard(error: psycopg.OperationalError) -> str:
    """Why nobody answered; empty if the server did, were it with a refusal.

    The server's own words may end like the kernel's ("could not fork new process for connection: Resource temporarily
    unavailable"), so the kernel's must follow libpq's "failed: " at once.
    """
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return "the connection is not made in time"
    return next((words for words in UNHEARD if f"failed: {words}" in str(error)), "")


def _words(error: psycopg.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].partition(" failed: ")[2] or lines[0] if lines else type(error).__name__
