"""Which files of the archive a recovery reads, and which nobody needs any more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.postgres.archive import (
    SEGMENT_BYTES,
    UNFINISHED_S,
    beyond,
    bring,
    first_missing,
    needed,
    number_of,
    outdated,
    remove_unfinished,
    segment_name,
    superseded,
    trim,
)
from multiaz.postgres.timelines import History

FORKED = History(3, ((1, 5 * SEGMENT_BYTES + 100), (2, 7 * SEGMENT_BYTES)))


def one(timeline: int, number: int) -> str:
    return segment_name(timeline, number)


def test_names_are_postgresqls_own() -> None:
    assert segment_name(2, 257) == "000000020000000100000001"
    assert number_of("000000020000000100000001") == 257


@given(st.integers(1, 2**31), st.integers(0, 2**39))
def test_number_of_a_name_is_the_number_it_was_made_of(timeline: int, number: int) -> None:
    assert number_of(segment_name(timeline, number)) == number


@pytest.mark.parametrize("name", ["00000002.history", "000000010000000000000001.partial", "archtemp.x", ""])
def test_what_is_no_segment_has_no_number(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a WAL segment"):
        number_of(name)


def test_each_segment_is_read_on_the_newest_timeline_that_has_it() -> None:
    assert list(needed(one(1, 4), one(3, 8), FORKED)) == [one(1, 4), one(2, 5), one(2, 6), one(3, 7), one(3, 8)]


def test_segment_with_the_fork_is_not_read_on_the_timeline_that_was_left() -> None:
    names = {one(1, 4), one(1, 5), one(2, 6), one(3, 7), "00000003.history"}
    assert first_missing(names, one(1, 4), one(3, 7), FORKED) == one(2, 5)
    assert first_missing(names | {one(2, 5)}, one(1, 4), one(3, 7), FORKED) is None


def test_history_is_read_unless_it_is_as_old_as_the_base_backup() -> None:
    names = {one(3, 7), one(3, 8)}
    assert first_missing(names, one(3, 7), one(3, 8), FORKED) is None
    assert first_missing(names | {one(2, 6)}, one(2, 6), one(3, 8), FORKED) == "00000003.history"


@given(st.integers(0, 600), st.integers(0, 600), st.data())
def test_whichever_segment_is_lost_is_found_missing(start: int, length: int, data: st.DataObject) -> None:
    history = History(1)
    names = set(needed(one(1, start), one(1, start + length), history))
    lost = data.draw(st.sampled_from(sorted(names)))
    assert first_missing(names, one(1, start), one(1, start + length), history) is None
    assert first_missing(names - {lost}, one(1, start), one(1, start + length), history) == lost


def test_what_is_older_than_the_oldest_base_backup_is_outdated_on_every_timeline_but_histories_stay() -> None:
    old = [one(1, 4), one(2, 4), f"{one(2, 4)}.partial", f"{one(1, 3)}.00000028.backup"]
    new = [one(1, 5), one(2, 5), f"{one(1, 5)}.partial", one(1, 256 * 4), "00000002.history", "archtemp.1.2", "x"]
    assert outdated([*old, *new], one(2, 5)) == old


def test_what_a_fenced_primary_wrote_after_it_was_left_is_superseded() -> None:
    gone = [one(1, 5), one(1, 6), f"{one(1, 5)}.partial", one(2, 7), f"{one(1, 9)}.00000028.backup"]
    read = [one(1, 4), one(2, 5), one(2, 6), one(3, 7), one(3, 5), "00000002.history", "archtemp.1.2"]
    assert superseded([*gone, *read], FORKED) == gone
    assert superseded([*gone, *read], History(1)) == []


@given(st.integers(0, 9), st.sets(st.tuples(st.integers(1, 3), st.integers(0, 9))))
def test_nothing_a_recovery_reads_is_superseded(start: int, others: set[tuple[int, int]]) -> None:
    read = set(needed(one(1, start), one(3, 9), FORKED))
    assert not read & set(superseded(read | {one(*other) for other in others}, FORKED))


def test_trimmed_segment_has_the_same_bytes_and_takes_less_room(tmp_path: Path) -> None:
    segment = tmp_path / one(1, 1)
    content = b"wal\0more" * 100 + b"\0" * (SEGMENT_BYTES - 800)
    segment.write_bytes(content)
    segment.chmod(0o600)
    assert trim(segment)
    assert segment.read_bytes() == content
    assert segment.stat().st_blocks * 512 < 100_000
    assert segment.stat().st_mode & 0o777 == 0o600
    assert not trim(segment)


def test_full_segment_is_left_alone(tmp_path: Path) -> None:
    segment = tmp_path / one(1, 1)
    segment.write_bytes(b"\0" * (SEGMENT_BYTES - 1) + b"x")
    before = segment.stat().st_ino
    assert not trim(segment)
    assert segment.stat().st_ino == before


def test_what_a_dead_process_left_half_done_is_removed(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    for name, age in ((f"{one(1, 1)}.trimming", 0.0), ("archtemp.old", UNFINISHED_S + 1), ("archtemp.new", 1.0)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (now - age, now - age))
    (tmp_path / one(1, 1)).write_bytes(b"whole")
    remove_unfinished(tmp_path, now)
    assert {path.name for path in tmp_path.iterdir()} == {one(1, 1), "archtemp.new"}


@pytest.mark.parametrize(
    ("timeline", "end", "said"),
    [
        (3, 99 * SEGMENT_BYTES, ""),
        (2, 7 * SEGMENT_BYTES, ""),
        (2, 7 * SEGMENT_BYTES + 1, "after that was left"),
        (1, 5 * SEGMENT_BYTES + 101, "after that was left"),
        (4, 0, "does not come from"),
    ],
)
def test_base_backup_that_ends_where_the_promoted_standby_never_was_is_given_up(
    timeline: int, end: int, said: str
) -> None:
    assert said in beyond(timeline, end, FORKED) if said else beyond(timeline, end, FORKED) == ""


def test_what_a_dead_primary_had_not_archived_is_brought_as_far_as_others_have_it(tmp_path: Path) -> None:
    wal, archive = tmp_path / "pg_wal", tmp_path / "archive"
    (wal / "archive_status").mkdir(parents=True)
    archive.mkdir()
    for name in (one(1, 3), one(1, 4), one(1, 5), one(1, 6), "00000002.history"):
        (wal / name).write_bytes(name.encode() + b"\0" * (SEGMENT_BYTES - len(name)))
        (wal / "archive_status" / f"{name}.ready").touch()
    (wal / "archive_status" / f"{one(1, 2)}.ready").touch()  # the segment is gone
    (archive / one(1, 3)).write_bytes(b"was archived by the other")
    assert bring(wal, archive, FORKED) == [one(1, 4)]
    assert (archive / one(1, 4)).read_bytes() == (wal / one(1, 4)).read_bytes()
    assert {path.name for path in archive.iterdir()} == {one(1, 3), one(1, 4)}
    assert bring(wal, archive, FORKED) == []
