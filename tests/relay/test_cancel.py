"""Cancel requests come on connections of their own: they must reach the right backend, or nobody."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from relay_harness import PASSWORD, Database, RunningRelay, dial, tls, wait_for

from multiaz.relay import startup


@pytest.fixture(scope="module")
def former(make_database: Callable[[str], Database]) -> Database:
    """A server that was the primary."""
    return ask_in_clear(make_database("former"))


@pytest.fixture(scope="module")
def successor(make_database: Callable[[str], Database]) -> Database:
    """The server that becomes the primary."""
    return ask_in_clear(make_database("successor"))


def ask_in_clear(database: Database) -> Database:
    """Have the server ask for the password itself, so that a client made by hand can log in."""
    hba = database.server.data / "pg_hba.conf"
    hba.write_text("local all app password\n" + hba.read_text())
    database.server.reload()
    return database


def sleeping(database: Database) -> int:
    with database.server.connect("postgres") as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


@pytest.mark.parametrize("sslmode", ["disable", "verify-full"])
def test_control_c_in_psql_cancels_its_query(relay: RunningRelay, database: Database, psql: str, sslmode: str) -> None:
    relay.follow(force_ssl=sslmode != "disable")
    client = subprocess.Popen(
        [psql, "-XAt", "-c", "SELECT pg_sleep(60)"], env=relay.environment(sslmode=sslmode),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for("it runs", lambda: sleeping(database) == 1)
    client.send_signal(signal.SIGINT)
    _, said = client.communicate(timeout=20)
    assert "canceling statement due to user request" in said


def log_in(relay: RunningRelay) -> tuple[socket.socket, int, bytes]:
    """A plain session made by hand, the pid of its backend and its cancel key."""
    client = socket.create_connection((relay.address, relay.port), timeout=10)
    client.sendall(startup.startup_packet({"user": "app", "database": "shop"}))
    assert client.recv(9) == startup.ASK_CLEARTEXT_PASSWORD
    secret = PASSWORD.encode() + b"\0"
    client.sendall(b"p" + struct.pack("!I", len(secret) + 4) + secret)
    got = b""
    while True:
        got += client.recv(65536)
        at = 0
        while (message := startup.read_message(got, at)) is not None:
            if message.kind == "K":
                return client, struct.unpack("!I", message.payload[:4])[0], message.payload[4:]
            assert message.kind != "E", startup.read_error(message.payload)
            at = message.end


def request(pid: int, key: bytes) -> bytes:
    return struct.pack("!III", 12 + len(key), startup.CANCEL_CODE, pid) + key


def cancel(relay: RunningRelay, pid: int, key: bytes) -> float:
    """Send a cancel request and return the seconds until the endpoint closes the connection."""
    started = time.monotonic()
    with socket.create_connection((relay.address, relay.port), timeout=20) as client:
        client.sendall(request(pid, key))
        assert client.recv(1) == b"", "like the server, it answers nothing"
    return time.monotonic() - started


def test_a_key_of_the_former_primary_cancels_nobody_on_the_new_one(
    new_relay: Callable[..., RunningRelay], former: Database, successor: Database
) -> None:
    """Even if the pid is that of a backend there: pids of two servers do coincide."""
    relay = new_relay(former.socket_folder)
    relay.start()
    old, _, old_key = log_in(relay)
    relay.point_at(successor.socket_folder)
    assert relay.process is not None
    relay.process.send_signal(signal.SIGHUP)
    assert until_closed(old), "the old session is over"
    new, new_pid, new_key = log_in(relay)
    query = b"SELECT pg_sleep(60)\0"
    new.sendall(b"Q" + struct.pack("!I", len(query) + 4) + query)
    wait_for("it runs", lambda: sleeping(successor) == 1)
    assert old_key != new_key
    cancel(relay, new_pid, old_key)
    wait_for(
        "the server has refused it",
        lambda: "wrong key in cancel request" in log_of(successor),
    )
    assert sleeping(successor) == 1
    cancel(relay, new_pid, new_key)
    wait_for("the right key does cancel it", lambda: sleeping(successor) == 0)
    new.close()


def until_closed(client: socket.socket) -> bool:
    """True once the endpoint has closed the connection; whatever still comes is read over."""
    with client:
        while client.recv(65536):
            pass
    return True


def log_of(database: Database) -> str:
    return "".join(path.read_text() for path in database.server.log_folder.glob("postgresql.log.*"))


def test_a_cancel_request_without_a_primary_is_dropped_at_once(new_relay: Callable[..., RunningRelay]) -> None:
    relay = new_relay(None)
    relay.start()
    assert cancel(relay, 1, b"1234") < 5
    assert "a cancel request was dropped" in relay.log


def test_a_cancel_request_to_a_hung_primary_ends(new_relay: Callable[..., RunningRelay], successor: Database) -> None:
    relay = new_relay(successor.socket_folder)
    relay.start()
    pid = successor.server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert cancel(relay, 1, b"1234") < 15
        wait_for("it is told", lambda: "a cancel request was given up: the primary did not take it" in relay.log)
        assert "startup" not in relay.log
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("network", [None, {"delay_ms": 1}], ids=["clear", "shaped"])
@pytest.mark.parametrize("half", [False, True], ids=["closes", "half-closes"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_a_client_may_leave_right_after_its_cancel_request(
    new_relay: Callable[..., RunningRelay],
    successor: Database,
    encrypted: bool,
    half: bool,
    network: dict[str, Any] | None,
) -> None:
    """As drivers do that wait for no answer; PostgreSQL itself carries the request out."""
    relay = new_relay(successor.socket_folder, network=network)
    relay.start()
    client, pid, key = log_in(relay)
    query = b"SELECT pg_sleep(60)\0"
    with client:
        for _ in range(5):
            client.sendall(b"Q" + struct.pack("!I", len(query) + 4) + query)
            wait_for("it runs", lambda: state(successor, pid) == "active")
            ask_and_leave(relay, request(pid, key), encrypted=encrypted, half=half)
            wait_for("it is cancelled", lambda: state(successor, pid) == "idle")


def state(database: Database, pid: int) -> str:
    """Of one backend, as pg_stat_activity has it."""
    with database.server.connect("postgres") as admin:
        row = admin.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
    assert row is not None
    return str(row[0])


def ask_and_leave(relay: RunningRelay, packet: bytes, *, encrypted: bool, half: bool) -> None:
    """Send `packet` and the end of the stream at once; who half-closes reads until the endpoint closes."""
    with dial(relay) as client:
        sender = client
        if encrypted:
            client.sendall(struct.pack("!II", 8, startup.SSL_CODE))
            assert client.recv(1) == b"S"
            sender = tls(relay, client)
        with sender:
            sender.sendall(packet)
            if half:
                socket.socket.shutdown(sender, socket.SHUT_WR)  # TLS is left open: only the stream ends
                assert until_closed(sender)
