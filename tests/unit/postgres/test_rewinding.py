"""pg_rewind sees no WAL of its source but what it must have."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from multiaz.postgres.rewinding import WalFilter, missing_wal, needed_segments
from multiaz.postgres.timelines import History


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


def test_segments_before_and_after_those_needed_and_partial_ones_are_left_out_and_nothing_else_is() -> None:
    listed = FILES + BASE + segment(2, 4) + HISTORY + segment(2, 5) + segment(2, 8) + PARTIAL + STATUS + DONE
    assert WalFilter(range(5, 8)).feed(listed) == FILES + BASE + HISTORY + STATUS + segment(2, 5) + DONE


def test_of_each_number_the_newest_timeline_s_stays() -> None:
    """Recovery reads no other; an older one of its own it would read beyond the point where the histories part."""
    listed = FILES + segment(4, 9) + segment(2, 8) + segment(3, 9) + segment(3, 8) + segment(10, 9) + BASE + DONE
    assert WalFilter(range(8, 9), range(9, 10)).feed(listed) == FILES + BASE + segment(10, 9) + segment(3, 8) + DONE


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_messages_may_come_in_any_pieces(size: int) -> None:
    listed = FILES + segment(3, 1) + BASE + segment(2, 1) + DONE
    kept = WalFilter(range(1, 10))
    assert b"".join(kept.feed(listed[at : at + size]) for at in range(0, len(listed), size)) == (
        FILES + BASE + segment(3, 1) + DONE
    )


def test_other_results_pass_whatever_they_hold() -> None:
    """The content of a file that is fetched may look like anything."""
    chunk = description("path", "begin", "chunk") + segment(2, 5) + DONE
    nothing = message(b"D", struct.pack("!h", 0)) + DONE
    kept = WalFilter(range(1, 10))
    listed = FILES + segment(2, 50) + DONE
    assert kept.feed(listed + chunk + nothing) == FILES + DONE + chunk + nothing


MIB = 1 << 20
PARTED = 5 * 16 * MIB + 100
SOURCE, FORMER = History(2, ((1, PARTED),)), History(1)
EVERYTHING = {*range(10)}


def control(redo: int, record: int) -> dict[str, str]:
    """pg_controldata of a server whose latest checkpoint begins in one segment and was written in another."""
    return {
        "Bytes per WAL segment": str(16 * MIB), "Latest checkpoint location": f"0/{record * 16 * MIB:X}",
        "Latest checkpoint's REDO WAL file": f"{1:08X}{redo:016X}",
    }  # fmt: skip


def needed(
    source_redo: int, known: dict[str, str], major: int, its: History = SOURCE, own: History | None = FORMER
) -> set[int]:
    ranges = needed_segments(f"{2:08X}{source_redo:016X}", 9, its, own, known, major)
    assert ranges[-1][-1] == 9
    return {number for numbers in ranges for number in numbers}


@pytest.mark.parametrize("major", [16, 17])
def test_rewound_server_is_brought_all_from_the_sources_restartpoint_on(major: int) -> None:
    assert needed(2, control(3, 3), major) == {*range(2, 10)}


def test_rewound_server_is_brought_the_segment_in_which_the_histories_part_however_late_it_is() -> None:
    """A source that completed a checkpoint since begins its own recovery behind that."""
    assert needed(8, control(3, 3), 17) == {3, *range(5, 10)}
    assert needed(8, control(3, 3), 16) == {*range(3, 10)}, "it takes the target's own away"


def test_checkpoint_under_writes_begins_segments_before_its_record_and_pg_rewind_keeps_none_of_them() -> None:
    assert needed(8, control(1, 3), 17) == {1, 2, 3, *range(5, 10)}


def test_server_of_which_too_little_is_known_is_brought_all_there_is() -> None:
    assert needed(8, control(6, 6), 17) == EVERYTHING, "a checkpoint the source never had"
    assert needed(8, control(3, 3), 17, own=None) == EVERYTHING


def test_server_that_did_not_part_is_brought_all_from_its_own_checkpoint_on() -> None:
    assert needed(8, control(3, 4), 17, its=FORMER) == {*range(3, 10)}


def test_segment_in_which_histories_part_is_counted_as_its_name_counts() -> None:
    far = History(2, ((1, (3 << 32) + 7 * 16 * MIB),))
    ranges = needed_segments(f"{2:08X}{9:08X}{1:08X}", (9 << 32) + 1, far, FORMER, control(0, 0), 17)
    assert ranges[-1][0] == (3 << 32) + 7


def rewound(folder: Path, *numbers: int, label: str = f"START WAL LOCATION: 0/0 (file {1:08X}{254:016X})") -> Path:
    (folder / "pg_wal").mkdir()
    (folder / "pg_wal" / "00000002.history").touch()
    for number in numbers:
        (folder / "pg_wal" / f"{2:08X}{number:016X}").touch()
    (folder / "backup_label").write_text(label)
    return folder


def test_rewound_server_with_a_gap_is_found_because_it_would_ask_for_it_in_vain(tmp_path: Path) -> None:
    next_file = 1 << 32
    data = rewound(tmp_path, 253, 254, next_file, next_file + 1)
    assert missing_wal(data, next_file + 1, 16 * MIB) == "it lacks the WAL segment 0/FF000000"
    (data / "pg_wal" / f"{1:08X}{255:016X}").touch()
    assert missing_wal(data, next_file + 1, 16 * MIB) is None
    assert missing_wal(data, next_file + 2, 16 * MIB) == "it lacks the WAL segment 1/02000000"
    (data / "backup_label").unlink()
    assert missing_wal(data, next_file + 2, 16 * MIB) is None, "it was not rewound"


def test_label_that_says_nothing_is_no_reason_to_start(tmp_path: Path) -> None:
    assert missing_wal(rewound(tmp_path, label="?"), 9, 16 * MIB) == "its backup_label names no WAL segment"
