"""Read replicas as the RDS API shows them: chains, promotion, what breaks and heals, and what goes with a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from multiaz.home import InstanceHome

if TYPE_CHECKING:
    from conftest import Cloud


def make(cloud: Cloud, **more: Any) -> dict[str, Any]:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **{**cloud.prepare(), **more})
    return cloud.until_status("shop", "available")


def add(cloud: Cloud, name: str, source: str) -> dict[str, Any]:
    """A read replica that may be a source itself: as on RDS, its backups must be on for that."""
    cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier=name, SourceDBInstanceIdentifier=source)
    cloud.until_status(name, "available")
    cloud.call("ModifyDBInstance", DBInstanceIdentifier=name, BackupRetentionPeriod=1, ApplyImmediately=True)
    return cloud.until_status(name, "available")


def family(cloud: Cloud, name: str) -> tuple[str | None, list[str]]:
    """Source and replicas of an instance, as it is shown."""
    told = cloud.instance(name)
    return told.get("ReadReplicaSourceDBInstanceIdentifier"), told["ReadReplicaDBInstanceIdentifiers"]


def home_of(cloud: Cloud, name: str) -> InstanceHome:
    return cloud.home.instance(cloud.instance(name)["DbiResourceId"])


def as_admin(cloud: Cloud, name: str) -> psycopg.Connection[Any]:
    """The superuser, by the instance's own socket."""
    link = home_of(cloud, name).primary_link
    return psycopg.connect(host=str(link), port=5432, user="rdsadmin", dbname="postgres", autocommit=True)


def test_a_replica_of_a_replica_needs_backups_and_a_chain_has_three_links(cloud: Cloud) -> None:
    """Source: RDS user guide, "Using cascading read replicas with RDS for PostgreSQL": four instances at most."""
    make(cloud)
    cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="one", SourceDBInstanceIdentifier="shop")
    cloud.until_status("one", "available")
    again = {"DBInstanceIdentifier": "two", "SourceDBInstanceIdentifier": "one"}
    code, message = cloud.refusal("CreateDBInstanceReadReplica", **again)
    assert (code, "Automated backups" in message) == ("InvalidDBInstanceState", True)
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="one", BackupRetentionPeriod=1, ApplyImmediately=True)
    cloud.until_status("one", "available")
    add(cloud, "two", "one")
    add(cloud, "three", "two")
    code, message = cloud.refusal(
        "CreateDBInstanceReadReplica", DBInstanceIdentifier="four", SourceDBInstanceIdentifier="three"
    )
    assert (code, "at most 3 links" in message) == ("InvalidParameterCombination", True)
    assert family(cloud, "shop") == (None, ["one"])
    assert family(cloud, "one") == ("shop", ["two"])
    assert family(cloud, "two") == ("one", ["three"])


def test_a_promoted_replica_takes_its_own_replicas_along(cloud: Cloud) -> None:
    make(cloud)
    add(cloud, "one", "shop")
    add(cloud, "two", "one")
    blank = {"DBInstanceIdentifier": "one", "PreferredBackupWindow": ""}
    assert cloud.refusal("PromoteReadReplica", **blank)[0] == "InvalidParameterValue"
    begun = cloud.call("PromoteReadReplica", DBInstanceIdentifier="one", BackupRetentionPeriod=5)["DBInstance"]
    assert begun["DBInstanceStatus"] == "modifying"
    promoted = cloud.until_status("one", "available")
    assert promoted["BackupRetentionPeriod"] == 5
    assert "StatusInfos" not in promoted
    assert family(cloud, "shop") == (None, [])
    assert family(cloud, "one") == (None, ["two"])
    assert family(cloud, "two") == ("one", [])
    told = cloud.call("DescribeEvents", SourceIdentifier="one", SourceType="db-instance")["Events"]
    ended = next(event for event in told if "terminated" in event["Message"])
    assert ended["EventCategories"] == ["read replica"]
    off = {"DBInstanceIdentifier": "one", "BackupRetentionPeriod": 0, "ApplyImmediately": True}
    assert cloud.refusal("ModifyDBInstance", **off)[0] == "InvalidParameterCombination"


def test_deleting_a_replica_promotes_its_replicas_and_leaves_its_source(cloud: Cloud) -> None:
    make(cloud)
    add(cloud, "one", "shop")
    add(cloud, "two", "one")
    cloud.call("DeleteDBInstance", DBInstanceIdentifier="one", SkipFinalSnapshot=True)
    cloud.until_gone("one")
    cloud.until_status("two", "available")
    assert family(cloud, "shop") == (None, [])
    assert family(cloud, "two") == (None, [])


@pytest.mark.long
def test_replication_that_breaks_shows_in_status_and_events_until_it_is_healed(real_cloud: Cloud) -> None:
    make(real_cloud)
    add(real_cloud, "one", "shop")

    def replication() -> tuple[bool, str, str]:
        told = real_cloud.instance("one")["StatusInfos"][0]
        return told["Normal"], told["Status"], told.get("Message", "")

    real_cloud.until(lambda: replication() == (True, "replicating", ""), what="replicating")
    with as_admin(real_cloud, "one") as admin:
        admin.execute("SELECT pg_wal_replay_pause()")
        real_cloud.until(lambda: replication() == (False, "error", "replay is paused"), what="broken")
        stopped = "Replication has stopped: replay is paused"
        real_cloud.until(lambda: stopped in real_cloud.events("one"), what="told")
        assert real_cloud.instance("one")["DBInstanceStatus"] == "available"  # it goes on serving
        admin.execute("SELECT pg_wal_replay_resume()")
    real_cloud.until(lambda: replication() == (True, "replicating", ""), what="healed")
    real_cloud.until(lambda: real_cloud.events("one")[-1] == "Replication for the Read Replica resumed", what="told")


@pytest.mark.long
def test_a_promoted_replica_writes_becomes_multi_az_and_its_own_replica_follows(real_cloud: Cloud) -> None:
    make(real_cloud)
    add(real_cloud, "one", "shop")
    add(real_cloud, "two", "one")
    real_cloud.call("PromoteReadReplica", DBInstanceIdentifier="one")
    real_cloud.until_status("one", "available")
    with as_admin(real_cloud, "one") as admin:
        admin.execute("CREATE TABLE t AS SELECT 1 AS x")
    real_cloud.call("ModifyDBInstance", DBInstanceIdentifier="one", MultiAZ=True, ApplyImmediately=True)
    real_cloud.until_status("one", "available", 60)
    real_cloud.call("RebootDBInstance", DBInstanceIdentifier="one", ForceFailover=True)
    real_cloud.until_status("one", "available", 60)
    with as_admin(real_cloud, "one") as admin:
        admin.execute("INSERT INTO t VALUES (2)")
    with as_admin(real_cloud, "two") as reader:
        real_cloud.until(lambda: len(reader.execute("SELECT FROM t").fetchall()) == 2, what="it follows")
    with as_admin(real_cloud, "shop") as admin:
        assert admin.execute("SELECT to_regclass('t')").fetchone() == (None,)
    real_cloud.call("DeleteDBInstance", DBInstanceIdentifier="one", SkipFinalSnapshot=True)
    real_cloud.until_gone("one", 60)
    real_cloud.until_status("two", "available")
    with as_admin(real_cloud, "two") as admin:
        admin.execute("INSERT INTO t VALUES (3)")
