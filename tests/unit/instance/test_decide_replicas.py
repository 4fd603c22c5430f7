"""Read replicas that break, diverge and heal, and servers that know more than the record: each cell of those rules."""

from __future__ import annotations

import pytest
from test_decide import DESIRED, FOLLOWING, REPLICA, STANDBY, WELL, member, memory, request, seen

from multiaz.instance.actions import Announce, Begin, JobKind, Record
from multiaz.instance.decide import decide
from multiaz.instance.records import RequestKind
from multiaz.instance.view import IDLE_AFTER_S, NOT_STREAMING, STRAY_AFTER_S, SeenMember

BROKEN = FOLLOWING.model_copy(update={"replication_broken": True})
STRAY = member(STANDBY, streaming=False, stalled_s=STRAY_AFTER_S + 0.1)


def alone(a: SeenMember, **others: object):  # type: ignore[no-untyped-def]
    return seen(a=a, b=SeenMember(), upstream_link="a", **others)


@pytest.mark.parametrize(
    ("replica", "why"),
    [
        (STRAY, NOT_STREAMING),
        (member(STANDBY, paused="replay is paused"), "replay is paused"),
        (member(STANDBY, diverged="it went its own way"), "it went its own way"),
    ],
)
def test_broken_replication_is_told_once(replica: SeenMember, why: str) -> None:
    step = decide(REPLICA, alone(replica), FOLLOWING)
    assert step.actions == (Announce("RDS-EVENT-0045", f"Replication has stopped: {why}"), Record(BROKEN))
    assert decide(REPLICA, alone(replica), BROKEN).rule != "replication_events"


def test_a_short_break_is_not_told() -> None:
    away = member(STANDBY, streaming=False, stalled_s=STRAY_AFTER_S - 0.1)
    assert decide(REPLICA, alone(away), FOLLOWING).rule == "rest"


def test_resumed_replication_is_told_once() -> None:
    step = decide(REPLICA, alone(STANDBY), BROKEN)
    assert step.actions == (
        Announce("RDS-EVENT-0046", "Replication for the Read Replica resumed"), Record(FOLLOWING)
    )  # fmt: skip
    assert decide(REPLICA, alone(STANDBY), FOLLOWING).rule == "rest"
    assert decide(REPLICA, alone(member(STANDBY, job=JobKind.REJOIN)), BROKEN).rule == "rest"


def test_diverged_replica_is_copied_again_at_once_and_only_from_a_source_that_is_there() -> None:
    diverged = member(STANDBY, diverged="it went its own way")
    assert decide(REPLICA, alone(diverged, source_alive=True), BROKEN).actions == (Begin(JobKind.REJOIN, "a"),)
    assert decide(REPLICA, alone(diverged, source_alive=False), BROKEN).rule == "rest"
    copying = member(diverged, job=JobKind.REJOIN)
    assert decide(REPLICA, alone(copying, source_alive=True), BROKEN).rule == "rest"


def test_replica_that_answers_nobody_and_recovers_nothing_is_copied_again() -> None:
    mute = member(STANDBY, answering=False, in_recovery=None, streaming=False, idle_s=IDLE_AFTER_S + 1)
    assert decide(REPLICA, alone(mute, source_alive=True), FOLLOWING).actions == (Begin(JobKind.REJOIN, "a"),)
    assert decide(REPLICA, alone(mute, source_alive=False), FOLLOWING).rule == "awaken"
    assert decide(REPLICA, alone(member(mute, idle_s=1.0), source_alive=True), FOLLOWING).rule == "awaken"
    assert decide(DESIRED, seen(a=mute, source_alive=True), WELL).rule != "stray_replica"


def test_replica_that_was_a_primary_is_not_shown_again_but_copied_once_its_source_is_there() -> None:
    down = SeenMember(exists=True, diverged="it was a primary")
    assert decide(REPLICA, alone(down, source_alive=True), BROKEN).actions == (Begin(JobKind.REJOIN, "a"),)
    assert decide(REPLICA, alone(down, source_alive=False), BROKEN).actions == ()


def test_standby_that_was_a_primary_is_fenced_instead_of_started() -> None:
    down = SeenMember(exists=True, diverged="it was a primary")
    step = decide(DESIRED, seen(b=down, upstream_link="a"), memory(in_sync=False))
    assert step.actions == (Record(memory(in_sync=False, fenced="b")),)


def test_diverged_standby_is_cloned_and_never_joined() -> None:
    diverged = member(STANDBY, diverged="it went its own way")
    step = decide(DESIRED, seen(b=diverged, upstream_link="a"), memory(in_sync=False))
    assert step.actions == (Begin(JobKind.CLONE, "b"),)


def promoting(replica: SeenMember, **others: object):  # type: ignore[no-untyped-def]
    wanted = REPLICA.model_copy(update={"request": request(RequestKind.PROMOTE)})
    return decide(wanted, alone(replica, **others), BROKEN)


def test_paused_replica_is_restarted_before_it_is_promoted_because_it_would_not_leave_recovery() -> None:
    assert promoting(member(STANDBY, paused="a reason")).actions == (Begin(JobKind.RESTART, "a"),)


def test_diverged_replica_is_not_promoted_as_it_is() -> None:
    """It would have rows its source never had: it is copied again first, or the promotion is refused."""
    diverged = member(STANDBY, diverged="a reason")
    assert promoting(diverged, source_alive=True).actions == (Begin(JobKind.REJOIN, "a"),)
    (record,) = promoting(diverged, source_alive=False).actions
    assert isinstance(record, Record)
    assert [(answer.outcome, answer.reason) for answer in record.memory.answers] == [("refused", "a reason")]
    assert record.memory.following
