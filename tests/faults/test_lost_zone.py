"""A lost zone that holds a read replica too: it is down with the primary there, and heal brings both back."""

from __future__ import annotations

import psycopg
import pytest
from harness import Instance, eventually
from ledger import Ledger

from multiaz.home import Home
from multiaz.instance.records import MemberState, ObservedInstance, Phase
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
