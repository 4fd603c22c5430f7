"""Jobs and what is wanted meanwhile: what cannot wait ends them."""

from __future__ import annotations

import pytest
from test_decide import (
    DEAD,
    DESIRED,
    FOLLOWING,
    PRIMARY,
    REPLICA,
    STANDBY,
    WELL,
    desired,
    member,
    memory,
    request,
    seen,
)

from multiaz.instance.actions import Begin, EndJob, Fence, JobKind, Promote, Record, StopAll
from multiaz.instance.decide import decide
from multiaz.instance.records import Phase, RequestKind, RunState
from multiaz.instance.view import SeenMember


@pytest.mark.parametrize("wanted", [RunState.STOPPED, RunState.DELETED])
@pytest.mark.parametrize("kind", [JobKind.CLONE, JobKind.REJOIN, JobKind.JOIN, JobKind.RESTART])
def test_stop_ends_a_job_instead_of_waiting_for_it(wanted: RunState, kind: JobKind) -> None:
    """A copy through a wire that is dead would never end by itself."""
    step = decide(desired(run=wanted), seen(b=member(STANDBY, job=kind)), memory(in_sync=False))
    assert (step.phase, step.actions) == (Phase.STOPPING, (EndJob("b"), StopAll()))


def test_instance_is_not_stopped_before_its_jobs_have_ended() -> None:
    """One may be about to start a server."""
    down = seen(a=DEAD, b=member(DEAD, job=JobKind.RESTART))
    assert decide(desired(run=RunState.STOPPED), down, WELL).phase is Phase.STOPPING
    assert decide(desired(run=RunState.STOPPED), seen(a=DEAD, b=DEAD), WELL).phase is Phase.STOPPED


def test_replica_is_not_promoted_while_it_is_copied_again() -> None:
    """The copy would take the place of rows that were written after the promotion."""
    wanted = REPLICA.model_copy(update={"request": request(RequestKind.PROMOTE)})
    stray = member(STANDBY, streaming=False, job=JobKind.REJOIN)
    step = decide(wanted, seen(a=stray, b=SeenMember(), upstream_link="a"), FOLLOWING)
    assert (step.rule, step.actions) == ("answer_promote", (EndJob("a"),))
    ended = member(stray, job=None)
    step = decide(wanted, seen(a=ended, b=SeenMember(), upstream_link="a"), FOLLOWING)
    assert Promote("a") in step.actions


def test_diverged_replica_that_is_copied_again_is_promoted_after_that() -> None:
    wanted = REPLICA.model_copy(update={"request": request(RequestKind.PROMOTE)})
    stray = member(STANDBY, streaming=False, job=JobKind.REJOIN, diverged="rows of its own")
    step = decide(wanted, seen(a=stray, b=SeenMember(), upstream_link="a", source_alive=True), FOLLOWING)
    assert not any(isinstance(action, EndJob | Promote) for action in step.actions)


def test_example_is_well_without_a_job() -> None:
    assert decide(DESIRED, seen(a=PRIMARY, b=STANDBY), WELL).rule == "rest"


def test_server_that_hangs_while_it_is_restarted_is_ended() -> None:
    """Its restart would never end; ended, it has failed, and what follows is decided as after a death."""
    hangs = {"job": JobKind.RESTART, "hung": True, "hung_why": "it is stopped while it starts", "answering": False,
             "in_recovery": None}  # fmt: skip
    asked = request(RequestKind.REBOOT)
    wanted, rebooting = desired(request=asked), memory(request=asked)
    step = decide(wanted, seen(a=member(PRIMARY, **hangs)), rebooting)
    assert (step.phase, step.actions) == (Phase.REBOOTING, (Fence("a"),))
    step = decide(DESIRED, seen(b=member(STANDBY, **hangs)), memory(in_sync=False))
    assert step.actions == (Fence("b"),)
    step = decide(wanted, seen(a=member(DEAD, failed="it was ended")), rebooting)
    assert Promote("b") in step.actions


def test_reboot_that_another_request_took_the_place_of_holds_no_failover_up() -> None:
    """It stays on record, unanswered for ever, and would have each later death answered by a restart."""
    asked = request(RequestKind.REBOOT)
    assert decide(desired(request=asked), seen(a=DEAD), memory(request=asked)).rule == "recover"
    later = desired(request=request(RequestKind.FAILOVER, number=2))
    assert decide(later, seen(a=DEAD), memory(request=asked)).rule == "take_over"


def test_superseded_request_that_is_replayed_is_not_carried_out_again() -> None:
    """Whether it was carried out before the next took its place is not on record."""
    first, second = request(RequestKind.REBOOT), request(RequestKind.REBOOT, number=2)
    assert decide(desired(request=first), seen(), memory(request=second)).rule == "rest"
    assert decide(desired(request=second), seen(), memory(request=first)).rule == "answer_reboot"


def test_standby_that_replays_nothing_leaves_and_is_restarted() -> None:
    """It has every commit, and a failover to it would take a restart."""
    paused = member(STANDBY, paused="max_connections is 60 here and 100 on its source")
    step = decide(DESIRED, seen(b=paused), WELL)
    assert step.rule == "leave"
    assert isinstance(step.actions[0], Record)
    assert decide(DESIRED, seen(b=paused, upstream_link="a"), memory(in_sync=False)).actions == (
        Begin(JobKind.RESTART, "b"),
    )
