"""When a backup is due, and which are kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.instance.backing_up import DAY_S, RACE_S, Due, Snapshot, due, kept, last_opening, quiet, restorable_until
from multiaz.instance.records import BackupPlan, BackupRecord, BaseBackup

PLAN = BackupPlan(retention_days=2, window="03:00-04:00", archive_every_s=300)


def at(day: int, hour: int, minute: int = 0) -> float:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp()


def base(began_at: float) -> BaseBackup:
    return BaseBackup(
        name=f"{began_at:.0f}", began_at=began_at, ended_at=began_at + 1, start_segment="0" * 24, timeline=1, end=0,
        size_bytes=1, server_version="17.10",
    )  # fmt: skip


def record(*bases: BaseBackup) -> BackupRecord:
    return BackupRecord(resource_id="db-X", bases=bases)


@pytest.mark.parametrize(
    ("began", "now", "what"),
    [
        (None, at(26, 12), Due.BASE),
        (at(26, 3), at(26, 12), None),
        (at(26, 2, 59), at(26, 3), Due.BASE),
        (at(26, 2, 59), at(26, 2, 59), None),
        (at(25, 12), at(26, 2, 59), None),
        (at(25, 12), at(26, 12), Due.BASE),  # nothing ran here while the window was open
        (at(26, 3), at(27, 2, 59), None),
        (at(26, 3), at(27, 3), Due.BASE),
        (at(28, 3), at(27, 3), Due.BASE),  # the clock was put back
    ],
)
def test_base_backup_is_due_at_once_and_then_once_the_window_has_opened(
    began: float | None, now: float, what: Due | None
) -> None:
    made = record() if began is None else record(base(began))
    assert due(PLAN, made, now, pointed_at=now) is what


@pytest.mark.parametrize(("since", "what"), [(0.0, None), (299.9, None), (300.0, Due.POINT), (-1.0, Due.POINT)])
def test_archive_point_is_due_when_the_last_one_is_too_old_or_the_clock_was_put_back(
    since: float, what: Due | None
) -> None:
    now = at(26, 12)
    assert due(PLAN, record(base(at(26, 4))), now, pointed_at=now - since) is what


@given(st.integers(0, 23), st.integers(0, 59), st.floats(1.7e9, 1.9e9))
def test_window_opened_within_the_last_day(hour: int, minute: int, now: float) -> None:
    opened = last_opening(f"{hour:02}:{minute:02}-{hour:02}:{minute:02}", now)
    assert 0 <= now - opened < DAY_S
    shown = datetime.fromtimestamp(opened, UTC)
    assert (shown.hour, shown.minute, shown.second) == (hour, minute, 0)


@given(st.lists(st.floats(0, 40), min_size=1, max_size=12), st.integers(1, 35), st.floats(0, 60))
def test_every_moment_of_the_retention_that_could_be_restored_still_can_be(
    days: list[float], retention: int, today: float
) -> None:
    bases = tuple(base(day * DAY_S) for day in sorted(days))
    now = max(today, max(days) + 1) * DAY_S
    left = kept(bases, retention, now)
    assert left == bases[len(bases) - len(left) :]
    for moment in (now - retention * DAY_S + step * DAY_S for step in range(retention + 1)):
        before = [one for one in bases if one.ended_at <= moment]
        assert not before or before[-1] in left
    assert sum(one.ended_at <= now - retention * DAY_S for one in left) <= 1, "of what is too old only the last is kept"


def test_moment_that_can_be_restored_lies_before_the_archive_point_and_not_before_the_base_backup() -> None:
    one = base(100.0)
    assert restorable_until(200.0, (one,)) == 200.0 - RACE_S
    assert restorable_until(one.ended_at + RACE_S / 2, (one,)) == one.ended_at
    assert restorable_until(200.0, ()) is None


@pytest.mark.parametrize(
    ("before", "after", "ours", "is_quiet"),
    [
        ("10:10:", "10:10:", {10}, True),
        ("10:10:", "11:11:", {10}, True),  # the mark itself
        ("10:10:", "12:12:", {10}, False),  # somebody wrote
        ("10:10:", "12:12:", {10, 11}, True),
        ("8:10:8", "8:11:8", {10}, True),  # somebody's transaction goes on
        ("8:10:8", "11:11:", {10}, False),  # and has ended
        ("9:10:9", "9:13:9,11", {10, 12}, True),
        ("10:10:", "9:9:", {10}, False),
        ("10:10:", "5000:5000:", set(range(10, 5000)), False),
    ],
)
def test_quiet_means_that_no_transaction_but_ours_has_ended(
    before: str, after: str, ours: set[int], is_quiet: bool
) -> None:
    assert quiet(Snapshot.parse(before), Snapshot.parse(after), frozenset(ours)) is is_quiet


@given(st.data())
def test_transaction_of_somebody_else_that_ended_is_never_overlooked(data: st.DataObject) -> None:
    """A model of PostgreSQL's: transactions begin in order, end in any, and a snapshot names those that run."""
    running, ended, ours, theirs = [], set(), set(), set()
    following = 100

    def snapshot() -> Snapshot:
        end = max(ended, default=99) + 1
        return Snapshot(end, frozenset(one for one in running if one < end))

    before: Snapshot | None = None
    for step in range(data.draw(st.integers(1, 20))):
        if step == 5 or before is None:
            before, seen = snapshot(), set(ended)
        if running and data.draw(st.booleans()):
            ended.add(running.pop(data.draw(st.integers(0, len(running) - 1))))
        else:
            (ours if data.draw(st.booleans()) else theirs).add(following)
            running.append(following)
            following += 1
    assert before is not None
    assert quiet(before, snapshot(), frozenset(ours)) is not bool((ended - seen) & theirs)
