"""A client that writes numbered rows and keeps a ledger in three classes: acknowledged, unknown, failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from harness import Instance

NUMBERS = 10_000_000
"""Of each client."""


class Ledger:
    """Writes one row after the other, each in its own transaction, until it is closed.

    Clients of different numbers write different rows of one table.
    """

    def __init__(
        self, instance: Instance, connect: Callable[[], psycopg.Connection[Any]] | None = None, *, client: int = 0
    ) -> None:
        self.instance = instance
        self.client = client
        self.connect = connect or instance.connect
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.failed: list[int] = []
        self.longest_gap_s = 0.0
        with instance.connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS ledger (number int PRIMARY KEY)")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection: psycopg.Connection[object] | None = None
        number, last = self.client * NUMBERS, time.monotonic()
        while not self._stop.is_set():
            number += 1
            sent = False
            try:
                if connection is None or connection.closed:
                    connection = self.connect()
                sent = True
                connection.execute("INSERT INTO ledger VALUES (%s)", (number,))
            except psycopg.OperationalError:
                (self.unknown if sent else self.failed).append(number)
                if connection is not None:
                    connection.close()
                connection = None
            except psycopg.Error:  # the server answered: nothing was committed
                self.failed.append(number)
            else:
                self.acknowledged.append(number)
                now = time.monotonic()
                self.longest_gap_s, last = max(self.longest_gap_s, now - last), now
        if connection is not None:
            connection.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(30)

    def stop(self) -> None:
        """Write no further row."""
        self._stop.set()

    def wait_for(self, more: int, within_s: float = 30) -> None:
        """Wait until `more` further rows are acknowledged."""
        goal, deadline = len(self.acknowledged) + more, time.monotonic() + within_s
        while len(self.acknowledged) < goal:
            if time.monotonic() > deadline:
                raise AssertionError(f"only {len(self.acknowledged)} of {goal} rows acknowledged")
            time.sleep(0.005)

    def check(self) -> None:
        """Every acknowledged row is there; and none that was refused, or whose command was never sent."""
        assert not self._thread.is_alive()
        own = (self.client * NUMBERS, (self.client + 1) * NUMBERS)
        with self.instance.connect() as connection:
            found = connection.execute("SELECT number FROM ledger WHERE number > %s AND number <= %s", own)
            there = {row[0] for row in found}
        missing = sorted(set(self.acknowledged) - there)
        assert not missing, f"acknowledged and lost: {missing[:10]}"
        strange = sorted(there - set(self.acknowledged) - set(self.unknown))
        assert not strange, f"refused, or never sent, and there: {strange[:10]}"
