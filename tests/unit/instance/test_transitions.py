"""The table of the failover state machine, cell by cell: each row speaks in each of its states.

Everywhere else it is silent, because the table does not ask it there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

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

from multiaz.instance.actions import (
    Action,
    Announce,
    Begin,
    Configure,
    EndJob,
    Fence,
    JobKind,
    PointPrimary,
    PointUpstream,
    Promote,
    Record,
    Start,
    StopAll,
)
from multiaz.instance.decide import TRANSITIONS, decide, view_of
from multiaz.instance.records import Answer, DesiredInstance, MasterUser, RequestKind, RoleRecord, RunState
from multiaz.instance.states import HAPPENINGS, RESTING, State, state_of
from multiaz.instance.view import IDLE_AFTER_S, STRAY_AFTER_S, Seen, SeenMember


@dataclass(frozen=True)
class Case:
    """What a decision is made of."""

    desired: DesiredInstance
    seen: Seen
    memory: RoleRecord

    def state(self) -> State:
        return state_of(view_of(self.desired, self.seen, self.memory))

    def wanting(self, **changes: Any) -> Case:
        return replace(self, desired=self.desired.model_copy(update=changes))

    def remembering(self, **changes: Any) -> Case:
        return replace(self, memory=self.memory.model_copy(update=changes))

    def seeing(self, **changes: Any) -> Case:
        return replace(self, seen=replace(self.seen, **changes))

    def with_a(self, **changes: Any) -> Case:
        return self.seeing(members={**self.seen.members, "a": member(self.seen.members["a"], **changes)})

    def with_b(self, **changes: Any) -> Case:
        return self.seeing(members={**self.seen.members, "b": member(self.seen.members["b"], **changes)})


APART = memory(in_sync=False)
SILENT = member(PRIMARY, answering=False, in_recovery=None)
ALONE = seen(b=SeenMember(), upstream_link="a")
ON_ITS_WAY = member(STANDBY, streaming=False)

WAITING = desired(standby_loss="wait")

AT: dict[State, Case] = {
    State.RECORD_STALE: Case(DESIRED, seen(doubt="b has timeline 3"), WELL),
    State.TWO_PRIMARIES: Case(DESIRED, seen(b=PRIMARY), APART),
    State.FENCED_RUNS: Case(DESIRED, seen(), memory(in_sync=False, fenced="b")),
    State.HELD_RUNS: Case(DESIRED, seen(b=member(STANDBY, held="a fault")), WELL),
    State.RECORD_MISSING: Case(DESIRED, Seen({}, data_exists=True), RoleRecord()),
    State.CREATING: Case(DESIRED, Seen({}), RoleRecord()),
    State.RESTARTING: Case(DESIRED, seen(a=member(DEAD, job=JobKind.RESTART)), WELL),
    State.STOPPED: Case(DESIRED, seen(a=DEAD, b=DEAD), WELL),
    State.PRIMARY_LOST: Case(DESIRED, seen(a=DEAD), WELL),
    State.PRIMARY_DOWN: Case(DESIRED, seen(a=DEAD), APART),
    State.PRIMARY_HUNG: Case(DESIRED, seen(a=member(SILENT, silent=True, hung=True)), WELL),
    State.PROMOTING: Case(DESIRED, seen(a=STANDBY, b=DEAD), memory(in_sync=False, fenced="b")),
    State.PRIMARY_STARTING: Case(DESIRED, seen(a=SILENT), WELL),
    State.STANDBY_LEAVING: Case(DESIRED, seen(b=DEAD), WELL),
    State.STANDBY_AWAITED: Case(WAITING, seen(b=member(DEAD, wait_s=1.0)), WELL),
    State.REDUNDANT: Case(DESIRED, seen(), WELL),
    State.STANDBY_UNWANTED: Case(
        desired(multi_az=False), seen(b=member(DEAD, job=JobKind.REMOVE), upstream_link="a"), APART
    ),
    State.REPLICA_STREAMING: Case(REPLICA, seen(a=STANDBY, b=SeenMember(), upstream_link="a"), FOLLOWING),
    State.REPLICA_STRAY: Case(
        REPLICA, seen(a=member(STANDBY, streaming=False), b=SeenMember(), upstream_link="a"), FOLLOWING
    ),
    State.SINGLE: Case(desired(multi_az=False), ALONE, APART),
    State.JOINING: Case(DESIRED, seen(b=member(STANDBY, job=JobKind.JOIN)), APART),
    State.REJOINING: Case(
        DESIRED, seen(b=member(DEAD, job=JobKind.REJOIN), upstream_link="a"), memory(in_sync=False, fenced="b")
    ),
    State.CLONING: Case(DESIRED, seen(b=SeenMember(job=JobKind.CLONE), upstream_link="a"), APART),
    State.STANDBY_DOWN: Case(DESIRED, seen(b=member(DEAD, wait_s=1.0), upstream_link="a"), APART),
    State.CATCHING_UP: Case(DESIRED, seen(b=ON_ITS_WAY, upstream_link="a"), APART),
}
"""An example of each state in which, running, nothing is to be done but what the state itself asks for."""

Change = Callable[[Case], Case]


def asking(kind: RequestKind, *, epoch: int = 3) -> Change:
    return lambda case: case.wanting(request=request(kind, epoch=epoch))


def as_replica(case: Case) -> Case:
    """A replica that still has a second member has been made a replica again by hand: it is no less a replica."""
    following = case.state() in (State.STANDBY_UNWANTED, State.PRIMARY_STARTING)
    if mute_case(case):
        case = case.with_b(**SeenMember().__dict__)
    return case.remembering(following=True, in_sync=False) if following else case


def idle(case: Case) -> Case:
    return case.with_b(job=None, wait_s=0.0)


def restarting_the_standby(case: Case) -> Case:
    """A standby that runs is restarted; one that did not start with the new parameters is an answer, too."""
    asked = asking(RequestKind.RESTART_STANDBY)(case)
    if case.seen.members["b"].alive:
        return idle_join(asked)
    assert asked.desired.request is not None
    return asked.with_b(job=None, alive=False, failed="invalid value").remembering(request=asked.desired.request)


SPEAKS: dict[str, tuple[Change, list[type[Action]]]] = {
    "record_stale": (lambda case: case, []),
    "second_primary": (lambda case: case, [Fence, Record]),
    "fenced_alive": (lambda case: case, [Fence]),
    "held_alive": (lambda case: case, [Fence]),
    "deleted": (lambda case: case, [StopAll]),
    "stopped": (lambda case: case, [StopAll]),
    "record_missing": (lambda case: case, []),
    "create": (lambda case: case, [Begin]),
    "restarting": (lambda case: case, []),
    "take_over": (lambda case: case, [Fence, Record, Announce, Promote, PointPrimary, PointUpstream]),
    "recover": (lambda case: case.with_b(silent=True, answering=False, in_recovery=None), [Start]),
    "finish_promotion": (lambda case: case, [Promote, PointPrimary, PointUpstream]),
    "hung_primary": (lambda case: case, [Fence, Record, Announce, Promote, PointPrimary, PointUpstream]),
    "stale_request": (lambda case: asking(RequestKind.FAILOVER, epoch=2)(mute(case)), [Record]),
    "answer_failover": (
        lambda case: asking(RequestKind.FAILOVER)(
            case.wanting(multi_az=False).with_b(**STANDBY.__dict__) if case.state() is State.STANDBY_LEAVING else case
        ),
        [Fence, Record, Announce, Promote, PointPrimary, PointUpstream],
    ),
    "refuse_failover": (lambda case: asking(RequestKind.FAILOVER)(out_of_sync(case)), [Record]),
    "awaken": (lambda case: out_of_sync(case), []),
    "answer_reboot": (asking(RequestKind.REBOOT), [Record, Begin]),
    "answer_restart_standby": (restarting_the_standby, [Record]),
    "answer_promote": (lambda case: asking(RequestKind.PROMOTE)(as_replica(case)), [Record, Promote, PointPrimary]),
    "refuse_promote": (asking(RequestKind.PROMOTE), [Record]),
    "point": (lambda case: case.seeing(primary_link=None), [PointPrimary]),
    "announce": (lambda case: case.remembering(to_announce=("RDS-EVENT-0006",)), [Announce, Record]),
    "configure": (lambda case: idle_join(case).seeing(outdated=("a",)), [Configure]),
    "leave": (
        lambda case: case.with_a(accepting=True).with_b(**DEAD.__dict__) if mute_case(case) else case,
        [Record, Configure, PointUpstream],
    ),
    "master_user": (lambda case: case.wanting(master=MasterUser(name="dbadmin", verifier="SCRAM2", number=2)), [Begin]),
    "single": (idle, [Begin]),
    "record_join": (lambda case: idle(case).seeing(joined_epoch=3), [Record]),
    "rejoin": (idle, [Begin]),
    "clone": (lambda case: idle(case).with_b(failures=3, stalled_s=STRAY_AFTER_S + 1), [Begin]),
    "hung_standby": (lambda case: case.with_b(hung=True), [Fence]),
    "start_standby": (lambda case: case.with_b(**DEAD.__dict__) if mute_case(case) else idle(case), [Start]),
    "restart_standby": (
        lambda case: case.with_b(**{**STANDBY.__dict__, "streaming": False, "pending_restart": True}),
        [Begin],
    ),
    "join": (lambda case: case.with_b(streaming=True), [Begin]),
    "tell_alone": (lambda case: case.remembering(alone_since=1.0).seeing(now=12.0), [Announce, Record]),
    "tell_redundant": (lambda case: case.remembering(alone_told=True), [Announce, Record]),
    "replication_events": (lambda case: case.with_a(paused="replay is paused"), [Announce, Record]),
    "stray_replica": (
        lambda case: (
            out_of_sync(as_replica(case))
            .with_a(stalled_s=STRAY_AFTER_S + 1, idle_s=IDLE_AFTER_S + 1)
            .seeing(source_alive=True)
            .remembering(replication_broken=True)
        ),
        [Begin],
    ),
    "upstream": (lambda case: case.seeing(upstream_link=None), [PointUpstream]),
    "rest": (lambda case: case, []),
}
"""For each row: what makes it speak in one of its states, and what it then does, in this order."""


def out_of_sync(case: Case) -> Case:
    """Nobody may take over: in sync on record, a standby that is being restarted, or not in sync.

    A hung primary is then ended at once, unless it is being copied again anyway.
    """
    if case.state() is State.PRIMARY_HUNG:
        case = case.with_a(job=JobKind.REJOIN)
    return case.with_b(answering=False, in_recovery=None, silent=True) if case.memory.in_sync else case


def mute(case: Case) -> Case:
    """A hung primary is replaced at once, unless nobody can."""
    return out_of_sync(case) if case.state() is State.PRIMARY_HUNG else case


def mute_case(case: Case) -> bool:
    return case.state() is State.PRIMARY_STARTING


def idle_join(case: Case) -> Case:
    """While a join runs nobody else writes the configuration."""
    return idle(case).seeing(joined_epoch=3) if case.state() is State.JOINING else case


RESTART = [Record, Configure, PointUpstream, Begin]
OTHERWISE: dict[tuple[str, State], list[type[Action]]] = {
    ("answer_restart_standby", State.REDUNDANT): RESTART,
    ("answer_restart_standby", State.JOINING): RESTART,
    ("answer_restart_standby", State.CATCHING_UP): RESTART,
}
"""Cells in which a row does something else than in its other states."""

CELLS = [
    (row, state, run) for row in TRANSITIONS for state in State if state in row.current
    for run in RunState if run in row.wanted
]  # fmt: skip


@pytest.mark.parametrize("state", State)
def test_each_state_has_an_example_in_which_it_alone_holds(state: State) -> None:
    assert AT[state].state() is state


def test_each_row_is_in_the_table_once_and_has_its_case() -> None:
    assert sorted(row.name for row in TRANSITIONS) == sorted(SPEAKS)


@pytest.mark.parametrize(
    ("row", "state", "run"), CELLS, ids=[f"{row.name}-{state}-{run} wanted" for row, state, run in CELLS]
)
def test_each_row_speaks_in_each_of_its_states(row: Any, state: State, run: RunState) -> None:
    """With each run state that it is asked with: a cell in which a row can never speak does not belong in the table."""
    change, expected = SPEAKS[row.name]
    case = change(AT[state]).wanting(run=run)
    assert case.state() is state, "the change that makes the rule speak must not change the state"
    step = decide(case.desired, case.seen, case.memory)
    kinds = [type(action) for action in step.actions]
    assert step.rule == row.name
    if row.name in ("deleted", "stopped") or (row.name == "record_stale" and run is not RunState.RUNNING):
        jobs = [EndJob for one in case.seen.members.values() if one.job is not None]
        expected = [*jobs, StopAll] if jobs or alive(case) else []
    assert kinds == OTHERWISE.get((row.name, state), expected)


def carried_out(case: Case) -> bool:
    """A request is: it is answered as done, or a server is restarted or a replica promoted for it."""
    actions = decide(case.desired, case.seen, case.memory).actions
    answers = [answer for one in actions if isinstance(one, Record) for answer in one.memory.answers]
    return (
        any(answer.outcome == "done" for answer in answers if answer not in case.memory.answers)
        or any(isinstance(one, Begin) and one.kind is JobKind.RESTART for one in actions)
        or (case.memory.following and any(isinstance(one, Promote) for one in actions))
    )


CARRIED_OUT = [
    (kind, state) for kind in RequestKind for state in State if carried_out(asking(kind)(as_replica(AT[state])))
]


def test_each_kind_of_request_is_carried_out_in_some_state() -> None:
    assert {kind for kind, _ in CARRIED_OUT} == set(RequestKind)


@pytest.mark.parametrize(("kind", "state"), CARRIED_OUT)
def test_request_of_an_earlier_epoch_or_answered_is_not_carried_out(kind: RequestKind, state: State) -> None:
    """In the states in which it would be."""
    case = as_replica(AT[state])
    assert not carried_out(asking(kind, epoch=2)(case))
    answered = Answer(number=1, outcome="done", reason="")
    assert not carried_out(asking(kind)(case.remembering(answers=(answered,))))


def alive(case: Case) -> bool:
    return any(one.alive for one in case.seen.members.values())


@pytest.mark.parametrize("state", sorted(frozenset(State) - RESTING))
def test_table_declares_a_way_out_of_every_state_but_a_resting_one(state: State) -> None:
    """By a row that is asked while the instance is to run, and leads to another state.

    That it does lead there, and nowhere else, test_goals and test_simulation tell.
    """
    ways = [
        row.name
        for row in TRANSITIONS
        if state in row.current and RunState.RUNNING in row.wanted and row.goal - {state}
    ]
    assert ways


@pytest.mark.parametrize("state", State)
def test_in_every_state_somebody_always_speaks(state: State) -> None:
    """The last row of each state and run state has no condition of its own."""
    for wanted in RunState:
        rows = [row for row in TRANSITIONS if state in row.current and wanted in row.wanted]
        assert rows[-1].name in UNCONDITIONAL, f"{state}, {wanted}"


UNCONDITIONAL = {
    "record_stale", "second_primary", "fenced_alive", "held_alive", "deleted", "stopped", "record_missing", "create",
    "restarting", "recover", "finish_promotion", "awaken", "leave", "rest",
}  # fmt: skip


def test_table_declares_how_the_instance_becomes_well_from_every_state() -> None:
    """Along the goals of rows, without anything happening from outside."""
    well = {State.REDUNDANT, State.SINGLE, State.REPLICA_STREAMING}
    while True:
        more = {
            state
            for state in frozenset(State) - well
            if any(state in row.current and RunState.RUNNING in row.wanted and row.goal & well for row in TRANSITIONS)
        }
        if not more:
            break
        well |= more
    assert frozenset(State) - well == {State.RECORD_MISSING, State.RECORD_STALE}, "only a person can mend these"


def test_diagram_says_how_each_state_is_come_to() -> None:
    led_to = {goal for row in TRANSITIONS for goal in row.goal} | {one.after for one in HAPPENINGS}
    assert frozenset(State) - led_to == set()


HAPPENS: dict[str, Change] = {
    "the primary dies": lambda case: case.with_a(alive=False, answering=False, in_recovery=None),
    "the primary hangs": lambda case: case.with_a(answering=False, in_recovery=None, silent=True, hung=True),
    "the standby dies or falls out, or Multi-AZ is turned off": lambda case: case.wanting(multi_az=False),
    "both die": lambda case: case.seeing(members={"a": DEAD, "b": DEAD}),
    "the standby dies, and commits are to wait for it": lambda case: case.wanting(standby_loss="wait").seeing(
        members={**case.seen.members, "b": DEAD}
    ),
    "the standby streams again": lambda case: case.seeing(members={**case.seen.members, "b": STANDBY}),
    "the standby dies": lambda case: case.seeing(members={**case.seen.members, "b": DEAD}),
    "the join fails": lambda case: case.with_b(job=None, failed="no progress", wait_s=0.1),
    "the primary goes on": lambda case: case.seeing(members={**case.seen.members, "a": PRIMARY}),
    "the standby dies too": lambda case: case.seeing(members={"a": DEAD, "b": DEAD}),
    "Multi-AZ is turned on": lambda case: case.wanting(multi_az=True),
    "the stream breaks": lambda case: case.with_a(streaming=False),
    "the stream is back": lambda case: case.with_a(streaming=True),
    "somebody starts the fenced member": lambda case: case.with_b(alive=True),
    "a fault comes while the standby starts": lambda case: case.with_b(held="a fault"),
    "the supervisor dies once it has recorded a failover": lambda case: case.seeing(
        members={"a": DEAD, "b": STANDBY}
    ).remembering(epoch=4, primary="b", in_sync=False, fenced="a"),
    "an older role.json is put back": lambda case: case.seeing(doubt="it is revision 1, and b has acted on revision 2"),
    "the newest is put back": lambda case: case.seeing(doubt=None),
    "role.json is lost": lambda case: replace(case.seeing(data_exists=True), memory=RoleRecord()),
    "role.json is put back": lambda case: replace(case, seen=seen(), memory=WELL),
    "somebody promotes the standby": lambda case: case.seeing(members={**case.seen.members, "b": PRIMARY}),
}


@pytest.mark.parametrize("happening", HAPPENINGS, ids=[f"{one.before}-{one.after}" for one in HAPPENINGS])
def test_what_the_diagram_says_happens_is_what_is_then_seen(happening: Any) -> None:
    assert HAPPENS[happening.what](AT[happening.before]).state() is happening.after
