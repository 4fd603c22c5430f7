"""Two connections joined: what one side sends reaches the other, shaped as their network says.

Without a shape both sides have a `Pipe`, and no Python runs per chunk. With one both have a `ShapedPipe`.
The two are exchanged while the connection lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import termios
from array import array
from collections import deque
from collections.abc import Callable
from enum import Enum

from multiaz.relay.pipe import Pipe
from multiaz.relay.shape import CLEAR, Block, Lane, Shape

LINGER_S = 5.0
"""How long the side that is being closed may take none of the last bytes."""
LINGER_AT_MOST_S = 600.0
"""How long it may take them all, a little at a time: it has a descriptor of ours meanwhile."""


class _Mark(Enum):
    """What travels in the queue beside bytes."""

    HALF = "half-close"
    END = "end of the connection"


class Network:
    """What lies between the two sides of all pairs that were made on it."""

    def __init__(self, shape: Shape = CLEAR) -> None:
        self.shape = shape
        self.pairs: set[Pair] = set()
        self.there = Lane(shape)
        self.back = Lane(shape)
        self._passable = asyncio.Event()
        self.change(shape)

    def change(self, shape: Shape) -> None:
        """Shape the traffic of all pairs, also of those that are open, from now on."""
        if shape.block is Block.SILENT:
            self._passable.clear()
        else:
            self._passable.set()
        if shape == self.shape:
            return
        self.shape = shape
        self.there.change(shape)
        self.back.change(shape)
        for pair in list(self.pairs):
            pair.reshape()

    @property
    def silent(self) -> bool:
        """Nothing passes, and nobody is told."""
        return self.shape.block is Block.SILENT

    async def passable(self) -> None:
        """Return when the network is not silent."""
        await self._passable.wait()


class Pair:
    """`left` is the side that asked for the connection. Both transports are reading from now on.

    `half_closes`: an end of `left`'s stream is passed on, and `right`'s answer still reaches `left`.
    """

    def __init__(
        self,
        network: Network,
        left: asyncio.Transport,
        right: asyncio.Transport,
        on_end: Callable[[], object],
        *,
        half_closes: bool = False,
    ) -> None:
        self._network = network
        self._left = left
        self._right = right
        self._on_end = on_end
        self._half_closes = half_closes
        self._pipes: tuple[Pipe | ShapedPipe, Pipe | ShapedPipe] | None = None
        self._ended = False
        network.pairs.add(self)
        self.reshape()

    def begin(self, from_left: bytes, from_right: bytes) -> None:
        """Pass on what both sides said before they were joined."""
        if self._pipes is not None:
            there, back = self._pipes
            back.data_received(from_right)
            there.data_received(from_left)

    def reshape(self) -> None:
        """Pass on traffic as the network's shape is now."""
        shape = self._network.shape
        if shape.block is Block.CUT:
            self.abort()
        elif self._ended:
            if not self._network.silent:
                self._close()
        elif shape.clear:
            self._forward()
        else:
            self._shape()

    def end(self) -> None:
        """Close both sides; what was sent already is still delivered.

        A side beyond a silent network learns of it only when that is healed.
        """
        if self._ended:
            return
        self._ended = True
        self._on_end()
        if self._network.silent:
            close_soon(self._right)
        else:
            self._close()

    def abort(self) -> None:
        """Break both connections; nothing more is delivered."""
        self._network.pairs.discard(self)
        self._left.abort()
        self._right.abort()
        if not self._ended:
            self._ended = True
            self._on_end()

    def _close(self) -> None:
        self._network.pairs.discard(self)
        if self._pipes is not None:
            for pipe in self._pipes:
                if isinstance(pipe, ShapedPipe):
                    pipe.release()
        close_soon(self._left)
        close_soon(self._right)

    def _forward(self) -> None:
        before = self._pipes
        there = Pipe(self._right, self.end, pass_end=self._half_closes)
        back = Pipe(self._left, self.end, pass_end=False)
        self._pipes = there, back
        self._left.set_protocol(there)
        self._right.set_protocol(back)
        if before is None:
            self._left.resume_reading()
            self._right.resume_reading()
            return
        there.choked, back.choked = before[0].choked, before[1].choked
        for old in before:
            if isinstance(old, ShapedPipe):
                old.release()
        for source, other in ((self._left, back), (self._right, there)):
            if not source.is_closing() and not other.choked:
                source.resume_reading()

    def _shape(self) -> None:
        before = self._pipes
        if before is not None and isinstance(before[0], ShapedPipe) and isinstance(before[1], ShapedPipe):
            before[0].reshape()
            before[1].reshape()
            return
        there = ShapedPipe(self._network, self._network.there, self._left, self._right, self.end, self._half_closes)
        back = ShapedPipe(self._network, self._network.back, self._right, self._left, self.end, False)
        there.other, back.other = back, there
        if before is not None:
            there.choked, back.choked = before[0].choked, before[1].choked
        self._pipes = there, back
        self._left.set_protocol(there)
        self._right.set_protocol(back)
        there.reshape()
        back.reshape()


class ShapedPipe(asyncio.Protocol):
    """Forwards what `source` sends to `target` when its lane says so.

    What is under way is bounded: beyond the shape's window the source is no longer read. An end of the stream
    travels like bytes.
    """

    def __init__(
        self, network: Network, lane: Lane, source: asyncio.Transport, target: asyncio.Transport,
        end: Callable[[], object], pass_end: bool,
    ) -> None:  # fmt: skip
        self.choked = False
        """`source` cannot take more of what the other direction writes."""
        self.other: ShapedPipe
        self._network = network
        self._lane = lane
        self._source = source
        self._target = target
        self._end = end
        self._pass_end = pass_end
        self._queue: deque[tuple[float, bytes | _Mark]] = deque()
        self._queued = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        """`source` has said its last byte: to read on would bring its end again, and again."""

    def data_received(self, data: bytes) -> None:
        """Put the bytes on their way."""
        self._put(data)
        self._pump()

    def eof_received(self) -> bool:
        """Put a half-close on its way if asked to; True keeps our side open for the peer's last words."""
        if not self._pass_end:
            return False
        if not self._ended:
            self._ended = True
            self._put(_Mark.HALF)
            self._pump()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Put the end of the connection on its way."""
        self._put(_Mark.END)
        self._pump()

    def pause_writing(self) -> None:
        """Our source is slow to take what the other direction delivers."""
        self.choked = True

    def resume_writing(self) -> None:
        """It caught up."""
        self.choked = False
        self.other._pump()

    def reshape(self) -> None:
        """Send what is under way anew, as the shape is now."""
        waiting = [part for _, part in self._queue]
        self._queue.clear()
        self._queued = 0
        for part in waiting:
            self._put(part)
        self._pump()

    def release(self) -> None:
        """Deliver everything at once; the shape is gone."""
        self._stop_timer()
        while self._queue:
            _, part = self._queue.popleft()
            self._deliver(part)
        self._queued = 0

    def _put(self, part: bytes | _Mark) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(part, _Mark):
            self._queue.append((self._lane.send(0, now), part))
            return
        self._queued += len(part)
        piece = self._lane.shape.piece_bytes
        for at in range(0, len(part), piece):
            cut = part[at : at + piece]
            self._queue.append((self._lane.send(len(cut), now), cut))

    def _pump(self) -> None:
        """Deliver what is due, and come back for the rest."""
        self._stop_timer()
        loop = asyncio.get_running_loop()
        held = self._network.silent or self.other.choked
        while self._queue and not held:
            due, part = self._queue[0]
            if due > loop.time():
                self._timer = loop.call_at(due, self._pump)
                break
            self._queue.popleft()
            if not isinstance(part, _Mark):
                self._queued -= len(part)
            self._deliver(part)
            held = self.other.choked
        if self._ended or self._source.is_closing():
            return
        if self._network.silent or self._queued >= self._lane.shape.window_bytes:
            self._source.pause_reading()
        else:
            self._source.resume_reading()

    def _deliver(self, part: bytes | _Mark) -> None:
        if part is _Mark.END:
            self._end()
        elif self._target.is_closing():
            return
        elif isinstance(part, _Mark):
            if self._target.can_write_eof():
                self._target.write_eof()
        else:
            self._target.write(part)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def close_soon(transport: asyncio.Transport) -> None:
    """Close `transport` after its last bytes, or without them if for `LINGER_S` nobody takes any."""
    transport.close()
    _linger(transport, None, asyncio.get_running_loop().time() + LINGER_AT_MOST_S)


def _linger(transport: asyncio.Transport, before: int | None, until: float) -> None:
    """Look again as long as less is unsent than `before`, and not after `until` (loop time)."""
    if not transport.get_write_buffer_size():
        return
    loop, unsent = asyncio.get_running_loop(), _unsent(transport)
    if loop.time() >= until or (before is not None and unsent >= before):
        transport.abort()
    else:
        loop.call_later(LINGER_S, _linger, transport, unsent, until)


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes the other side has not taken: ours, and the kernel's, as it asks for more only when a good part is gone."""
    kernels = array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, kernels)
    return transport.get_write_buffer_size() + kernels[0]
