"""The life of DB instances: the same cases against the fake supervisor and against real servers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from multiaz.files import lock_holder

if TYPE_CHECKING:
    from conftest import Cloud


def make(cloud: Cloud, name: str = "shop", **more: Any) -> dict[str, Any]:
    """An instance; without automated backups, which have tests of their own, unless they are asked for."""
    params = {**cloud.prepare(), "BackupRetentionPeriod": 0, **more}
    cloud.call("CreateDBInstance", DBInstanceIdentifier=name, **params)
    return cloud.until_status(name, "available")


def test_create_answers_at_once_and_the_instance_is_available_when_it_serves(any_cloud: Cloud) -> None:
    made = any_cloud.call(
        "CreateDBInstance", DBInstanceIdentifier="Shop", MultiAZ=True, DBName="store", **any_cloud.prepare()
    )["DBInstance"]
    assert made["DBInstanceIdentifier"] == "shop"
    assert made["DBInstanceStatus"] == "creating"
    assert "Endpoint" not in made
    there = any_cloud.until_status("shop", "available")
    assert there["Endpoint"]["Port"] == 5432
    assert there["Endpoint"]["Address"].startswith("127.")
    assert {there["AvailabilityZone"], there["SecondaryAvailabilityZone"]} == {"us-east-1a", "us-east-1b"}
    assert there["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"
    assert any_cloud.events("shop") == ["DB instance created"]


def test_an_endpoint_process_nobody_else_starts_is_started_by_the_cloud(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pretended supervisor starts none, as one that is frozen; its servers are well, and nobody reached them."""
    monkeypatch.setattr("multiaz.cloud.rds.children.RELAY_AFTER_S", 0.1)
    make(cloud)
    place = cloud.home.instance(cloud.folder("shop").name)
    place.relay.write_text("{}")  # it serves nothing, and says so
    relay = cloud.until(lambda: lock_holder(place.relay_lock))
    place.relay.unlink()
    cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    cloud.until_gone("shop")
    assert not Path(f"/proc/{relay}").exists(), "it has ended and was reaped"


def test_a_forced_failover_swaps_the_zones(any_cloud: Cloud) -> None:
    before = make(any_cloud, MultiAZ=True)
    answer = any_cloud.call("RebootDBInstance", DBInstanceIdentifier="shop", ForceFailover=True)
    assert answer["DBInstance"]["DBInstanceStatus"] == "rebooting"
    after = any_cloud.until_status("shop", "available")
    assert after["AvailabilityZone"] == before["SecondaryAvailabilityZone"]
    assert after["SecondaryAvailabilityZone"] == before["AvailabilityZone"]
    assert after["Endpoint"] == before["Endpoint"]
    any_cloud.until(lambda: "Multi-AZ instance failover completed" in any_cloud.events("shop"))


def test_a_failover_asked_for_right_after_another_waits_for_the_standby(either_cloud: Cloud) -> None:
    before = make(either_cloud, MultiAZ=True)
    for _ in range(2):
        either_cloud.call("RebootDBInstance", DBInstanceIdentifier="shop", ForceFailover=True)
        either_cloud.until_status("shop", "available")
    assert either_cloud.instance("shop")["AvailabilityZone"] == before["AvailabilityZone"]
    done = "Multi-AZ instance failover completed"
    either_cloud.until(lambda: either_cloud.events("shop").count(done) == 2)


def test_a_read_replica_streams_and_inherits_and_can_be_promoted(any_cloud: Cloud) -> None:
    source = make(any_cloud, MaxAllocatedStorage=100, BackupRetentionPeriod=1)
    any_cloud.call(
        "CreateDBInstanceReadReplica",
        DBInstanceIdentifier="reader",
        SourceDBInstanceIdentifier="shop",
        AvailabilityZone="us-east-1c",
    )
    reader = any_cloud.until_status("reader", "available")
    any_cloud.until(lambda: any_cloud.instance("reader")["StatusInfos"][0]["Status"] == "replicating")
    assert reader["ReadReplicaSourceDBInstanceIdentifier"] == "shop"
    assert reader["MasterUsername"] == source["MasterUsername"]
    assert reader["AvailabilityZone"] == "us-east-1c"
    assert reader["BackupRetentionPeriod"] == 0
    assert any_cloud.instance("shop")["ReadReplicaDBInstanceIdentifiers"] == ["reader"]
    any_cloud.call("PromoteReadReplica", DBInstanceIdentifier="reader", BackupRetentionPeriod=3)
    assert any_cloud.until_status("reader", "available")["BackupRetentionPeriod"] == 3
    assert "ReadReplicaSourceDBInstanceIdentifier" not in any_cloud.instance("reader")
    assert any_cloud.instance("shop")["ReadReplicaDBInstanceIdentifiers"] == []


def test_the_engine_version_shown_is_the_one_asked_for(cloud: Cloud) -> None:
    assert make(cloud, EngineVersion="17.4", BackupRetentionPeriod=1)["EngineVersion"] == "17.4"
    cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="shop")
    assert cloud.until_status("reader", "available")["EngineVersion"] == "17.4"
    change = {"DBInstanceIdentifier": "reader", "EngineVersion": "17.5"}
    cloud.call("ModifyDBInstance", **change)
    there = cloud.instance("reader")
    assert (there["EngineVersion"], there["PendingModifiedValues"]) == ("17.4", {"EngineVersion": "17.5"})
    cloud.call("ModifyDBInstance", **change, ApplyImmediately=True)
    assert cloud.until_status("reader", "available")["EngineVersion"] == "17.5"
    cloud.call("ModifyDBInstance", **{**change, "EngineVersion": "17"}, ApplyImmediately=True)
    assert cloud.until_status("reader", "available")["EngineVersion"] == "17.5"


def test_a_major_version_alone_is_shown_as_the_minor_installed_here(cloud: Cloud) -> None:
    installed = cloud.call("DescribeDBEngineVersions", DefaultOnly=True)["DBEngineVersions"][0]["EngineVersion"]
    assert make(cloud, EngineVersion="17")["EngineVersion"] == installed


def test_deleting_a_source_promotes_its_replicas_first(any_cloud: Cloud) -> None:
    make(any_cloud, BackupRetentionPeriod=1)
    any_cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="shop")
    any_cloud.until_status("reader", "available")
    any_cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    any_cloud.until_gone("shop")
    reader = any_cloud.until_status("reader", "available")
    assert "ReadReplicaSourceDBInstanceIdentifier" not in reader


def test_multi_az_can_be_turned_on_and_off(either_cloud: Cloud) -> None:
    make(either_cloud)
    begun = either_cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", MultiAZ=True, ApplyImmediately=True)
    assert begun["DBInstance"]["DBInstanceStatus"] == "modifying"  # asked for later, it may be made by then
    assert either_cloud.until_status("shop", "available")["SecondaryAvailabilityZone"] == "us-east-1b"
    either_cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", MultiAZ=False, ApplyImmediately=True)
    there = either_cloud.until_status("shop", "available")
    assert there["MultiAZ"] is False
    assert "SecondaryAvailabilityZone" not in there


def test_a_new_class_brings_its_parameters_with_a_reboot(either_cloud: Cloud) -> None:
    make(either_cloud)
    either_cloud.call(
        "ModifyDBInstance", DBInstanceIdentifier="shop", DBInstanceClass="db.t3.small", ApplyImmediately=True
    )
    there = either_cloud.until_status("shop", "available")
    assert there["DBInstanceClass"] == "db.t3.small"
    assert there["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"


def test_a_new_master_password_is_set(either_cloud: Cloud) -> None:
    make(either_cloud)
    either_cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", MasterUserPassword="another-password")
    either_cloud.until_status("shop", "available")
    either_cloud.until(lambda: "Reset master credentials" in either_cloud.events("shop"))


def test_a_stopped_instance_keeps_its_endpoint_and_starts_again(any_cloud: Cloud) -> None:
    before = make(any_cloud)
    any_cloud.call("StopDBInstance", DBInstanceIdentifier="shop")
    any_cloud.until_status("shop", "stopped")
    any_cloud.until(lambda: "AutomaticRestartTime" in any_cloud.instance("shop"))
    code, _ = any_cloud.refusal("RebootDBInstance", DBInstanceIdentifier="shop")
    assert code == "InvalidDBInstanceState"
    any_cloud.call("StartDBInstance", DBInstanceIdentifier="shop")
    assert any_cloud.until_status("shop", "available")["Endpoint"] == before["Endpoint"]


def test_deletion_leaves_a_final_snapshot_and_nothing_else(any_cloud: Cloud) -> None:
    make(any_cloud, CopyTagsToSnapshot=True, Tags=[{"Key": "Name", "Value": "shop"}])
    folder = any_cloud.folder("shop")
    any_cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", FinalDBSnapshotIdentifier="Last")
    shown = any_cloud.call("DescribeDBSnapshots", DBSnapshotIdentifier="last")["DBSnapshots"][0]
    assert shown["Status"] in ("creating", "available")
    any_cloud.until_gone("shop")
    assert not folder.exists()
    snapshot = any_cloud.call("DescribeDBSnapshots", DBInstanceIdentifier="shop")["DBSnapshots"][0]
    assert (snapshot["Status"], snapshot["SnapshotType"]) == ("available", "manual")
    assert snapshot["TagList"] == [{"Key": "Name", "Value": "shop"}]
    data = list(any_cloud.home.snapshots.iterdir())
    assert len(data) == 1
    any_cloud.call("DeleteDBSnapshot", DBSnapshotIdentifier="last")
    assert not data[0].exists()
    assert any_cloud.call("DescribeDBSnapshots")["DBSnapshots"] == []


def test_an_instance_can_be_deleted_while_it_is_created(any_cloud: Cloud) -> None:
    any_cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **any_cloud.prepare())
    any_cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    any_cloud.until_gone("shop")
    assert list(any_cloud.home.instances.glob("*")) == []


def test_a_killed_supervisor_is_started_again(any_cloud: Cloud) -> None:
    make(any_cloud)
    lock = any_cloud.home.instance(any_cloud.instance("shop")["DbiResourceId"]).lock
    holder = lock_holder(lock)
    assert holder is not None
    os.kill(holder, signal.SIGKILL)
    any_cloud.until(lambda: lock_holder(lock) not in (None, holder), what="another supervisor")
    assert any_cloud.until_status("shop", "available")


def test_an_instance_whose_supervisor_was_given_up_can_be_deleted_at_once(cloud: Cloud) -> None:
    assert cloud.supervisor is not None
    only_deletes = f'grep -q \'"run": *"deleted"\' "$1/desired.json" && exec {" ".join(cloud.supervisor)} "$@"'
    cloud.supervisor = ["/bin/sh", "-c", only_deletes, "supervisor"]
    cloud.restart()
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "failed")
    assert cloud.refusal("DeleteDBInstance", DBInstanceIdentifier="shop", FinalDBSnapshotIdentifier="last")[0] == (
        "InvalidDBInstanceState"
    )
    cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    cloud.until_gone("shop")


@pytest.mark.parametrize("action", ["create", "delete"])
def test_a_new_cloud_process_carries_on_with_what_was_acknowledged(either_cloud: Cloud, action: str) -> None:
    if action == "create":
        either_cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **either_cloud.prepare())
        before = either_cloud.instance("shop")["DbiResourceId"]
        either_cloud.restart()
        assert either_cloud.until_status("shop", "available")["DbiResourceId"] == before
        return
    make(either_cloud)
    either_cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", FinalDBSnapshotIdentifier="last")
    either_cloud.restart()
    either_cloud.until_gone("shop")
    assert either_cloud.call("DescribeDBSnapshots")["DBSnapshots"][0]["Status"] == "available"


def test_a_new_cloud_process_finds_the_same_endpoint_and_no_event_twice(either_cloud: Cloud) -> None:
    before = make(either_cloud, MultiAZ=True)
    either_cloud.call("RebootDBInstance", DBInstanceIdentifier="shop", ForceFailover=True)
    either_cloud.until_status("shop", "available")
    either_cloud.until(lambda: "Multi-AZ instance failover completed" in either_cloud.events("shop"))
    told = either_cloud.events("shop")
    either_cloud.restart()
    after = either_cloud.until_status("shop", "available")
    assert after["Endpoint"] == before["Endpoint"]
    assert either_cloud.events("shop") == told
