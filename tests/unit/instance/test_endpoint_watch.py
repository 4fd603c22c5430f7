"""An endpoint hangs if it answers nobody *and* is stopped or does not move: simulated schedules, and verdicts."""

from __future__ import annotations

import pytest

from multiaz.instance.endpoint_watch import judge_endpoint
from multiaz.instance.progress import ASLEEP_AFTER_S, HANG_AFTER_S, STUCK_IO_AFTER_S, Watched
from multiaz.postgres.pulse import Pulse

STEP_S, FOR_S = 0.25, 120.0


def pulse(state: str, moves: bool, at: float) -> Pulse:
    """One look; a process that moves gets a little CPU between any two."""
    return Pulse(state, int(at * 1e6) if moves else 5, 5, 1.0)


def hung_at(state: str, *, moves: bool, silent_from: float | None) -> tuple[float, str] | None:
    """When it is first said to hang, and why. `silent_from`: when it was asked; None: it cannot be asked."""
    seen = Watched.seen(pulse(state, moves, 0), 0)
    for step in range(int(FOR_S / STEP_S)):
        at = step * STEP_S
        seen = seen.after(pulse(state, moves, at), at)
        verdict = judge_endpoint(seen, None if silent_from is None else max(0.0, at - silent_from), at)
        if verdict.hung:
            return at, verdict.why
    return None


@pytest.mark.parametrize(
    ("state", "moves", "after_s", "why"),
    [
        ("T", False, HANG_AFTER_S, "stopped"),
        ("t", False, HANG_AFTER_S, "stopped"),
        ("S", False, ASLEEP_AFTER_S, "sleeps"),
        ("D", False, STUCK_IO_AFTER_S, "one request to the kernel"),
    ],
)
@pytest.mark.parametrize("silent_from", [0.0, 3.0])
def test_endpoint_that_answers_nobody_and_does_not_move_hangs(
    state: str, moves: bool, after_s: float, why: str, silent_from: float
) -> None:
    """What it did before it was asked does not count."""
    found = hung_at(state, moves=moves, silent_from=silent_from)
    assert found is not None
    assert found[0] == silent_from + after_s
    assert why in found[1]


@pytest.mark.parametrize(
    ("state", "moves"),
    [("R", True), ("R", False), ("S", True), ("D", True)],
    ids=[
        "busy",
        "starved: it could run and gets no CPU",
        "wakes now and then",
        "one request to the disk after another",
    ],
)
def test_endpoint_that_moves_does_not_hang_however_late_its_answer_is(state: str, moves: bool) -> None:
    assert hung_at(state, moves=moves, silent_from=0.0) is None


@pytest.mark.parametrize("state", ["S", "D"])
def test_endpoint_that_cannot_be_asked_is_not_judged_by_its_sleep(state: str) -> None:
    """Its network is shaped, so that silence is wanted, or it starts."""
    assert hung_at(state, moves=False, silent_from=None) is None


def test_endpoint_that_is_stopped_hangs_also_where_it_cannot_be_asked() -> None:
    found = hung_at("T", moves=False, silent_from=None)
    assert found is not None
    assert found[0] == HANG_AFTER_S


def test_endpoint_that_answers_between_two_looks_does_not_hang_though_each_finds_it_stopped() -> None:
    seen = Watched.seen(pulse("T", True, 0), 0)
    for step in range(int(FOR_S / STEP_S)):
        at = step * STEP_S
        seen = seen.after(pulse("T", True, at), at)
        assert not judge_endpoint(seen, 0.0, at).hung
