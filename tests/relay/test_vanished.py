"""Clients that vanish without a FIN: their machine lost power, or a cable was pulled."""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_harness import Database, RunningRelay, wait_for

from multiaz.relay import startup
from multiaz.relay.liveness import PROBES, SWEEP_S, is_gone, tcp_info, tune

GONE_AFTER_S = 3.0
SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27


def info(*, state: int = 1, retransmitted: int = 0, probed: int = 0, silent_s: float = 0) -> bytes:
    return struct.pack("=BBBB52xI44x", state, 0, retransmitted, probed, int(silent_s * 1000))


@given(st.integers(0, 255), st.integers(0, 255), st.floats(0, 1000))
def test_a_client_is_gone_only_if_it_was_asked_and_stayed_silent(
    retransmitted: int, probed: int, silent: float
) -> None:
    said = is_gone(info(retransmitted=retransmitted, probed=probed, silent_s=silent), 60)
    assert said == (max(retransmitted, probed) >= PROBES and int(silent * 1000) >= 60_000)


def test_a_connection_the_kernel_gave_up_is_gone() -> None:
    assert is_gone(info(state=7), 60)


@given(st.binary(max_size=59))
def test_where_the_kernel_tells_nothing_nobody_is_gone(part: bytes) -> None:
    assert not is_gone(part, 0.001)


@pytest.mark.parametrize("gone_after_s", [1, 6, 60, 300])
def test_keepalive_asks_within_the_bound(gone_after_s: float) -> None:
    with socket.socket() as client:
        tune(client, gone_after_s)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        interval = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        count = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert idle >= 1
        assert interval >= 1
        assert idle + interval * count <= max(gone_after_s, 1 + PROBES)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0, "it would end slow readers"
        assert tcp_info(client)[0] == 7, "the layout of tcp_info: a socket that never connected is closed"


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def vanish(client: socket.socket) -> None:
    """From now on the kernel drops whatever comes for `client`: nothing is acknowledged, and no FIN or RST is sent."""
    instruction = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))  # BPF_RET 0: keep no byte
    program = Program(1, ctypes.addressof(instruction))
    client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))


@pytest.fixture
def quick(new_relay: Callable[..., RunningRelay], database: Database) -> RunningRelay:
    relay = new_relay(database.socket_folder, gone_after_s=GONE_AFTER_S)
    relay.start()
    return relay


def backends(database: Database, pid: int) -> int:
    with database.server.connect("postgres") as admin:
        row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
    assert row is not None
    return int(str(row[0]))


def raw(connection: psycopg.Connection[Any]) -> socket.socket:
    return socket.socket(fileno=connection.pgconn.socket)


BOTH = pytest.mark.parametrize("sslmode", [pytest.param("disable", marks=pytest.mark.long), "verify-full"])


@BOTH
def test_an_idle_client_that_vanished_ends_its_backend(quick: RunningRelay, database: Database, sslmode: str) -> None:
    connection = quick.connect(sslmode=sslmode)
    pid = connection.info.backend_pid
    client = raw(connection)
    vanish(client)
    started = time.monotonic()
    assert backends(database, pid) == 1
    wait_for("the backend is gone", lambda: backends(database, pid) == 0, within_s=4 * GONE_AFTER_S)
    assert time.monotonic() - started > 1, "not before it was asked"
    client.detach()
    connection.close()


@BOTH
def test_a_client_that_vanished_under_way_ends_its_backend(
    quick: RunningRelay, database: Database, sslmode: str
) -> None:
    """With data unacknowledged no keepalive is sent: the kernel would go on for a quarter of an hour."""
    connection = quick.connect(sslmode=sslmode)
    pid = connection.info.backend_pid
    client = raw(connection)
    connection.pgconn.send_query(b"SELECT repeat('x', 100000) FROM generate_series(1, 1000)")
    connection.pgconn.flush()
    vanish(client)
    wait_for("the backend is gone", lambda: backends(database, pid) == 0, within_s=4 * (GONE_AFTER_S + SWEEP_S))
    assert "whose clients have vanished" in quick.log
    client.detach()
    connection.close()


def test_a_client_that_vanishes_beyond_a_slow_network_ends_its_backend(quick: RunningRelay, database: Database) -> None:
    """Its session reads a socket of ours; the one that is looked at is the client's own."""
    quick.follow(network={"delay_ms": 1})
    connection = quick.connect(sslmode="disable")
    pid = connection.info.backend_pid
    client = raw(connection)
    connection.pgconn.send_query(b"SELECT repeat('x', 100000) FROM generate_series(1, 1000)")
    connection.pgconn.flush()
    vanish(client)
    wait_for("the backend is gone", lambda: backends(database, pid) == 0, within_s=4 * (GONE_AFTER_S + SWEEP_S))
    client.detach()
    connection.close()


@pytest.mark.long
@BOTH
def test_a_client_that_only_reads_late_is_left_alone(quick: RunningRelay, sslmode: str) -> None:
    """Its window is closed, but it answers: longer than anyone may be gone, and past two looks."""
    with quick.connect(sslmode=sslmode) as connection:
        connection.pgconn.send_query(b"SELECT repeat('x', 100000) FROM generate_series(1, 500)")
        connection.pgconn.flush()
        time.sleep(GONE_AFTER_S + 2 * SWEEP_S + 1)
        rows = 0
        while (result := connection.pgconn.get_result()) is not None:
            rows += result.ntuples
        assert rows == 500


@pytest.mark.long
def test_a_client_that_waits_for_a_primary_and_vanishes_leaves_nothing(new_relay: Callable[..., RunningRelay]) -> None:
    relay = new_relay(None, gone_after_s=GONE_AFTER_S)
    relay.start()
    client = socket.create_connection((relay.address, relay.port), timeout=10)
    client.sendall(startup.startup_packet({"user": "app", "database": "shop"}))
    wait_for("it waits", lambda: "clients wait" in relay.log)
    vanish(client)
    wait_for("its socket is closed", lambda: relay.client_sockets() == 0, within_s=4 * GONE_AFTER_S)
    client.close()
