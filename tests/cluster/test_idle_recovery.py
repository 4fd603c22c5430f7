"""A follower that answers nobody, hangs nowhere, and asks in vain for WAL that is gone: it is copied again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hand import ByHand, children_are_reaped
from harness import Instance, MakeInstance

from multiaz.home import Home
from multiaz.instance.actions import Begin, JobKind
from multiaz.instance.rules import replicas, standby
from multiaz.postgres.processes import fence
from multiaz.postgres.server import Server

AFTER_S = 6.0
"""Instead of half a minute."""

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "IDLE_AFTER_S", AFTER_S)
    monkeypatch.setattr(replicas, "IDLE_AFTER_S", AFTER_S)


@pytest.fixture
def hand(home_folder: Path, free_port: Callable[[], int]) -> Iterator[ByHand]:
    with children_are_reaped():
        made = ByHand(Instance(Home(home_folder), "one", free_port()))
        try:
            made.make_pair()
            yield made
        finally:
            made.end()


def crash_and_lose_wal(follower: Server, upstream: Server) -> None:
    """The follower's recovery begins with a segment that neither of them has any more."""
    fence(follower.data)
    follower.remove_stale_pid()
    for _ in range(2):
        with upstream.connect() as connection:
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
    current = upstream.control()["Latest checkpoint's REDO WAL file"]
    for server in (follower, upstream):
        for segment in (server.data / "pg_wal").glob("0" * 7 + "?" * 17):
            if segment.name < current:
                segment.unlink()


def test_standby_that_waits_for_wal_nobody_has_is_cloned_again_because_it_would_wait_for_ever(hand: ByHand) -> None:
    copying = Begin(JobKind.CLONE, "b")
    crash_and_lose_wal(hand.servers["b"], hand.servers["a"])
    hand.left_out = lambda action: action == copying
    hand.until("b waits", lambda _, seen: seen.members["b"].idle_s > AFTER_S, within_s=60)
    assert hand.servers["b"].status_word() == "starting"
    assert not hand.observer._members["b"].verdict.hung
    assert copying in hand.round().actions
    hand.left_out = lambda _: False
    hand.until("b is in sync", lambda memory, _: memory.in_sync, within_s=60)


def test_replica_that_waits_for_wal_its_source_no_longer_has_is_copied_again(
    make_instance: MakeInstance, free_port: Callable[[], int]
) -> None:
    """It has no standby and no primary of its own to be compared with: only its processes tell."""
    source = make_instance("source", multi_az=False)
    source.wait_well()
    copying = Begin(JobKind.REJOIN, "a")
    with children_are_reaped():
        replica = ByHand(Instance(source.top, "replica", free_port(), multi_az=False, source=source))
        try:
            replica.until("it streams", lambda memory, seen: memory.following and seen.members["a"].streaming)
            crash_and_lose_wal(replica.servers["a"], source.server("a"))
            replica.left_out = lambda action: action == copying
            replica.until("it waits", lambda _, seen: seen.members["a"].idle_s > AFTER_S, within_s=60)
            assert copying in replica.round().actions
            replica.left_out = lambda _: False
            replica.until("it streams again", lambda _, seen: seen.members["a"].streaming, within_s=60)
        finally:
            replica.end()
