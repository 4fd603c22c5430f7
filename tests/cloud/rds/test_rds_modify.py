"""ModifyDBInstance: which status, pending values and events each change shows, now and in the window."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from multiaz.cloud.rds import modifications

if TYPE_CHECKING:
    from conftest import Cloud


def make(cloud: Cloud, name: str = "shop", **more: Any) -> dict[str, Any]:
    cloud.call("CreateDBInstance", DBInstanceIdentifier=name, **{**cloud.prepare(), **more})
    return cloud.until_status(name, "available")


def told_since_creation(cloud: Cloud, name: str = "shop") -> list[str]:
    return [message for message in cloud.events(name) if message != "DB instance created"]


CLASS = ("Applying modification to database instance class", "Finished applying modification to DB instance class")
STORAGE = ("Applying modification to allocated storage", "Finished applying modification to allocated storage")
MULTI_AZ = (
    "Applying modification to convert to a Multi-AZ DB instance",
    "Finished applying modification to convert to a Multi-AZ DB instance",
)
SINGLE_AZ = (
    "Applying modification to convert to a standard (Single-AZ) DB instance",
    "Finished applying modification to convert to a standard (Single-AZ) DB instance",
)


@pytest.mark.parametrize(
    ("made", "change", "status", "pending", "events"),
    [
        ({}, {"DBInstanceClass": "db.t3.small"}, "modifying", {"DBInstanceClass": "db.t3.small"}, CLASS),
        ({}, {"AllocatedStorage": 30}, "modifying", {"AllocatedStorage": 30}, STORAGE),
        ({}, {"StorageType": "gp3"}, "modifying", {"StorageType": "gp3"}, STORAGE),
        ({}, {"MultiAZ": True}, "modifying", {"MultiAZ": True}, MULTI_AZ),
        ({"MultiAZ": True}, {"MultiAZ": False}, "modifying", {"MultiAZ": False}, SINGLE_AZ),
        (
            {},
            {"EnableIAMDatabaseAuthentication": True},
            "configuring-iam-database-auth",
            {"IAMDatabaseAuthenticationEnabled": True},
            (),
        ),
        (
            {"BackupRetentionPeriod": 0},
            {"BackupRetentionPeriod": 7},
            "modifying",
            {"BackupRetentionPeriod": 7},
            ("Enabled automated backups",),
        ),
        (
            {},
            {"BackupRetentionPeriod": 0},
            "modifying",
            {"BackupRetentionPeriod": 0},
            ("Disabled automated backups",),
        ),
    ],
)
def test_a_change_is_shown_as_pending_until_it_is_made(
    cloud: Cloud,
    made: dict[str, Any],
    change: dict[str, Any],
    status: str,
    pending: dict[str, Any],
    events: tuple[str, ...],
) -> None:
    before = make(cloud, **made)
    shown = next(iter(pending))
    waits = cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", **change)["DBInstance"]
    assert (waits["DBInstanceStatus"], waits["PendingModifiedValues"]) == ("available", pending)
    assert waits.get(shown) == before.get(shown)
    assert told_since_creation(cloud) == []

    begun = cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", ApplyImmediately=True)["DBInstance"]
    assert (begun["DBInstanceStatus"], begun["PendingModifiedValues"]) == (status, pending)
    assert begun.get(shown) == before.get(shown)

    after = cloud.until_status("shop", "available")
    assert (after[shown], after["PendingModifiedValues"]) == (pending[shown], {})
    restart = ("DB instance shutdown", "DB instance restarted")
    told = [message for message in told_since_creation(cloud) if message not in restart]
    assert tuple(told) == events


def test_a_multi_az_instance_gets_a_new_class_by_a_failover(cloud: Cloud) -> None:
    before = make(cloud, MultiAZ=True)
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", DBInstanceClass="db.t3.small", ApplyImmediately=True)
    after = cloud.until_status("shop", "available")
    assert (after["DBInstanceClass"], after["AvailabilityZone"]) == ("db.t3.small", before["SecondaryAvailabilityZone"])
    assert told_since_creation(cloud) == [
        CLASS[0], "Multi-AZ instance failover started.", "Multi-AZ instance failover completed", CLASS[1],
    ]  # fmt: skip
    # The former primary has a higher max_connections, and so has its standby until it is restarted as primary.
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", DBInstanceClass="db.t3.micro", ApplyImmediately=True)
    cloud.until_status("shop", "available")
    told = told_since_creation(cloud)[4:]
    assert told.index("Multi-AZ instance failover completed") < told.index("DB instance restarted")


def test_a_new_cloud_process_goes_on_with_a_class_change(cloud: Cloud) -> None:
    before = make(cloud, MultiAZ=True)
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", DBInstanceClass="db.t3.small", ApplyImmediately=True)
    for stage in ("standby", "failover"):
        cloud.until(lambda stage=stage: stage_of(cloud) in (stage, ""), what=f"stage {stage}")
        cloud.restart()
    after = cloud.until_status("shop", "available")
    assert (after["DBInstanceClass"], after["AvailabilityZone"]) == ("db.t3.small", before["SecondaryAvailabilityZone"])
    told = told_since_creation(cloud)
    assert [told.count(message) for message in (*CLASS, "Multi-AZ instance failover completed")] == [1, 1, 1]


def stage_of(cloud: Cloud) -> str:
    operation = cloud.rds.core.require("us-east-1", "shop").operation
    return operation.stage if operation is not None else ""


def test_a_class_the_standby_does_not_start_with_is_not_taken_and_the_rest_of_the_call_is(cloud: Cloud) -> None:
    before = make(cloud, MultiAZ=True)
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="large", DBParameterGroupFamily="postgres17", Description="x"
    )
    value = {"ParameterName": "shared_buffers", "ParameterValue": "1073741823", "ApplyMethod": "pending-reboot"}
    cloud.call("ModifyDBParameterGroup", DBParameterGroupName="large", Parameters=[value])
    cloud.call(
        "ModifyDBInstance", DBInstanceIdentifier="shop", DBInstanceClass="db.t3.small", AllocatedStorage=30,
        DBParameterGroupName="large", ApplyImmediately=True,
    )  # fmt: skip
    after = cloud.until_status("shop", "available")
    assert (after["DBInstanceClass"], after["AllocatedStorage"]) == (before["DBInstanceClass"], 30)
    assert after["AvailabilityZone"] == before["AvailabilityZone"]
    assert after["DBParameterGroups"][0]["ParameterApplyStatus"] == "pending-reboot"
    told = told_since_creation(cloud)
    assert [message for message in told if message.startswith("Unable to modify the DB instance class. ")]
    assert (CLASS[1] in told, STORAGE[1] in told) == (False, True)


@pytest.mark.parametrize(
    ("change", "status", "pending", "events"),
    [
        (
            {"MasterUserPassword": "another-password"},
            "resetting-master-credentials",
            {"MasterUserPassword": "****"},
            ["Reset master credentials"],
        ),
        (
            {"CloudwatchLogsExportConfiguration": {"EnableLogTypes": ["postgresql"]}},
            "configuring-log-exports",
            {"PendingCloudwatchLogsExports": {"LogTypesToEnable": ["postgresql"], "LogTypesToDisable": []}},
            [],
        ),
        ({"BackupRetentionPeriod": 7}, "modifying", {"BackupRetentionPeriod": 7}, []),
    ],
)
def test_what_needs_no_window_is_made_at_once(
    cloud: Cloud, change: dict[str, Any], status: str, pending: dict[str, Any], events: list[str]
) -> None:
    make(cloud)
    begun = cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", **change)["DBInstance"]
    assert (begun["DBInstanceStatus"], begun["PendingModifiedValues"]) == (status, pending)
    assert cloud.until_status("shop", "available")["PendingModifiedValues"] == {}
    assert told_since_creation(cloud) == events


def test_enhanced_monitoring_has_a_status_and_an_event_of_its_own(cloud: Cloud) -> None:
    trust = '{"Statement": [{"Principal": {"Service": "monitoring.rds.amazonaws.com"}}]}'
    iam = cloud.clients.client("iam", "us-east-1")
    role = iam.create_role(RoleName="watch", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    make(cloud)
    change = {"DBInstanceIdentifier": "shop", "MonitoringInterval": 60, "MonitoringRoleArn": role}
    begun = cloud.call("ModifyDBInstance", **change)["DBInstance"]
    assert begun["DBInstanceStatus"] == "configuring-enhanced-monitoring"
    cloud.until_status("shop", "available")
    assert told_since_creation(cloud) == ["Monitoring Interval changed to 60"]
    assert cloud.call("ModifyDBInstance", **change)["DBInstance"]["DBInstanceStatus"] == "available"


def test_several_changes_of_one_call_are_one_modification(cloud: Cloud) -> None:
    make(cloud)
    change = {
        "DBInstanceIdentifier": "shop", "MultiAZ": True, "AllocatedStorage": 40, "MasterUserPassword": "another-word",
        "EnableIAMDatabaseAuthentication": True, "ApplyImmediately": True,
    }  # fmt: skip
    begun = cloud.call("ModifyDBInstance", **change)["DBInstance"]
    assert begun["DBInstanceStatus"] == "modifying"
    assert begun["PendingModifiedValues"] == {
        "MultiAZ": True, "AllocatedStorage": 40, "MasterUserPassword": "****", "IAMDatabaseAuthenticationEnabled": True,
    }  # fmt: skip
    after = cloud.until_status("shop", "available")
    assert (after["MultiAZ"], after["AllocatedStorage"], after["IAMDatabaseAuthenticationEnabled"]) == (True, 40, True)
    told = told_since_creation(cloud)
    assert set(told) == {*MULTI_AZ, *STORAGE, "Reset master credentials"}
    assert told.index(MULTI_AZ[0]) < told.index(MULTI_AZ[1])


def test_a_group_is_associated_at_once_and_its_values_come_with_a_reboot(cloud: Cloud) -> None:
    make(cloud)
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="x"
    )
    value = {"ParameterName": "work_mem", "ParameterValue": "8192", "ApplyMethod": "immediate"}
    cloud.call("ModifyDBParameterGroup", DBParameterGroupName="tuned", Parameters=[value])
    begun = cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", DBParameterGroupName="tuned")["DBInstance"]
    group = {"DBParameterGroupName": "tuned", "ParameterApplyStatus": "pending-reboot"}
    assert begun["DBParameterGroups"] == [group]
    assert told_since_creation(cloud) == [
        "Updated to use DBParameterGroup tuned",
        "Finished updating DB parameter group",
    ]
    cloud.call("RebootDBInstance", DBInstanceIdentifier="shop")
    cloud.until_status("shop", "available")
    assert cloud.instance("shop")["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"


def test_storage_is_not_changed_again_within_six_hours(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert modifications.STORAGE_REST_S == 6 * 3600
    make(cloud)
    named = {"DBInstanceIdentifier": "shop", "ApplyImmediately": True}
    cloud.call("ModifyDBInstance", **named, AllocatedStorage=30)
    cloud.until_status("shop", "available")
    for change in ({"AllocatedStorage": 40}, {"StorageType": "gp3"}):
        code, message = cloud.refusal("ModifyDBInstance", **named, **change)
        assert code == "InvalidParameterCombination"
        assert "the previous storage change is being optimized" in message
    cloud.call("ModifyDBInstance", **named, MaxAllocatedStorage=100)
    monkeypatch.setattr(modifications, "STORAGE_REST_S", 0)
    cloud.call("ModifyDBInstance", **named, AllocatedStorage=40)
    assert cloud.until_status("shop", "available")["AllocatedStorage"] == 40


def test_what_cannot_be_made_is_refused_when_it_is_asked_for(cloud: Cloud) -> None:
    before = make(cloud)
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"AllocatedStorage": 19}, "InvalidParameterValue"),
        ({"AllocatedStorage": 21}, "InvalidParameterCombination"),
        ({"StorageType": "io1", "AllocatedStorage": 100}, "InvalidParameterCombination"),
        ({"DBInstanceClass": "db.none"}, "InvalidParameterValue"),
        ({"BackupRetentionPeriod": 36}, "InvalidParameterValue"),
        ({"MasterUserPassword": "short"}, "InvalidParameterValue"),
    )
    for change, code in refused:
        for at_once in (True, False):
            named = {"DBInstanceIdentifier": "shop", "ApplyImmediately": at_once}
            assert cloud.refusal("ModifyDBInstance", **named, **change)[0] == code
    assert cloud.instance("shop") == before
    assert told_since_creation(cloud) == []


def test_what_waits_is_made_in_the_maintenance_window(cloud: Cloud) -> None:
    now = datetime.now(UTC)
    # a window that is open, and a backup window that is not near it
    window = f"{now:%a:%H:%M}-{now + timedelta(hours=1):%a:%H:%M}"
    backup = f"{now + timedelta(hours=6):%H:%M}-{now + timedelta(hours=7):%H:%M}"
    make(cloud)
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", AllocatedStorage=30, MultiAZ=True)
    assert cloud.instance("shop")["PendingModifiedValues"] == {"AllocatedStorage": 30, "MultiAZ": True}
    cloud.call(
        "ModifyDBInstance",
        DBInstanceIdentifier="shop",
        PreferredMaintenanceWindow=window,
        PreferredBackupWindow=backup,
    )
    cloud.until(lambda: cloud.instance("shop")["MultiAZ"], what="the window's changes")
    after = cloud.until_status("shop", "available")
    assert (after["AllocatedStorage"], after["PendingModifiedValues"]) == (30, {})
    assert set(told_since_creation(cloud)) == {*STORAGE, *MULTI_AZ}


def test_a_stopped_instance_takes_another_group_and_nothing_else(cloud: Cloud) -> None:
    make(cloud)
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="x"
    )
    cloud.call("StopDBInstance", DBInstanceIdentifier="shop")
    cloud.until_status("shop", "stopped")
    for change in ({"MultiAZ": True}, {"DeletionProtection": True}, {"MasterUserPassword": "another-password"}):
        code, message = cloud.refusal("ModifyDBInstance", DBInstanceIdentifier="shop", **change)
        assert (code, "Cannot modify a stopped DB Instance" in message) == ("InvalidDBInstanceState", True)
    for action in ("RebootDBInstance", "StopDBInstance"):
        assert cloud.refusal(action, DBInstanceIdentifier="shop")[0] == "InvalidDBInstanceState"
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", DBParameterGroupName="tuned")
    assert cloud.refusal("DeleteDBParameterGroup", DBParameterGroupName="tuned")[0] == "InvalidDBParameterGroupState"
    cloud.call("StartDBInstance", DBInstanceIdentifier="shop")
    after = cloud.until_status("shop", "available")
    assert after["DBParameterGroups"] == [{"DBParameterGroupName": "tuned", "ParameterApplyStatus": "in-sync"}]


def test_an_instance_whose_storage_is_full_takes_more_of_it_and_nothing_else(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(cloud)
    with monkeypatch.context() as full:
        full.setattr(type(cloud.rds.core), "status", lambda *_: "storage-full")
        for change in ({"MultiAZ": True}, {"MasterUserPassword": "another-password"}):
            code, message = cloud.refusal("ModifyDBInstance", DBInstanceIdentifier="shop", **change)
            assert (code, "storage-full" in message) == ("InvalidDBInstanceState", True)
        cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", AllocatedStorage=30, ApplyImmediately=True)
    assert cloud.until_status("shop", "available")["AllocatedStorage"] == 30


def test_after_seven_days_a_stopped_instance_starts_by_itself(cloud: Cloud) -> None:
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="x"
    )
    before = make(cloud, MultiAZ=True, DBParameterGroupName="tuned")
    cloud.call("StopDBInstance", DBInstanceIdentifier="shop")
    cloud.until_status("shop", "stopped")
    value = {"ParameterName": "max_connections", "ParameterValue": "90", "ApplyMethod": "pending-reboot"}
    cloud.call("ModifyDBParameterGroup", DBParameterGroupName="tuned", Parameters=[value])
    due = cloud.until(lambda: cloud.instance("shop").get("AutomaticRestartTime"))
    record = cloud.rds.core.repository.instances.get("us-east-1", "shop")
    assert record is not None
    assert record.stopped_at is not None
    assert due.timestamp() == pytest.approx(record.stopped_at + 7 * 86400, abs=1)
    cloud.rds.core.repository.save(record.but(stopped_at=time.time() - 7 * 86400))
    after = cloud.until_status("shop", "available")
    assert after["DBParameterGroups"] == [{"DBParameterGroupName": "tuned", "ParameterApplyStatus": "in-sync"}]
    assert (after["Endpoint"], after["SecondaryAvailabilityZone"]) == (
        before["Endpoint"], before["SecondaryAvailabilityZone"],
    )  # fmt: skip
    assert told_since_creation(cloud) == [
        "DB instance shutdown",
        "DB instance stopped",
        "DB instance is being started due to it exceeding the maximum allowed time being stopped.",
        "DB instance started",
    ]
