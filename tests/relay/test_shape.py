"""Networks as values: when bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.relay.config import BadConfig, parse_config
from multiaz.relay.shape import CLEAR, Block, Lane, Shape

RATES = st.floats(1, 1e9)
SIZES = st.lists(st.integers(1, 10**6), min_size=1, max_size=30)

BASE = {
    "address": "127.0.0.1", "port": 5432, "certificate": "c", "key": "k", "primary": "p", "force_ssl": True,
}  # fmt: skip


@given(RATES, SIZES)
def test_a_lane_never_carries_more_than_its_rate(rate: float, sizes: list[int]) -> None:
    lane = Lane(Shape(bytes_per_s=rate))
    last = [lane.send(size, 0.0) for size in sizes][-1]
    assert last == pytest.approx(sum(sizes) / rate)


@given(st.floats(0, 10), SIZES)
def test_delay_is_added_and_bounds_nothing(delay: float, sizes: list[int]) -> None:
    lane = Lane(Shape(delay_s=delay))
    assert [lane.send(size, 5.0) for size in sizes] == [5.0 + delay] * len(sizes)


@given(RATES, st.floats(0, 1), SIZES, st.lists(st.floats(0, 1), min_size=30, max_size=30))
def test_bytes_arrive_in_the_order_they_were_sent(
    rate: float, delay: float, sizes: list[int], pauses: list[float]
) -> None:
    lane, now, arrivals = Lane(Shape(delay, rate)), 0.0, []
    for size, pause in zip(sizes, pauses, strict=False):
        now += pause
        arrivals.append(lane.send(size, now))
        assert arrivals[-1] >= now + delay
    assert arrivals == sorted(arrivals)


def test_a_lane_that_is_healed_owes_nothing() -> None:
    lane = Lane(Shape(bytes_per_s=1))
    lane.send(1000, 0.0)
    lane.change(CLEAR)
    assert lane.send(1000, 1.0) == 1.0


@given(st.floats(0, 10), RATES)
def test_what_is_under_way_is_bounded(delay: float, rate: float) -> None:
    shape = Shape(delay, rate)
    assert 1 <= shape.piece_bytes <= shape.window_bytes <= 1024 * 1024


def test_shapes_are_read() -> None:
    config = parse_config({**BASE, "network": {"delay_ms": 20, "bytes_per_s": 1000, "blocked": False}})
    assert config.network == Shape(0.02, 1000, Block.NO)
    assert parse_config({**BASE, "network": None}).network == CLEAR
    wire = {"name": "a", "listen": "/x/.s.PGSQL.5432", "target": "/y/.s.PGSQL.5432"}
    read = parse_config({**BASE, "wires": [wire, {**wire, "name": "b", "blocked": "cut"}]}).wires
    assert [(one.name, one.shape.block) for one in read] == [("a", Block.NO), ("b", Block.CUT)]
    assert parse_config({**BASE, "wires": [{**wire, "blocked": True}]}).wires[0].shape.block is Block.SILENT


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"network": {"delay_ms": -1}}, "delay_ms"),
        ({"network": {"delay_ms": True}}, "delay_ms"),
        ({"network": {"delay_ms": float("inf")}}, "delay_ms"),
        ({"network": {"delay_ms": float("nan")}}, "delay_ms"),
        ({"network": {"bytes_per_s": 0}}, "bytes_per_s"),
        ({"network": {"bytes_per_s": float("inf")}}, "bytes_per_s"),
        ({"connect_wait_s": float("inf")}, "connect_wait_s"),
        ({"network": {"blocked": "maybe"}}, "blocked"),
        ({"network": {"blocked": 1}}, "blocked"),
        ({"network": {"lost": 0.1}}, "lost"),
        ({"network": 5}, "network"),
        ({"wires": [{"name": "a", "listen": "l"}]}, "target"),
        ({"wires": [{"name": "a", "listen": "l", "target": "t", "colour": 1}]}, "colour"),
        ({"wires": [{"name": "a", "listen": "l", "target": "t"}] * 2}, "twice"),
        ({"wires": {"a": 1}}, "wires"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(BadConfig, match=named):
        parse_config({**BASE, **wrong})
