"""When a promotion goes on no more: a pure judgement of what is replayed and of the process that does it."""

from __future__ import annotations

from multiaz.postgres.promotion import ASLEEP_AFTER_S, PATIENCE_S, PAUSED_AFTER_S, STOPPED_AFTER_S, Promoting
from multiaz.postgres.pulse import Pulse


def seconds(upto: float) -> list[float]:
    return [tenth / 10 for tenth in range(int(upto * 10) + 1)]


def test_promotion_that_replays_goes_on_for_as_long_as_it_takes() -> None:
    seen = Promoting()
    for now in seconds(10 * PATIENCE_S):
        seen = seen.answered(now, f"0/{int(now)}", paused=False).felt(now, Pulse("S", 1))
        assert seen.standstill(now) is None


def test_stopped_startup_process_is_a_standstill_but_not_one_that_was_stopped_for_an_instant() -> None:
    seen = Promoting().answered(0, "0/1", paused=False).felt(0, Pulse("T", 1))
    assert seen.standstill(STOPPED_AFTER_S / 2) is None
    assert seen.felt(0.5, Pulse("R", 2)).standstill(STOPPED_AFTER_S) is None
    assert "stopped" in str(seen.felt(0.5, Pulse("T", 1)).standstill(STOPPED_AFTER_S))


def test_pause_that_the_promotion_does_not_end_is_a_standstill() -> None:
    seen = Promoting()
    for now in seconds(PAUSED_AFTER_S):
        seen = seen.answered(now, "0/1", paused=True).felt(now, Pulse("S", int(now * 10)))  # it wakes each second
        assert seen.standstill(now) is None or now >= PAUSED_AFTER_S
    assert "paused" in str(seen.standstill(PAUSED_AFTER_S))
    assert seen.answered(now, "0/1", paused=False).standstill(now) is None


def test_startup_process_that_sleeps_all_the_while_is_a_standstill_and_one_that_works_is_given_longer() -> None:
    asleep, works = Promoting(), Promoting()
    for now in seconds(PATIENCE_S):
        asleep = asleep.answered(now, "0/1", paused=False).felt(now, Pulse("S", 1))
        works = works.answered(now, "0/1", paused=False).felt(now, Pulse("D", int(now)))
        assert (asleep.standstill(now) is not None) == (now >= ASLEEP_AFTER_S)
        assert works.standstill(now) is None or now >= PATIENCE_S
    assert works.standstill(PATIENCE_S) is not None


def test_server_that_says_nothing_is_a_standstill() -> None:
    assert Promoting().felt(ASLEEP_AFTER_S, None).standstill(ASLEEP_AFTER_S) is not None
