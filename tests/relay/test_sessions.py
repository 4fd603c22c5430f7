"""What clients meet: real psql and psycopg, real PostgreSQL behind the relay."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from relay_harness import Authority, Database, RunningRelay, resident_kb, wait_for

from multiaz.relay.server import LOOK_S


def test_verify_full_with_the_password(relay: RunningRelay) -> None:
    with relay.connect() as connection:
        assert connection.pgconn.ssl_in_use
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("app", "shop")


def test_wrong_password_is_the_servers_answer(relay: RunningRelay) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        relay.connect(password="wrong")


def test_a_certificate_for_another_host_is_refused_by_the_client(relay: RunningRelay, authority: Authority) -> None:
    authority.issue(relay.folder, "127.0.0.9")
    wait_for("the relay takes the new certificate", lambda: _refused(relay, "does not match"))


def _refused(relay: RunningRelay, why: str) -> bool:
    try:
        relay.connect().close()
    except psycopg.OperationalError as error:
        return why in str(error)
    return False


def test_plain_text_works_unless_ssl_is_forced(relay: RunningRelay) -> None:
    with relay.connect(sslmode="disable") as connection:
        assert not connection.pgconn.ssl_in_use
    relay.write_config(force_ssl=True)
    expected = (f'no pg_hba.conf entry for host "{relay.address}", user "app", database "shop", no encryption').replace(
        relay.address, "127.0.0.1"
    )
    wait_for("force_ssl is taken over", lambda: _plain_refusal(relay) == ("28000", expected))
    with relay.connect() as connection:
        assert connection.pgconn.ssl_in_use


def _plain_refusal(relay: RunningRelay) -> tuple[str | None, str | None] | None:
    try:
        relay.connect(sslmode="disable").close()
    except psycopg.OperationalError as error:
        text = str(error).strip()
        return ("28000", text.partition("FATAL:  ")[2]) if "pg_hba" in text else None
    return None


def test_psql_negotiates_directly(relay: RunningRelay, psql: str) -> None:
    done = subprocess.run(
        [psql, "-XAt", "-c", "SELECT 'direct'"],
        env=relay.environment(sslnegotiation="direct"),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == "direct\n", done.stderr


def test_psql_meets_a_gss_request_with_no(relay: RunningRelay, psql: str) -> None:
    done = subprocess.run(
        [psql, "-XAt", "-c", "SELECT 1"],
        env=relay.environment(gssencmode="prefer"),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == "1\n", done.stderr


def test_cancel_reaches_the_backend_it_belongs_to(relay: RunningRelay) -> None:
    with relay.connect() as connection, relay.connect() as bystander:
        timer = threading.Timer(0.2, connection.cancel)
        timer.start()
        started = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(30)")
        assert time.monotonic() - started < 10
        timer.join()
        assert bystander.execute("SELECT 1").fetchone() == (1,)


def test_cancel_over_tls(relay: RunningRelay) -> None:
    if psycopg.pq.version() < 170000:
        pytest.skip("libpq before 17 cancels in plain text only")
    relay.write_config(force_ssl=True)
    with relay.connect() as connection:
        timer = threading.Timer(0.2, connection.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(30)")
        timer.join()


@pytest.mark.parametrize("sslmode", ["disable", "verify-full"])
def test_copy_of_50_megabytes_both_ways(relay: RunningRelay, sslmode: str) -> None:
    row = os.urandom(24 * 1024).hex() + "\n"
    rows = 1100
    digest = hashlib.sha256((row * rows).encode()).hexdigest()
    with relay.connect(sslmode=sslmode) as connection:
        connection.execute("CREATE TEMP TABLE big (line text)")
        with connection.cursor().copy("COPY big FROM STDIN") as copy:
            for _ in range(rows):
                copy.write(row)
        back = hashlib.sha256()
        with connection.cursor().copy("COPY big TO STDOUT") as copy:
            for chunk in copy:
                back.update(chunk)
        assert back.hexdigest() == digest


@pytest.mark.parametrize("sslmode", ["disable", "verify-full"])
def test_a_client_that_does_not_read_costs_no_memory(relay: RunningRelay, sslmode: str) -> None:
    """Backpressure: the relay stops reading the server when the client is slow."""
    assert relay.process is not None
    with relay.connect(sslmode=sslmode) as connection:
        connection.execute("SELECT 1")
        before = resident_kb(relay.process.pid)
        connection.pgconn.send_query(b"SELECT repeat('x', 100000) FROM generate_series(1, 2000)")
        connection.pgconn.flush()
        seen = -1

        def settled() -> bool:
            nonlocal seen
            last, seen = seen, resident_kb(relay.process.pid)  # type: ignore[union-attr]
            time.sleep(0.1)
            return seen == last

        wait_for("the relay stands still", settled)
        assert seen - before < 30_000
        while (result := connection.pgconn.get_result()) is not None:
            assert result.ntuples in (0, 2000)


def test_200_connections_at_once(relay: RunningRelay) -> None:
    together = threading.Barrier(200)

    def one(number: int) -> int:
        with relay.connect() as connection:
            together.wait(60)
            row = connection.execute("SELECT %s::int", (number,)).fetchone()
            together.wait(60)
            assert row is not None
            return int(row[0])

    with ThreadPoolExecutor(200) as pool:
        assert sorted(pool.map(one, range(200))) == list(range(200))


@pytest.mark.parametrize("user", ["rdsadmin", "rdsrepladmin"])
@pytest.mark.parametrize("sslmode", ["disable", "verify-full"])
def test_reserved_users_never_reach_the_server(relay: RunningRelay, user: str, sslmode: str) -> None:
    """The server would let them in by peer: the relay runs as an operating-system user it trusts."""
    with pytest.raises(psycopg.OperationalError, match=f'rejects connection for host "127.0.0.1", user "{user}"'):
        relay.connect(user=user, sslmode=sslmode)


@pytest.mark.parametrize("asked", ["database", "true", "1"])
def test_replication_connections_are_refused_by_name(relay: RunningRelay, asked: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="replication connections are not accepted"):
        relay.connect(replication=asked)


def test_an_error_of_the_server_passes(relay: RunningRelay) -> None:
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        relay.connect(dbname="nowhere")


@pytest.fixture
def own_database(make_database: Callable[[str], Database]) -> Iterator[Database]:
    """A server this test may kill."""
    name = f"own{time.monotonic_ns() % 1_000_000}"
    database = make_database(name)
    yield database
    database.stop(immediate=True)


@pytest.mark.parametrize("sslmode", ["disable", "verify-full"])
def test_death_of_the_server_closes_the_client_at_once(
    new_relay: Callable[..., RunningRelay], own_database: Database, sslmode: str
) -> None:
    relay = new_relay(own_database.socket_folder)
    relay.start()
    with relay.connect(sslmode=sslmode) as connection:
        own_database.stop(immediate=True)
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        assert time.monotonic() - started < 2


def test_a_client_waits_for_a_restart_and_then_gets_in(
    new_relay: Callable[..., RunningRelay], own_database: Database
) -> None:
    relay = new_relay(own_database.socket_folder)
    relay.start()
    own_database.stop()
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(relay.connect) for _ in range(20)]
        wait_for("the relay holds the clients", lambda: "clients wait" in relay.log)
        assert not any(client.done() for client in waiting)
        own_database.start()
        for client in waiting:
            with client.result(timeout=15) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_client_follows_the_link_to_the_new_primary(
    new_relay: Callable[..., RunningRelay], database: Database, own_database: Database
) -> None:
    relay = new_relay(own_database.socket_folder)
    relay.start()
    with relay.connect() as before:
        own_database.stop(immediate=True)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(relay.connect)
            wait_for("the relay holds the client", lambda: "clients wait" in relay.log)
            relay.point_at(database.socket_folder)
            with waiting.result(timeout=10) as connection:
                assert connection.execute("SHOW cluster_name").fetchone() == (database.server.name,)
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT 1")


def test_a_session_of_a_former_primary_is_closed_even_if_that_server_lives(
    new_relay: Callable[..., RunningRelay], database: Database, own_database: Database
) -> None:
    relay = new_relay(own_database.socket_folder)
    relay.start()
    with relay.connect() as connection:
        relay.point_at(database.socket_folder)

        def closed() -> bool:
            try:
                connection.execute("SELECT 1")
            except psycopg.OperationalError:
                return True
            return False

        wait_for("the session ends", closed, within_s=3)


def test_a_signal_cuts_the_sessions_of_a_former_primary_in_milliseconds(
    new_relay: Callable[..., RunningRelay], database: Database, own_database: Database
) -> None:
    """Thirty sessions, so that none of them is cut by chance; generous, since tests share two cores."""
    relay = new_relay(own_database.socket_folder)
    relay.start()
    assert relay.process is not None
    sessions = [relay.connect(sslmode=("disable", "verify-full")[number % 2]) for number in range(30)]
    took = []
    for target in (database, own_database, database):
        mine = sessions if target is database and not took else [relay.connect() for _ in range(30)]
        relay.point_at(target.socket_folder)
        relay.process.send_signal(signal.SIGHUP)
        started = time.monotonic()
        for session in mine:
            assert select.select([session.pgconn.socket], [], [], 5)[0]
        took.append(time.monotonic() - started)
        for session in mine:
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
    assert min(took) < LOOK_S / 2, took


def test_nobody_accepting_for_too_long_is_said(new_relay: Callable[..., RunningRelay]) -> None:
    relay = new_relay(None, connect_wait_s=0.3)
    relay.start()
    with pytest.raises(psycopg.OperationalError, match="not accepting connections") as caught:
        relay.connect()
    assert "there is no primary" in str(caught.value)


def test_a_stopped_server_is_left_for_the_new_primary(
    new_relay: Callable[..., RunningRelay], database: Database, own_database: Database
) -> None:
    """A primary that hangs holds the connection; the link says where to go instead."""
    relay = new_relay(own_database.socket_folder)
    relay.start()
    pid = own_database.server.pid()
    assert pid is not None
    os.kill(pid, 19)
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(relay.connect)
            time.sleep(0.3)
            assert not waiting.done()
            relay.point_at(database.socket_folder)
            with waiting.result(timeout=10) as connection:
                assert connection.execute("SHOW cluster_name").fetchone() == (database.server.name,)
    finally:
        os.kill(pid, 18)


@pytest.mark.parametrize("sslmode", ["disable", "verify-full"])
def test_a_client_that_gives_up_leaves_nothing_behind(
    new_relay: Callable[..., RunningRelay], psql: str, sslmode: str
) -> None:
    relay = new_relay(None)
    relay.start()
    waiting = [
        subprocess.Popen(
            [psql, "-XAt", "-c", "SELECT 1"], env=relay.environment(sslmode=sslmode), stderr=subprocess.DEVNULL
        )
        for _ in range(3)
    ]
    wait_for("three clients wait", lambda: relay.client_sockets() == 3)
    for client in waiting:
        client.kill()
        client.wait()
    wait_for("the sockets are closed", lambda: relay.client_sockets() == 0)
