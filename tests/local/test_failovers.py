"""The steps of a failover, from what its supervisor tells."""

from __future__ import annotations

from multiaz.local.failovers import steps_of

TOLD = {
    "epoch": 4,
    "cause": "x",
    "detected": 10.5,
    "fenced": 10.75,
    "recorded": 11.0,
    "promoted": 12.0,
    "endpoint": 12.5,
}


def test_steps_add_up_from_the_request_to_the_first_commit() -> None:
    steps = steps_of(TOLD, 10.0, 13.0)
    assert steps == {
        "detect": 0.5, "fence": 0.25, "record": 0.25, "promote": 1.0, "endpoint": 0.5, "first_commit": 0.5,
    }  # fmt: skip
    assert sum(steps.values()) == 3.0


def test_failover_before_the_request_or_not_done_has_no_steps() -> None:
    assert steps_of(TOLD, 11.0, 13.0) is None
    assert steps_of({**TOLD, "endpoint": None}, 10.0, 13.0) is None
    assert steps_of({}, 10.0, 13.0) is None
