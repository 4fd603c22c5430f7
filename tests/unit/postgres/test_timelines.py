"""Whether a server may follow another, told from where their timelines were left."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.postgres.timelines import History, fork, parse_history, parting, position_of

FILE = """1\t0/3000108\tno recovery target specified

2\t0/50001A8\tno recovery target specified
"""


def test_history_file_names_ancestors_and_where_they_were_left() -> None:
    assert parse_history(3, FILE) == History(3, ((1, 0x3000108), (2, 0x50001A8)))
    assert parse_history(1, "") == History(1)
    assert position_of("16/B374D848") == 0x16B374D848


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (History(1), History(2, ((1, 500),)), 500),
        (History(2, ((1, 400),)), History(2, ((1, 500),)), 400),
        (History(3, ((1, 400), (2, 600))), History(4, ((1, 400), (2, 700))), 600),
        (History(3, ((1, 400), (2, 600))), History(4, ((1, 400), (3, 700))), 400),
        (History(2, ((1, 400),)), History(2, ((1, 400),)), None),
        (History(5), History(6), 0),
    ],
)
def test_histories_part_where_the_first_of_them_left_a_timeline(one: History, other: History, same: int | None) -> None:
    assert parting(one, other) == parting(other, one) == same


@pytest.mark.parametrize(
    ("follower", "replayed", "upstream"),
    [
        (History(1), 100, History(1)),
        (History(1), 100, History(2, ((1, 100),))),
        (History(1), 99, History(3, ((1, 100), (2, 200)))),
        (History(2, ((1, 100),)), 150, History(3, ((1, 100), (2, 200)))),
        (History(2, ((1, 100),)), None, History(2, ((1, 100),))),
    ],
)
def test_beginning_of_the_upstreams_history_may_follow(follower: History, replayed: int, upstream: History) -> None:
    assert fork(follower, replayed, upstream) is None


@pytest.mark.parametrize(
    ("follower", "replayed", "upstream"),
    [
        (History(1), 101, History(2, ((1, 100),))),  # it has replayed what the upstream never had
        (History(2, ((1, 90),)), 95, History(2, ((1, 100),))),  # promoted apart: the same number, another timeline
        (History(2, ((1, 100),)), 150, History(1)),  # promoted behind its upstream's back
        (History(2, ((1, 100),)), 100, History(3, ((1, 100),))),
        (History(2, ((1, 100),)), 150, History(4, ((1, 100), (3, 200)))),
        (History(3, ((1, 100), (2, 200))), 250, History(3, ((1, 100), (2, 210)))),
    ],
)
def test_server_with_a_history_of_its_own_may_not_follow(follower: History, replayed: int, upstream: History) -> None:
    assert fork(follower, replayed, upstream)


@st.composite
def lines(draw: st.DrawFn) -> tuple[History, int]:
    """A server's history, as promotions make it, and where its WAL ends."""
    ends = sorted(draw(st.sets(st.integers(1, 1000), max_size=5)))
    timelines = sorted(draw(st.sets(st.integers(1, 20), min_size=len(ends) + 1, max_size=len(ends) + 1)))
    history = History(timelines[-1], tuple(zip(timelines, ends, strict=False)))
    return history, draw(st.integers(ends[-1] if ends else 0, 2000))


def positions(history: History, end: int) -> list[tuple[int, int]]:
    """(timeline, position) of each byte of WAL up to the end."""
    found: list[tuple[int, int]] = []
    start = 0
    for timeline, stop in (*history.left, (history.timeline, end)):
        found += [(timeline, position) for position in range(start, stop)]
        start = stop
    return found


@given(lines(), lines())
def test_who_may_follow_has_no_byte_the_upstream_could_not_have(
    one: tuple[History, int], other: tuple[History, int]
) -> None:
    (follower, replayed), (upstream, _) = one, other
    if fork(follower, replayed, upstream) is None:
        ours = positions(follower, replayed)
        its = positions(upstream, max(replayed, 2000))
        assert its[: len(ours)] == ours
