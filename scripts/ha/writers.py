"""Clients that write all the while, in a process of their own so that what measures does not hold them up.

Each client commits one row, thinks for a moment, and commits the next; when its connection breaks it connects anew,
after a pause that grows to a bound. Every row it sent is acknowledged, unknown (sent, and never answered) or failed
(refused by the server), and no row is sent twice. A fresh client opens a connection for each of its rows.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from array import array
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import psycopg

SCHEMA = "bench_ha"
CREATE = f"""
drop schema if exists {SCHEMA} cascade;
create schema {SCHEMA};
create table {SCHEMA}.ledger (trial int not null, row bigint not null);
create index on {SCHEMA}.ledger (trial);
"""
DROP = f"drop schema if exists {SCHEMA} cascade"
INSERT = f"insert into {SCHEMA}.ledger values (%s, %s)"
THERE = f"select row from {SCHEMA}.ledger where trial = %s"
COUNT = f"select count(*) from {SCHEMA}.ledger"
HANG_LIMIT_S = 5.0
"""A commit, or a connection, unanswered for so long is given up: what a careful application sets as its timeout."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.1
"""Pause between two attempts to connect, doubled each time, less up to half by chance."""
ROWS_PER_CLIENT = 1 << 32


@dataclass(frozen=True)
class Load:
    """What the clients do."""

    target: dict[str, Any]
    """libpq's connection parameters."""
    clients: int = 8
    fresh: int = 0
    """Further clients that open a connection for each row."""
    think_s: float = 0.01
    """Between an answer and the next row; a fresh client takes five times as long."""


@dataclass
class ClientLedger:
    """What became of every row one client sent. Times are time.monotonic() seconds."""

    fresh: bool
    acknowledged: array[int] = field(default_factory=lambda: array("q"))
    acknowledged_at: array[float] = field(default_factory=lambda: array("d"))
    unknown: array[int] = field(default_factory=lambda: array("q"))
    failed: array[int] = field(default_factory=lambda: array("q"))
    connected: int = 0
    """Connections it made."""
    refused: int = 0
    """Attempts to connect that failed."""
    words: dict[str, int] = field(default_factory=dict)
    """First lines of what failures said, and how often: for a person who wonders."""


class Client:
    """One client; its thread alone writes its ledger."""

    def __init__(self, number: int, trial: int, load: Load, *, fresh: bool) -> None:
        self.ledger = ClientLedger(fresh)
        self.stop = threading.Event()
        self._first = number * ROWS_PER_CLIENT
        self._trial = trial
        self._load = load
        self._think_s = load.think_s * (5 if fresh else 1)
        self._chance = random.Random(f"{trial} {number}")
        self._waiting: tuple[psycopg.Connection[Any], float] | None = None
        self._cancelled = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        row, pause = self._first, FIRST_PAUSE_S
        self.stop.wait(self._chance.random() * self._think_s)
        while not self.stop.is_set():
            if connection is None:
                try:
                    connection = psycopg.connect(**self._load.target, autocommit=True)
                except psycopg.Error as error:
                    self._note(error)
                    self.ledger.refused += 1
                    self.stop.wait(pause * (1 - self._chance.random() / 2))
                    pause = min(LONGEST_PAUSE_S, pause * 2)
                    continue
                connection.add_notice_handler(self._heard)
                self.ledger.connected += 1
            row += 1
            usable = self._commit(connection, row)
            if usable:
                pause = FIRST_PAUSE_S
            if not usable or self.ledger.fresh:
                connection.close()
                connection = None
            self.stop.wait(self._think_s if usable else pause)
        if connection is not None:
            connection.close()

    def _commit(self, connection: psycopg.Connection[Any], row: int) -> bool:
        """Send one row and note its fate; False if the connection is of no more use."""
        self._cancelled = False
        self._waiting = (connection, time.monotonic())
        try:
            connection.execute(INSERT, (self._trial, row))
        except psycopg.Error as error:
            self._note(error)
            # An answer with the connection still up is a refusal; an administrator's shutdown (57P01 and its
            # kind) may come after the commit record was written, so such a row is unknown.
            refused = error.sqlstate is not None and not connection.broken and not error.sqlstate.startswith("57P")
            (self.ledger.failed if refused else self.ledger.unknown).append(row)
            # 25006, read only: this connection leads to a server that was demoted.
            return refused and error.sqlstate != "25006"
        finally:
            self._waiting = None
        if self._cancelled:
            self.ledger.unknown.append(row)
            return True
        self.ledger.acknowledged_at.append(time.monotonic())
        self.ledger.acknowledged.append(row)
        return True

    def _heard(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """A cancelled wait for the standby still answers COMMIT, with this warning: committed here, not there."""
        if "synchronous replication" in (diagnostic.message_primary or ""):
            self._cancelled = True

    def _note(self, error: psycopg.Error) -> None:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:120]
        self.ledger.words[said] = self.ledger.words.get(said, 0) + 1

    def cut_if_hung(self) -> None:
        """End the wait for an answer that does not come."""
        waiting = self._waiting
        if waiting is None or time.monotonic() - waiting[1] < HANG_LIMIT_S:
            return
        try:
            with socket.socket(fileno=os.dup(waiting[0].fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error):
            return  # closed in the meantime


def serve(pipe: Connection) -> None:
    """The process of the writers: does what the pipe says until its other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; who asked for us ends us
    clients: list[Client] = []
    while True:
        if not pipe.poll(0.1):
            for client in clients:
                client.cut_if_hung()
            continue
        try:
            word, *values = pipe.recv()
        except EOFError:
            return
        match word:
            case "start":
                trial, load = values
                clients = [Client(n, trial, load, fresh=n >= load.clients) for n in range(load.clients + load.fresh)]
                for client in clients:
                    client.thread.start()
                pipe.send(None)
            case "acknowledged":
                pipe.send([client.ledger.acknowledged_at[-values[0] :] for client in clients])
            case "stop":
                for client in clients:
                    client.stop.set()
                deadline = time.monotonic() + HANG_LIMIT_S + 3
                while any(client.thread.is_alive() for client in clients) and time.monotonic() < deadline:
                    for client in clients:
                        client.cut_if_hung()
                        client.thread.join(0.02)
                if any(client.thread.is_alive() for client in clients):
                    pipe.send(RuntimeError("a client does not end"))
                else:
                    pipe.send([client.ledger for client in clients])
                clients = []


class Writers:
    """The process of the writers, seen from outside. Use as a context manager."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other,), daemon=True)
        self._other = other

    def __enter__(self) -> Writers:
        self._process.start()
        self._other.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, *words: Any, within_s: float = 30.0) -> Any:
        self._pipe.send(words)
        if not self._pipe.poll(within_s):
            raise RuntimeError(f"the writers do not answer {words[0]!r}")
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def start(self, trial: int, load: Load) -> None:
        """Let the clients write rows of `trial`."""
        self._ask("start", trial, load)

    def stop(self) -> list[ClientLedger]:
        """End the writing; one ledger a client."""
        return self._ask("stop")  # type: ignore[no-any-return]

    def wait_for_each(self, rows: int, since: float, within_s: float) -> bool:
        """Wait until each client was acknowledged `rows` rows after `since` (monotonic); False if not in time."""
        deadline = time.monotonic() + within_s
        while True:
            latest = self._ask("acknowledged", rows)
            if all(len(times) == rows and times[0] > since for times in latest):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
