"""How many clients, how much memory: what is bounded, and in which words a bound is told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from relay_harness import Database, RunningRelay, dial, resident_kb, wait_for

from multiaz.relay.listener import ACCEPT_PAUSE_S
from multiaz.relay.server import KEPT_FREE, PER_CLIENT
from multiaz.relay.session import Refused

MODES = pytest.mark.parametrize("sslmode", ["disable", "verify-full"])


@pytest.fixture
def roomy(make_database: Callable[[str], Database], request: pytest.FixtureRequest) -> Iterator[Database]:
    """A server with as many connections as the test asks for."""
    database = make_database(f"room{time.monotonic_ns() % 1_000_000}")
    database.stop()
    database.configure(max_connections=str(request.param), superuser_reserved_connections="1")
    database.start()
    yield database
    database.stop(immediate=True)


@MODES
@pytest.mark.parametrize("roomy", [6], indirect=True)
def test_a_full_server_says_so_itself(new_relay: Callable[..., RunningRelay], roomy: Database, sslmode: str) -> None:
    """SQLSTATE 53300 of the server reaches the client, and at once: it is no reason to wait."""
    relay = new_relay(roomy.socket_folder)
    relay.start()
    held: list[psycopg.Connection[Any]] = []
    try:
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match=r"remaining connection slots|too many clients"):
            for _ in range(7):
                held.append(relay.connect(sslmode=sslmode))
        assert time.monotonic() - started < relay.config["connect_wait_s"] / 2
        assert len(held) == 5
        held.pop().close()
        wait_for("the place is free", lambda: can_connect(relay, sslmode))
    finally:
        for connection in held:
            connection.close()


def can_connect(relay: RunningRelay, sslmode: str = "verify-full") -> bool:
    try:
        relay.connect(sslmode=sslmode).close()
    except psycopg.OperationalError:
        return False
    return True


@MODES
def test_beyond_its_descriptors_the_endpoint_refuses_by_name(
    new_relay: Callable[..., RunningRelay], database: Database, sslmode: str
) -> None:
    places = 8
    relay = new_relay(database.socket_folder)
    relay.start(open_files=KEPT_FREE + places * PER_CLIENT)
    held = [relay.connect(sslmode=sslmode) for _ in range(places)]
    try:
        for _ in range(20):  # being refused costs nobody a place
            with pytest.raises(psycopg.OperationalError, match="sorry, too many clients already") as told:
                relay.connect(sslmode=sslmode)
            assert f"has open files for {places} clients" in str(told.value)
            assert "ulimit -Hn" in str(told.value)
        assert [one.execute("SELECT 1").fetchone() for one in held] == [(1,)] * places
        with ThreadPoolExecutor(1) as pool:
            cancelled = pool.submit(held[0].execute, "SELECT pg_sleep(30)")
            wait_for("it runs", lambda: sleeps(database))
            held[0].cancel_safe()  # a cancel request needs no place
            with pytest.raises(psycopg.errors.QueryCanceled):
                cancelled.result(timeout=20)
    finally:
        for connection in held:
            connection.close()
    wait_for("places are free again", lambda: can_connect(relay, sslmode))


def test_a_client_through_a_slow_network_needs_the_descriptors_of_two(
    new_relay: Callable[..., RunningRelay], database: Database
) -> None:
    relay = new_relay(database.socket_folder, network={"delay_ms": 1})
    relay.start(open_files=KEPT_FREE + 5 * PER_CLIENT)
    held = [relay.connect() for _ in range(2)]
    try:
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError, match="counts twice"):
                relay.connect()
        relay.follow(network=None)
        wait_for("the refused ones are gone, and one place is left", lambda: can_connect(relay))
        held.append(relay.connect())
        with pytest.raises(psycopg.OperationalError, match="sorry, too many clients already"):
            relay.connect()  # who came through the slow network still has a pair of sockets more
        assert [one.execute("SELECT 1").fetchone() for one in held] == [(1,)] * 3
    finally:
        for connection in held:
            connection.close()
    wait_for("all places are free again", lambda: can_connect(relay))


def sleeps(database: Database) -> bool:
    with database.server.connect("postgres") as admin:
        return bool(admin.execute("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'").fetchall())


def test_an_endpoint_without_descriptors_says_so_once_and_lives(
    new_relay: Callable[..., RunningRelay], database: Database
) -> None:
    """Clients that say nothing take descriptors before they can be refused by name."""
    relay = new_relay(database.socket_folder, supervisor=["true"])
    relay.start(open_files=KEPT_FREE + PER_CLIENT)
    before = relay.connect()
    silent = [dial(relay) for _ in range(KEPT_FREE + PER_CLIENT)]
    try:
        wait_for("there is no room", lambda: "cannot accept: Too many open files" in relay.log)
        wait_for("it has tried to look after the others", lambda: "cannot look at the supervisor's lock" in relay.log)
        time.sleep(5 * ACCEPT_PAUSE_S)  # nothing can be waited for: nothing more is to be said
        assert relay.log.count("cannot accept") == relay.log.count("cannot look at") == 1
        assert before.execute("SELECT 1").fetchone() == (1,)
    finally:
        before.close()
        for client in silent:
            client.close()
    wait_for("it accepts again", lambda: "accepts again" in relay.log and can_connect(relay))


def test_not_more_than_so_many_clients_wait_for_a_primary(new_relay: Callable[..., RunningRelay]) -> None:
    relay = new_relay(None, most_waiting=3, connect_wait_s=60)
    relay.start()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(relay.connect) for _ in range(3)]
        wait_for("three clients wait", lambda: relay.client_sockets() == 3)

        def refused() -> str:
            try:
                relay.connect(connect_timeout=2).close()
            except psycopg.OperationalError as error:
                return str(error)
            return ""

        told = wait_for("the fourth is refused", lambda: "sorry, too many clients" in (text := refused()) and text)
        assert "3 clients wait for the primary" in told
        relay.stop()
        for client in waiting:
            with pytest.raises(psycopg.OperationalError):
                client.result(timeout=10)


def test_a_refusal_is_a_fatal_error_with_its_sqlstate_and_hint() -> None:
    packet = Refused("57P03", "no", detail="why", hint="what next").packet
    assert packet == b"E" + (len(packet) - 1).to_bytes(4, "big") + b"SFATAL\0VFATAL\0C57P03\0Mno\0Dwhy\0Hwhat next\0\0"


@pytest.mark.long
@pytest.mark.parametrize("roomy", [620], indirect=True)
def test_600_idle_clients_cost_little(new_relay: Callable[..., RunningRelay], roomy: Database) -> None:
    relay = new_relay(roomy.socket_folder)
    relay.start()
    assert relay.process is not None
    relay.connect().close()
    before = resident_kb(relay.process.pid)
    held: list[psycopg.Connection[Any]] = []
    try:
        with ThreadPoolExecutor(8) as pool:
            held += pool.map(lambda _: relay.connect(), range(600))
        per_client = (resident_kb(relay.process.pid) - before) / 600
        assert per_client < 30, "kB; docs/endpoint.md says 13"
        used, began = cpu_s(relay.process.pid), time.monotonic()
        time.sleep(5)
        assert (cpu_s(relay.process.pid) - used) / (time.monotonic() - began) < 0.1, "cores"
        started = time.monotonic()
        assert held[300].execute("SELECT 1").fetchone() == (1,)
        assert time.monotonic() - started < 2
    finally:
        for connection in held:
            connection.close()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.long
@MODES
def test_a_gigabyte_for_a_stalled_client_stays_in_the_server(relay: RunningRelay, sslmode: str) -> None:
    """The relay's memory is bounded whatever a client leaves unread."""
    assert relay.process is not None
    with relay.connect(sslmode=sslmode) as connection:
        before = resident_kb(relay.process.pid)
        most = 0
        with connection.cursor().copy(
            "COPY (SELECT repeat('x', 7999) FROM generate_series(1, 125000)) TO STDOUT"
        ) as copy:
            size = 0
            for number, chunk in enumerate(copy):
                size += len(chunk)
                if number % 12_500 == 0:
                    time.sleep(0.3)  # stalled: the relay could read ahead meanwhile
                    most = max(most, resident_kb(relay.process.pid) - before)
        assert size == 1_000_000_000
        assert most < 16_000, "kB"


@pytest.mark.long
@MODES
def test_a_server_that_does_not_read_stalls_its_client(relay: RunningRelay, database: Database, sslmode: str) -> None:
    assert relay.process is not None
    with relay.connect(sslmode=sslmode) as connection:
        connection.execute("CREATE TEMP TABLE big (line text)")
        pid = connection.info.backend_pid
        before = resident_kb(relay.process.pid)
        row, rows = "x" * 65535 + "\n", 3000
        with ThreadPoolExecutor(1) as pool:
            os.kill(pid, signal.SIGSTOP)
            try:

                def load() -> None:
                    with connection.cursor().copy("COPY big FROM STDIN") as copy:
                        for _ in range(rows):
                            copy.write(row)

                loading = pool.submit(load)
                time.sleep(3)
                assert not loading.done(), "200 MB are nowhere else"
                assert resident_kb(relay.process.pid) - before < 16_000, "kB"
            finally:
                os.kill(pid, signal.SIGCONT)
            loading.result(timeout=120)
        assert connection.execute("SELECT count(*) FROM big").fetchone() == (rows,)
