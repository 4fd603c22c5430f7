"""The encrypted side of a client, against OpenSSL's own client in memory: whatever way bytes are cut, all arrive."""

from __future__ import annotations

import _ssl
import asyncio
import ctypes
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from relay_harness import Authority

from multiaz.relay.tls import MOST_ANSWERED, SLICE_BYTES, TlsTransport, server_context

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


class Below(asyncio.Transport):
    """The TCP transport: keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.drains = True
        self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        assert not self.is_closing(), "nothing is written to a closed transport"
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0 if self.drains else len(self.written)

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Above(asyncio.Protocol):
    """Whoever speaks with the client."""

    def __init__(self) -> None:
        self.made = self.lost = False
        self.got = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert not self.made
        self.made = True

    def data_received(self, data: bytes) -> None:
        assert self.made, "no byte before the connection"
        self.got += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Talk:
    """A client in memory before a TlsTransport."""

    def __init__(self, context: ssl.SSLContext, client: ssl.SSLContext, cut: Callable[[int], int]) -> None:
        self.below, self.above = Below(), Above()
        self.transport = TlsTransport(context, self.above)
        self.transport.connection_made(self.below)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self._in, self._out)
        self._cut = cut

    def to_relay(self) -> None:
        waiting = self._out.read()
        while waiting:
            size = max(1, self._cut(len(waiting)))
            self.transport.data_received(waiting[:size])
            waiting = waiting[size:]

    def to_client(self) -> None:
        self._in.write(bytes(self.below.written))
        self.below.written.clear()

    def shake_hands(self) -> None:
        for _ in range(6):
            try:
                self.client.do_handshake()
                self.to_relay()
                return
            except ssl.SSLWantReadError:
                self.to_relay()
                self.to_client()
        raise AssertionError("no end of the handshake")

    def ask_for_a_key_update(self) -> None:
        """KeyUpdate(update_requested), RFC 8446, section 4.6.3: the relay has to answer. Python has no call for it."""
        try:
            update = ctypes.CDLL(_ssl.__file__).SSL_key_update  # of the library that Python uses
        except AttributeError:
            pytest.skip("this Python has OpenSSL built in")
        update.argtypes = [ctypes.c_void_p, ctypes.c_int]
        # struct PySSLSocket: the head of every object, the socket, the SSL
        handle = ctypes.c_void_p.from_address(id(cast(Any, self.client)._sslobj) + object.__basicsize__ + 8)
        assert update(handle, 1) == 1
        self.client.do_handshake()
        self.to_relay()

    def read(self) -> bytes:
        self.to_client()
        got = b""
        try:
            while part := self.client.read(65536):
                got += part
        except ssl.SSLWantReadError:
            pass
        return got


@pytest.fixture(scope="module")
def contexts(base: Path, authority: Authority) -> tuple[ssl.SSLContext, Callable[[ssl.TLSVersion], ssl.SSLContext]]:
    folder = base / "tls"
    folder.mkdir()
    server = server_context(*authority.issue(folder, "127.0.0.1"))

    def client(version: ssl.TLSVersion) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(authority.pem))
        context.check_hostname = False
        context.minimum_version = context.maximum_version = version
        return context

    return server, client


def talk(contexts: Any, version: ssl.TLSVersion, work: Callable[[Talk], None], cut: Callable[[int], int] = int) -> None:
    async def run() -> None:
        made = Talk(contexts[0], contexts[1](version), cut)
        made.shake_hands()
        await made.transport.handshake()
        work(made)

    asyncio.run(run())


@VERSIONS
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=st.lists(st.integers(1, 3 * SLICE_BYTES), min_size=1, max_size=5), step=st.integers(7, 300_000))
def test_every_byte_arrives_however_the_stream_is_cut(
    contexts: Any, version: ssl.TLSVersion, said: list[int], step: int
) -> None:
    def work(made: Talk) -> None:
        sent = b""
        for number, size in enumerate(said):
            part = bytes([number]) * size
            sent += part
            done = 0
            while done < size:
                done += made.client.write(part[done:])
            made.transport.write(part)
        made.to_relay()
        assert bytes(made.above.got) == sent
        assert made.read() == sent

    talk(contexts, version, work, lambda size: min(size, step))


@VERSIONS
def test_what_comes_with_the_last_handshake_message_is_not_lost(contexts: Any, version: ssl.TLSVersion) -> None:
    """A client need not wait after its Finished: it may say who it is in the same packet."""

    async def run() -> None:
        made = Talk(contexts[0], contexts[1](version), int)
        while True:
            try:
                made.client.do_handshake()
            except ssl.SSLWantReadError:
                made.to_relay()
                made.to_client()
                continue
            made.client.write(b"hello")
            made.to_relay()
            break
        await made.transport.handshake()
        assert bytes(made.above.got) == b"hello"

    asyncio.run(run())


@VERSIONS
def test_closing_says_so_after_the_last_bytes(contexts: Any, version: ssl.TLSVersion) -> None:
    def work(made: Talk) -> None:
        made.transport.write(b"last words")
        made.transport.close()
        made.transport.close()
        made.transport.write(b"too late")
        assert made.below.closed
        made.to_client()
        assert made.client.read(100) == b"last words"
        assert made.client.read(100) == b"", "close_notify: it is not cut off"

    talk(contexts, version, work)


@VERSIONS
def test_nothing_is_delivered_after_closing(contexts: Any, version: ssl.TLSVersion) -> None:
    def work(made: Talk) -> None:
        first = made.above.data_received

        def close_at_once(data: bytes) -> None:
            first(data)
            made.transport.close()

        made.above.data_received = close_at_once  # type: ignore[method-assign]
        made.client.write(b"one")
        made.client.write(b"two")
        made.to_relay()
        assert bytes(made.above.got) == b"one"

    talk(contexts, version, work)


@VERSIONS
def test_a_clients_close_notify_ends_the_connection(contexts: Any, version: ssl.TLSVersion) -> None:
    def work(made: Talk) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            made.client.unwrap()
        made.to_relay()
        assert made.below.closed
        made.transport.connection_lost(None)
        assert made.above.lost

    talk(contexts, version, work)


@VERSIONS
def test_a_forged_record_breaks_the_connection(contexts: Any, version: ssl.TLSVersion) -> None:
    def work(made: Talk) -> None:
        made.client.write(b"genuine")
        record = bytearray(made._out.read())
        record[-1] ^= 1
        made.transport.data_received(bytes(record))
        assert made.below.aborted
        assert not made.above.got
        made.transport.write(b"x")

    talk(contexts, version, work)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x15\x03\x03\x00\x02\x02\x28"]
)
def test_a_handshake_that_is_none_is_told_and_closed(contexts: Any, garbage: bytes) -> None:
    async def run() -> None:
        made = Talk(contexts[0], contexts[1](ssl.TLSVersion.TLSv1_3), int)
        made.transport.data_received(garbage)
        with pytest.raises(ssl.SSLError):
            await made.transport.handshake()
        assert made.below.closed
        assert not made.above.made

    asyncio.run(run())


def test_a_client_that_leaves_during_the_handshake_is_gone(contexts: Any) -> None:
    async def run() -> None:
        made = Talk(contexts[0], contexts[1](ssl.TLSVersion.TLSv1_3), int)
        made.transport.connection_lost(None)
        with pytest.raises(ConnectionResetError):
            await made.transport.handshake()
        assert not made.above.made

    asyncio.run(run())


def test_a_client_that_makes_tls_answer_and_reads_nothing_is_cut(contexts: Any) -> None:
    """Nobody else bounds these answers: the relay kept them all."""

    def work(made: Talk) -> None:
        made.below.drains = False
        for _ in range(MOST_ANSWERED):
            made.ask_for_a_key_update()
            if made.below.aborted:
                break
        assert made.below.aborted
        assert 0 < len(made.below.written) <= MOST_ANSWERED

    talk(contexts, ssl.TLSVersion.TLSv1_3, work)


def test_a_client_that_reads_its_result_late_may_update_its_keys(contexts: Any) -> None:
    """What waits for it then is the result, however much; and answers it has read count no more."""

    def work(made: Talk) -> None:
        result = b"r" * (64 * MOST_ANSWERED)
        made.below.drains = False
        made.transport.write(result)
        for _ in range(20):
            made.ask_for_a_key_update()
        assert made.read() == result
        made.below.drains = True
        for _ in range(MOST_ANSWERED // 16):
            made.ask_for_a_key_update()
        assert not made.below.aborted
        assert made.read() == b""
        made.client.write(b"still here")
        made.to_relay()
        assert bytes(made.above.got) == b"still here"

    talk(contexts, ssl.TLSVersion.TLSv1_3, work)
