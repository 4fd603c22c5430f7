"""The section "promote": a read replica that follows its source under load becomes an instance of its own.

What counts is from the request until the replica's endpoint acknowledges a row. A client tries all the while, from
before the request on, when it is told each time that the server is read-only.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Protocol

import psycopg

from ha.figures import longest_gap, merged
from ha.trials import ROWS_AFTER, ROWS_BEFORE, WELL_S, NotWell, wait_until
from ha.writers import INSERT, Load, Writers

PAUSE_S = 0.01
"""Between an answer and the next try."""
FOLLOWS_S = 120.0
"""How long a new replica may take to have what its source has."""


class Promotable(Protocol):
    """Where replicas are made and promoted."""

    target: dict[str, Any]

    def wait_well(self, within_s: float) -> None: ...
    def make_replica(self, identifier: str, within_s: float) -> dict[str, Any]: ...
    def promote(self, identifier: str) -> None: ...
    def available(self, identifier: str) -> bool: ...
    def remove(self, identifier: str, within_s: float) -> None: ...


class Try:
    """A client that tries to write one row until it is acknowledged. Times are time.monotonic() seconds."""

    def __init__(self, target: dict[str, Any], trial: int) -> None:
        self._target, self._trial = target, trial
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.refused = 0
        """Answers that the server is read-only."""
        self.broken = 0
        """Connections that ended or were not made."""
        self.acknowledged_at: float | None = None

    def __enter__(self) -> Try:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def written_after(self, moment: float) -> float | None:
        """Seconds from `moment` until the row was acknowledged; None while it is not."""
        return None if self.acknowledged_at is None else self.acknowledged_at - moment

    def _run(self) -> None:
        while not self._stop.is_set() and self.acknowledged_at is None:
            try:
                with psycopg.connect(**self._target, autocommit=True) as connection:
                    self._write(connection)
            except psycopg.Error:
                self.broken += 1
                self._stop.wait(PAUSE_S)

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        """Over one connection for as long as it lasts: one that was opened on a replica serves its instance too."""
        while not self._stop.is_set():
            try:
                connection.execute(INSERT, (self._trial, 0))
            except psycopg.errors.ReadOnlySqlTransaction:
                self.refused += 1
                self._stop.wait(PAUSE_S)
            else:
                self.acknowledged_at = time.monotonic()
                return


def follows(source: dict[str, Any], replica: dict[str, Any], within_s: float) -> bool:
    """Wait until the replica has replayed all its source has now; False if not in time."""
    with psycopg.connect(**source, autocommit=True) as there, psycopg.connect(**replica, autocommit=True) as here:
        now = there.execute("select pg_current_wal_flush_lsn()").fetchone()

        def replayed() -> bool:
            return here.execute("select pg_last_wal_replay_lsn() >= %s", now).fetchone() == (True,)

        return wait_until(replayed, within_s)


def run(system: Promotable, writers: Writers, number: int, load: Load, limit_s: float) -> dict[str, Any]:
    """Do one trial, with a replica of its own, and return its record. Raises NotWell if it could not be begun."""
    system.wait_well(WELL_S)
    identifier = f"bench-promote-{number}"
    offset = time.time() - time.monotonic()
    writers.start(number, load)
    try:
        replica = system.make_replica(identifier, WELL_S)
        if not writers.wait_for_each(ROWS_BEFORE, time.monotonic(), 60):
            raise NotWell("not every client was acknowledged a row before the request")
        if not follows(system.target, replica, FOLLOWS_S):
            raise NotWell("the replica does not follow")
        with Try(replica, number) as client:
            if not wait_until(lambda: client.refused >= ROWS_BEFORE, 60):
                raise NotWell(f"the replica's endpoint does not say that it is read-only: {client.broken} broken")
            time.sleep(random.Random(number).random() / 2)  # so that requests do not keep step with any loop
            requested = time.monotonic()
            if client.written_after(requested) is not None:
                raise NotWell("the replica took a row before it was promoted")
            system.promote(identifier)
            answered = time.monotonic()
            wait_until(lambda: client.written_after(requested) is not None, limit_s)
            available = wait_until(lambda: system.available(identifier), limit_s)
            until = time.monotonic()
        writers.wait_for_each(ROWS_AFTER, until, 60)
    finally:
        ledgers = writers.stop()
        system.remove(identifier, WELL_S)
    first_write = client.written_after(requested)
    gap = longest_gap(merged([ledger.acknowledged_at for ledger in ledgers]), requested, until)
    return {
        "trial": number,
        "at": round(requested + offset, 3),
        "written": first_write is not None,
        "first_write_s": round(until - requested if first_write is None else first_write, 4),
        "answered_s": round(answered - requested, 4),
        "available_s": round(until - requested, 4) if available else None,
        "broken": client.broken,
        "source_pause_s": None if gap is None else round(gap.seconds, 4),
    }
