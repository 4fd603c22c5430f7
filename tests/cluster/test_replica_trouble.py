"""Replicas that cannot follow: it is seen, said, and mended; and what they left behind on their source is bounded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from hand import ByHand, Replica, children_are_reaped
from harness import Instance, MakeInstance, eventually

from multiaz.files import switch_link
from multiaz.home import Home
from multiaz.instance import probe
from multiaz.instance.following import diverged
from multiaz.instance.records import MemberName, Phase, RequestKind, RunState


def codes(instance: Instance) -> list[str]:
    """Ids of the events told so far, without their prefix."""
    if not instance.home.events.exists():
        return []
    return [line.split('"code":"RDS-EVENT-')[1][:4] for line in instance.home.events.read_text().splitlines()]


def rows(instance: Instance) -> set[int]:
    with instance.connect() as connection:
        return {row[0] for row in connection.execute("SELECT x FROM t")}


@pytest.mark.long
def test_replication_that_breaks_is_told_and_told_again_when_it_is_healed(make_instance: MakeInstance) -> None:
    """Once because the source is down, once because it has more connections than the replica was started for."""
    source = make_instance("source", multi_az=False)
    source.wait_well()
    with source.connect() as connection:
        connection.execute("CREATE TABLE t (x int)")
    replica = make_instance("replica", multi_az=False, source=source)
    replica.wait("it follows", lambda seen: seen.writable and seen.replication_error is None)

    source.write(run=RunState.STOPPED)
    broken = replica.wait("told", lambda seen: codes(replica) == ["0045"] and seen.replication_error)
    assert broken.replication_lag_s == -1
    assert broken.writable  # it goes on serving what it has
    source.write(run=RunState.RUNNING)
    replica.wait("healed", lambda seen: codes(replica) == ["0045", "0046"] and not seen.replication_error, 60)

    source.write(parameters={**source.desired.parameters, "max_connections": "100"})
    source.wait("pending", lambda seen: seen.pending_restart == ("max_connections",))
    number = source.request(RequestKind.REBOOT)
    source.wait("rebooted", lambda seen: any(answer.number == number for answer in seen.answers))
    broken = replica.wait("told again", lambda seen: codes(replica)[2:] == ["0045"] and seen.replication_error)
    assert "max_connections is 60 here and 100 on its source" in str(broken.replication_error)
    assert broken.replication_lag_s == -1
    replica.request(RequestKind.REBOOT)
    replica.wait(
        "healed again", lambda seen: codes(replica)[3:] == ["0004", "0006", "0046"] and not seen.replication_error
    )
    with source.connect() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    eventually("the row is on the replica", lambda: rows(replica) == {1})

    with replica.admin() as admin:
        admin.execute("SELECT pg_wal_replay_pause()")
    replica.wait("told", lambda seen: codes(replica)[6:] == ["0045"] and seen.replication_error == "replay is paused")
    number = replica.request(RequestKind.PROMOTE)
    replica.wait("promoted", lambda seen: seen.writable and any(one.number == number for one in seen.answers))
    with replica.connect() as connection:
        connection.execute("INSERT INTO t VALUES (2)")


@pytest.mark.long
def test_replica_promoted_apart_is_not_taken_for_its_sources_although_both_say_timeline_2(
    make_instance: MakeInstance, free_port: Callable[[], int]
) -> None:
    source = make_instance("source")
    source.wait_well()
    with source.connect() as connection:
        connection.execute("CREATE TABLE t (x int)")
    with children_are_reaped():
        replica = ByHand(Instance(source.top, "replica", free_port(), multi_az=False, source=source))
        try:
            replica.until("it streams", lambda memory, seen: memory.following and seen.members["a"].streaming)
            eventually("it has the table", lambda: replica.rows("a") == set())
            server = replica.servers["a"]
            server.promote()
            eventually("promoted behind our back", lambda: inserted(replica, "a"))
            server.stop()
            assert server.was_primary()
            with source.connect() as connection:
                connection.execute("INSERT INTO t VALUES (0)")
            source.fail_over()
            with source.connect() as connection:
                connection.execute("INSERT INTO t SELECT generate_series(1, 20000)")
            why = diverged(server, source.home.upstream_link, 2, None)
            assert why is not None
            assert "went its own way" in why
            replica.until("copied again", lambda _, seen: seen.members["a"].streaming)
            eventually("it has the rows", lambda: len(replica.rows("a")) == 20001)
            assert -1 not in replica.rows("a")
            replica.until("and it follows", lambda _, seen: not seen.members["a"].diverged)
        finally:
            replica.end()


def inserted(hand: ByHand, member: MemberName, number: int = -1) -> bool:
    try:
        with hand.client(member) as client:
            client.execute("CREATE TABLE IF NOT EXISTS t (x int)")
            client.execute("INSERT INTO t VALUES (%s)", (number,))
    except psycopg.Error:
        return False
    return True


@pytest.mark.long
def test_standby_promoted_behind_our_back_has_a_history_of_its_own_and_is_rewound(
    home_folder: Path, free_port: Callable[[], int]
) -> None:
    with children_are_reaped():
        hand = ByHand(Instance(Home(home_folder), "one", free_port()))
        try:
            hand.make_pair()
            server = hand.servers["b"]
            assert not server.was_primary()
            assert diverged(server, hand.home.socket_folder("a"), 1, None) is None
            server.promote()
            hand.until("it is fenced", lambda memory, _: memory.fenced == "b")
            why = diverged(server, hand.home.socket_folder("a"), 2, None)
            assert why == "it is on timeline 2, which its upstream (on 1) never was on"
            hand.until("in sync", lambda memory, _: memory.in_sync)
            assert diverged(server, hand.home.socket_folder("a"), 1, None) is None
            hand._remember(hand.memory.model_copy(update={"in_sync": False}))
            server.promote()
            eventually("promoted", lambda: inserted(hand, "b"))
            server.stop()
            ours: list[str] = []
            hand.after = lambda action: ours.append(type(action).__name__)
            hand.until("it is fenced before it is ever started", lambda memory, _: memory.fenced == "b")
            assert "Start" not in ours
            hand.until("in sync again", lambda memory, _: memory.in_sync)
        finally:
            hand.end()


@pytest.mark.long
def test_old_copy_of_the_record_starts_and_fences_nobody(home_folder: Path, free_port: Callable[[], int]) -> None:
    """It names the old primary: believed, it would have the new one fenced and every commit since then lost."""
    with children_are_reaped():
        hand = ByHand(Instance(Home(home_folder), "one", free_port()))
        try:
            hand.until("in sync", lambda memory, _: memory.in_sync)
            old = hand.home.role.read_bytes()
            hand.lose_primary()
            hand.until("b serves", lambda memory, seen: memory.epoch == 2 and seen.primary_link == "b")
            with hand.client("b") as client:
                client.execute("CREATE TABLE t AS SELECT 1 AS x")
            new = hand.home.role.read_bytes()
            hand.home.role.write_bytes(old)
            hand = hand.reborn()
            hand.sees_answering("b")
            for _ in range(5):
                step = hand.round()
                assert (step.rule, step.phase, step.actions) == ("record_stale", Phase.FAILED, ())
                assert "b has acted on revision" in step.reason
            hand.home.role.write_bytes(new)
            hand = hand.reborn()
            hand.until("b serves again", lambda _, seen: seen.members["b"].answering)
            assert hand.rows("b") == {1}
        finally:
            hand.end()


@pytest.mark.long
def test_lag_of_an_idle_source_is_bounded_by_a_beat_that_waits_for_nobody(
    home_folder: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "BEAT_EVERY_S", 0.1)
    with children_are_reaped():
        hand = ByHand(Instance(Home(home_folder), "one", free_port()))
        hand.make_pair()
        switch_link(hand.home.upstream_link, "b")
        replica = Replica(hand)
        try:
            first = eventually("something is replayed", lambda: replayed_at(replica))
            eventually("and again, though no client writes", lambda: replayed_at(replica) != first)
            hand.join()
            with hand.stopped("b", "walreceiver"):
                beaten = hand.observer._members["a"].probe._beaten_at
                eventually("it beats on", lambda: hand.observer._members["a"].probe._beaten_at > beaten + 0.2)
                assert not hand.waits_for_standby()
        finally:
            replica.end()
            hand.end()


def replayed_at(replica: Replica) -> object:
    with replica.server.connect() as connection:
        row = connection.execute("SELECT pg_last_xact_replay_timestamp()::text").fetchone()
    return row[0] if row else None


@pytest.mark.long
def test_source_keeps_bounded_wal_for_a_replica_that_is_down_and_copies_itself_to_it_when_it_is_back(
    make_instance: MakeInstance, free_port: Callable[[], int]
) -> None:
    """No slot: wal_keep_size (512 MB) is kept whoever is away, and what was recycled is had by a copy."""
    source = make_instance("source", multi_az=False, parameters={"max_wal_size": "64MB", "min_wal_size": "48MB"})
    source.wait_well()
    with source.connect() as connection:
        connection.execute("CREATE TABLE t (x int)")
    replica = make_instance("replica", multi_az=False, source=source)
    replica.wait("it follows", lambda seen: seen.writable and seen.replication_error is None)
    replica.write(run=RunState.STOPPED)
    replica.wait("stopped", lambda seen: seen.phase == "stopped")
    wal = source.home.data("a") / "pg_wal"
    with source.admin() as admin:
        first = str(admin.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()[0])  # type: ignore[index]
        for _ in range(60):  # 960 MB
            admin.execute("SELECT pg_logical_emit_message(false, 'load', 'x'), pg_switch_wal()")
        admin.execute("CHECKPOINT")
        size = sum(path.stat().st_size for path in wal.glob("0000*"))
    assert size <= (512 + 3 * 64) * 1024**2
    assert not (wal / first).exists()
    with source.connect() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    replica.write(run=RunState.RUNNING)
    replica.wait("copied again", lambda seen: codes(replica)[-1:] == ["0046"] and not seen.replication_error, 60)
    assert "0045" in codes(replica)
    eventually("it has the row", lambda: rows(replica) == {1})
