"""Each fault of a server: what must be seen, no acknowledged row lost, and redundancy again once it is healed."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from endpoint_client import by_the_endpoint
from harness import Instance, eventually
from ledger import Ledger

from multiaz.errors import Conflict, NotFound
from multiaz.files import lock_holder
from multiaz.home import Home
from multiaz.instance.records import MemberName, MemberState, ObservedInstance, Phase
from multiaz.local import faults
from multiaz.local.faults_processes import started_at


def the_standby(seen: ObservedInstance) -> MemberName:
    return "b" if seen.primary == "a" else "a"


def state(seen: ObservedInstance, member: MemberName) -> MemberState:
    return next(one.state for one in seen.members if one.name == member)


def test_a_killed_primary_is_taken_over_and_leaves_nothing_to_heal(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        done = faults.kill(home)
        shop.wait("taken over", lambda seen: seen.epoch > before.epoch)
        ledger.wait_for(20)
    after = shop.wait_well()
    ledger.check()
    assert (done.kind, done.lasts, len(done.processes)) == ("kill", False, 1)
    assert after.primary == the_standby(before)
    assert faults.active(home) == ()


@pytest.mark.long
def test_a_killed_backend_fails_the_primary_over(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger, shop.connect() as victim:
        faults.kill(home, backend=victim.info.backend_pid)
        shop.wait("taken over", lambda seen: seen.epoch > before.epoch)
        ledger.wait_for(20)
    shop.wait_well()
    ledger.check()
    with pytest.raises(NotFound, match="Cannot kill process"):
        faults.kill(home, backend=1)


@pytest.mark.long
def test_a_killed_standby_comes_back_and_no_commit_fails(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        faults.kill(home, member="standby")
        shop.wait("struck off", lambda seen: not seen.in_sync)
        ledger.wait_for(20)
        after = shop.wait_well()
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], [])
    assert after.epoch == before.epoch


@pytest.mark.long
def test_a_lost_standby_stays_down_until_healed_and_commits_go_on(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        why = faults.lose_standby(home).why
        shop.wait("says why there is no redundancy", lambda seen: not seen.in_sync and seen.reason == why)
        ledger.wait_for(200)
        assert state(shop.wait("observed", bool), the_standby(before)) is MemberState.DOWN
        with pytest.raises(Conflict, match="already"):
            faults.lose_standby(home)
        faults.heal(home, "shop", "standby-loss")
        after = shop.wait_well()
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], [])
    assert (after.epoch, after.primary) == (before.epoch, before.primary)


@pytest.mark.long
def test_commits_wait_for_a_lost_standby_where_that_is_wanted(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    shop.write(standby_loss="wait")
    try:
        with Ledger(shop) as ledger:
            ledger.wait_for(20)
            faults.lose_standby(home)
            shop.wait("the standby is down", lambda seen: state(seen, the_standby(before)) is MemberState.DOWN)
            with pytest.raises(AssertionError, match="acknowledged"):
                ledger.wait_for(2, within_s=3)
            faults.heal(home)
            ledger.wait_for(20)
        shop.wait_well()
        ledger.check()
        assert (ledger.unknown, ledger.failed) == ([], [])
    finally:
        shop.write(standby_loss="continue")


@pytest.mark.long
def test_a_lost_zone_fails_over_and_its_server_rejoins_when_the_zone_is_back(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    assert before.primary is not None
    zone = shop.desired.zones[before.primary]
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        done = faults.lose_zone(home, zone)
        shop.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable)
        ledger.wait_for(200)
        during = shop.wait("waits", lambda seen: seen.reason == done.why)
        assert state(during, before.primary) is MemberState.DOWN
        faults.heal(home, kind="zone-loss")
        after = shop.wait_well()
    ledger.check()
    assert after.primary == the_standby(before)


@pytest.mark.long
def test_with_both_zones_lost_the_instance_waits_for_the_one_that_has_every_commit(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    assert before.primary is not None
    first, second = shop.desired.zones[before.primary], shop.desired.zones[the_standby(before)]
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        faults.lose_zone(home, first)
        shop.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable)
        ledger.wait_for(20)
        faults.lose_zone(home, second)
        waits = shop.wait("waits", lambda seen: seen.phase is Phase.RECOVERING and second in seen.reason)
        assert not waits.writable
        (lost_first, lost_second) = faults.active(home)
        assert (lost_first.fault.arguments["zone"], lost_second.fault.arguments["zone"]) == (first, second)
        faults.heal(home)
        after = shop.wait_well()
        ledger.wait_for(20)
    ledger.check()
    assert after.primary == the_standby(before)


@pytest.mark.long
@pytest.mark.parametrize("all_processes", [False, True], ids=["postmaster", "all"])
def test_a_hanging_primary_is_taken_over_and_healing_finds_nothing_left(
    shop: Instance, home: Home, all_processes: bool
) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        faults.hang(home, all_processes=all_processes)
        shop.wait("taken over", lambda seen: seen.epoch > before.epoch)
        ledger.wait_for(20)
        shop.wait_well()
    ledger.check()
    assert faults.active(home) == (), "the frozen processes were killed by the fence"
    assert faults.heal(home) == ()


@pytest.mark.long
def test_a_hanging_standby_is_struck_off_then_ended_and_started_again(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        done = faults.hang(home, member="standby", all_processes=True)
        assert len(done.processes) > 1
        shop.wait("struck off", lambda seen: not seen.in_sync)
        ledger.wait_for(50)
        after = shop.wait_well()
    ledger.check()
    assert faults.active(home) == ()
    assert (ledger.unknown, ledger.failed) == ([], [])
    assert after.epoch == before.epoch


@pytest.mark.long
@pytest.mark.parametrize("member", ["primary", "standby"])
def test_a_hang_that_is_healed_before_anybody_acts_lets_the_same_server_go_on(
    shop: Instance, home: Home, member: str
) -> None:
    """Its supervisor stands still as well: one that runs ends what hangs, within a second."""
    before = shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        faults.break_supervisor(home, freeze=True)
        hung = faults.hang(home, member=member, all_processes=True)
        with pytest.raises(AssertionError, match="acknowledged"):
            ledger.wait_for(2, within_s=3)
        (healed,) = faults.heal(home, "shop", "hang")
        assert sorted(healed.thawed) == sorted(hung.processes)
        ledger.wait_for(50)
        faults.heal(home, kind="supervisor")
        since = time.time()
        shop.wait("has looked at it for a while", lambda seen: seen.written_at > since + 2)
        after = shop.wait_well()
        ledger.wait_for(20)
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], []), "the sessions went on too"
    assert [one.pid for one in after.members] == [one.pid for one in before.members]
    assert (after.epoch, after.primary, after.in_sync) == (before.epoch, before.primary, True)


@pytest.mark.long
def test_a_frozen_endpoint_is_replaced_and_healing_finds_nothing_left(shop: Instance, home: Home) -> None:
    before = shop.wait("well, with its relay", lambda seen: seen.redundant and seen.writable and seen.relay_ready)
    with by_the_endpoint(shop) as session, Ledger(shop) as ledger:
        (frozen,) = faults.break_relay(home, freeze=True).processes
        eventually("another one holds its lock", lambda: lock_holder(shop.home.relay_lock) not in (None, frozen))
        shop.wait("it listens", lambda seen: seen.relay_ready)
        with by_the_endpoint(shop) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        ledger.wait_for(20)
    after = shop.wait_well()
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], []), "the databases are well all the while"
    assert (after.epoch, [one.pid for one in after.members]) == (before.epoch, [one.pid for one in before.members])
    assert faults.active(home) == faults.heal(home) == ()


@pytest.mark.long
def test_a_frozen_endpoint_holds_sessions_and_logins_and_healing_lets_them_go_on(shop: Instance, home: Home) -> None:
    """Its supervisor stands still as well: one that runs replaces it within seconds."""
    before = shop.wait("well, with its relay", lambda seen: seen.redundant and seen.writable and seen.relay_ready)
    with by_the_endpoint(shop) as session, ThreadPoolExecutor(2) as pool, Ledger(shop) as ledger:
        backend = session.info.backend_pid
        faults.break_supervisor(home, freeze=True)
        (frozen,) = faults.break_relay(home, freeze=True).processes
        asked = pool.submit(session.execute, "SELECT pg_backend_pid(), 'arrived'")
        new = pool.submit(by_the_endpoint, shop)
        ledger.wait_for(50)
        assert lock_holder(shop.home.relay_lock) == frozen
        assert (asked.done(), new.done()) == (False, False)
        assert "arrived" not in last_statement(shop, backend), "nothing reached the server"
        (healed,) = faults.heal(home, "shop", "relay")
        assert healed.thawed == (frozen,)
        assert asked.result(30).fetchone() == (backend, "arrived")
        with new.result(30) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        faults.heal(home, kind="supervisor")
        since = time.time()
        shop.wait("has looked at it for a while", lambda seen: seen.written_at > since + 2)
    after = shop.wait_well()
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], []), "the databases are well all the while"
    assert (after.epoch, lock_holder(shop.home.relay_lock)) == (before.epoch, frozen)


def last_statement(instance: Instance, backend: int) -> str:
    """What the server last had of a client."""
    with instance.admin() as admin:
        row = admin.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (backend,)).fetchone()
    assert row is not None, "the session is there"
    return str(row[0])


@pytest.mark.long
def test_a_frozen_supervisor_fails_nobody_over_until_it_goes_on(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        faults.break_supervisor(home, freeze=True)
        ledger.wait_for(50)
        faults.kill(home)
        eventually("a client meets a dead primary", lambda: ledger.unknown or ledger.failed)
        assert json.loads(shop.home.role.read_bytes())["epoch"] == before.epoch
        faults.heal(home, kind="supervisor")
        shop.wait("taken over", lambda seen: seen.epoch > before.epoch)
        ledger.wait_for(20)
    shop.wait_well()
    ledger.check()


@pytest.mark.long
@pytest.mark.parametrize("what", ["supervisor", "relay"])
def test_a_killed_process_of_ours_is_started_again(shop: Instance, home: Home, what: str) -> None:
    shop.wait("relay listens", lambda seen: seen.relay_ready)
    inject, lock = (
        (faults.break_supervisor, shop.home.lock)
        if what == "supervisor"
        else (faults.break_relay, shop.home.relay_lock)
    )
    with Ledger(shop) as ledger:
        (killed,) = inject(home).processes
        assert started_at(killed) is None
        eventually("another one holds its lock", lambda: lock_holder(lock) not in (None, killed))
        shop.wait("all is well again", lambda seen: seen.relay_ready and seen.writable and seen.redundant)
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], [])
