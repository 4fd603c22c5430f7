"""What a network does to bytes, as values: how late, how fast, or not at all. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

SMOOTH_S = 0.02
"""A slow network delivers in pieces that take it about this long."""
LEAST_PIECE = 512
"""Smallest piece, in bytes; about a packet."""
WINDOW_BYTES = 1024 * 1024
"""Most bytes under way per connection and direction, as a TCP window bounds them."""
LEAST_WINDOW_BYTES = 16 * 1024
QUEUE_S = 0.25
"""How much a slow network buffers, as the time it needs to deliver it."""


class Block(Enum):
    """Whether anything passes."""

    NO = False
    SILENT = True
    """A partition: nothing passes and nobody is told. What was sent arrives after healing, as TCP would have it."""
    CUT = "cut"
    """Connections are broken at once and new ones end at once."""


@dataclass(frozen=True)
class Shape:
    """How traffic passes, each direction on its own."""

    delay_s: float = 0.0
    """Added to each direction, so a round trip takes twice this longer."""
    bytes_per_s: float | None = None
    """Shared by all connections of one direction; None: no bound."""
    block: Block = Block.NO

    @property
    def clear(self) -> bool:
        """Traffic passes as if there were no shape."""
        return self == CLEAR

    @property
    def window_bytes(self) -> int:
        """Bytes one connection may have under way before its sender is no longer read."""
        if self.bytes_per_s is None:
            return WINDOW_BYTES
        return int(min(WINDOW_BYTES, max(LEAST_WINDOW_BYTES, self.bytes_per_s * (self.delay_s + QUEUE_S))))

    @property
    def piece_bytes(self) -> int:
        """How much is delivered at once."""
        if self.bytes_per_s is None:
            return WINDOW_BYTES
        return int(min(WINDOW_BYTES, max(LEAST_PIECE, self.bytes_per_s * SMOOTH_S)))


CLEAR = Shape()


@dataclass
class Lane:
    """One direction of a network, which all its connections share."""

    shape: Shape = CLEAR
    _free_at: float = field(default=0.0, repr=False)

    def change(self, shape: Shape) -> None:
        """From now on traffic passes by `shape`; what waited for the old one waits no longer."""
        self.shape, self._free_at = shape, 0.0

    def send(self, size: int, now: float) -> float:
        """When `size` bytes handed over at `now` arrive; takes the lane for the time they need."""
        begin = max(now, self._free_at)
        rate = self.shape.bytes_per_s
        self._free_at = begin + (size / rate if rate is not None else 0.0)
        return self._free_at + self.shape.delay_s
