"""Instances are modified while a client writes: nothing that was acknowledged is lost. Real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from live_cloud import PASSWORD, Writer

if TYPE_CHECKING:
    from conftest import Cloud

SHOP = {"DBInstanceIdentifier": "shop"}


def make(cloud: Cloud, name: str = "shop", **more: Any) -> dict[str, Any]:
    cloud.call("CreateDBInstance", DBInstanceIdentifier=name, **{**cloud.prepare(), **more})
    return cloud.until_status(name, "available")


def connect(cloud: Cloud, name: str = "shop", password: str = PASSWORD, timeout_s: int = 30) -> psycopg.Connection[Any]:
    endpoint = cloud.instance(name)["Endpoint"]
    return psycopg.connect(
        host=endpoint["Address"], port=endpoint["Port"], user="shop", password=password, dbname="postgres",
        autocommit=True, sslmode="verify-full", sslrootcert=str(cloud.home.pki / "ca.pem"), connect_timeout=timeout_s,
    )  # fmt: skip


def show(cloud: Cloud, *settings: str) -> list[str]:
    with connect(cloud) as connection:
        return [connection.execute(f"SHOW {one}").fetchone()[0] for one in settings]  # type: ignore[index]


@pytest.mark.long
def test_a_new_class_of_a_multi_az_instance_costs_one_failover_and_no_row(real_cloud: Cloud) -> None:
    cloud = real_cloud
    zones = [make(cloud, MultiAZ=True)["AvailabilityZone"]]
    few = show(cloud, "max_connections")
    with Writer(lambda: connect(cloud)) as writer:
        for size in ("small", "micro"):
            writer.goes_on(cloud)
            writer.longest_gap_s = 0.0
            cloud.call("ModifyDBInstance", **SHOP, DBInstanceClass=f"db.t3.{size}", ApplyImmediately=True)
            zones.append(cloud.until_status("shop", "available", 120)["AvailabilityZone"])
            writer.goes_on(cloud)
            print(f"db.t3.{size}: no row was acknowledged for {writer.longest_gap_s:.2f} s at most")  # noqa: T201
            assert (show(cloud, "max_connections") == few) is (size == "micro")
            groups = cloud.instance("shop")["DBParameterGroups"]
            assert groups[0]["ParameterApplyStatus"] == "in-sync"
    assert zones == [zones[0], zones[1], zones[0]]
    assert zones[0] != zones[1]
    assert writer.lost() == set()
    events = cloud.events("shop")
    assert events.count("Multi-AZ instance failover completed") == 2
    assert events.count("Finished applying modification to DB instance class") == 2
    seen = cloud.rds.core.seen(cloud.rds.core.require("us-east-1", "shop")).valid
    assert seen is not None
    assert (seen.in_sync, seen.pending_restart) == (True, ())


@pytest.mark.long
def test_multi_az_is_turned_on_and_off_and_on_while_a_client_writes(real_cloud: Cloud) -> None:
    cloud = real_cloud
    before = make(cloud)
    folder = cloud.folder("shop")
    with Writer(lambda: connect(cloud)) as writer:
        for wanted in (True, False, True):
            writer.goes_on(cloud)
            cloud.call("ModifyDBInstance", **SHOP, MultiAZ=wanted, ApplyImmediately=True)
            after = cloud.until_status("shop", "available", 120)
            assert after["AvailabilityZone"] == before["AvailabilityZone"]
            assert ("SecondaryAvailabilityZone" in after) is wanted
            if not wanted:
                cloud.until(lambda: not (folder / "b" / "data").exists(), what="the standby's data is removed")
        writer.goes_on(cloud)
    assert writer.cuts == 0
    cloud.call("RebootDBInstance", **SHOP, ForceFailover=True)
    assert cloud.until_status("shop", "available", 120)["AvailabilityZone"] != before["AvailabilityZone"]
    assert writer.lost() == set()


def test_a_new_password_cuts_nobody_and_dynamic_values_reach_open_sessions(real_cloud: Cloud) -> None:
    cloud = real_cloud
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="x"
    )
    make(cloud, DBParameterGroupName="tuned")
    with connect(cloud) as session:

        def shown(name: str) -> str:
            return str(session.execute(f"SHOW {name}").fetchone()[0])  # type: ignore[index]

        value = {"ParameterName": "work_mem", "ParameterValue": "8192", "ApplyMethod": "immediate"}
        cloud.call("ModifyDBParameterGroup", DBParameterGroupName="tuned", Parameters=[value])
        cloud.until(lambda: shown("work_mem") == "8MB", what="work_mem in the open session")
        # The server reads the values before the supervisor has said that they are written.
        cloud.until(
            lambda: cloud.instance("shop")["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync", what="in-sync"
        )
        begun = cloud.call("ModifyDBInstance", **SHOP, MasterUserPassword="another-password")["DBInstance"]
        assert begun["PendingModifiedValues"] == {"MasterUserPassword": "****"}
        cloud.until_status("shop", "available")
        assert shown("work_mem") == "8MB"
        connect(cloud, password="another-password").close()
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(cloud)


def set_buffers(cloud: Cloud, value: str) -> None:
    """shared_buffers in pages of 8 kB."""
    change = {"ParameterName": "shared_buffers", "ParameterValue": value, "ApplyMethod": "pending-reboot"}
    cloud.call("ModifyDBParameterGroup", DBParameterGroupName="tuned", Parameters=[change])


TOO_LARGE = "1073741823"
"""8 TB: more than any machine that runs tests maps."""


def test_values_the_server_does_not_start_with_are_named_and_other_values_heal(real_cloud: Cloud) -> None:
    cloud = real_cloud
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="x"
    )
    before = make(cloud, DBParameterGroupName="tuned")
    set_buffers(cloud, TOO_LARGE)
    cloud.call("RebootDBInstance", **SHOP)
    cloud.until_status("shop", "incompatible-parameters")
    said = "Database instance put into incompatible-parameters. "
    assert [message for message in cloud.events("shop") if message.startswith(said) and "shared memory" in message]
    for action, more in (("StopDBInstance", {}), ("ModifyDBInstance", {"MultiAZ": True})):
        code, message = cloud.refusal(action, **SHOP, **more)
        assert (code, "incompatible-parameters" in message) == ("InvalidDBInstanceState", True)
    cloud.call("RebootDBInstance", **SHOP)  # with the same values: told again
    cloud.until(lambda: sum(message.startswith(said) for message in cloud.events("shop")) == 2, what="the event again")
    assert cloud.instance("shop")["DBInstanceStatus"] == "incompatible-parameters"
    cloud.call("ResetDBParameterGroup", DBParameterGroupName="tuned", ResetAllParameters=True)
    cloud.call("RebootDBInstance", **SHOP)
    after = cloud.until_status("shop", "available")
    assert after["Endpoint"] == before["Endpoint"]
    connect(cloud).close()


@pytest.mark.long
def test_an_instance_that_cannot_be_made_with_its_values_is_made_with_others(real_cloud: Cloud) -> None:
    cloud = real_cloud
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="x"
    )
    set_buffers(cloud, TOO_LARGE)
    cloud.call("CreateDBInstance", **SHOP, **{**cloud.prepare(), "DBParameterGroupName": "tuned"})
    cloud.until_status("shop", "incompatible-parameters")
    set_buffers(cloud, "4096")
    cloud.call("RebootDBInstance", **SHOP)
    cloud.until_status("shop", "available")
    assert show(cloud, "shared_buffers") == ["32MB"]
    assert cloud.events("shop")[-1] == "DB instance created"


@pytest.mark.long
def test_a_multi_az_instance_whose_primary_does_not_start_again_goes_on_with_its_old_values(real_cloud: Cloud) -> None:
    cloud = real_cloud
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="x"
    )
    before = make(cloud, MultiAZ=True, DBParameterGroupName="tuned")
    set_buffers(cloud, TOO_LARGE)
    with Writer(lambda: connect(cloud)) as writer:
        writer.goes_on(cloud)
        cloud.call("RebootDBInstance", **SHOP)
        after = cloud.until_status("shop", "available")
        writer.goes_on(cloud)
        # the class change meets the same values on the standby first: then nothing is touched
        cuts = writer.cuts
        cloud.until(lambda: in_sync(cloud), what="redundancy with the old values")
        cloud.call("ModifyDBInstance", **SHOP, DBInstanceClass="db.t3.small", ApplyImmediately=True)
        cloud.until_status("shop", "available", 120)
        cloud.until(lambda: in_sync(cloud), what="redundancy with the old values, again")
        writer.goes_on(cloud)
        assert writer.cuts == cuts
    assert after["AvailabilityZone"] == before["SecondaryAvailabilityZone"]
    there = cloud.instance("shop")
    assert (there["DBInstanceClass"], there["DBParameterGroups"][0]["ParameterApplyStatus"]) == (
        "db.t3.micro",
        "pending-reboot",
    )
    told = cloud.events("shop")
    for said in ("The new parameters were not taken: ", "Unable to modify the DB instance class. "):
        assert [message for message in told if message.startswith(said) and "shared memory" in message]
    assert writer.lost() == set()
    # the restart of a new name meets them too: the name is changed, and the values are not taken
    kept = cloud.rds.core.require("us-east-1", "shop").parameters
    cloud.call("ModifyDBInstance", **SHOP, NewDBInstanceIdentifier="store", ApplyImmediately=True)
    cloud.until(lambda: "store" in names(cloud), what="the new name")
    cloud.until_status("store", "available", 120)
    assert cloud.rds.core.require("us-east-1", "store").parameters == kept
    said = "The new parameters were not taken: "
    assert [message for message in cloud.events("store") if message.startswith(said) and "shared memory" in message]


def names(cloud: Cloud) -> list[str]:
    return [one["DBInstanceIdentifier"] for one in cloud.call("DescribeDBInstances")["DBInstances"]]


def in_sync(cloud: Cloud) -> bool:
    seen = cloud.rds.core.seen(cloud.rds.core.require("us-east-1", "shop")).valid
    return seen is not None and seen.in_sync and not seen.pending_restart


@pytest.mark.long
def test_a_stopped_multi_az_instance_refuses_calls_and_comes_back_whole(real_cloud: Cloud) -> None:
    cloud = real_cloud
    before = make(cloud, MultiAZ=True)
    with connect(cloud) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    begun = cloud.call("StopDBInstance", **SHOP)["DBInstance"]
    assert begun["DBInstanceStatus"] == "stopping"
    cloud.until_status("shop", "stopped")
    with pytest.raises(psycopg.OperationalError):
        connect(cloud, timeout_s=2)
    replica = {"DBInstanceIdentifier": "reader", "SourceDBInstanceIdentifier": "shop"}
    for action, named in (
        ("RebootDBInstance", SHOP),
        ("StopDBInstance", SHOP),
        ("ModifyDBInstance", {**SHOP, "DBInstanceClass": "db.t3.small"}),
        ("ModifyDBInstance", {**SHOP, "NewDBInstanceIdentifier": "store"}),
        ("CreateDBInstanceReadReplica", replica),
    ):
        assert cloud.refusal(action, **named)[0] == "InvalidDBInstanceState", action
    begun = cloud.call("StartDBInstance", **SHOP)["DBInstance"]
    assert begun["DBInstanceStatus"] == "starting"
    after = cloud.until_status("shop", "available", 120)
    assert after["Endpoint"] == before["Endpoint"]
    assert {after["AvailabilityZone"], after["SecondaryAvailabilityZone"]} == {
        before["AvailabilityZone"], before["SecondaryAvailabilityZone"],
    }  # fmt: skip
    cloud.until(lambda: in_sync(cloud), what="redundancy")
    with connect(cloud) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)
    cloud.call("StopDBInstance", **SHOP)
    cloud.until_status("shop", "stopped")
    cloud.call("DeleteDBInstance", **SHOP, FinalDBSnapshotIdentifier="last")
    cloud.until_gone("shop", 60)
    assert cloud.call("DescribeDBSnapshots", DBSnapshotIdentifier="last")["DBSnapshots"][0]["Status"] == "available"


def test_a_group_associated_later_comes_with_a_reboot(real_cloud: Cloud) -> None:
    cloud = real_cloud
    make(cloud)
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="later", DBParameterGroupFamily="postgres17", Description="x"
    )
    values = [
        {"ParameterName": "max_connections", "ParameterValue": "51", "ApplyMethod": "pending-reboot"},
        {"ParameterName": "work_mem", "ParameterValue": "8192", "ApplyMethod": "immediate"},
    ]
    cloud.call("ModifyDBParameterGroup", DBParameterGroupName="later", Parameters=values)
    usual = show(cloud, "max_connections", "work_mem")
    cloud.call("ModifyDBInstance", **SHOP, DBParameterGroupName="later")
    assert cloud.instance("shop")["DBParameterGroups"][0]["ParameterApplyStatus"] == "pending-reboot"
    assert show(cloud, "max_connections", "work_mem") == usual
    # a dynamic value changed in the group that is associated now does not wait
    value = {"ParameterName": "random_page_cost", "ParameterValue": "1.5", "ApplyMethod": "immediate"}
    cloud.call("ModifyDBParameterGroup", DBParameterGroupName="later", Parameters=[value])
    cloud.until(lambda: show(cloud, "random_page_cost") == ["1.5"], what="the dynamic value")
    assert show(cloud, "max_connections", "work_mem") == usual
    cloud.call("RebootDBInstance", **SHOP)
    cloud.until_status("shop", "available")
    assert show(cloud, "max_connections", "work_mem") == ["51", "8MB"]
    cloud.until(lambda: cloud.instance("shop")["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync")
