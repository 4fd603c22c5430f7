"""What waits, for the window or a reboot: when it is made, taken back, kept, and dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from multiaz.cloud.rds import progress

if TYPE_CHECKING:
    from conftest import Cloud

SHOP = {"DBInstanceIdentifier": "shop"}


def make(cloud: Cloud, name: str = "shop", **more: Any) -> dict[str, Any]:
    cloud.call("CreateDBInstance", DBInstanceIdentifier=name, **{**cloud.prepare(), **more})
    return cloud.until_status(name, "available")


def group(cloud: Cloud, name: str = "tuned", **values: str) -> None:
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName=name, DBParameterGroupFamily="postgres17", Description="x"
    )
    change_group(cloud, name, **values)


def change_group(cloud: Cloud, group_name: str = "tuned", method: str = "pending-reboot", **values: str) -> None:
    changes = [{"ParameterName": one, "ParameterValue": value, "ApplyMethod": method} for one, value in values.items()]
    if changes:
        cloud.call("ModifyDBParameterGroup", DBParameterGroupName=group_name, Parameters=changes)


def modify(cloud: Cloud, **change: Any) -> dict[str, Any]:
    return dict(cloud.call("ModifyDBInstance", **{**SHOP, **change})["DBInstance"])


def told_since_creation(cloud: Cloud, name: str = "shop") -> list[str]:
    return [message for message in cloud.events(name) if message != "DB instance created"]


def open_window(cloud: Cloud) -> None:
    """The maintenance window is now, the backup window elsewhere."""
    now = datetime.now(UTC)
    modify(
        cloud,
        PreferredMaintenanceWindow=f"{now:%a:%H:%M}-{now + timedelta(hours=1):%a:%H:%M}",
        PreferredBackupWindow=f"{now + timedelta(hours=6):%H:%M}-{now + timedelta(hours=7):%H:%M}",
    )


def applied(cloud: Cloud, name: str = "shop") -> Any:
    return cloud.instance(name)["DBParameterGroups"][0]["ParameterApplyStatus"]


def parameters(cloud: Cloud, name: str = "shop") -> dict[str, str]:
    return cloud.rds.core.require("us-east-1", name).parameters


@pytest.mark.parametrize("with_group", [False, True])
def test_what_is_to_be_made_at_once_while_stopped_is_made_when_it_runs_again(cloud: Cloud, with_group: bool) -> None:
    make(cloud)
    group(cloud)
    modify(cloud, DBInstanceClass="db.t3.small")
    cloud.call("StopDBInstance", **SHOP)
    cloud.until_status("shop", "stopped")
    told = modify(cloud, ApplyImmediately=True, **({"DBParameterGroupName": "tuned"} if with_group else {}))
    assert (told["DBInstanceStatus"], told["PendingModifiedValues"]) == ("stopped", {"DBInstanceClass": "db.t3.small"})
    cloud.call("StartDBInstance", **SHOP)
    cloud.until(lambda: cloud.instance("shop")["DBInstanceClass"] == "db.t3.small", what="the class")
    assert cloud.until_status("shop", "available")["PendingModifiedValues"] == {}


def test_a_change_that_is_taken_back_at_once_is_not_made(cloud: Cloud) -> None:
    before = make(cloud)
    change = {"DBInstanceClass": "db.t3.small", "AllocatedStorage": 30, "NewDBInstanceIdentifier": "store"}
    assert modify(cloud, **change)["PendingModifiedValues"] != {}
    back = {"DBInstanceClass": "db.t3.micro", "AllocatedStorage": 20, "NewDBInstanceIdentifier": "shop"}
    told = modify(cloud, **back, ApplyImmediately=True)
    assert (told["DBInstanceStatus"], told["PendingModifiedValues"]) == ("available", {})
    assert cloud.instance("shop") == before
    assert told_since_creation(cloud) == []
    assert cloud.rds.core.require("us-east-1", "shop").storage_changed_at is None


def test_a_group_with_a_value_the_instance_cannot_have_is_refused_and_nothing_else_fails(cloud: Cloud) -> None:
    before = make(cloud)
    group(cloud, shared_buffers="{DBInstanceClassMemory*2}")
    code, message = cloud.refusal("ModifyDBInstance", **SHOP, DBParameterGroupName="tuned")
    assert (code, "shared_buffers" in message) == ("InvalidParameterValue", True)
    assert cloud.instance("shop") == before
    assert told_since_creation(cloud) == []
    # One that was kept, by an earlier version of this program: what is seen, and what is deleted, does not need it.
    core = cloud.rds.core
    core.repository.save(core.require("us-east-1", "shop").but(parameter_group="tuned"))
    assert [one["DBInstanceStatus"] for one in cloud.call("DescribeDBInstances")["DBInstances"]] == ["available"]
    deleted = cloud.call("DeleteDBInstance", **SHOP, SkipFinalSnapshot=True)["DBInstance"]
    assert deleted["DBInstanceStatus"] == "deleting"


def test_a_group_is_judged_by_the_class_the_instance_has_with_it(cloud: Cloud) -> None:
    make(cloud)
    group(cloud, max_connections="{DBInstanceClassMemory/2000000000}")  # 0 of a micro, 2 of a medium
    change = {"DBParameterGroupName": "tuned", "DBInstanceClass": "db.t3.medium"}
    assert cloud.refusal("ModifyDBInstance", **SHOP, **change)[0] == "InvalidParameterValue"  # the class comes later
    modify(cloud, **change, ApplyImmediately=True)
    cloud.until_status("shop", "available")
    assert parameters(cloud)["max_connections"] == "2"
    assert cloud.refusal("ModifyDBInstance", **SHOP, DBInstanceClass="db.t3.micro")[0] == "InvalidParameterValue"
    # A name that waits, and a group that cannot be any more: kept so by an earlier version of this program.
    modify(cloud, NewDBInstanceIdentifier="store", BackupRetentionPeriod=0)
    core = cloud.rds.core
    core.repository.save(core.require("us-east-1", "shop").but(instance_class="db.t3.micro"))
    open_window(cloud)
    cloud.until(lambda: cloud.instance("shop")["PendingModifiedValues"] == {}, what="the window")
    told = [message for message in told_since_creation(cloud) if message.startswith("Pending modifications could not")]
    assert [message.partition(":")[0] for message in told] == [
        "Pending modifications could not be applied (BackupRetentionPeriod, DBInstanceIdentifier)"
    ]


def test_a_group_that_is_deleted_meanwhile_is_not_used(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cloud.prepare()
    cloud.call("CreateDBInstance", **SHOP, **made)
    cloud.until_status("shop", "available")
    core = cloud.rds.core
    transaction = core.repository.transaction

    def as_late_as_possible() -> Any:
        """Another call comes in between, once."""
        monkeypatch.setattr(core.repository, "transaction", transaction)
        cloud.call("DeleteDBParameterGroup", DBParameterGroupName="tuned")
        return transaction()

    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("ModifyDBInstance", {**SHOP}),
        ("CreateDBInstance", {**made, "DBInstanceIdentifier": "other"}),
    )
    for action, params in calls:
        group(cloud)
        monkeypatch.setattr(core.repository, "transaction", as_late_as_possible)
        assert cloud.refusal(action, **params, DBParameterGroupName="tuned")[0] == "DBParameterGroupNotFound"
    assert [one["DBInstanceIdentifier"] for one in cloud.call("DescribeDBInstances")["DBInstances"]] == ["shop"]
    assert cloud.instance("shop")["DBParameterGroups"][0]["DBParameterGroupName"] == "default.postgres17"


def test_a_refused_failover_is_no_reboot_and_leaves_what_waits_waiting(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    group(cloud)
    make(cloud, MultiAZ=True, DBParameterGroupName="tuned")
    before = parameters(cloud)
    change_group(cloud, max_connections="90")
    (cloud.folder("shop") / "no-failover").touch()
    cloud.call("RebootDBInstance", **SHOP, ForceFailover=True)
    # What applies at once does, also while something is under way that is taken back.
    change_group(cloud, method="immediate", work_mem="8192")
    cloud.until_status("shop", "available")
    assert told_since_creation(cloud) == ["Abandoning user requested failover: refused"]
    assert (applied(cloud), parameters(cloud)) == ("pending-reboot", {**before, "work_mem": "8192"})

    (cloud.folder("shop") / "out-of-sync").touch()
    cloud.until(lambda: not cloud.rds.core.seen(cloud.rds.core.require("us-east-1", "shop")).observed.in_sync)  # type: ignore[union-attr]
    cloud.call("RebootDBInstance", **SHOP, ForceFailover=True)
    monkeypatch.setattr(progress, "SYNC_WAIT_S", 0)
    cloud.until_status("shop", "available")
    assert told_since_creation(cloud)[1:] == ["Abandoning user requested failover: the standby is not in sync"]
    assert (applied(cloud), parameters(cloud)) == ("pending-reboot", {**before, "work_mem": "8192"})


def test_a_failover_that_came_before_the_requested_one_is_followed_by_its_restart(cloud: Cloud) -> None:
    group(cloud)
    make(cloud, MultiAZ=True, DBParameterGroupName="tuned")
    change_group(cloud, max_connections="90")
    by_itself = cloud.folder("shop") / "failed-over"
    by_itself.touch()
    cloud.call("RebootDBInstance", **SHOP, ForceFailover=True)
    cloud.until(lambda: cloud.rds.core.require("us-east-1", "shop").requests == 2, what="a second request")
    by_itself.unlink()
    cloud.until_status("shop", "available")
    assert told_since_creation(cloud) == ["DB instance shutdown", "DB instance restarted"]
    assert parameters(cloud)["max_connections"] == "90"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"NewDBInstanceIdentifier": "store"}, "The new parameters were not taken: refused"),
        ({"DBInstanceClass": "db.t3.small", "MultiAZ": False}, "Unable to modify the DB instance class. refused"),
    ],
)
def test_a_change_whose_restart_is_refused_keeps_the_values_that_work(
    cloud: Cloud, change: dict[str, Any], says: str
) -> None:
    group(cloud)
    make(cloud, MultiAZ=True, DBParameterGroupName="tuned")
    before = parameters(cloud)
    change_group(cloud, max_connections="90")
    (cloud.folder("shop") / "no-reboot").touch()
    modify(cloud, **change, ApplyImmediately=True)
    name = change.get("NewDBInstanceIdentifier", "shop")
    cloud.until(
        lambda: name in [one["DBInstanceIdentifier"] for one in cloud.call("DescribeDBInstances")["DBInstances"]]
    )
    after = cloud.until_status(name, "available")
    assert says in cloud.events(name)
    assert not [
        message for message in cloud.events("shop") if "Finished applying modification to DB instance class" in message
    ]
    assert (after["DBInstanceClass"], parameters(cloud, name)) == ("db.t3.micro", before)
    assert after["MultiAZ"] is change.get("MultiAZ", True)


def test_a_blank_value_is_refused(cloud: Cloud) -> None:
    before = make(cloud)
    for name, code in (
        ("MasterUserPassword", "InvalidParameterValue"),
        ("DBParameterGroupName", "DBParameterGroupNotFound"),
        ("PreferredBackupWindow", "InvalidParameterValue"),
        ("PreferredMaintenanceWindow", "InvalidParameterValue"),
    ):
        assert cloud.refusal("ModifyDBInstance", **SHOP, **{name: ""})[0] == code
    assert cloud.instance("shop") == before


def test_a_pending_name_that_was_taken_meanwhile_stands_in_nobodys_way(cloud: Cloud) -> None:
    params = {**cloud.prepare(), "MultiAZ": True}
    cloud.call("CreateDBInstance", **SHOP, **params)
    cloud.until_status("shop", "available")
    modify(cloud, NewDBInstanceIdentifier="store", AllocatedStorage=30)
    cloud.call("CreateDBInstance", **{**params, "DBInstanceIdentifier": "store"})
    assert modify(cloud, DeletionProtection=False)["DBInstanceStatus"] == "available"
    assert cloud.refusal("ModifyDBInstance", **SHOP, NewDBInstanceIdentifier="STORE")[0] == "DBInstanceAlreadyExists"
    modify(cloud, MultiAZ=False, ApplyImmediately=True)
    after = cloud.until_status("shop", "available")
    assert (after["AllocatedStorage"], after["MultiAZ"]) == (30, False)
    assert after["PendingModifiedValues"] == {"DBInstanceIdentifier": "store"}
    modify(cloud, BackupRetentionPeriod=0)
    open_window(cloud)
    cloud.until(lambda: cloud.instance("shop")["BackupRetentionPeriod"] == 0, what="the rest of it")
    assert cloud.until_status("shop", "available")["PendingModifiedValues"] == {}
    told = told_since_creation(cloud)
    assert (
        "Pending modifications could not be applied (DBInstanceIdentifier): DB instance already exists: store" in told
    )


def test_storage_that_is_full_grows_in_the_window_and_the_rest_waits(cloud: Cloud) -> None:
    make(cloud)
    modify(cloud, AllocatedStorage=30, DBInstanceClass="db.t3.small")
    (cloud.folder("shop") / "full").touch()
    cloud.until_status("shop", "storage-full")
    record = cloud.rds.core.require("us-east-1", "shop")
    now = datetime.now(UTC)
    window = f"{now:%a:%H:%M}-{now + timedelta(hours=1):%a:%H:%M}".lower()
    cloud.rds.core.repository.save(record.but(maintenance_window=window))
    cloud.until(lambda: cloud.instance("shop")["AllocatedStorage"] == 30, what="more storage")
    assert cloud.instance("shop")["PendingModifiedValues"] == {"DBInstanceClass": "db.t3.small"}


def test_backups_are_not_turned_off_later_either_while_there_are_read_replicas(cloud: Cloud) -> None:
    make(cloud)
    cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="one", SourceDBInstanceIdentifier="shop")
    assert cloud.refusal("ModifyDBInstance", **SHOP, BackupRetentionPeriod=0)[0] == "InvalidParameterCombination"
