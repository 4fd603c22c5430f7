"""The orders of joining, leaving, failing over and rejoining: each step left out, and the harm it keeps away.

Nothing here hopes for a race: the window is held open by a process that is stopped, or by the seam between two
actions. "Acknowledged" means that the server told a client so.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import psycopg
import pytest
from hand import ByHand, Insert, Joining, Replica, children_are_reaped, followers
from harness import Instance, eventually

from multiaz.errors import NoProgress
from multiaz.files import switch_link
from multiaz.home import Home
from multiaz.instance import servers as servers_module
from multiaz.instance import supervisor as supervisor_module
from multiaz.instance.actions import (
    Action,
    Begin,
    Configure,
    Fence,
    JobKind,
    PointPrimary,
    PointUpstream,
    Promote,
    Record,
    Step,
)
from multiaz.instance.records import MemberName, Phase, Request, RequestKind
from multiaz.postgres.processes import fence, processes_in
from multiaz.postgres.server import Server, ServerFailed


def nothing(*_: object, **__: object) -> None:
    """The step that is left out."""


@pytest.fixture
def hand(home_folder, free_port) -> Iterator[ByHand]:  # type: ignore[no-untyped-def]
    """A primary and a streaming standby that is not joined, with a table."""
    with children_are_reaped():
        made = ByHand(Instance(Home(home_folder), "one", free_port()))
        try:
            made.make_pair()
            with made.client("a") as connection:
                connection.execute("CREATE TABLE t (x int)")
            eventually("b has the table", lambda: has_table(made))
            yield made
        finally:
            made.end()


@pytest.fixture
def replica(hand: ByHand) -> Iterator[Replica]:
    """A read replica that streams from the primary, for there is no standby in sync yet."""
    switch_link(hand.home.upstream_link, "a")
    made = Replica(hand)
    try:
        yield made
    finally:
        made.end()


def has_table(hand: ByHand) -> bool:
    try:
        return hand.rows("b") == set()
    except psycopg.errors.UndefinedTable:
        return False


def seam(hand: ByHand, name: str) -> threading.Event:
    """Set once that step of the join is begun."""
    reached, real = threading.Event(), getattr(hand.servers, name)

    def step(*arguments: object) -> object:
        reached.set()
        return real(*arguments)

    setattr(hand.servers, name, step)
    return reached


class Died(Exception):
    """The supervisor is no more."""


Order = Callable[[Sequence[Action]], Sequence[Action]]


def as_decided(actions: Sequence[Action]) -> Sequence[Action]:
    """The product's own order."""
    return actions


def dies_in(hand: ByHand, rule: str, after: int, of: int, order: Order = as_decided) -> None:
    """Take rounds until that rule speaks; the supervisor dies after so many of the actions of its step."""
    real = hand._perform

    def perform(step: Step) -> None:
        if step.rule != rule:
            real(step)
            return
        assert len(step.actions) == of, "another number of places to die at: add them"
        real(replace(step, actions=tuple(order(step.actions))[:after]))
        raise Died

    hand._perform = perform  # type: ignore[method-assign]
    with pytest.raises(Died):
        hand.until(f"{rule} speaks", lambda *_: False)


def acknowledged_by_the_primary_alone(hand: ByHand, number: int) -> None:
    """A client's commit is acknowledged while the standby stands still."""
    with hand.stopped("b", "walreceiver"):
        insert = Insert(hand, number)
        eventually("the row is acknowledged", lambda: insert.acknowledged)
        hand.record_in_sync()
        hand.fail_over_after_loss()


def waits_while_the_standby_stands_still(hand: ByHand, number: int) -> None:
    """A client's commit is not acknowledged until the standby goes on."""
    with hand.stopped("b", "walreceiver"):
        insert = Insert(hand, number)
        eventually("the commit waits", hand.waits_for_standby)
        assert not insert.acknowledged
    eventually("the row is acknowledged", lambda: insert.acknowledged)


# -- joining: moves, setting, seen, checkpoint, flush, replicas, flush, record ----------------------------


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_join_sees_the_standby_move_first_because_commits_would_wait_for_one_that_stands_still(
    hand: ByHand, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """The job as the loop begins it, for a standby that streams by all that the primary knows."""
    monkeypatch.setattr(servers_module, "CATCH_UP_PATIENCE_S", 3600.0)  # it is not given up before the commit is judged
    if not whole:
        hand.servers.see_it_move = nothing  # type: ignore[method-assign]
    reached = seam(hand, "_wait_for_flush")
    with hand.stopped("b", "walreceiver"):
        hand.until("the join waits for the standby", lambda *_: reached.is_set())
        insert = Insert(hand, 1)
        if whole:
            eventually("the row is acknowledged", lambda: insert.acknowledged)
        else:
            eventually("the commit waits", hand.waits_for_standby)
            assert not insert.acknowledged


@pytest.mark.long
def test_join_sees_the_setting_in_force_because_a_refused_reload_leaves_commits_alone(
    hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server refuses a whole configuration file for one name it does not know."""
    known = hand.servers.desired
    hand.servers.desired = known.model_copy(update={"parameters": {**known.parameters, "no_such_parameter": "1"}})
    monkeypatch.setattr(servers_module, "CATCH_UP_PATIENCE_S", 0.5)
    with pytest.raises(NoProgress, match="does not read its configuration"):
        hand.join()
    hand.servers._wait_for_setting = nothing  # type: ignore[method-assign]
    hand.join()
    hand.servers.desired = known
    acknowledged_by_the_primary_alone(hand, 1)
    assert hand.rows("b") == set()


@pytest.mark.parametrize("whole", [True, False])
def test_join_completes_a_checkpoint_because_until_then_commits_do_not_wait(hand: ByHand, whole: bool) -> None:
    """Backends wait only once the checkpointer has read the setting; here it stands still."""
    with hand.stopped("a", "checkpointer"):
        if not whole:
            hand.servers._checkpoint = nothing  # type: ignore[method-assign]
            hand.join()
            acknowledged_by_the_primary_alone(hand, 1)
            assert hand.rows("b") == set()
            return
        joining = Joining(hand)
        eventually("the join waits for the checkpointer", lambda: checkpoint_waits(hand))
        assert joining.is_alive()
    joining.finish()
    waits_while_the_standby_stands_still(hand, 1)
    hand.record_in_sync()
    hand.fail_over_after_loss()
    assert hand.rows("b") == {1}


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_join_waits_for_the_flush_position_because_the_standby_lacks_what_was_acknowledged_before(
    hand: ByHand, whole: bool
) -> None:
    """Either wait keeps this harm away, so both are left out; the next two tests say what each is for."""
    with hand.stopped("b", "walreceiver"):
        insert = Insert(hand, 1)
        eventually("the row is acknowledged, for nobody waits yet", lambda: insert.acknowledged)
        if not whole:
            hand.servers._wait_for_flush = nothing  # type: ignore[method-assign]
            hand.join()
            hand.record_in_sync()
            hand.fail_over_after_loss()
            assert hand.rows("b") == set()
            return
        waiting = seam(hand, "_wait_for_flush")
        joining = Joining(hand)
        assert waiting.wait(30)
        assert joining.is_alive()
    joining.finish()
    hand.record_in_sync()
    hand.fail_over_after_loss()
    assert hand.rows("b") == {1}


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_join_leads_replicas_to_the_standby_because_on_the_primary_they_show_what_it_lacks(
    hand: ByHand, replica: Replica, whole: bool
) -> None:
    if not whole:
        hand.servers.point_upstream = nothing  # type: ignore[method-assign]
    hand.join()
    hand.record_in_sync()
    source: MemberName = "b" if whole else "a"
    eventually("the replica streams", lambda: "replica_x" in followers(hand, source))
    with hand.stopped("b", "walreceiver"):
        insert = Insert(hand, 1)
        eventually("the commit waits", hand.waits_for_standby)
        assert not insert.acknowledged
        if whole:
            assert replica.rows() == set()
        else:
            eventually("the replica shows it", lambda: replica.rows() == {1})
        hand.fail_over_after_loss()
    assert hand.rows("b") == set()


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_join_waits_before_it_leads_replicas_away_because_they_stand_still_on_a_standby_that_is_behind(
    hand: ByHand, replica: Replica, whole: bool
) -> None:
    """Nothing is lost without the first wait, for the second one follows; a replica gets no WAL until its end."""
    real, calls = hand.servers._wait_for_flush, []
    waiting = threading.Event()

    def wait_for_flush(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 1 and not whole:
            return
        waiting.set()
        real(*arguments)  # type: ignore[arg-type]

    hand.servers._wait_for_flush = wait_for_flush  # type: ignore[method-assign]
    with hand.stopped("b", "walreceiver"):
        Insert(hand, 1)
        eventually("the replica shows it", lambda: replica.rows() == {1})
        joining = Joining(hand)
        assert waiting.wait(30)
        if not whole:
            eventually("the replica is at b", lambda: "replica_x" in followers(hand, "b"))
        with hand.client("a") as client:
            client.execute("SET synchronous_commit = local")  # else it waits for the standby, too
            client.execute("INSERT INTO t VALUES (2)")
        if whole:
            eventually("the replica goes on", lambda: replica.rows() == {1, 2})
            assert "replica_x" in followers(hand, "a")
        else:
            assert not followers(hand, "a") - {"multiaz_b"}
            assert replica.rows() == {1}  # from nobody it could have more
        assert joining.is_alive()
    joining.finish()
    assert len(calls) == 2
    hand.record_in_sync()
    hand.fail_over_after_loss()
    assert hand.rows("b") == {1, 2}
    eventually("the replica follows", lambda: replica.rows() == {1, 2})


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_join_waits_again_because_a_replica_saw_more_before_it_was_led_away(
    hand: ByHand, replica: Replica, whole: bool
) -> None:
    """Between the first wait and the cut, a replica on the primary sees a commit that is on its way to the standby."""
    real, calls = hand.servers._wait_for_flush, []
    second, inserts = threading.Event(), []
    receiver = hand.process("b", "walreceiver")

    def wait_for_flush(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 1:
            real(*arguments)  # type: ignore[arg-type]
            os.kill(receiver, signal.SIGSTOP)
            inserts.append(Insert(hand, 1))
            eventually("the replica shows it", lambda: replica.rows() == {1})
        else:
            second.set()
            if whole:
                real(*arguments)  # type: ignore[arg-type]

    hand.servers._wait_for_flush = wait_for_flush  # type: ignore[method-assign]
    joining = Joining(hand)
    assert second.wait(30)
    if whole:
        assert joining.is_alive()
        assert not inserts[0].acknowledged
        os.kill(receiver, signal.SIGCONT)
    joining.finish()
    hand.record_in_sync()
    hand.fail_over_after_loss()
    assert replica.rows() == {1}
    assert hand.rows("b") == ({1} if whole else set())


@pytest.mark.long
@pytest.mark.parametrize("order", ["record after the join", "record before the join"])
def test_join_is_recorded_last_because_a_failover_before_loses_what_was_acknowledged(hand: ByHand, order: str) -> None:
    with hand.stopped("b", "walreceiver"):
        if order == "record after the join":
            hand.until("the join is begun", lambda _, seen: seen.members["b"].job is JobKind.JOIN)
        insert = Insert(hand, 1)
        eventually("the row is acknowledged, for nobody waits yet", lambda: insert.acknowledged)
        if order == "record before the join":
            hand.record_in_sync()
            hand.fail_over_after_loss()
            assert hand.rows("b") == set()
            return
        hand.lose_primary()
    control = hand.servers["a"].data / "global" / "pg_control"
    for _ in range(20):
        hand.round()
    assert (hand.memory.primary, hand.memory.epoch) == ("a", 1)
    control.with_name("pg_control.gone").rename(control)  # the zone comes back
    hand.until("a serves", lambda _, seen: seen.members["a"].answering)
    assert hand.rows("a") == {1}


# -- leaving: record, setting ----------------------------------------------------------------------------


def setting_first(actions: Sequence[Action]) -> Sequence[Action]:
    return sorted(actions, key=lambda action: not isinstance(action, Configure))


@pytest.mark.long
@pytest.mark.parametrize(("order", "after"), [*((as_decided, after) for after in range(4)), (setting_first, 1)])
def test_leave_is_recorded_before_commits_stop_waiting(hand: ByHand, order: Order, after: int) -> None:
    """The supervisor dies between two of the actions: the next one believes the record."""
    hand.join()
    hand.record_in_sync()
    hand.servers.point_upstream("b")
    fence(hand.servers["b"].data)
    dies_in(hand, "leave", after, 3, order)
    insert = Insert(hand, 1)
    if hand.servers.waits["a"]:
        eventually("the commit waits for the dead standby", hand.waits_for_standby)
    else:
        eventually("the row is acknowledged", lambda: insert.acknowledged)
    acknowledged = {1} if insert.acknowledged else set()
    hand = hand.reborn()
    try:
        in_sync, upstream = hand.memory.in_sync, hand.home.upstream_link.readlink().name
        hand.lose_primary()
        if in_sync:
            hand.until("b has taken over", lambda memory, seen: memory.epoch == 2 and seen.members["b"].answering)
            lost = acknowledged - hand.rows("b")
        else:
            for _ in range(20):
                hand.round()
            assert (hand.memory.primary, hand.memory.epoch) == ("a", 1)
            lost = set()
        if order is as_decided:
            assert not lost
            assert not in_sync or upstream == "b", "replicas may show what a failover loses"
        else:
            assert lost == {1}
    finally:
        hand.die()


# -- failing over: fence, record, promote, clients, replicas ---------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_failover_fences_first_because_the_old_primary_acknowledges_what_the_new_one_lacks(
    hand: ByHand, whole: bool
) -> None:
    hand.join()
    hand.record_in_sync()
    with hand.client("a") as old:
        beside: list[list[int]] = []

        def look(action: Action) -> None:
            if isinstance(action, Promote):
                beside.append(processes_in(hand.servers["a"].data))

        hand.left_out, hand.after = lambda action: not whole and isinstance(action, Fence), look
        hand.instance.write(request=Request(number=1, kind=RequestKind.FAILOVER, epoch=1).model_dump())
        while hand.memory.epoch == 1:
            hand.round()
        if whole:
            with pytest.raises(psycopg.OperationalError):
                old.execute("INSERT INTO t VALUES (1)")
            assert beside == [[]]
            assert not processes_in(hand.servers["a"].data)
            return
        assert beside[0]
        old.execute("SET synchronous_commit = local")  # a cancelled wait does the same, with a warning
        old.execute("INSERT INTO t VALUES (1)")
        with hand.client("b") as new:
            new.execute("INSERT INTO t VALUES (2)")
        assert (hand.rows("a"), hand.rows("b")) == ({1}, {2})  # two primaries


def promotion_first(actions: Sequence[Action]) -> Sequence[Action]:
    return sorted(actions, key=lambda action: not isinstance(action, Fence | Promote))


@pytest.mark.long
@pytest.mark.parametrize(("order", "after"), [*((as_decided, after) for after in range(7)), (promotion_first, 2)])
def test_failover_is_recorded_before_the_promotion_because_the_next_supervisor_knows_only_the_record(
    hand: ByHand, order: Order, after: int
) -> None:
    """The primary's zone is lost, and the supervisor dies between two of the actions."""
    hand.join()
    hand.record_in_sync()
    with hand.client("a") as client:
        client.execute("INSERT INTO t VALUES (1)")
    hand.lose_primary()
    dies_in(hand, "take_over", after, 6, order)
    acknowledged = {1}
    if hand.seen_link() == "b":
        with hand.client("b") as client:
            client.execute("INSERT INTO t VALUES (2)")
        acknowledged.add(2)
    hand = hand.reborn()
    try:
        hand.sees_answering("b")  # so that it knows, before it does anything, whether "b" takes writes
        if order is as_decided:
            hand.until("b serves", lambda memory, seen: memory.primary == seen.primary_link == "b")
            hand.sees_answering("b")
            assert hand.memory.epoch == 2  # one failover, carried on
            assert hand.rows("b") == acknowledged
            return
        hand.until("the promoted server is fenced", lambda memory, _: memory.fenced == "b")
        hand.until("it is given up", lambda *_: hand.round().phase is Phase.FAILED)
        assert not hand.memory.in_sync  # so nobody takes over: an instance that had a whole standby is lost
    finally:
        hand.die()


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_failover_leads_clients_after_the_promotion_because_before_they_are_refused(hand: ByHand, whole: bool) -> None:
    hand.join()
    hand.record_in_sync()
    fence(hand.servers["a"].data)
    tried: list[str] = []

    def try_it(action: Action) -> None:
        if isinstance(action, PointPrimary):
            with hand.client("b") as client:
                try:
                    client.execute("INSERT INTO t VALUES (1)")
                except psycopg.errors.ReadOnlySqlTransaction:
                    tried.append("refused")
                else:
                    tried.append("done")

    hand.after = try_it
    hand.left_out = lambda action: not whole and isinstance(action, Promote)
    hand.until("clients are led to b", lambda *_: tried)
    if not whole:
        hand.left_out = lambda _: False
        hand.until("clients are led to b again, by finish_promotion", lambda *_: len(tried) > 1)
    assert tried == (["done"] if whole else ["refused", "done"])


@pytest.mark.long
@pytest.mark.parametrize("link", ["names b", "is gone"])
def test_replicas_need_not_be_led_in_a_failover_because_they_stream_from_the_standby_already(
    hand: ByHand, replica: Replica, link: str
) -> None:
    """The last action of a failover finds its work done, whenever the record said "in sync" and the link is there.

    Where that is gone, with the run folder of a machine that was started anew, rule `upstream` sets it soon after.
    """
    hand.join()
    hand.record_in_sync()
    eventually("the replica streams from b", lambda: "replica_x" in followers(hand, "b"))
    if link == "is gone":
        replica.server.stop()
        hand.home.upstream_link.unlink()
    fence(hand.servers["a"].data)
    dies_in(hand, "take_over", 5, 6)  # all but PointUpstream
    hand = hand.reborn()
    try:
        if link == "is gone":
            assert not hand.home.upstream_link.is_symlink()
            replica.server.wait_until_ready(replica.server.start())
        else:
            hand.left_out = lambda action: isinstance(action, PointUpstream)
        hand.until("b serves", lambda memory, seen: memory.epoch == 2 and seen.members["b"].answering)
        with hand.client("b") as client:
            client.execute("INSERT INTO t VALUES (1)")
        hand.until("the replica follows", lambda *_: replica.rows() == {1})
    finally:
        hand.die()


# -- rejoining -------------------------------------------------------------------------------------------


def diverged(hand: ByHand, segments: int = 0) -> None:
    """ "b" is primary, and "a" has WAL that "b" never had; before that both had so many segments more."""
    hand.join()
    hand.record_in_sync()
    with hand.servers["a"].connect() as connection:
        for _ in range(segments):
            connection.execute("SELECT pg_logical_emit_message(false, 'test', 'x')")
            connection.execute("SELECT pg_switch_wal()")
        has_all = "SELECT bool_and(flush_lsn = pg_current_wal_flush_lsn()) FROM pg_stat_replication"
        eventually("b has it all", lambda: connection.execute(has_all).fetchone() == (True,))
    with hand.stopped("b", "walreceiver"):
        Insert(hand, 1)
        eventually("the commit waits", hand.waits_for_standby)
        hand.lose_primary()
    control = hand.servers["a"].data / "global" / "pg_control"
    control.with_name("pg_control.gone").rename(control)


def written(hand: ByHand, member: MemberName) -> dict[str, int]:
    """The member's WAL segments, and when each was last written (ns)."""
    folder = hand.servers[member].data / "pg_wal"
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if len(path.name) == 24}


@pytest.mark.long
def test_rewind_needs_no_checkpoint_first_because_it_reads_the_timeline_of_the_end_of_recovery(
    hand: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since PostgreSQL 16; here the promoted server cannot make one, and its control file names the old timeline."""
    diverged(hand)
    monkeypatch.setattr(supervisor_module, "resume", nothing)  # else what is stopped would go on for the promotion
    stopped: list[int] = []

    def stop_checkpointer(action: Action) -> None:
        if isinstance(action, Record) and not stopped:
            stopped.append(hand.process("b", "checkpointer"))
            os.kill(stopped[0], signal.SIGSTOP)

    hand.after, hand.left_out = stop_checkpointer, lambda action: action == Begin(JobKind.REJOIN, "a")
    hand.until("b serves", lambda memory, seen: memory.epoch == 2 and seen.primary_link == "b")
    assert hand.servers["b"].control()["Latest checkpoint's TimeLineID"] == "1"
    assert hand.servers.rejoin("a", "b") == "rewound"
    hand.observer._finished(JobKind.REJOIN, "a", 2)
    hand.left_out = lambda action: action == Begin(JobKind.JOIN, "a")
    hand.until("a streams", lambda _, seen: seen.members["a"].streaming)
    assert hand.rows("a") == set()
    os.kill(stopped[0], signal.SIGCONT)


@pytest.mark.long
def test_rewound_server_is_brought_little_wal_because_to_copy_all_took_the_longer_the_more_was_written(
    hand: ByHand,
) -> None:
    """It is brought what recovery begins with, keeps of its own what it needs, and asks for the rest."""
    diverged(hand, segments=12)
    its_own = written(hand, "a")
    hand.left_out = lambda action: action == Begin(JobKind.REJOIN, "a")
    hand.until("b serves", lambda memory, seen: memory.epoch == 2 and seen.primary_link == "b")
    assert hand.servers.rejoin("a", "b") == "rewound"
    parting = min(name for name in written(hand, "b") if name.startswith("00000002"))
    assert len(written(hand, "b")) > 12
    after = written(hand, "a")
    before_it = {name: at for name, at in after.items() if name[8:] < parting[8:]}
    assert parting in after
    copied = before_it.items() - its_own.items()
    assert len(copied) <= 2, "more than what the last common checkpoint begins and ends in was copied"
    hand.observer._finished(JobKind.REJOIN, "a", 2)
    hand.left_out = lambda action: action == Begin(JobKind.JOIN, "a")
    hand.until("a streams", lambda _, seen: seen.members["a"].streaming)
    assert hand.rows("a") == hand.rows("b")


@pytest.mark.long
def test_member_whose_files_do_not_say_what_it_is_is_cloned(hand: ByHand) -> None:
    diverged(hand)
    hand.left_out = lambda action: action == Begin(JobKind.REJOIN, "a")
    hand.until("b serves", lambda memory, seen: memory.epoch == 2 and seen.primary_link == "b")
    (hand.servers["a"].data / "PG_VERSION").write_text("damaged\n")
    assert hand.servers.rejoin("a", "b").startswith("cloned, because its files do not say what it is")
    hand.observer._finished(JobKind.REJOIN, "a", 2)
    hand.left_out = lambda _: False
    hand.until("a is in sync", lambda memory, _: memory.in_sync, within_s=60)
    assert hand.rows("a") == hand.rows("b")


@pytest.mark.long
def test_member_that_rejoins_late_is_brought_the_segment_in_which_the_histories_part(hand: ByHand) -> None:
    """The new primary's own recovery begins behind it by then; from its own copy the member would read on alone."""
    diverged(hand)
    hand.left_out = lambda action: action == Begin(JobKind.REJOIN, "a")
    hand.until("b serves", lambda memory, seen: memory.epoch == 2 and seen.primary_link == "b")
    with hand.client("b") as client:
        client.execute("INSERT INTO t SELECT generate_series(10, 1000)")
    with hand.servers["b"].connect() as connection:
        for command in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
            connection.execute(command)
    assert hand.servers.rejoin("a", "b") == "rewound"
    hand.observer._finished(JobKind.REJOIN, "a", 2)
    hand.left_out = lambda action: action == Begin(JobKind.JOIN, "a")
    hand.until("a streams", lambda _, seen: seen.members["a"].streaming)
    assert hand.rows("a") == hand.rows("b") == set(range(10, 1001))


@pytest.mark.long
def test_rejoin_clones_when_pg_rewind_fails_because_else_redundancy_never_returns(hand: ByHand) -> None:
    diverged(hand)
    hand.left_out = lambda action: isinstance(action, Begin)
    hand.until("b serves", lambda memory, seen: memory.epoch == 2 and seen.primary_link == "b")
    for segment in (hand.servers["a"].data / "pg_wal").glob("0000*"):
        segment.unlink()
    with pytest.raises(ServerFailed, match="pg_rewind"):
        hand.servers["a"].rewind(hand.servers["b"].socket_folder)
    assert hand.servers.rejoin("a", "b").startswith("cloned")
    assert hand.servers["a"].is_marked_standby()


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_member_in_recovery_is_cloned_because_pg_rewind_would_write_wal_of_its_own(hand: ByHand, whole: bool) -> None:
    """pg_rewind runs a server that was not shut down alone first: its checkpoint is on the primary's timeline."""
    hand.join()
    hand.servers.configure("a", hand.memory, synchronous=False)
    fence(hand.servers["b"].data)
    hand.servers["b"].remove_stale_pid()
    if not whole:
        hand.servers["b"].rewind(hand.servers["a"].socket_folder)
        end = end_of_wal(hand.servers["b"])
        with hand.servers["a"].connect() as connection:  # "b" ended with a switch, as what archives does
            connection.execute("SELECT pg_switch_wal()")
        with hand.client("a") as client:
            client.execute("INSERT INTO t VALUES (1)")
        assert wal_at(hand.servers["a"], end) != wal_at(hand.servers["b"], end)  # same timeline, same place
        return
    assert hand.servers.rejoin("b", "a") == "cloned, because it was in recovery"
    with hand.client("a") as client:
        client.execute("INSERT INTO t VALUES (1)")
    hand._start("b", standby=True)
    hand.sees_answering("b")
    eventually("b follows", lambda: hand.rows("b") == {1})


def end_of_wal(server: Server) -> tuple[str, int]:
    """Segment and offset of the last checkpoint a server wrote."""
    control = server.control()
    position = int(control["Latest checkpoint location"].partition("/")[2], 16)
    return control["Latest checkpoint's REDO WAL file"], position % (16 * 1024**2)


def wal_at(server: Server, place: tuple[str, int]) -> bytes:
    return (server.data / "pg_wal" / place[0]).read_bytes()[place[1] : place[1] + 100]


# -- starting --------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_standby_is_marked_before_it_starts_because_without_the_file_it_is_a_second_primary(
    hand: ByHand, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    hand.servers["b"].stop()
    hand.servers["b"].mark_standby(False)
    if not whole:
        monkeypatch.setattr(Server, "mark_standby", nothing)
    hand._start("b", standby=True)
    hand.sees_answering("b")
    assert hand.observer.observe(hand.memory).members["b"].in_recovery is whole
    if not whole:
        with hand.client("b") as client:
            client.execute("INSERT INTO t VALUES (2)")
        assert (hand.rows("a"), hand.rows("b")) == (set(), {2})


@pytest.mark.long
@pytest.mark.parametrize("whole", [True, False])
def test_crashed_server_stays_down_because_by_itself_it_shows_commits_the_standby_lacks(
    hand: ByHand, whole: bool
) -> None:
    """restart_after_crash: a commit that waits for the standby is in the WAL, and recovery makes it visible."""
    hand.join()
    hand.record_in_sync()
    if not whole:
        with (hand.servers["a"].data / "postgresql.conf").open("a") as stream:
            stream.write("restart_after_crash = on\n")
        hand.servers["a"].reload()
        eventually("the setting is in force", lambda: restarts_by_itself(hand))
    writer = hand.process("a", "background writer")
    with hand.stopped("b", "walreceiver"):
        insert = Insert(hand, 1)
        eventually("the commit waits", hand.waits_for_standby)
        os.kill(writer, signal.SIGKILL)
        insert.join(30)
        assert not insert.acknowledged
        if whole:
            eventually("nothing is left of it", lambda: not processes_in(hand.servers["a"].data))
            return
        eventually("a shows the row", lambda: shows(hand, "a", 1))
        hand.fail_over_after_loss()
    assert hand.rows("b") == set()


@pytest.mark.long
def test_cluster_of_another_identity_never_streams_and_is_cloned_again(hand: ByHand) -> None:
    """Each first server is made by initdb, with checksums: a copied cluster would be taken for the same one."""
    identity = "Database system identifier"
    ours = hand.servers["a"].control()
    assert ours["Data page checksum version"] == "1"
    hand.servers["b"].stop()
    hand.servers["b"].remove_data()
    hand.servers["b"].initialise()
    hand.servers["b"].mark_standby(True)
    assert str(hand.servers["b"].identity()) == hand.servers["b"].control()[identity] != ours[identity]
    hand._start("b", standby=True)
    hand.left_out = lambda action: action == Begin(JobKind.JOIN, "b")
    hand.until("b streams", lambda _, seen: seen.members["b"].streaming, within_s=60)
    assert hand.servers["b"].control()[identity] == ours[identity]
    assert hand.rows("b") == set()


def restarts_by_itself(hand: ByHand) -> bool:
    with hand.servers["a"].connect() as connection:
        return connection.execute("SHOW restart_after_crash").fetchone() == ("on",)


def shows(hand: ByHand, member: MemberName, number: int) -> bool:
    try:
        return number in hand.rows(member)
    except psycopg.OperationalError:
        return False


def checkpoint_waits(hand: ByHand) -> bool:
    with hand.servers["a"].connect() as connection:
        found = connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query = 'CHECKPOINT' AND wait_event LIKE 'Checkpoint%'"
        ).fetchone()
    return found is not None
