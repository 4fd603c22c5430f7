"""The writer that measures failovers, against a real PostgreSQL server that is stopped and killed under it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from multiaz.fleet.databases import Databases
from multiaz.fleet.secrets import Credentials
from multiaz.fleet.writer import Writer, longest_gap
from multiaz.postgres.config import REPLICATION_USER, SOCKET_PORT, ServerSettings
from multiaz.postgres.installations import find_installation
from multiaz.postgres.os_user import server_user
from multiaz.postgres.processes import processes_in
from multiaz.postgres.server import Server


class LocalSocket(Databases):
    """The same SQL over the server's own socket; TLS and the endpoint have tests of their own."""

    def __init__(self, server: Server) -> None:
        super().__init__(None)
        self._server = server

    def connect(
        self, credentials: Credentials, *, application: str = "multiaz", connect_timeout_s: int = 10
    ) -> psycopg.Connection[tuple[Any, ...]]:
        return self._server.connect("postgres", timeout_s=connect_timeout_s)


TARGET = Credentials("rdsadmin", "", "postgres", "unused", 5432, "arn")


@pytest.fixture(scope="module")
def initialised(module_home_folder: Path) -> Server:
    home = module_home_folder
    installation = find_installation(home / "postgres", 17)
    server = Server("one", installation.bin_folder, home / "a", home / "s", server_user())
    server.make_folders()
    server.initialise()
    server.configure(
        ServerSettings(
            name="one",
            socket_folder=server.socket_folder,
            log_folder=server.log_folder,
            parameters={"shared_buffers": "16MB"},
        )
    )
    return server


@pytest.fixture
def server(initialised: Server) -> Iterator[Server]:
    """The module's server, started for the test."""
    process = initialised.start()
    initialised.wait_until_ready(process)
    yield initialised
    initialised.stop(immediate=True)
    process.wait()


def acknowledged(count: int) -> Callable[[Any], bool]:
    return lambda ledger: len(ledger.acknowledged) >= count


def test_a_frozen_server_is_an_outage_and_the_row_in_flight_is_unknown(
    server: Server, deadline: Callable[[float], float]
) -> None:
    with Writer(LocalSocket(server), TARGET, hang_limit_s=0.3) as writer:
        assert writer.wait_for(acknowledged(10), deadline(10))
        members = processes_in(server.data)
        for pid in members:
            os.kill(pid, signal.SIGSTOP)
        assert writer.wait_for(lambda ledger: len(ledger.unknown) == 1, deadline(10))
        for pid in members:
            os.kill(pid, signal.SIGCONT)
        count = len(writer.ledger.acknowledged)
        assert writer.wait_for(acknowledged(count + 10), deadline(10))
        writer.stop()
        assert writer.lost() == []
    outage = longest_gap(writer.ledger.acknowledged_at, since=0.0)
    assert outage is not None
    assert outage.seconds >= 0.3
    numbers = writer.ledger.acknowledged + writer.ledger.unknown + writer.ledger.failed
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_a_killed_and_restarted_server_is_written_to_again(server: Server, deadline: Callable[[float], float]) -> None:
    with Writer(LocalSocket(server), TARGET) as writer:
        assert writer.wait_for(acknowledged(10), deadline(10))
        server.stop(immediate=True)
        count = len(writer.ledger.acknowledged)
        process = server.start()
        server.wait_until_ready(process)
        assert writer.wait_for(acknowledged(count + 10), deadline(10))
        writer.stop()
        assert writer.lost() == []
    server.stop(immediate=True)
    process.wait()


def test_a_row_that_vanished_is_reported(server: Server, deadline: Callable[[float], float]) -> None:
    with Writer(LocalSocket(server), TARGET) as writer:
        assert writer.wait_for(acknowledged(10), deadline(10))
        writer.stop()
        with server.connect("postgres") as connection:
            connection.execute("delete from multiaz_probe.writes where number = 5")
        assert writer.lost() == [5]


def test_its_schema_is_gone_afterwards(server: Server, deadline: Callable[[float], float]) -> None:
    with Writer(LocalSocket(server), TARGET) as writer:
        assert writer.wait_for(acknowledged(1), deadline(10))
    with server.connect("postgres") as connection:
        row = connection.execute("select count(*) from pg_namespace where nspname = 'multiaz_probe'").fetchone()
    assert row == (0,)


def test_a_server_without_standby_says_none(server: Server) -> None:
    assert LocalSocket(server).standby_seen(TARGET).sync == "none"


@contextlib.contextmanager
def follower(server: Server, name: str, folder: Path) -> Iterator[None]:
    """Something that streams from the server under this name."""
    folder.mkdir()
    server.user.own(folder)
    conninfo = f"host={server.socket_folder} port={SOCKET_PORT} user={REPLICATION_USER} application_name={name}"
    with server.connect("postgres") as admin, contextlib.suppress(psycopg.errors.DuplicateObject):
        admin.execute(f"CREATE ROLE {REPLICATION_USER} LOGIN REPLICATION")
    program = [str(server.bin_folder / "pg_receivewal"), "--no-password", "-D", str(folder), "-d", conninfo]
    process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **server.user.switch)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


@pytest.mark.parametrize(("name", "sync"), [("replica_db-x", "none"), ("multiaz_b", "async")])
def test_a_read_replica_that_streams_from_the_primary_is_not_taken_for_its_standby(
    name: str, sync: str, server: Server, deadline: Callable[[float], float]
) -> None:
    """While the standby is away replicas stream from the primary: the lost standby was shown without lag."""
    until = time.monotonic() + deadline(10)
    with follower(server, name, server.folder / "followed"), server.connect("postgres") as admin:
        listed = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
        while admin.execute(listed).fetchall() != [(name,)]:
            assert time.monotonic() < until, "it does not stream"
            time.sleep(0.01)
        assert LocalSocket(server).standby_seen(TARGET).sync == sync


def test_a_primary_asked_as_a_replica_does_not_follow(server: Server) -> None:
    seen = LocalSocket(server).replica_seen(TARGET)
    assert (seen.streaming, seen.lag_s) == (False, None)
