"""A read replica while its source writes: lag, rename, promotion. Real servers, a cloud of its own process, boto3."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from live_cloud import PASSWORD, Watch, Writer, goes_through, rows_of

from multiaz.fleet.databases import Databases
from multiaz.fleet.replication import ReplicaSeen
from multiaz.fleet.secrets import Credentials
from multiaz.local import faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_cloud import LiveCloud

    from multiaz.instance.records import ObservedInstance

pytestmark = pytest.mark.long

HELD_S = 600
"""A delay of the replay above what a test takes: nothing is replayed until it is healed."""
REPLICATING = [{"StatusType": "read replication", "Normal": True, "Status": "replicating"}]


@pytest.fixture(scope="module")
def source(live: LiveCloud) -> LiveCloud:
    """The cloud, with a Multi-AZ instance `shop` and its read replica `reader`."""
    live.make("shop", MultiAZ=True)
    live.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="shop")
    live.until_status("reader", "available")
    live.until(lambda: live.instance("reader")["StatusInfos"] == REPLICATING, what="replicating")
    return live


@pytest.fixture
def reader(source: LiveCloud) -> Iterator[psycopg.Connection[Any]]:
    """A session on the replica, by its endpoint; no fault is left on it."""
    with source.connect("reader") as session:
        # A replay that is held keeps the locks it has, and those who read wait.
        session.execute("SET statement_timeout = '30s'")
        try:
            yield session
        finally:
            faults.heal(source.home, "reader")


def follows(cloud: LiveCloud, reader: psycopg.Connection[Any], writer: Writer) -> None:
    """Wait until rows of this writer arrive: what made its table is replayed then."""
    writer.goes_on(cloud)
    newest = writer.acknowledged[-1]

    def arrived() -> bool:
        try:
            return newest in rows_of(reader)
        except psycopg.errors.UndefinedTable:
            return False

    cloud.until(arrived, what="rows on the replica")
    until_lag(cloud, "it follows", below=1)


def seen_by_status(cloud: LiveCloud) -> ReplicaSeen:
    """What `multiaz status` asks the replica, and makes of it."""
    endpoint = cloud.instance("reader")["Endpoint"]
    who = Credentials("shop", PASSWORD, "postgres", endpoint["Address"], endpoint["Port"], "")
    return Databases(cloud.home.pki / "ca.pem").replica_seen(who)


def last_replayed(session: psycopg.Connection[Any]) -> float:
    """When the commit that was replayed last was made: Unix time in seconds."""
    row = session.execute("SELECT extract(epoch FROM pg_last_xact_replay_timestamp())::float8").fetchone()
    assert row is not None
    return float(row[0])


def until_lag(cloud: LiveCloud, what: str, *, above: float = -0.5, below: float = 1e9) -> ObservedInstance:
    """The supervisor's observation of the replica, once its lag is within bounds."""

    def fits() -> ObservedInstance | None:
        observed = cloud.observed("reader")
        lag = observed.replication_lag_s
        return observed if lag is not None and above < lag < below else None

    return cloud.until(fits, what=what)  # type: ignore[no-any-return]


def test_replica_lag_is_the_age_of_the_last_commit_replayed_and_falls_when_replay_goes_on(
    source: LiveCloud, reader: psycopg.Connection[Any]
) -> None:
    cloud, kept = source, len(source.events("reader"))
    with Writer(lambda: cloud.connect("shop"), pause_s=0.02) as writer:
        follows(cloud, reader, writer)
        faults.replica_lag(cloud.home, HELD_S, "reader")
        cloud.until(lambda: held(reader, writer), what="the replay is held")
        missing = writer.acknowledged[-1]
        first = until_lag(cloud, "the lag rises", above=2)
        second = until_lag(cloud, "and rises", above=first.replication_lag_s + 2)  # type: ignore[operator]
        for one in (first, second):
            assert one.replication_lag_s is not None
            # it was measured before it was written, by a look that is not older than a second or so
            assert one.replication_lag_s <= one.written_at - last_replayed(reader)
            assert one.written_at - last_replayed(reader) - one.replication_lag_s < 5
            assert (one.replication_error, one.writable) == (None, True)
        assert missing not in rows_of(reader)
        told = seen_by_status(cloud)
        assert told.streaming
        assert told.lag_s is not None
        assert second.replication_lag_s < told.lag_s <= time.time() - last_replayed(reader)  # type: ignore[operator]
        # it receives, so replication is not broken
        assert cloud.instance("reader")["StatusInfos"] == REPLICATING
        assert cloud.instance("reader")["DBInstanceStatus"] == "available"

        faults.heal(cloud.home, "reader", "replica-lag")
        until_lag(cloud, "it follows again", below=1)
        cloud.until(lambda: missing in rows_of(reader), what="the row that was missing")
    cloud.until(lambda: set(writer.acknowledged) <= rows_of(reader), what="every row")
    # An idle source commits nothing, so RDS's figure grows although nothing is missing; `multiaz status` says 0.
    until_lag(cloud, "the source is idle", above=2)
    assert seen_by_status(cloud) == ReplicaSeen(streaming=True, lag_s=0.0)
    assert cloud.events("reader")[kept:] == []


def held(reader: psycopg.Connection[Any], writer: Writer) -> bool:
    """Something that was acknowledged before is not on the replica, and nothing new comes."""
    before = writer.acknowledged[-1]
    replayed = last_replayed(reader)
    time.sleep(0.5)
    return last_replayed(reader) == replayed and before not in rows_of(reader)


def test_a_long_query_that_replay_waits_for_is_lag_and_no_broken_replication(
    source: LiveCloud, reader: psycopg.Connection[Any]
) -> None:
    """The usual reason: the source changes a table that somebody reads on the replica."""
    cloud, kept = source, len(source.events("reader"))
    with Writer(lambda: cloud.connect("shop"), pause_s=0.02) as writer:
        follows(cloud, reader, writer)
        with reader.transaction(), cloud.connect("shop") as owner:
            assert rows_of(reader)
            owner.execute("ALTER TABLE ledger ADD COLUMN note text")
            until_lag(cloud, "the lag rises", above=2)
            assert cloud.instance("reader")["StatusInfos"] == REPLICATING
        until_lag(cloud, "it follows again", below=1)
    cloud.until(lambda: set(writer.acknowledged) <= rows_of(reader), what="every row")
    assert cloud.events("reader")[kept:] == []


def test_a_paused_replay_is_broken_replication_and_its_lag_is_minus_one(source: LiveCloud) -> None:
    cloud, kept = source, len(source.events("reader"))
    with cloud.as_admin("reader") as admin:
        admin.execute("SELECT pg_wal_replay_pause()")
        broken = until_lag(cloud, "broken", above=-1.5, below=-0.5)
        assert broken.replication_error == "replay is paused"
        told = cloud.instance("reader")["StatusInfos"]
        assert told == [{**REPLICATING[0], "Normal": False, "Status": "error", "Message": "replay is paused"}]
        stopped = ("0045", "Replication has stopped: replay is paused")
        cloud.until(lambda: cloud.events("reader")[kept:] == [stopped], what="0045")
        admin.execute("SELECT pg_wal_replay_resume()")
    until_lag(cloud, "healed", above=-0.5)
    cloud.until(lambda: cloud.instance("reader")["StatusInfos"] == REPLICATING, what="replicating")
    resumed = ("0046", "Replication for the Read Replica resumed")
    cloud.until(lambda: cloud.events("reader")[kept:] == [stopped, resumed], what="0046")


def test_under_load_a_renamed_source_keeps_its_replica_and_a_failover_after_it_loses_nothing(
    source: LiveCloud, reader: psycopg.Connection[Any]
) -> None:
    cloud, name = source, "shop"
    before = cloud.instance("shop")
    kept, told = len(cloud.events("reader")), len(cloud.events("shop"))
    with Writer(lambda: cloud.connect(name)) as writer, Watch(cloud, "shop", "store") as watch:
        follows(cloud, reader, writer)
        begun = cloud.modify("shop", NewDBInstanceIdentifier="store", ApplyImmediately=True)
        assert (begun["DBInstanceIdentifier"], begun["DBInstanceStatus"]) == ("shop", "renaming")
        assert begun["PendingModifiedValues"] == {"DBInstanceIdentifier": "store"}
        cloud.until(lambda: "store" in cloud.names(), what="store")
        name = "store"
        after = cloud.until_status("store", "available")
        writer.goes_on(cloud)
        assert cloud.refusal("DescribeDBInstances", DBInstanceIdentifier="shop")[0] == "DBInstanceNotFound"
        assert cloud.refusal("ModifyDBInstance", DBInstanceIdentifier="shop")[0] == "DBInstanceNotFound"
        assert after["DbiResourceId"] == before["DbiResourceId"]
        assert after["Endpoint"] != before["Endpoint"]
        with pytest.raises(psycopg.OperationalError, match="refused"):
            cloud.connect_to(before["Endpoint"]["Address"], before["Endpoint"]["Port"])
        assert after["ReadReplicaDBInstanceIdentifiers"] == ["reader"]
        there = cloud.instance("reader")
        assert (there["ReadReplicaSourceDBInstanceIdentifier"], there["StatusInfos"]) == ("store", REPLICATING)
        follows(cloud, reader, writer)

        cloud.until_redundant("store")
        cloud.call("RebootDBInstance", DBInstanceIdentifier="store", ForceFailover=True)
        failed_over = cloud.until_status("store", "available")
        writer.goes_on(cloud)
    assert failed_over["AvailabilityZone"] == after["SecondaryAvailabilityZone"]
    assert goes_through(watch.statuses(), ["available", "renaming", "available", "rebooting", "available"])
    assert writer.lost() == set()
    cloud.until(lambda: set(writer.acknowledged) <= rows_of(reader), what="every acknowledged row on the replica")
    assert cloud.instance("reader")["StatusInfos"] == REPLICATING
    # Events go by name: those of the rename's reboot are the old name's.
    assert [number for number, _ in cloud.events("shop")[told:]] == ["0004", "0006"]
    assert [number for number, _ in cloud.events("store")] == ["0013", "0006", "0049"]
    assert cloud.events("reader")[kept:] == []  # it followed all the time

    # The endpoint goes with the name: back under the old one it is where it was.
    cloud.modify("store", NewDBInstanceIdentifier="shop", ApplyImmediately=True)
    cloud.until(lambda: "shop" in cloud.names(), what="shop")
    assert cloud.until_status("shop", "available")["Endpoint"] == before["Endpoint"]


def test_a_promoted_replica_takes_writes_is_an_instance_of_its_own_and_its_source_goes_on(
    source: LiveCloud, reader: psycopg.Connection[Any]
) -> None:
    cloud = source
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader.execute("CREATE TABLE own (x int)")
    kept = len(cloud.events("reader"))
    with Writer(lambda: cloud.connect("shop")) as writer, Watch(cloud, "reader") as watch:
        follows(cloud, reader, writer)
        begun = cloud.call("PromoteReadReplica", DBInstanceIdentifier="reader", BackupRetentionPeriod=3)["DBInstance"]
        assert begun["DBInstanceStatus"] == "modifying"
        there = cloud.until_status("reader", "available")
        with cloud.connect("reader") as session:
            session.execute("CREATE TABLE own (x int)")
            copied = rows_of(session)
        writer.goes_on(cloud)
    assert goes_through(watch.statuses(), ["available", "modifying", "backing-up", "available"])
    assert there["BackupRetentionPeriod"] == 3
    assert "ReadReplicaSourceDBInstanceIdentifier" not in there
    assert "StatusInfos" not in there
    assert cloud.events("reader")[kept:] == [("0057", "Replication streaming has been terminated")]
    assert writer.lost() == set()
    with cloud.connect("shop") as session:
        everything = sorted(rows_of(session))
        assert session.execute("SELECT to_regclass('own')").fetchone() == (None,)
    # What it has is what its source had at one moment, and nothing of its source comes any more.
    assert sorted(copied) == everything[: len(copied)]
    assert 0 < len(copied) < len(everything)
    with cloud.connect("reader") as session:
        assert rows_of(session) == copied
    assert cloud.instance("shop")["ReadReplicaDBInstanceIdentifiers"] == []
    assert cloud.observed("reader").replication_lag_s is None
    code, message = cloud.refusal("PromoteReadReplica", DBInstanceIdentifier="reader")
    assert (code, "not a read replica" in message) == ("InvalidDBInstanceState", True)
