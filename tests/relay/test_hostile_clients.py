"""Clients that do not keep to the protocol, or to good manners."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable

import psycopg
import pytest
from relay_harness import Database, RunningRelay, dial, tls, wait_for

from multiaz.relay import startup

SSL_REQUEST = struct.pack("!II", 8, startup.SSL_CODE)


def everything(client: socket.socket) -> bytes:
    """All the relay still sends until it closes."""
    got = b""
    try:
        while part := client.recv(65536):
            got += part
    except (ConnectionResetError, ssl.SSLError):
        pass
    return got


def errors(answer: bytes) -> dict[str, str]:
    message = startup.read_message(answer)
    assert message is not None and message.kind == "E", answer
    return startup.read_error(message.payload)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 64,
        struct.pack("!II", 10_001, 3 << 16) + b"x" * 20_000,
        struct.pack("!II", 20, 3 << 16) + b"user\0app\0xyz",
    ],
)
def test_garbage_and_oversized_startups_are_protocol_violations(relay: RunningRelay, garbage: bytes) -> None:
    with dial(relay) as client:
        client.sendall(garbage)
        answer = everything(client)
    if answer:
        assert errors(answer)["C"] in ("08P01", "0A000")
    with relay.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_protocol_2_is_refused_in_the_servers_words(relay: RunningRelay) -> None:
    with dial(relay) as client:
        client.sendall(struct.pack("!II", 8, 2 << 16))
        assert errors(everything(client))["M"].startswith("unsupported frontend protocol 2.0: server supports")


def test_bytes_before_the_handshake_are_refused(relay: RunningRelay) -> None:
    """CVE-2021-23222: what somebody puts before the handshake must never count as the client's."""
    with dial(relay) as client:
        client.sendall(SSL_REQUEST + startup.startup_packet({"user": "app", "database": "shop"}))
        assert everything(client) == b""
    wait_for("it is logged", lambda: "received unencrypted data after SSL request" in relay.log)


def test_plain_text_after_the_yes_is_no_session(relay: RunningRelay) -> None:
    with dial(relay) as client:
        client.sendall(SSL_REQUEST)
        assert client.recv(1) == b"S"
        client.sendall(startup.startup_packet({"user": "app", "database": "shop"}))
        assert b"R\0\0" not in everything(client)


def test_encryption_inside_encryption_is_refused(relay: RunningRelay) -> None:
    with dial(relay) as client:
        client.sendall(SSL_REQUEST)
        assert client.recv(1) == b"S"
        with tls(relay, client) as inner:
            inner.sendall(SSL_REQUEST)
            assert errors(everything(inner))["C"] == "08P01"


def test_direct_tls_without_alpn_is_refused(relay: RunningRelay) -> None:
    """Otherwise a browser could be made to speak to the endpoint (ALPACA)."""
    with dial(relay) as client, tls(relay, client, alpn=False) as inner:
        try:
            inner.sendall(startup.startup_packet({"user": "app", "database": "shop"}))
        except OSError:
            return
        assert everything(inner) == b""


def test_negotiated_tls_needs_no_alpn(relay: RunningRelay) -> None:
    with dial(relay) as client:
        client.sendall(SSL_REQUEST)
        assert client.recv(1) == b"S"
        with tls(relay, client, alpn=False) as inner:
            inner.sendall(startup.startup_packet({"user": "app", "database": "shop"}))
            assert inner.recv(1) == b"R"


def test_old_tls_versions_are_refused(relay: RunningRelay) -> None:
    with dial(relay) as client:
        client.sendall(SSL_REQUEST)
        assert client.recv(1) == b"S"
        context = ssl.create_default_context(cafile=str(relay.ca))
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(client, server_hostname=relay.address)


@pytest.mark.parametrize(
    "first", [b"", b"\0\0", SSL_REQUEST[:7], SSL_REQUEST, b"\x16", struct.pack("!II", 40, 3 << 16)]
)
def test_a_slow_startup_is_closed_in_time(
    new_relay: Callable[..., RunningRelay], database: Database, first: bytes
) -> None:
    relay = new_relay(database.socket_folder, startup_timeout_s=0.5)
    relay.start()
    with dial(relay) as client:
        started = time.monotonic()
        client.sendall(first)
        assert everything(client) in (b"", b"S")
        assert 0.3 < time.monotonic() - started < 5


def test_a_startup_byte_by_byte_is_understood(relay: RunningRelay) -> None:
    with dial(relay) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in startup.startup_packet({"user": "app", "database": "shop"}):
            client.sendall(bytes([byte]))
        assert client.recv(1) == b"R"


def test_a_client_that_says_more_than_a_login_needs_is_not_read_on(new_relay: Callable[..., RunningRelay]) -> None:
    """What is sent before the primary answers is bounded, and nothing of it is lost or passed early."""
    relay = new_relay(None)
    relay.start()
    with dial(relay) as client:
        client.sendall(startup.startup_packet({"user": "app", "database": "shop"}))
        client.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 200_000_000:
                sent += client.send(b"x" * 65536)
        assert sent < 20_000_000


def test_a_half_closed_client_still_gets_its_answer(relay: RunningRelay) -> None:
    """A client may close its sending side after its last query and read until the end."""
    connection = psycopg.connect(**relay.dsn(sslmode="disable"))
    raw = socket.socket(fileno=connection.pgconn.socket)
    try:
        query = b"SELECT pg_sleep(0.3), 'the answer'\0"
        raw.sendall(b"Q" + struct.pack("!I", len(query) + 4) + query)
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(10)
        got = b""
        while part := raw.recv(65536):
            got += part
        assert b"the answer" in got
    finally:
        raw.detach()
        connection.close()


def test_a_vanished_client_ends_its_backend(relay: RunningRelay, database: Database, psql: str) -> None:
    client = subprocess.Popen([psql, "-XAt"], env=relay.environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with database.server.connect("postgres") as admin:

        def backends() -> int:
            row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'").fetchone()
            assert row is not None
            return int(str(row[0]))

        wait_for("psql is connected", lambda: backends() == 1)
        client.kill()  # no goodbye
        client.communicate()
        wait_for("the backend is gone", lambda: backends() == 0)
