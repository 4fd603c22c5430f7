"""Faults that hit a read replica, beside its source or alone, and one that is promoted under a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

import psycopg
import pytest
from harness import Instance, eventually
from ledger import Ledger

from multiaz.home import Home
from multiaz.instance.records import MemberState, ObservedInstance, Phase, RequestKind
from multiaz.local import faults


def replicated(replica: Instance) -> set[int]:
    with replica.connect() as connection:
        return {row[0] for row in connection.execute("SELECT number FROM ledger")}


def places_of(seen: ObservedInstance) -> dict[str, MemberState]:
    """State of the server in each zone."""
    return {one.zone: one.state for one in seen.members}


@pytest.mark.long
def test_a_lost_zone_takes_primary_and_replica_down_and_heal_brings_both_back(
    shop: Instance, replica: Instance, home: Home
) -> None:
    there = replica.wait_well()
    assert there.primary is not None
    zone = replica.desired.zones[there.primary]
    before = shop.wait_well()
    if before.primary is not None and shop.desired.zones[before.primary] != zone:
        before = shop.fail_over()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        eventually("the replica follows", lambda: set(ledger.acknowledged[:20]) <= replicated(replica))
        lost = faults.lose_zone(home, zone)
        assert sorted(lost.instances) == ["reader", "shop"]
        with pytest.raises(psycopg.OperationalError):
            replica.connect()
        shop.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable)
        held = replica.wait("says why it is down", lambda seen: lost.why in seen.reason)
        assert (held.phase, held.writable, places_of(held)[zone]) == (Phase.RECOVERING, False, MemberState.DOWN)
        ledger.wait_for(200)
        assert places_of(shop.wait("waits", lambda seen: seen.reason == lost.why))[zone] is MemberState.DOWN
        assert places_of(replica.wait("still waits", bool))[zone] is MemberState.DOWN
        assert {one.instance for one in faults.active(home)} == {"reader", "shop"}
        assert {one.instance for one in faults.heal(home, kind="zone-loss")} == {"reader", "shop"}
        after = shop.wait_well()
        back = replica.wait_well()
        ledger.wait_for(20)
    ledger.check()
    assert (after.epoch, shop.desired.zones[after.primary or "a"] != zone) == (before.epoch + 1, True)
    assert (places_of(after)[zone], places_of(back)[zone]) == (MemberState.STANDBY, MemberState.STANDBY)
    eventually("the replica has every acknowledged row", lambda: set(ledger.acknowledged) <= replicated(replica))


@pytest.mark.long
@pytest.mark.parametrize("all_processes", [False, True], ids=["postmaster", "all"])
def test_a_replica_that_hangs_is_ended_and_started_again_and_its_source_goes_on(
    shop: Instance, replica: Instance, home: Home, all_processes: bool
) -> None:
    source, before = shop.wait_well(), replica.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        hung = faults.hang(home, "reader", all_processes=all_processes)
        replica.wait(
            "another server", lambda seen: seen.writable and seen.members[0].pid not in (None, *hung.processes)
        )
        ledger.wait_for(20)
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], []), "commits do not wait for a replica"
    assert faults.active(home) == faults.heal(home) == (), "the frozen processes were killed"
    after = replica.wait_well()
    eventually("the replica has every acknowledged row", lambda: set(ledger.acknowledged) <= replicated(replica))
    assert (after.epoch, shop.wait_well().epoch) == (before.epoch, source.epoch)


@pytest.mark.long
def test_a_late_replica_is_promoted_at_once_with_all_it_has_received(
    shop: Instance, home: Home, free_port: Callable[[], int]
) -> None:
    """An hour late: a promotion that waited for the rest of the delay would not be done. Its standby replays at once,
    and is not parted from it as it was from its source."""
    late = Instance(home, "late", free_port(), multi_az=False, source=shop)
    late.start()
    try:
        late.wait_well()
        faults.replica_lag(home, 3600, "late")
        eventually("the lag is in force", lambda: delay(late) == "1h")
        with Ledger(shop) as ledger:
            ledger.wait_for(20)
        flushed = position(shop, "pg_current_wal_flush_lsn()")
        eventually("it has received every row", lambda: position(late, "pg_last_wal_receive_lsn()") >= flushed)
        assert position(late, "pg_last_wal_replay_lsn()") < flushed, "and not replayed them"
        faults.partition(home, "late")
        number = late.request(RequestKind.PROMOTE)
        late.wait("promoted", lambda seen: seen.writable and any(one.number == number for one in seen.answers))
        assert set(ledger.acknowledged) <= replicated(late)
        with late.connect() as connection:
            connection.execute("INSERT INTO ledger VALUES (-1)")
        assert faults.active(home) == (), "they were meant for a replica"
        late.write(multi_az=True)
        late.wait("has a standby in sync", lambda seen: seen.in_sync)
        shop.wait_well()
        ledger.check()
    finally:
        late.end()


def delay(replica: Instance) -> str:
    with replica.admin() as admin:
        row = admin.execute("SHOW recovery_min_apply_delay").fetchone()
    return str(row and row[0])


def position(instance: Instance, function: LiteralString) -> int:
    """Bytes of WAL."""
    with instance.admin() as admin:
        row = admin.execute(f"SELECT ({function} - '0/0')::bigint").fetchone()
    assert row is not None
    return int(row[0])
