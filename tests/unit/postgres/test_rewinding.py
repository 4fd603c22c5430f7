"""pg_rewind sees no WAL of its source but what it must have."""

from __future__ import annotations

import struct

import pytest

from multiaz.postgres.rewinding import WalFilter


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def description(*names: str) -> bytes:
    columns = b"".join(name.encode() + b"\0" + bytes(18) for name in names)
    return message(b"T", struct.pack("!h", len(names)) + columns)


def row(*values: str | None) -> bytes:
    told = (struct.pack("!i", -1) if v is None else struct.pack("!i", len(v)) + v.encode() for v in values)
    return message(b"D", struct.pack("!h", len(values)) + b"".join(told))


def segment(timeline: int, number: int) -> bytes:
    return row(f"pg_wal/{timeline:08X}{number:016X}", "16777216", "f", None)


FILES = description("?column?", "size", "isdir", "link_target")
DONE = message(b"C", b"SELECT 9\0") + message(b"Z", b"I")
BASE = row("base/1/1259", "8192", "f", None)
HISTORY = row("pg_wal/00000003.history", "42", "f", None)
PARTIAL = row("pg_wal/000000020000000000000007.partial", "16777216", "f", None)
STATUS = row("pg_wal/archive_status", "4096", "t", None)


def test_segments_before_and_after_those_needed_are_left_out_and_nothing_else_is() -> None:
    listed = FILES + BASE + segment(2, 4) + HISTORY + segment(2, 5) + segment(2, 8) + PARTIAL + STATUS + DONE
    assert WalFilter(5, 7).feed(listed) == FILES + BASE + HISTORY + PARTIAL + STATUS + segment(2, 5) + DONE


def test_of_each_number_the_newest_timeline_s_stays() -> None:
    """Recovery reads no other; an older one of its own it would read beyond the point where the histories part."""
    listed = FILES + segment(4, 9) + segment(2, 8) + segment(3, 9) + segment(3, 8) + segment(10, 9) + BASE + DONE
    assert WalFilter(8, 9).feed(listed) == FILES + BASE + segment(10, 9) + segment(3, 8) + DONE


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_messages_may_come_in_any_pieces(size: int) -> None:
    listed = FILES + segment(3, 1) + BASE + segment(2, 1) + DONE
    kept = WalFilter(1, 9)
    assert b"".join(kept.feed(listed[at : at + size]) for at in range(0, len(listed), size)) == (
        FILES + BASE + segment(3, 1) + DONE
    )


def test_other_results_pass_whatever_they_hold() -> None:
    """The content of a file that is fetched may look like anything."""
    chunk = description("path", "begin", "chunk") + segment(2, 5) + DONE
    nothing = message(b"D", struct.pack("!h", 0)) + DONE
    kept = WalFilter(1, 9)
    listed = FILES + segment(2, 50) + DONE
    assert kept.feed(listed + chunk + nothing) == FILES + DONE + chunk + nothing
