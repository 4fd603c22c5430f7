"""Slow, parted and cut networks, before real servers: at once, also for open connections, and healed at once."""

from __future__ import annotations

import os
import pwd
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from relay_harness import Database, RunningRelay, wait_for

from multiaz.postgres.config import REPLICATION_USER, SUPERUSER
from multiaz.postgres.os_user import server_user

MODES = pytest.mark.parametrize("sslmode", ["disable", "verify-full"])


def seconds(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


@MODES
def test_delay_reaches_open_and_new_sessions_and_leaves_them(relay: RunningRelay, sslmode: str) -> None:
    with relay.connect(sslmode=sslmode) as before:
        relay.follow(network={"delay_ms": 150})
        assert seconds(lambda: before.execute("SELECT 1")) >= 0.3, "there and back"
        logins: list[psycopg.Connection[Any]] = []
        assert seconds(lambda: logins.append(relay.connect(sslmode=sslmode))) >= 0.9, "startup, SCRAM twice: 3 trips"
        with logins[0] as after:
            assert seconds(lambda: after.execute("SELECT 1")) >= 0.3
            relay.follow(network=None)
            started = time.monotonic()
            for _ in range(100):
                before.execute("SELECT 1")
                after.execute("SELECT 1")
            assert time.monotonic() - started < 30, "one slow round trip each would take twice that"
            assert before.execute("SELECT 2").fetchone() == after.execute("SELECT 2").fetchone() == (2,)


@MODES
def test_a_slow_network_carries_its_rate_and_no_byte_is_lost(relay: RunningRelay, sslmode: str) -> None:
    with relay.connect(sslmode=sslmode) as connection:
        relay.follow(network={"bytes_per_s": 1_000_000})

        def result() -> str:
            row = connection.execute("SELECT string_agg(n::text, ',') FROM generate_series(1, 100000) n").fetchone()
            return str(row and row[0])

        whole = ",".join(map(str, range(1, 100001)))
        started = time.monotonic()
        assert result() == whole
        assert time.monotonic() - started >= len(whole) / 1_000_000 * 0.9
        with ThreadPoolExecutor(1) as pool:  # healed in the middle of a transfer that would take a minute
            relay.follow(network={"bytes_per_s": 10_000})
            under_way = pool.submit(result)
            wait_for("the transfer has begun", lambda: not under_way.done())
            relay.follow(network=None)
            assert under_way.result(timeout=20) == whole


@MODES
def test_a_partition_is_silent_and_loses_nothing_once_healed(
    relay: RunningRelay, database: Database, sslmode: str
) -> None:
    with relay.connect(sslmode=sslmode) as open_session, ThreadPoolExecutor(2) as pool:
        relay.follow(network={"blocked": True})
        asked = pool.submit(open_session.execute, "SELECT 'arrived'")
        new = pool.submit(relay.connect, sslmode=sslmode)
        with database.server.connect("postgres") as admin:
            time.sleep(0.4)  # nothing can be waited for: nothing happens
            assert not asked.done()
            assert not new.done()
            row = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%arrived''' AND pid <> pg_backend_pid()"
            ).fetchone()
            assert row == (0,)
        relay.follow(network=None)
        assert asked.result(timeout=10).fetchone() == ("arrived",)
        with new.result(timeout=10) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_partition_holds_the_end_of_a_session_back_too(
    new_relay: Callable[..., RunningRelay], database: Database, make_database: Callable[[str], Database]
) -> None:
    """What the endpoint would tell a client cannot reach it; it does once healed."""
    other = make_database("behind")
    relay = new_relay(database.socket_folder)
    relay.start()
    connection = relay.connect(sslmode="disable")
    relay.follow(network={"blocked": True})
    relay.point_at(other.socket_folder)
    relay.follow(network={"blocked": True, "delay_ms": 1})
    raw = socket.socket(fileno=os.dup(connection.pgconn.socket))
    raw.settimeout(0.3)
    with pytest.raises(TimeoutError):
        raw.recv(1, socket.MSG_PEEK)
    relay.follow(network=None)
    raw.settimeout(5)
    assert raw.recv(1) == b"", "now it knows"
    raw.close()
    connection.close()


@MODES
def test_a_cut_breaks_sessions_and_logins_at_once(
    new_relay: Callable[..., RunningRelay], relay: RunningRelay, sslmode: str
) -> None:
    with relay.connect(sslmode=sslmode) as connection:
        relay.follow(network={"blocked": "cut"})
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            relay.connect(sslmode=sslmode)
    relay.follow(network=None)
    relay.connect(sslmode=sslmode).close()
    waiting = new_relay(None)
    waiting.start()
    with ThreadPoolExecutor(1) as pool:
        login = pool.submit(waiting.connect, sslmode=sslmode)
        wait_for("the client waits", lambda: "clients wait" in waiting.log)
        waiting.follow(network={"blocked": "cut"})
        with pytest.raises(psycopg.OperationalError):
            login.result(timeout=5)


# -- wires ---------------------------------------------------------------------------------------


@pytest.fixture
def wire_folder(base: Path) -> Iterator[Path]:
    """A folder as the supervisor makes it."""
    folder = base / "run" / f"w-{time.monotonic_ns() % 100_000}"
    folder.mkdir(mode=0o700, parents=True)
    server_user().own(folder)
    yield folder


def wire(folder: Path, database: Database, **shape: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "listen": str(folder / ".s.PGSQL.5432"),
        "target": str(database.socket_folder / ".s.PGSQL.5432"),
        **shape,
    }


def admin(folder: Path) -> psycopg.Connection[Any]:
    return psycopg.connect(host=str(folder), port=5432, user=SUPERUSER, dbname="postgres", autocommit=True)


def test_a_wire_lets_only_its_owner_in(relay: RunningRelay, database: Database, wire_folder: Path) -> None:
    relay.follow(wires=[wire(wire_folder, database)])
    info = (wire_folder / ".s.PGSQL.5432").stat()
    assert stat.S_IMODE(info.st_mode) == 0o600
    assert info.st_uid == server_user().uid
    wire_folder.chmod(0o755)
    relay.write_config(wires=[{**wire(wire_folder, database), "name": "y"}])
    wait_for("it is refused by name", lambda: f"wire 'y': others may enter {wire_folder}" in relay.log)
    relay.connect().close()
    wire_folder.chmod(0o700)
    wait_for("it is laid after all", (wire_folder / ".s.PGSQL.5432").exists)


def test_a_wire_slows_parts_cuts_and_heals_at_once(relay: RunningRelay, database: Database, wire_folder: Path) -> None:
    relay.follow(wires=[wire(wire_folder, database)])
    with admin(wire_folder) as connection, ThreadPoolExecutor(2) as pool:
        relay.follow(wires=[wire(wire_folder, database, delay_ms=100)])
        assert seconds(lambda: connection.execute("SELECT 1")) >= 0.2
        relay.follow(wires=[wire(wire_folder, database, blocked=True)])
        asked, new = pool.submit(connection.execute, "SELECT 7"), pool.submit(admin, wire_folder)
        time.sleep(0.3)
        assert not asked.done()
        assert not new.done()
        relay.follow(wires=[wire(wire_folder, database)])
        assert asked.result(timeout=10).fetchone() == (7,)
        new.result(timeout=10).close()
        relay.follow(wires=[wire(wire_folder, database, blocked="cut")])
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            admin(wire_folder)
    relay.follow(wires=[])
    assert not (wire_folder / ".s.PGSQL.5432").exists()


def test_a_wire_follows_its_target_for_each_connection(
    relay: RunningRelay, database: Database, make_database: Callable[[str], Database], wire_folder: Path
) -> None:
    other = make_database("other")
    target = {**wire(wire_folder, database), "target": str(relay.folder / "primary" / ".s.PGSQL.5432")}
    relay.follow(wires=[target])
    with admin(wire_folder) as connection:
        assert connection.execute("SHOW cluster_name").fetchone() == ("a",)
        relay.point_at(other.socket_folder)
        with admin(wire_folder) as later:
            assert later.execute("SHOW cluster_name").fetchone() == ("other",)
        assert connection.execute("SHOW cluster_name").fetchone() == ("a",), "a wire cuts nobody"


def test_a_wire_of_a_killed_relay_is_laid_again(
    new_relay: Callable[..., RunningRelay], database: Database, wire_folder: Path
) -> None:
    relay = new_relay(database.socket_folder, wires=[wire(wire_folder, database)])
    relay.start()
    admin(wire_folder).close()
    assert relay.process is not None
    relay.process.kill()
    relay.process.wait()
    relay.start()
    admin(wire_folder).close()


def test_the_servers_user_replicates_through_a_wire(relay: RunningRelay, database: Database, wire_folder: Path) -> None:
    """Behind the wire the server sees the relay's user; peer authentication maps that one too."""
    relay.follow(wires=[wire(wire_folder, database)])
    receive = [
        database.server.bin_folder / "pg_basebackup", "-D", "-", "-Ft", "-X", "none", "-c", "fast", "--no-password",
        "-d", f"host={wire_folder} port=5432 user={REPLICATION_USER}",
    ]  # fmt: skip
    done = subprocess.run(receive, cwd="/", capture_output=True, **database.server.user.switch)
    assert done.returncode == 0, done.stderr
    assert b"PG_VERSION" in done.stdout
    if os.geteuid() == 0:
        nobody = next((user for user in pwd.getpwall() if user.pw_uid not in (0, server_user().uid)), None)
        assert nobody is not None
        done = subprocess.run(receive, cwd="/", capture_output=True, user=nobody.pw_uid, group=nobody.pw_gid)
        assert done.returncode != 0, "nobody else gets in"
        assert b"Permission denied" in done.stderr
