"""What `decide` never does, whatever is wanted, seen and remembered: the promises that need no history."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_decide import DESIRED

from multiaz.instance.actions import Begin, Configure, Fence, JobKind, PointPrimary, Promote, Record, Start
from multiaz.instance.decide import TRANSITIONS, decide, view_of
from multiaz.instance.records import (
    DesiredInstance,
    MasterUser,
    MemberName,
    Request,
    RequestKind,
    RoleRecord,
    RunState,
    Source,
)
from multiaz.instance.states import State, state_of
from multiaz.instance.view import Seen, SeenMember

OTHER: dict[MemberName, MemberName] = {"a": "b", "b": "a"}
NAMES = st.sampled_from(["a", "b"])
REQUESTS = st.none() | st.builds(
    Request, number=st.integers(1, 3), kind=st.sampled_from(RequestKind), epoch=st.integers(1, 4)
)

MASTERS = st.builds(MasterUser, name=st.just("m"), verifier=st.just("S"), number=st.integers(1, 3))


@st.composite
def members(draw: st.DrawFn) -> SeenMember:
    """A server as it may be seen; what contradicts itself is left out."""
    exists = draw(st.booleans())
    alive = exists and draw(st.booleans())
    answering = alive and draw(st.booleans())
    in_recovery = draw(st.booleans()) if answering else None
    silent = alive and not answering and draw(st.booleans())
    return SeenMember(
        exists=exists, alive=alive, answering=answering, in_recovery=in_recovery,
        accepting=answering or (alive and draw(st.booleans())),
        streaming=bool(in_recovery) and draw(st.booleans()), not_streaming_s=draw(st.sampled_from([0.0, 0.5, 2.0])),
        stalled_s=draw(st.sampled_from([0.0, 9.0])),
        idle_s=draw(st.sampled_from([0.0, 99.0])), silent=silent, hung=alive and draw(st.booleans()),
        stuck_s=draw(st.sampled_from([0.0, 0.5, 2.0, 9.0])),
        failures=draw(st.integers(0, 4)), pending_restart=draw(st.booleans()),
        job=draw(st.none() | st.sampled_from(JobKind)), failed=draw(st.none() | st.just("broken")),
        wait_s=draw(st.sampled_from([0.0, 1.0])), unsteady_s=draw(st.sampled_from([0.0, 1.0])),
        held=draw(st.none() | st.none() | st.just("a fault")),
    )  # fmt: skip


@st.composite
def memories(draw: st.DrawFn) -> RoleRecord:
    """A record as the rules write it: see `RoleRecord`'s invariant."""
    primary: MemberName | None = draw(st.none() | NAMES) if draw(st.booleans()) else draw(NAMES)
    following = primary is not None and draw(st.booleans()) and draw(st.booleans())
    in_sync = primary is not None and not following and draw(st.booleans())
    fenced = OTHER[primary] if primary is not None and not in_sync and draw(st.booleans()) else None
    return RoleRecord(
        epoch=0 if primary is None else draw(st.integers(1, 4)), primary=primary, in_sync=in_sync, fenced=fenced,
        initialised=primary is not None, following=following, master_number=draw(st.integers(0, 2)),
        endpoint_opens_at=draw(st.none() | st.sampled_from([50.0, 150.0])),
        request=draw(REQUESTS), to_announce=draw(st.sampled_from([(), ("RDS-EVENT-0006",)])),
    )  # fmt: skip


@st.composite
def wishes(draw: st.DrawFn) -> DesiredInstance:
    return DESIRED.model_copy(
        update={
            "run": draw(st.sampled_from([RunState.RUNNING, RunState.RUNNING, RunState.STOPPED, RunState.DELETED])),
            "multi_az": draw(st.booleans()),
            "request": draw(REQUESTS),
            "standby_loss": draw(st.sampled_from(["continue", "wait"])),
            "endpoint_down_s": draw(st.sampled_from([0.0, 60.0])),
            "source": draw(st.none() | st.just(Source(resource_id="db-S", upstream="/run/s/upstream"))),
            "master": draw(
                st.none() | st.builds(MasterUser, name=st.just("m"), verifier=st.just("S"), number=st.integers(1, 3))
            ),
            "final_snapshot": draw(st.none() | st.just("/snapshots/x")),
        }
    )


@st.composite
def sights(draw: st.DrawFn) -> Seen:
    both = {"a": draw(members()), "b": draw(members())}
    return Seen(
        members=both, now=100.0, standby_restarted=draw(st.booleans()),
        doubt=draw(st.none() | st.none() | st.just("b has timeline 3")),
        joined_epoch=draw(st.none() | st.integers(1, 4)), primary_link=draw(st.none() | NAMES),
        upstream_link=draw(st.none() | NAMES), source_alive=draw(st.booleans()),
        rejoined=frozenset(draw(st.sets(NAMES))),
        outdated=tuple(name for name in ("a", "b") if both[name].answering and draw(st.booleans())),
        replicas_on_primary=draw(st.booleans()), creating=draw(st.booleans()), data_exists=draw(st.booleans()),
        master_set=draw(st.integers(0, 3)), master_wait=draw(st.booleans()), created=draw(st.booleans()),
        restarted=draw(st.booleans()), snapshot_taken=draw(st.booleans()),
    )  # fmt: skip


Promise = Callable[[DesiredInstance, Seen, RoleRecord], None]
PROMISES: list[Promise] = []


def promise(check: Promise) -> Promise:
    """Drawing costs more than checking, so that one run of `test_every_promise_holds` checks them all."""
    PROMISES.append(check)
    return check


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wishes(), sights(), memories())
def test_every_promise_holds(wanted: DesiredInstance, seen: Seen, memory: RoleRecord) -> None:
    for check in PROMISES:
        check(wanted, seen, memory)


@promise
def decide_always_speaks_and_from_a_row_of_its_state(wanted: DesiredInstance, seen: Seen, memory: RoleRecord) -> None:
    step = decide(wanted, seen, memory)
    state = state_of(view_of(wanted, seen, memory))
    row = next(row for row in TRANSITIONS if row.name == step.rule)
    assert state in row.current
    assert wanted.run in row.wanted
    assert step.reason


@promise
def nobody_is_promoted_beside_a_member_that_may_take_writes(
    wanted: DesiredInstance, seen: Seen, memory: RoleRecord
) -> None:
    """Before each promotion the other member was fenced in the same step, or does not run."""
    fenced: set[MemberName] = set()
    for action in decide(wanted, seen, memory).actions:
        if isinstance(action, Fence):
            fenced.add(action.member)
        if isinstance(action, Promote):
            other = OTHER[action.member]
            assert other in fenced or not seen.members[other].alive or memory.following


@promise
def only_a_member_that_has_every_acknowledged_commit_is_promoted(
    wanted: DesiredInstance, seen: Seen, memory: RoleRecord
) -> None:
    """It is in sync on record, or the recorded primary itself: a begun promotion, or a replica's."""
    for action in decide(wanted, seen, memory).actions:
        if isinstance(action, Promote):
            assert action.member == memory.primary or memory.in_sync


@promise
def a_change_of_primary_is_on_record_before_it_is_done(wanted: DesiredInstance, seen: Seen, memory: RoleRecord) -> None:
    remembered = memory
    for action in decide(wanted, seen, memory).actions:
        if isinstance(action, Record):
            assert action.memory.epoch >= remembered.epoch, "the epoch fell"
            if action.memory.primary != remembered.primary:
                assert action.memory.epoch > remembered.epoch, "another primary in the same epoch"
                assert not action.memory.in_sync
                assert remembered.primary is None or action.memory.fenced == remembered.primary
            remembered = action.memory
        if isinstance(action, PointPrimary | Promote) and action.member is not None:
            assert action.member == remembered.primary, "clients are led where the record does not"


@promise
def in_sync_is_said_only_after_a_join_and_commits_wait_while_it_is_said(
    wanted: DesiredInstance, seen: Seen, memory: RoleRecord
) -> None:
    remembered = memory
    for action in decide(wanted, seen, memory).actions:
        if isinstance(action, Record):
            if action.memory.in_sync and not remembered.in_sync:
                assert seen.joined_epoch == memory.epoch
            remembered = action.memory
        if isinstance(action, Configure) and action.member == remembered.primary and not action.synchronous:
            assert not remembered.in_sync, "commits stop waiting while the record says in sync"


@promise
def a_member_is_given_one_job_and_none_while_it_has_one(
    wanted: DesiredInstance, seen: Seen, memory: RoleRecord
) -> None:
    begun = [action for action in decide(wanted, seen, memory).actions if isinstance(action, Begin)]
    assert len(begun) <= 1
    for action in begun:
        assert seen.members[action.member].job is None


@promise
def data_is_removed_of_no_member_that_alone_may_have_every_commit(
    wanted: DesiredInstance, seen: Seen, memory: RoleRecord
) -> None:
    """Jobs that replace a data directory are given to the recorded primary only of a replica, which has a source."""
    for action in decide(wanted, seen, memory).actions:
        if isinstance(action, Begin) and action.kind in (JobKind.CLONE, JobKind.REJOIN, JobKind.REMOVE):
            assert action.member != memory.primary or memory.following
            assert not memory.in_sync, "the standby's data may be the only whole one"
        if isinstance(action, Begin) and action.kind is JobKind.CREATE:
            assert memory.primary is None
            assert seen.creating or not seen.data_exists


@promise
def a_fenced_or_held_member_is_never_started(wanted: DesiredInstance, seen: Seen, memory: RoleRecord) -> None:
    remembered = memory
    for action in decide(wanted, seen, memory).actions:
        if isinstance(action, Record):
            remembered = action.memory
        if isinstance(action, Start):
            assert action.member != remembered.fenced
            assert not seen.members[action.member].held
            assert action.standby or action.member == remembered.primary, "only the recorded primary starts as one"


@promise
def a_record_in_doubt_is_followed_in_nothing(wanted: DesiredInstance, seen: Seen, memory: RoleRecord) -> None:
    if state_of(view_of(wanted, seen, memory)) is State.RECORD_STALE and wanted.run is RunState.RUNNING:
        assert decide(wanted, seen, memory).actions == ()
