"""What a fault that holds a member down makes of each rule: it is not started, and the rest goes on."""

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

from multiaz.instance.actions import Begin, Configure, Fence, JobKind, Promote, Record, Start
from multiaz.instance.decide import decide
from multiaz.instance.records import Phase, RequestKind, RoleRecord
from multiaz.instance.view import SeenMember

LOST = "Availability Zone us-east-1a is lost"
HELD = member(DEAD, held=LOST)


def test_a_held_member_that_runs_is_killed_whoever_started_it() -> None:
    step = decide(DESIRED, seen(a=member(PRIMARY, held=LOST)), WELL)
    assert (step.rule, step.phase, step.actions) == ("held_alive", Phase.RECOVERING, (Fence("a"),))
    step = decide(DESIRED, seen(b=member(STANDBY, held=LOST)), WELL)
    assert (step.rule, step.phase, step.actions) == ("held_alive", Phase.RUNNING, (Fence("b"),))


def test_a_held_primary_is_failed_over_because_it_is_dead() -> None:
    step = decide(DESIRED, seen(a=HELD), WELL)
    assert step.rule == "take_over"
    assert Promote("b") in step.actions


@pytest.mark.parametrize("standby", [HELD, SeenMember()], ids=["held too", "absent"])
def test_a_held_primary_without_a_standby_waits_and_says_why(standby: SeenMember) -> None:
    step = decide(DESIRED, seen(a=HELD, b=standby), WELL)
    assert (step.phase, step.actions) == (Phase.RECOVERING, ())
    assert LOST in step.reason


def test_a_held_primary_is_not_started_where_the_standby_lacks_commits() -> None:
    step = decide(DESIRED, seen(a=HELD, b=DEAD), memory(in_sync=False))
    assert step.actions == ()


def test_the_standby_that_has_everything_is_started_to_take_over_from_a_held_primary() -> None:
    assert decide(DESIRED, seen(a=HELD, b=DEAD), WELL).actions == (Start("b", standby=True),)


def test_a_held_standby_is_struck_off_and_commits_go_on() -> None:
    step = decide(DESIRED, seen(b=HELD), WELL)
    assert step.rule == "leave"
    assert [type(action) for action in step.actions][:2] == [Record, Configure]


@pytest.mark.parametrize(
    ("standby", "remembered"),
    [
        (HELD, memory(in_sync=False)),
        (HELD, memory(in_sync=False, fenced="b")),
        (member(SeenMember(), held=LOST), memory(in_sync=False)),
        (member(HELD, failures=9), memory(in_sync=False)),
    ],
    ids=["dead", "fenced", "absent", "failed before"],
)
def test_redundancy_waits_for_a_held_standby_and_says_why(standby: SeenMember, remembered: RoleRecord) -> None:
    step = decide(DESIRED, seen(b=standby, upstream_link="a"), remembered)
    assert (step.rule, step.reason, step.actions) == ("rest", LOST, ())


def test_a_failover_to_a_held_standby_is_refused() -> None:
    step = decide(desired(request=request(RequestKind.FAILOVER)), seen(b=HELD), WELL)
    assert isinstance(step.actions[0], Record)
    assert step.actions[0].memory.answers[-1].outcome == "refused"


def test_no_server_is_made_where_none_may_run() -> None:
    nothing = seen(a=member(SeenMember(), held=LOST), b=SeenMember(), primary_link=None)
    step = decide(DESIRED, nothing, RoleRecord())
    assert (step.phase, step.actions) == (Phase.CREATING, ())


def test_a_held_read_replica_is_neither_started_nor_copied() -> None:
    gone = member(SeenMember(), held=LOST)
    for replica in (HELD, gone):
        assert decide(REPLICA, seen(a=replica, b=SeenMember(), upstream_link="a"), FOLLOWING).actions == ()
    healed = decide(REPLICA, seen(a=SeenMember(), b=SeenMember(), upstream_link="a"), FOLLOWING)
    assert healed.actions == (Begin(JobKind.REJOIN, "a"),)
