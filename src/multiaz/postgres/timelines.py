"""Timelines: which history a server's WAL belongs to, and whether it may follow another server. Pure.

Every promotion begins a timeline; its history file says where each ancestor was left.
Source: PostgreSQL manual, "Timelines" (Continuous Archiving) and "TIMELINE_HISTORY" (Streaming Replication Protocol).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class History:
    """A timeline and how it came about."""

    timeline: int
    left: tuple[tuple[int, int], ...] = ()
    """Ancestors, oldest first: timeline, and the WAL position (bytes) at which it was left."""


def position_of(text: str) -> int:
    """Bytes of WAL, of a position as PostgreSQL writes it ("16/B374D848")."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def parse_history(timeline: int, text: str) -> History:
    """The history a history file tells. Timeline 1 has no file: `text` is empty then."""
    left: list[tuple[int, int]] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].isdigit():
            left.append((int(words[0]), position_of(words[1])))
    return History(timeline, tuple(left))


def fork(follower: History, replayed: int | None, upstream: History) -> str | None:
    """Why a server with this history, which has replayed so much, must not follow the upstream; None if it may.

    It may if all it has is a beginning of what the upstream has. The numbers alone do not tell: two servers that
    were promoted apart both call their timeline 2.
    """
    for (own, own_end), (its, its_end) in zip(follower.left, upstream.left, strict=False):
        if (own, own_end) != (its, its_end):
            return _apart(min(own_end, its_end), own)
    depth = len(follower.left)
    if depth > len(upstream.left):
        return f"it is on timeline {follower.timeline}, which its upstream (on {upstream.timeline}) never was on"
    if depth == len(upstream.left):
        if follower.timeline != upstream.timeline:
            return f"it is on timeline {follower.timeline}, its upstream on {upstream.timeline}, and both began apart"
        return None
    timeline, end = upstream.left[depth]
    if timeline != follower.timeline:
        return _apart(end, timeline)
    if replayed is not None and replayed > end:
        return _apart(end, timeline)
    return None


def parting(one: History, other: History) -> int | None:
    """Position (bytes) up to which the two have the same WAL; None if both are on one and the same timeline."""
    same = 0
    for (a, a_end), (b, b_end) in zip(_stretches(one), _stretches(other), strict=False):
        if a != b:
            return same
        if a_end is None or b_end is None or a_end != b_end:
            ends = [end for end in (a_end, b_end) if end is not None]
            return min(ends) if ends else None
        same = a_end
    return same


def _stretches(history: History) -> list[tuple[int, int | None]]:
    """Each timeline of a history and where it was left; None: it goes on."""
    return [*history.left, (history.timeline, None)]


def _apart(position: int, timeline: int) -> str:
    return f"it went its own way after {position >> 32:X}/{position & 0xFFFFFFFF:X} on timeline {timeline}"
