"""What `make bench-ha` counts, and how."""

from __future__ import annotations

import itertools
import math

import pytest
from ha.figures import judge, longest_gap, merged, percentile, split
from hypothesis import given
from hypothesis import strategies as st


def test_the_gap_that_counts_was_not_over_at_the_fault() -> None:
    times = [0.0, 5.0, 5.1, 5.2, 6.2, 6.3]
    gap = longest_gap(times, 5.15, 6.4)
    assert gap is not None
    assert (gap.seconds, gap.last_before, gap.first_after) == (1.0, 5.2, 6.2)


def test_a_gap_spans_the_fault() -> None:
    gap = longest_gap([1.0, 4.0, 4.1], 2.0, 4.2)
    assert gap is not None
    assert (gap.last_before, gap.first_after) == (1.0, 4.0)


def test_writes_that_never_come_back_are_a_gap_without_an_end() -> None:
    gap = longest_gap([1.0, 1.1, 1.2], 1.15, 61.0)
    assert gap is not None
    assert gap.first_after is None
    assert gap.seconds == pytest.approx(59.8)


def test_without_a_row_before_the_fault_there_is_no_figure() -> None:
    assert longest_gap([], 1.0, 2.0) is None
    assert longest_gap([1.5, 1.6], 1.0, 2.0) is None


@given(st.lists(st.floats(0, 100), min_size=1).map(sorted), st.floats(0, 100), st.floats(0, 50))
def test_no_pause_after_the_fault_is_longer_than_the_gap(times: list[float], fault: float, more: float) -> None:
    until = max(times[-1], fault) + more
    gap = longest_gap(times, fault, until)
    if gap is None:
        assert times[0] > fault
        return
    ends = [*times, until]
    assert all(after - before <= gap.seconds for before, after in itertools.pairwise(ends) if after > fault)
    assert gap.first_after is None or gap.first_after > fault


def test_one_client_that_goes_on_ends_the_gap_of_all() -> None:
    assert merged([[1.0, 9.0], [1.5, 2.0, 2.5]]) == [1.0, 1.5, 2.0, 2.5, 9.0]
    gap = longest_gap(merged([[1.0, 9.0], [1.5, 2.0, 2.5, 8.9]]), 2.2, 9.0)
    assert gap is not None
    assert gap.seconds == pytest.approx(6.4)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(50, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.9), percentile(values, 1.0)) == (25.0, 45.0, 50.0)
    assert percentile([7.0], 0.9) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_at_least_the_share_is_not_above_the_percentile(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= math.floor(share * len(values) - 1e-6)


def test_each_class_of_the_ledger_is_judged_by_what_is_there() -> None:
    verdict = judge(acknowledged=[1, 2, 3], unknown=[10, 11], failed=[20, 21], there=[1, 3, 3, 10, 20, 99])
    assert (verdict.acknowledged, verdict.unknown, verdict.failed) == (3, 2, 2)
    assert (verdict.lost, verdict.unknown_landed, verdict.failed_landed) == (1, 1, 1)
    assert (verdict.duplicates, verdict.strangers) == (1, 1)


def test_steps_follow_each_other_and_add_up_to_the_time_since_the_fault() -> None:
    told = {"detected": 10.1, "fenced": 10.15, "recorded": 10.16, "promoted": 10.3, "endpoint": 10.31}
    steps = split(10.0, told, 10.35)
    assert steps is not None
    assert list(steps) == ["detect", "fence", "record", "promote", "endpoint", "first commit"]
    assert steps["detect"] == pytest.approx(0.1)
    assert steps["first commit"] == pytest.approx(0.04)
    assert sum(steps.values()) == pytest.approx(0.35)


def test_a_step_that_was_not_told_is_part_of_the_next() -> None:
    steps = split(10.0, {"detected": 10.1, "fenced": None, "promoted": 10.3}, 10.4)
    assert steps is not None
    assert list(steps) == ["detect", "promote", "first commit"]
    assert steps["promote"] == pytest.approx(0.2)


def test_a_record_of_an_earlier_failover_says_nothing_of_this_one() -> None:
    assert split(10.0, {"detected": 9.0, "promoted": 9.5}, 10.4) is None
    assert split(10.0, {}, 10.4) is None
