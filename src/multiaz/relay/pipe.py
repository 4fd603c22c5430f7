"""The two kinds of uvloop protocol: one that collects bytes for the login, one that forwards them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

WRITE_HIGH = 256 * 1024
"""Bytes waiting to be sent to one side above which the other side is no longer read."""
COLLECT_HIGH = 64 * 1024
"""Bytes collected before the login above which the sender is no longer read."""


class Gone(Exception):
    """The other end closed the connection."""


class Dialogue(asyncio.Protocol):
    """Collects what one side sends until the login is through.

    An end of stream counts as a closed connection: nobody half-closes before the login. One that is `held` is not
    read beyond its first bytes: the end that may follow them is heard by whom it is joined with.
    """

    def __init__(
        self, collected: bytes = b"", on_gone: Callable[[], object] | None = None, *, held: bool = False
    ) -> None:
        self._most = 0 if held else COLLECT_HIGH
        self.buffer = bytearray(collected)
        self.gone = False
        self.on_gone = on_gone
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; set once the connection is made."""
        assert self._transport is not None
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport, and bound what it may keep unsent."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's TLS transport is one by behaviour only
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        """Collect, and stop reading a sender that says more than a login needs."""
        self.buffer += data
        if len(self.buffer) > self._most:
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.gone = True
        self._wake()
        if self.on_gone is not None:
            self.on_gone()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def more(self) -> None:
        """Return when bytes came or the other end is gone."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def at_least(self, size: int) -> None:
        """Return when `size` bytes are collected. Raises Gone."""
        while len(self.buffer) < size:
            if self.gone:
                raise Gone
            await self.more()

    async def take(self, size: int) -> bytes:
        """The next `size` bytes, removed from the buffer. Raises Gone."""
        await self.at_least(size)
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken


class Pipe(asyncio.BaseProtocol):
    """Forwards what one side sends to its peer.

    `data_received` *is* the peer's `write`: no Python runs per chunk. When this side cannot take
    more, the peer is no longer read.
    """

    __slots__ = ("_on_lost", "_pass_end", "_peer", "choked", "data_received")

    def __init__(self, peer: asyncio.Transport, on_lost: Callable[[], object], *, pass_end: bool) -> None:
        self.data_received = peer.write
        self._peer = peer
        self._on_lost = on_lost
        self._pass_end = pass_end
        self.choked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing to do: the connection was made before."""

    def eof_received(self) -> bool:
        """Pass a half-close on if asked to; True keeps our side open for the peer's last words."""
        if self._pass_end and self._peer.can_write_eof() and not self._peer.is_closing():
            self._peer.write_eof()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the session."""
        self._on_lost()

    def pause_writing(self) -> None:
        """This side is slow: stop reading the peer."""
        self.choked = True
        self._peer.pause_reading()

    def resume_writing(self) -> None:
        """This side caught up: read the peer again."""
        self.choked = False
        self._peer.resume_reading()
