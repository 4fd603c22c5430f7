"""The endpoint's TLS: its context, and a transport that encrypts what passes over another one.

uvloop has such a transport for every use. This one knows that a client neither renegotiates nor half-closes nor hands
the connection back, and takes two calls per record: see docs/decisions/0010.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any, cast

from multiaz.relay.startup import ALPN

RECORD_BYTES = 16_384
"""Most plain bytes in one record. Source: RFC 8446, section 5.1."""
SLICE_BYTES = 4 * RECORD_BYTES
"""Encrypted at once: a MemoryBIO keeps the room it once needed for as long as the client stays."""

MOST_ANSWERED = RECORD_BYTES
"""Bytes of TLS's own answers that may wait for a client: one to a key update is 27 long, and nobody needs hundreds."""


class BadCertificate(Exception):
    """The certificate or its key cannot be used; the text says why."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context that serves `certificate`; TLS 1.2 or later, as PostgreSQL's default. Raises BadCertificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As the server itself: no tickets, no compression, no renegotiation.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise BadCertificate(f"certificate {certificate} or its key cannot be used: {error}") from error
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The encrypted side of a client: a transport to `protocol`, and itself the protocol of the TCP transport below."""

    def __init__(self, context: ssl.SSLContext, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._protocol: Any = protocol
        self._below: asyncio.Transport
        self._shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing = False
        self._answered = 0
        """Bytes of TLS's own answers since everything was last sent."""

    async def handshake(self) -> None:
        """Return when the client speaks TLS. Raises ssl.SSLError or ConnectionResetError; all is closed then."""
        try:
            await self._shaken
        except ssl.SSLError:
            self._below.close()  # after the alert that says what is wrong
            raise
        except BaseException:
            self._below.abort()
            raise

    # -- as the protocol of the transport below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where encrypted bytes go."""
        self._below = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Decrypt and deliver, record by record; none after this side was closed."""
        incoming = self._incoming
        incoming.write(data)
        try:
            if not self._shaken.done() and not self._shake():
                return
            while plain := self._ssl.read(RECORD_BYTES):
                self._protocol.data_received(plain)
                if self._closing or not incoming.pending:
                    break
            else:  # close_notify
                self.close()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._send()
            self.abort()
        if self._outgoing.pending:  # an answer of TLS itself, such as a key update
            self._answer()

    def _answer(self) -> None:
        """Send what TLS itself has to say, unless the client only asks and reads nothing.

        Only these answers are counted, because nobody else bounds them: what the protocol above writes is bounded by
        `pause_writing`, and may fill the transport below for as long as an honest client reads slowly.
        """
        if not self._below.get_write_buffer_size():
            self._answered = 0
        self._answered += self._outgoing.pending
        if self._answered > MOST_ANSWERED:
            self.abort()
        else:
            self._send()

    def _shake(self) -> bool:
        """Go on with the handshake; True once it is through."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return False
        except ssl.SSLError as error:
            self._send()
            self._shaken.set_exception(error)
            return False
        self._send()
        self._shaken.set_result(None)
        self._protocol.connection_made(self)
        return True

    def _send(self) -> None:
        if self._outgoing.pending and not self._below.is_closing():
            self._below.write(self._outgoing.read())

    def eof_received(self) -> bool:
        """The end of the stream is the end of the connection."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._closing = True
        if not self._shaken.done():
            self._shaken.set_exception(ConnectionResetError("the client left during the handshake"))
        else:
            self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the client is slow."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it caught up."""
        self._protocol.resume_writing()

    # -- as the transport of the protocol above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._closing or not data:
            return
        if len(data) > SLICE_BYTES:
            for at in range(0, len(data), SLICE_BYTES):
                self.write(memoryview(data)[at : at + SLICE_BYTES])
            return
        try:
            sent = self._ssl.write(data)
            while sent < len(data):
                sent += self._ssl.write(memoryview(data)[sent:])
        except ssl.SSLError:
            self.abort()
            return
        self._below.write(self._outgoing.read())

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Deliver to `protocol` from now on."""
        self._protocol = protocol

    def close(self) -> None:
        """Say close_notify after the last bytes and close; the client's close_notify is not waited for."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(ssl.SSLError):
            self._ssl.unwrap()
        self._send()
        self._below.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._below.abort()

    def is_closing(self) -> bool:
        """Nothing more is sent or delivered."""
        return self._closing

    def can_write_eof(self) -> bool:
        """TLS is not half-closed here."""
        return False

    def pause_reading(self) -> None:
        """Stop reading; what the last read brought is still delivered."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._below.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that are not sent yet."""
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol above is told that the client is slow, in encrypted bytes."""
        self._below.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, or what the transport below knows."""
        return self._ssl if name == "ssl_object" else self._below.get_extra_info(name, default)
