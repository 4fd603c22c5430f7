"""A hang is no answer *and* no progress: simulated schedules of a server's processes, and verdicts on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiaz.instance.progress import (
    ASLEEP_AFTER_S,
    GIVE_UP_AFTER_S,
    HANG_AFTER_S,
    LONGEST_GAP_S,
    LONGEST_SETBACK_S,
    STEADY_AFTER_S,
    STOPPED_AFTER_S,
    STUCK_IO_AFTER_S,
    Attention,
    Confirmed,
    Question,
    Recovery,
    RecoveryLook,
    Setbacks,
    Verdict,
    Watch,
    judge,
)
from multiaz.postgres.pulse import Pulse

POSTMASTER, WRITER, BACKEND = 10, 11, 12
STEP_S = 0.05
Schedule = Callable[[float], Pulse]
CONNECTING = Question(1, POSTMASTER, asked_boot_s=100.0)
COMMITTING = Question(1, POSTMASTER, BACKEND, asked_boot_s=100.0)


def still(state: str, began_s: float = 1.0) -> Schedule:
    """In one state all the while, and never on a CPU."""
    return lambda _: Pulse(state, 5, 5, began_s)


def running(state: str = "S", began_s: float = 1.0) -> Schedule:
    """Gets a little CPU in each step; looked at, it happens to be in `state`."""
    return lambda at: Pulse(state, int(at * 1e6), 5, began_s)


def starved(began_s: float = 1.0) -> Schedule:
    """Could run and gets no CPU: only its state says so."""
    return lambda _: Pulse("R", 5, 5, began_s)


def rationed(began_s: float = 1.0) -> Schedule:
    """Gets a millisecond of CPU in each second, and waits for it for the rest; asleep when it is looked at."""
    return lambda at: Pulse("S", int(at) * 10**6, int(at) * 999 * 10**6, began_s)


def awake(at: float) -> Pulse:
    """The thread that asks."""
    return Pulse("S", int(at * 1e9))


def verdicts(
    question: Question, schedules: Mapping[int, Schedule], *, for_s: float, asker: Schedule = awake
) -> list[tuple[float, Verdict]]:
    """The verdict at each step of a simulation in which nobody ever answers."""
    watch, said = Watch(question, 0.0), []
    for step in range(int(for_s / STEP_S) + 1):
        at = step * STEP_S
        watch = watch.after(at, {pid: schedule(at) for pid, schedule in schedules.items()}, asker(at))
        said.append((at, judge(watch, at)))
    return said


def hung_at(question: Question, schedules: Mapping[int, Schedule], *, for_s: float = 40.0) -> float | None:
    """When the verdict is first that it hangs."""
    return next((at for at, verdict in verdicts(question, schedules, for_s=for_s) if verdict.hung), None)


IDLE = {POSTMASTER: still("S"), WRITER: running()}


@pytest.mark.parametrize(
    ("question", "schedules", "within_s"),
    [
        (CONNECTING, {**IDLE, POSTMASTER: still("T")}, STOPPED_AFTER_S),
        (CONNECTING, {**IDLE, POSTMASTER: still("t")}, STOPPED_AFTER_S),
        (CONNECTING, {**IDLE, BACKEND: still("T", began_s=100.0)}, STOPPED_AFTER_S),
        (COMMITTING, {**IDLE, BACKEND: still("T")}, STOPPED_AFTER_S),
        (COMMITTING, {**IDLE, POSTMASTER: still("T"), BACKEND: running()}, STOPPED_AFTER_S),
        (COMMITTING, {POSTMASTER: still("S"), WRITER: still("T"), BACKEND: still("S")}, HANG_AFTER_S),
        (CONNECTING, IDLE, HANG_AFTER_S),
        (COMMITTING, {POSTMASTER: still("S"), WRITER: still("S"), BACKEND: still("S")}, HANG_AFTER_S),
        (COMMITTING, {**IDLE, BACKEND: still("S")}, ASLEEP_AFTER_S),
        (COMMITTING, {**IDLE, BACKEND: still("D")}, STUCK_IO_AFTER_S),
        (COMMITTING, {POSTMASTER: still("S"), WRITER: still("D"), BACKEND: still("S")}, STUCK_IO_AFTER_S),
        (COMMITTING, {**IDLE, BACKEND: running("R")}, GIVE_UP_AFTER_S),
        (COMMITTING, {**IDLE, BACKEND: running("D")}, GIVE_UP_AFTER_S),
        (COMMITTING, {**IDLE, WRITER: running("R"), BACKEND: still("S")}, GIVE_UP_AFTER_S),
    ],
    ids=[
        "postmaster stopped", "postmaster traced", "its new backend stopped", "the committing backend stopped",
        "postmaster stopped, backend runs", "another is stopped and the commit waits", "postmaster sleeps on",
        "nobody moves", "all sleep", "commit stuck in the disk", "writer stuck in the disk", "burns CPU",
        "request after request", "waits for one that runs",
    ],
)  # fmt: skip
def test_hang_is_found_when_its_evidence_is_complete_and_no_sooner(
    question: Question, schedules: dict[int, Schedule], within_s: float
) -> None:
    found = hung_at(question, schedules)
    assert found is not None
    assert within_s <= found <= within_s + 3 * STEP_S


@pytest.mark.parametrize("schedule", [starved, rationed])
@pytest.mark.parametrize("question", [CONNECTING, COMMITTING], ids=["connecting", "committing"])
def test_server_that_is_given_no_cpu_is_never_called_hung_however_long_it_takes(
    question: Question, schedule: Callable[[], Schedule]
) -> None:
    """A flat timeout would be no evidence: the standby is on the same machine, and is given no more."""
    alone = {POSTMASTER: still("S"), WRITER: running(), (question.backend or POSTMASTER): schedule()}
    assert hung_at(question, alone, for_s=10 * GIVE_UP_AFTER_S) is None


def test_commit_that_waits_for_a_process_without_cpu_is_slow_however_long_it_takes() -> None:
    waiting = {POSTMASTER: still("S"), WRITER: starved(), BACKEND: still("S")}
    assert hung_at(COMMITTING, waiting, for_s=10 * GIVE_UP_AFTER_S) is None


def test_server_that_was_starved_and_then_loops_is_given_up() -> None:
    """It has all the CPU it asks for by then, and no more than half of the time since it was asked went without."""

    def loops(at: float) -> Pulse:
        return Pulse("R", 5, 5) if at < 10 else Pulse("R", int((at - 10) * 1e9), int(10e9))

    found = hung_at(COMMITTING, {POSTMASTER: still("S"), WRITER: still("S"), BACKEND: loops}, for_s=60)
    assert found is not None
    assert found == pytest.approx(GIVE_UP_AFTER_S, abs=3 * STEP_S)


_slow = st.sampled_from([running("R"), running("D"), running("S"), starved()])
_others = st.sampled_from([still("S"), still("D"), running("S"), starved()])


@settings(deadline=None, max_examples=50)
@given(direct=_slow, writer=_others, backend=_others)
def test_server_whose_question_moves_on_is_never_called_hung_before_it_is_given_up(
    direct: Schedule, writer: Schedule, backend: Schedule
) -> None:
    committing = {POSTMASTER: still("S"), WRITER: writer, BACKEND: direct}
    assert hung_at(COMMITTING, committing, for_s=GIVE_UP_AFTER_S - 1) is None
    connecting = {POSTMASTER: direct, WRITER: writer, BACKEND: backend}
    assert hung_at(CONNECTING, connecting, for_s=GIVE_UP_AFTER_S - 1) is None


@settings(deadline=None, max_examples=50)
@given(
    moves=st.lists(st.floats(0.05, HANG_AFTER_S - 2 * STEP_S), min_size=1, max_size=12),
    stopped=st.sampled_from(["S", "D", "T"]),
)
def test_backend_that_runs_now_and_then_is_slow_whatever_else_stands_still(moves: list[float], stopped: str) -> None:
    """However uneven the schedule, as long as no pause is as long as HANG_AFTER_S."""
    times, at = [], 0.0
    for pause in moves:
        at += pause
        times.append(at)

    def backend(now: float) -> Pulse:
        return Pulse("S", sum(1 for moved in times if moved <= now), 0, 1.0)

    schedules = {POSTMASTER: still("S"), WRITER: still(stopped), BACKEND: backend}
    assert hung_at(COMMITTING, schedules, for_s=min(at, GIVE_UP_AFTER_S - 1)) is None


@settings(deadline=None, max_examples=50)
@given(states=st.lists(st.sampled_from("RSDTt"), min_size=3, max_size=3))
def test_probe_that_is_not_scheduled_itself_blames_nobody(states: list[str]) -> None:
    """Its answer may lie unread. The first look counts as heard, so the first moment is left out."""
    schedules = dict(zip((POSTMASTER, WRITER, BACKEND), map(still, states), strict=True))
    said = verdicts(COMMITTING, schedules, for_s=40.0, asker=lambda _: Pulse("R", 1))
    assert not any(verdict.hung for at, verdict in said if at > HANG_AFTER_S)


def test_process_that_takes_the_pid_of_another_is_not_mistaken_for_it() -> None:
    watch = Watch(CONNECTING, 0.0).after(0.0, {POSTMASTER: still("T")(0)}, awake(0))
    watch = watch.after(9.0, {POSTMASTER: still("T", began_s=50.0)(9)}, awake(9))
    assert not judge(watch, 9.0).hung


@given(gaps=st.lists(st.floats(0.0, 1e6), max_size=50))
def test_time_in_which_the_supervisor_did_not_run_does_not_count(gaps: list[float]) -> None:
    attention, now = Attention(), 1000.0
    attention.tick(now)
    for gap in gaps:
        before, now = attention.now, now + gap
        attention.tick(now)
        assert 0.0 <= attention.now - before <= LONGEST_GAP_S + 1e-6
    assert attention.now <= LONGEST_GAP_S * len(gaps) + 1e-6


def test_standby_is_stuck_only_while_the_primary_is_ahead_and_it_does_not_move() -> None:
    kept = Confirmed().after(0.0, 100, 100)
    kept = kept.after(50.0, 100, 100)
    assert kept.stuck_s == 0.0  # nothing to confirm, however long
    kept = kept.after(51.0, 200, 100)
    assert kept.stuck_s == 0.0  # it may have been ahead for a moment only
    kept = kept.after(52.0, 300, 100)
    assert kept.stuck_s == 1.0
    kept = kept.after(53.0, 400, 101)
    assert kept.stuck_s == 0.0  # far behind, and moving
    assert kept.after(54.0, 400, None).stuck_s == 0.0  # not listed: that is `not_streaming_s`


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_standby_that_moves_is_never_stuck_however_far_behind(steps: list[int]) -> None:
    kept, flushed, confirmed = Confirmed().after(0.0, 1, 0), 10_000_000, 0
    for number, step in enumerate(steps, 1):
        confirmed += step
        kept = kept.after(number * 0.2, flushed, confirmed)
        assert kept.stuck_s == 0.0


WAITS = RecoveryLook(Pulse("S", 1000, 0, 1.0), "0" * 15 + "5")
"""A startup process that asks in vain: it wakes ten times a second for an instant."""


def recovered(*looks: RecoveryLook, upstream_answers: bool = True) -> float:
    """When it last came further, after these looks, one a second."""
    kept = Recovery(looks[0], 0.0, 0.0, looks[0].segment)
    for at, look in enumerate(looks[1:], 1):
        kept = kept.after(float(at), look, upstream_answers=upstream_answers)
    return kept.moved_at


def test_recovery_that_wakes_to_ask_in_vain_comes_no_further_on_a_busy_machine_either() -> None:
    looks = [RecoveryLook(Pulse("S", at * 2_000_000, at * 200_000_000, 1.0), WAITS.segment) for at in range(5)]
    assert recovered(*looks) == 0.0


def test_recovery_that_names_the_same_segments_again_and_again_comes_no_further() -> None:
    earlier = RecoveryLook(WAITS.startup, "0" * 15 + "4")
    assert recovered(WAITS, earlier, WAITS, RecoveryLook(WAITS.startup), WAITS) == 0.0


@pytest.mark.parametrize(
    "moved",
    [
        RecoveryLook(WAITS.startup, "0" * 15 + "6"),
        RecoveryLook(Pulse("S", 100_000_000, 0, 1.0), WAITS.segment),
        RecoveryLook(Pulse("S", 1000, 600_000_000, 1.0), WAITS.segment),
        RecoveryLook(Pulse("D", 1000, 0, 1.0), WAITS.segment),
        RecoveryLook(Pulse("S", 1000, 0, 2.0), WAITS.segment),
        RecoveryLook(None, ""),
    ],
    ids=["another segment", "uses a CPU", "waits for a CPU", "waits for a disk", "another process", "no process"],
)
def test_recovery_that_does_anything_is_given_time(moved: RecoveryLook) -> None:
    assert recovered(WAITS, WAITS, moved) == 2.0


def test_wal_receiver_counts_if_it_stays_because_one_that_is_refused_streams_for_an_instant() -> None:
    refused = [RecoveryLook(WAITS.startup, WAITS.segment, receiver) for receiver in (20, 21, 22)]
    assert recovered(*refused) == 0.0
    assert recovered(refused[0], refused[0]) == 1.0


def test_recovery_is_not_blamed_while_there_is_nobody_to_stream_from() -> None:
    assert recovered(WAITS, WAITS, WAITS, upstream_answers=False) == 2.0


def test_late_answer_of_the_upstream_takes_a_moment_off_and_does_not_begin_anew() -> None:
    kept = Recovery(WAITS, 0.0, 0.0, WAITS.segment)
    for at in range(1, 101):
        kept = kept.after(float(at), WAITS, upstream_answers=at % 20 != 0)
    assert 100.0 - kept.moved_at == 95.0


def test_pause_before_a_standby_joins_again_doubles_until_it_has_been_steady() -> None:
    kept, pauses, now = Setbacks(), [], 0.0
    for _ in range(9):
        kept = kept.another(now)
        pauses.append(kept.until - now)
        now = kept.until + STEADY_AFTER_S / 2
        kept = kept.after(kept.until, in_sync=True).after(now, in_sync=True).after(now, in_sync=False)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_SETBACK_S, LONGEST_SETBACK_S, LONGEST_SETBACK_S]
    kept = kept.after(now, in_sync=True).after(now + STEADY_AFTER_S, in_sync=True)
    assert kept == Setbacks()
