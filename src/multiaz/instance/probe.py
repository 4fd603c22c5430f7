"""Looks at one server again and again, in a thread of its own, so that a hung server hangs nobody else."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from multiaz.instance.bootstrap import QUIET_OPTIONS
from multiaz.postgres.config import OWN_DATABASE
from multiaz.postgres.server import Server

log = logging.getLogger("multiaz.instance")

PERIOD_S = 0.2
RETRY_S, LONGEST_RETRY_S = 0.02, 1.0
"""Pause after a look that failed, doubled each time: a server that refuses must not log that 50 times a second."""
SAID_AFTER = 5
"""A look that fails so often one after the other is told in the log, once for each reason."""
BEAT_EVERY_S = 300.0
"""How often a primary commits something of ours, so that ReplicaLag of an idle source rises to this and no further.
Source: RDS user guide, "Read replica limitations with PostgreSQL": up to five minutes."""

_QUERY = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn,
       pg_last_wal_replay_lsn() - '0/0'::pg_lsn,
       (SELECT status FROM pg_stat_wal_receiver),
       (SELECT received_tli FROM pg_stat_wal_receiver),
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8,
       ARRAY(SELECT coalesce(flush_lsn - '0/0'::pg_lsn, 0) || ' ' || pid || ' ' || application_name
             FROM pg_stat_replication WHERE state = 'streaming'),
       ARRAY(SELECT name FROM pg_settings WHERE pending_restart ORDER BY name),
       current_setting('server_version'),
       (SELECT timeline_id FROM pg_control_checkpoint()),
       CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() - '0/0'::pg_lsn END,
       (SELECT pid FROM pg_stat_wal_receiver),
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' ELSE false END
"""


@dataclass(frozen=True)
class Sender:
    """One that streams from here."""

    name: str
    """Its application_name."""
    pid: int
    """Of the walsender: another one is another stream. One is listed for a while after its follower is gone."""
    flushed: int
    """How far it says it has flushed."""


@dataclass(frozen=True)
class Sight:
    """One successful look at a server. Positions are bytes of WAL."""

    at: float
    """time.monotonic() when the question was asked."""
    postmaster: int
    in_recovery: bool
    flushed: int | None
    replayed: int | None
    receiving: bool
    timeline: int | None
    lag_s: float | None
    senders: tuple[Sender, ...] = ()
    pending_restart: tuple[str, ...] = ()
    version: str = ""
    receiver: int | None = None
    """Pid of its WAL receiver: another one is another stream."""
    paused: bool = False
    """It is in recovery and replays nothing until told to, or until it is restarted."""
    inserted: int | None = None
    """Bytes of WAL written, flushed or not; None of a standby."""
    number: int = 0
    """Rises with each look."""

    @property
    def followers(self) -> frozenset[str]:
        """application_name of those that stream from here."""
        return frozenset(sender.name for sender in self.senders)

    def confirmed(self, name: str, but: Collection[int] = ()) -> int | None:
        """How far those of this name say they have flushed, walsenders in `but` left out; None if there is none.

        Of two of one name the one that is further counts: the older one is about to end.
        """
        return max((one.flushed for one in self.senders if one.name == name and one.pid not in but), default=None)


class Probe:
    """Keeps the latest sight of one server; `changed` is called when something other than positions changed."""

    def __init__(self, server: Server, changed: Callable[[], None]) -> None:
        self.server = server
        self.asked: float | None = None
        """time.monotonic() when the look that has no answer yet began."""
        self.beats: frozenset[int] = frozenset()
        """Transactions of `_beat`."""
        self._number = 0
        self._changed = changed
        self._latest: Sight | None = None
        self._not_before = 0.0
        self._beaten_at = time.monotonic()
        self._connection: psycopg.Connection[Any] | None = None
        self._connected_to: int | None = None
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        """The connection's socket, under a number of its own, so that another thread may end it; guarded by `_lock`."""
        self._said = ""
        self._stop = threading.Event()
        self._poke = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"probe-{server.name}", daemon=True)
        self._thread.start()

    def latest(self, *, within_s: float, postmaster: int | None) -> Sight | None:
        """The latest sight, if it is of this postmaster and not older than `within_s`."""
        sight = self._latest
        if sight is None or sight.postmaster != postmaster or time.monotonic() - sight.at > within_s:
            return None
        return sight if sight.at >= self._not_before else None

    def poke(self) -> None:
        """Look now."""
        self._poke.set()

    def forget(self) -> None:
        """Let nothing asked before now count, and look again."""
        self._not_before = time.monotonic()
        self._poke.set()

    def drop(self) -> None:
        """End the kept connection: its backend is mute. The look that waits fails, the next one has another backend."""
        with self._lock:
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """End the thread (a hung look ends with the process)."""
        self._stop.set()
        self._poke.set()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                pace = self._once()
                failures, self._said = 0, ""
            except Exception as error:  # noqa: BLE001 - a probe that ended would never see the server again
                self._close()
                pace = min(LONGEST_RETRY_S, RETRY_S * 2 ** min(failures, 10))
                failures += 1
                self._say(failures, str(error))
            self._poke.wait(pace)
            self._poke.clear()
        self._close()

    def _once(self) -> float:
        """One look, if the server takes anybody; the pause after it. Raises psycopg.Error, OSError."""
        pid = self.server.pid()
        word = None if pid is None else self.server.status_word()
        connection = self._connection
        if pid is None or word != "ready" or connection is None or connection.closed or pid != self._connected_to:
            self._close()  # a server that stops when its last client leaves must not wait for us
        if pid is None or word == "stopping":
            return PERIOD_S
        if word != "ready":
            return 0.01  # starting: the answer is near
        connection = self._connection or self._connect(pid)
        sight = self._look(connection, pid)
        self._publish(sight)
        self._beat(connection, sight)
        return PERIOD_S

    def _connect(self, pid: int) -> psycopg.Connection[Any]:
        options = f"{QUIET_OPTIONS} -c statement_timeout=5s"
        self._connection = self.server.connect(OWN_DATABASE, timeout_s=2, options=options)
        self._connected_to = pid
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(self._connection.fileno()))
        return self._connection

    def _close(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _say(self, failures: int, error: str) -> None:
        words = error.strip().splitlines()[-1] if error.strip() else "it is not known why"
        if failures >= SAID_AFTER and words != self._said:
            self._said = words
            log.warning("%s cannot be looked at: %s", self.server.name, words)

    def _beat(self, connection: psycopg.Connection[Any], sight: Sight) -> None:
        """A commit record now and then. A transaction that wrote nothing waits for no standby and for no flush."""
        if not sight.in_recovery and time.monotonic() - self._beaten_at >= BEAT_EVERY_S:
            self._beaten_at = time.monotonic()
            row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
            assert row is not None
            self.beats |= {int(row[0])}

    def _look(self, connection: psycopg.Connection[Any], pid: int) -> Sight:
        asked = self.asked = time.monotonic()
        try:
            row = connection.execute(_QUERY, prepare=True).fetchone()
        finally:
            self.asked = None
        assert row is not None
        self._number += 1
        return Sight(
            at=asked, postmaster=pid, in_recovery=row[0],
            flushed=None if row[1] is None else int(row[1]), replayed=None if row[2] is None else int(row[2]),
            receiving=row[3] == "streaming", timeline=row[4] if row[0] else row[9], lag_s=row[5],
            senders=tuple(map(_sender, row[6])), pending_restart=tuple(row[7]), version=row[8],
            inserted=None if row[10] is None else int(row[10]), number=self._number,
            receiver=row[11], paused=row[12],
        )  # fmt: skip

    def _publish(self, sight: Sight) -> None:
        before, self._latest = self._latest, sight
        if before is None or _shape(before) != _shape(sight):
            self._changed()


def _sender(said: str) -> Sender:
    position, pid, name = said.split(" ", 2)
    return Sender(name, int(pid), int(position))


def _shape(sight: Sight) -> tuple[object, ...]:
    return (
        sight.postmaster, sight.in_recovery, sight.receiving, sight.receiver, sight.paused, sight.followers,
        sight.pending_restart,
    )  # fmt: skip
