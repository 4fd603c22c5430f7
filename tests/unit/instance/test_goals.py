"""Where each cell of the table leads: its row's actions, and the end of the job they begin, on what was seen.

The simulation says the same of what it comes by; here are also read replicas, and servers that start.
"""

from __future__ import annotations

from typing import Any

import pytest
from test_decide import DEAD, FOLLOWING, PRIMARY, REPLICA, STANDBY, member, memory, seen
from test_transitions import AT, CELLS, SPEAKS, Case, asking

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
from multiaz.instance.decide import TRANSITIONS, decide
from multiaz.instance.records import MemberName, RequestKind, RunState
from multiaz.instance.states import State
from multiaz.instance.view import SeenMember

GOALS = {row.name: row.goal for row in TRANSITIONS}


def put(case: Case, name: MemberName, **changes: Any) -> Case:
    return case.with_a(**changes) if name == "a" else case.with_b(**changes)


def stopped(case: Case, name: MemberName) -> Case:
    exists = case.seen.members.get(name, SeenMember()).exists
    return case.seeing(members={**case.seen.members, name: member(DEAD, exists=exists)})


def done(case: Case, action: Action) -> Case:
    """What is seen and remembered once this action has succeeded; a job has only been begun."""
    match action:
        case Record(memory):
            return Case(case.desired, case.seen, memory)
        case Fence(name):
            return stopped(case, name)
        case StopAll():
            return stopped(stopped(case, "a"), "b")
        case Start(name):
            return put(case, name, alive=True, answering=False, in_recovery=None)
        case Promote(name):
            return put(case, name, answering=True, in_recovery=False, streaming=False, job=None)
        case Begin(kind, name):
            known = {**{one: SeenMember() for one in ("a", "b")}, **case.seen.members}
            return put(case.seeing(members=known), name, job=kind)
        case EndJob(name):
            return put(case, name, job=None)
        case Announce() | Configure() | PointPrimary() | PointUpstream():
            return case
        case _:
            raise AssertionError(f"what does {action} lead to?")


def ended(case: Case, kind: JobKind, name: MemberName) -> Case:
    """What is seen once this job has succeeded."""
    match kind:
        case JobKind.CREATE:
            runs = STANDBY if case.desired.source else PRIMARY
            return put(case.seeing(created=True), name, **runs.__dict__)
        case JobKind.CLONE | JobKind.REJOIN:
            return put(case, name, **DEAD.__dict__)
        case JobKind.JOIN:
            return put(case.seeing(joined_epoch=case.memory.epoch), name, job=None)
        case JobKind.RESTART:
            leads = name == case.memory.primary and not case.memory.following
            return put(case, name, **(PRIMARY if leads else member(STANDBY, streaming=False)).__dict__)
        case JobKind.REMOVE:
            return put(case, name, **SeenMember().__dict__)
        case JobKind.MASTER:
            return put(case, name, job=None)


def led_to(case: Case) -> list[tuple[str, State]]:
    """Which rule leads to which states, one after the other; a restart is the business of its own row."""
    step = decide(case.desired, case.seen, case.memory)
    for action in step.actions:
        case = done(case, action)
    found = [(step.rule, case.state())]
    for action in step.actions:
        if isinstance(action, Begin):
            rule = "restarting" if case.state() is State.RESTARTING else step.rule
            found.append((rule, ended(case, action.kind, action.member).state()))
    return found


def wrong(case: Case) -> list[tuple[str, State]]:
    return [(rule, after) for rule, after in led_to(case) if after not in {case.state(), *GOALS[rule]}]


@pytest.mark.parametrize(
    ("row", "state", "run"), CELLS, ids=[f"{row.name}-{state}-{run} wanted" for row, state, run in CELLS]
)
def test_each_cell_leads_where_its_row_says(row: Any, state: State, run: RunState) -> None:
    change, _ = SPEAKS[row.name]
    assert wrong(change(AT[state]).wanting(run=run)) == []


TO_BE_PROMOTED = asking(RequestKind.PROMOTE)(AT[State.REPLICA_STREAMING])
OF_REPLICAS: dict[str, tuple[Case, list[tuple[str, State]]]] = {
    "made": (
        AT[State.CREATING].wanting(source=REPLICA.source).seeing(created=True, members=TO_BE_PROMOTED.seen.members),
        [("create", State.REPLICA_STREAMING)],
    ),
    "promoted": (TO_BE_PROMOTED, [("answer_promote", State.SINGLE)]),
    "promoted, and Multi-AZ": (TO_BE_PROMOTED.wanting(multi_az=True), [("answer_promote", State.CLONING)]),
    "paused": (
        TO_BE_PROMOTED.with_a(paused="replay is paused"),
        [("answer_promote", State.RESTARTING), ("restarting", State.REPLICA_STRAY)],
    ),
    "a promotion that was interrupted": (
        Case(REPLICA, TO_BE_PROMOTED.seen, memory(in_sync=False, epoch=4)), [("finish_promotion", State.SINGLE)],
    ),
    "without data": (
        Case(REPLICA, seen(a=SeenMember(), b=SeenMember()), FOLLOWING),
        [("recover", State.PRIMARY_DOWN), ("recover", State.STOPPED)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("case", "expected"), OF_REPLICAS.values(), ids=OF_REPLICAS)
def test_read_replica_is_led_where_the_table_says(case: Case, expected: list[tuple[str, State]]) -> None:
    assert led_to(case) == expected
    assert wrong(case) == []
