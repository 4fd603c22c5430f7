"""Faults that kill nobody, on real servers: late, slow or parted; commits go on, nothing is lost, all is well after."""

from __future__ import annotations

import pytest
from endpoint_client import by_the_endpoint, seconds_of
from harness import Instance, eventually
from ledger import Ledger

from multiaz.home import Home
from multiaz.instance.publishing import BROKEN_LAG_S
from multiaz.instance.records import ObservedInstance, Phase
from multiaz.local import faults


def setting(instance: Instance, name: str) -> str:
    with instance.admin() as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.long
def test_a_slow_disk_delays_each_commit_and_heal_takes_it_away(shop: Instance, home: Home) -> None:
    with shop.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS slow (x int)")
        faults.slow_disk(home, 80)
        eventually("the delay is in force", lambda: setting(shop, "commit_delay") == "80000")
        assert seconds_of(lambda: connection.execute("INSERT INTO slow VALUES (1)")) >= 0.08
        assert shop.wait("observed", bool).applied == shop.desired.parameters, "the parameter group says what it said"
        faults.heal(home, kind="slow-disk")
        eventually("the delay is gone", lambda: setting(shop, "commit_delay") == "0")
        fastest = min(seconds_of(lambda: connection.execute("INSERT INTO slow VALUES (1)")) for _ in range(20))
        assert fastest < 0.08
    shop.wait_well()


@pytest.mark.long
def test_a_lagging_replica_shows_a_commit_only_after_the_stated_time(
    shop: Instance, replica: Instance, home: Home
) -> None:
    with shop.connect() as writer:
        writer.execute("CREATE TABLE IF NOT EXISTS late (x int)")
        faults.replica_lag(home, 3)
        eventually("the lag is in force", lambda: setting(replica, "recovery_min_apply_delay") == "3s")
        with replica.connect() as reader:

            def rows() -> int:
                row = reader.execute("SELECT count(*) FROM late").fetchone()
                assert row is not None
                return int(row[0])

            eventually("the table is there", lambda: reader.execute("SELECT to_regclass('late')").fetchone() != (None,))
            writer.execute("INSERT INTO late VALUES (1)")
            assert seconds_of(lambda: eventually("the row is there", lambda: rows() == 1)) >= 2.5
            writer.execute("INSERT INTO late VALUES (2)")
            assert rows() == 1
            faults.heal(home, kind="replica-lag")
            eventually("replays at once", lambda: setting(replica, "recovery_min_apply_delay") == "0")
            eventually("the second row is there", lambda: rows() == 2)
    shop.wait_well()


@pytest.mark.long
def test_the_published_lag_of_a_replica_rises_to_the_stated_time_and_falls_when_healed(
    shop: Instance, replica: Instance, home: Home
) -> None:
    """While its source commits: the lag of an idle one rises by itself, as no commit comes to be replayed."""

    def lag(seen: ObservedInstance) -> float:
        return BROKEN_LAG_S if seen.replication_lag_s is None else seen.replication_lag_s

    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        replica.wait("follows closely", lambda seen: 0 <= lag(seen) < 3)
        faults.replica_lag(home, 3)
        late = replica.wait("is as late as stated", lambda seen: lag(seen) >= 3)
        assert (late.replication_error, late.phase) == (None, Phase.RUNNING), "late is not broken"
        ledger.wait_for(20)
        faults.heal(home, kind="replica-lag")
        replica.wait("follows closely again", lambda seen: 0 <= lag(seen) < 3)
    shop.wait_well()
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], []), "the source does not wait for its replica"


@pytest.mark.long
def test_a_slow_network_delays_clients_and_leaves_sessions_open(shop: Instance, home: Home) -> None:
    shop.wait("relay listens", lambda seen: seen.relay_ready)
    with by_the_endpoint(shop) as session:
        faults.slow_network(home, delay_ms=60)
        eventually("both ways", lambda: seconds_of(lambda: session.execute("SELECT 1")) >= 0.12)
        faults.heal(home, kind="slow-network")
        eventually("fast again", lambda: seconds_of(lambda: session.execute("SELECT 1")) < 0.06)


@pytest.mark.long
def test_a_slow_network_between_servers_makes_commits_wait_for_the_standby(shop: Instance, home: Home) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger, shop.connect() as connection:
        ledger.wait_for(20)
        connection.execute("CREATE TABLE IF NOT EXISTS waits (x int)")
        faults.slow_network(home, delay_ms=50, between="servers")

        def insert() -> float:
            return seconds_of(lambda: connection.execute("INSERT INTO waits VALUES (1)"))

        eventually("a commit waits for both ways", lambda: insert() >= 0.1 and shop.wait_well().in_sync)
        faults.heal(home)
        eventually("fast again", lambda: insert() < 0.1)
        after = shop.wait_well()
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], [])
    assert after.epoch == before.epoch


@pytest.mark.long
@pytest.mark.parametrize("cut", [False, True], ids=["silent", "cut"])
def test_a_parted_standby_is_struck_off_and_joins_again_when_healed(shop: Instance, home: Home, cut: bool) -> None:
    before = shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        faults.partition(home, cut=cut)
        shop.wait("struck off", lambda seen: not seen.in_sync)
        ledger.wait_for(200)
        faults.heal(home, "shop", "partition")
        after = shop.wait_well()
        ledger.wait_for(20)
    ledger.check()
    assert (ledger.unknown, ledger.failed) == ([], [])
    assert (after.epoch, after.primary) == (before.epoch, before.primary)


@pytest.mark.long
def test_a_replica_parted_from_its_source_falls_behind_and_catches_up(
    shop: Instance, replica: Instance, home: Home
) -> None:
    with shop.connect() as writer:
        writer.execute("DROP TABLE IF EXISTS behind")
        writer.execute("CREATE TABLE behind (x int)")
        eventually("the table is there", lambda: "behind" in tables(replica))
        faults.partition(home, "reader")
        writer.execute("DROP TABLE behind")
        writer.execute("CREATE TABLE unseen (x int)")
        shop.wait_well()
        assert "behind" in tables(replica)
        faults.heal(home, "reader")
        eventually("caught up", lambda: "unseen" in tables(replica) and "behind" not in tables(replica), within_s=60)
        writer.execute("DROP TABLE unseen")


def tables(instance: Instance) -> set[str]:
    with instance.connect() as connection:
        return {row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
