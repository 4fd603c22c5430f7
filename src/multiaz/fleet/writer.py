"""A client that writes one row after the other through an endpoint, and what its record tells."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, LiteralString

import psycopg

from multiaz.errors import MultiazError
from multiaz.fleet.databases import Databases
from multiaz.fleet.secrets import Credentials

SCHEMA = "multiaz_probe"
DROP: LiteralString = "drop schema if exists multiaz_probe cascade"
CREATE: LiteralString = """
drop schema if exists multiaz_probe cascade;
create schema multiaz_probe;
create table multiaz_probe.writes (number bigint primary key);
"""
INSERT: LiteralString = "insert into multiaz_probe.writes values (%s)"
SELECT: LiteralString = "select number from multiaz_probe.writes"
HANG_LIMIT_S = 2.0
"""A commit unanswered for so long is given up as unknown: a host that vanished never answers."""
RETRY_PAUSE_S = 0.01


@dataclass
class Ledger:
    """What became of every row the writer sent. Times are time.monotonic() seconds."""

    acknowledged: list[int] = field(default_factory=list)
    acknowledged_at: list[float] = field(default_factory=list)
    """Time of each acknowledgement, same order as `acknowledged`; never falls."""
    unknown: list[int] = field(default_factory=list)
    """Sent, and the connection was lost before an answer: there or not there."""
    failed: list[int] = field(default_factory=list)
    """Refused by the server: certainly not there."""


@dataclass(frozen=True)
class Outage:
    """The longest time between two acknowledgements around a moment."""

    seconds: float
    last_before: float
    first_after: float


def longest_gap(times: Sequence[float], since: float) -> Outage | None:
    """The longest pause between two neighbouring `times` (rising) of which the later is after `since`.

    None if nothing was acknowledged before or nothing after `since`.
    """
    best: Outage | None = None
    for before, after in pairwise(times):
        if after > since and (best is None or after - before > best.seconds):
            best = Outage(after - before, before, after)
    return best


class Writer:
    """Commits numbered single rows as fast as they are answered, reconnecting whenever it must.

    Use as a context manager; the table lives in a schema of its own and is dropped at the end.
    """

    def __init__(self, databases: Databases, target: Credentials, hang_limit_s: float = HANG_LIMIT_S) -> None:
        self.ledger = Ledger()
        self._databases = databases
        self._target = target
        self._hang_limit_s = hang_limit_s
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._waiting: tuple[psycopg.Connection[Any], float] | None = None
        self._threads = [
            threading.Thread(target=self._write, name="writer", daemon=True),
            threading.Thread(target=self._watch, name="writer-watch", daemon=True),
        ]

    def __enter__(self) -> Writer:
        with self._databases.connect(self._target, application="multiaz failover") as connection:
            connection.execute(CREATE)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        try:
            with self._databases.connect(self._target, application="multiaz failover") as connection:
                connection.execute(DROP)
        except psycopg.Error as error:
            raise MultiazError(
                f"The schema {SCHEMA} could not be dropped",
                str(error).strip(),
                f"drop it by hand: {DROP}",
            ) from error

    def stop(self) -> None:
        """End the writing; the ledger does not change any more."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def wait_for(self, condition: Callable[[Ledger], bool], timeout_s: float) -> bool:
        """Wait until `condition` of the ledger holds; False if it did not within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self.ledger), timeout_s)

    def lost(self) -> list[int]:
        """Acknowledged rows the database does not have. Must be empty."""
        with self._databases.connect(self._target, application="multiaz failover") as connection:
            there = {row[0] for row in connection.execute(SELECT)}
        return [number for number in self.ledger.acknowledged if number not in there]

    def _write(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        number = 0
        while not self._stop.is_set():
            if connection is None:
                try:
                    connection = self._databases.connect(
                        self._target, application="multiaz failover", connect_timeout_s=2
                    )
                except psycopg.Error:
                    # Down is what we came to measure; the pause between acknowledgements tells it.
                    self._stop.wait(RETRY_PAUSE_S)
                    continue
            number += 1
            if not self._commit(connection, number):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _commit(self, connection: psycopg.Connection[Any], number: int) -> bool:
        """Send one row and note its fate; False if the connection is of no more use."""
        self._waiting = (connection, time.monotonic())
        try:
            connection.execute(INSERT, (number,))
        except psycopg.Error as error:
            answered = error.sqlstate is not None and not connection.broken
            with self._changed:
                (self.ledger.failed if answered else self.ledger.unknown).append(number)
                self._changed.notify_all()
            # 25006, read only: this connection points at a server that was demoted.
            return answered and error.sqlstate != "25006"
        finally:
            self._waiting = None
        with self._changed:
            self.ledger.acknowledged.append(number)
            self.ledger.acknowledged_at.append(time.monotonic())
            self._changed.notify_all()
        return True

    def _watch(self) -> None:
        """Cut connections whose answer does not come."""
        while not self._stop.wait(0.05):
            waiting = self._waiting
            if waiting is not None and time.monotonic() - waiting[1] > self._hang_limit_s:
                _cut(waiting[0])
                if self._waiting is waiting:
                    self._waiting = (waiting[0], time.monotonic())


def _cut(connection: psycopg.Connection[Any]) -> None:
    """Shut the socket, so that libpq sees its end; the thread that waits on it cleans up."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        return  # closed in the meantime
