"""Automated backups as the RDS API shows them: restored from, retained after their instance, and their end."""

from __future__ import annotations

import fcntl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from multiaz.cloud.rds import automated
from multiaz.cloud.rds.backups import DAY_S

if TYPE_CHECKING:
    from conftest import Cloud


@pytest.fixture
def shop(cloud: Cloud) -> dict[str, Any]:
    """An instance with backups."""
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare(), BackupRetentionPeriod=7, DBName="s")
    return cloud.until_status("shop", "available")


def listed(cloud: Cloud, **params: Any) -> list[dict[str, Any]]:
    return list(cloud.call("DescribeDBInstanceAutomatedBackups", **params)["DBInstanceAutomatedBackups"])


def restore(cloud: Cloud, name: str = "then", **params: Any) -> dict[str, Any]:
    """The DBInstance a restore answers with; to the latest time of `shop` unless told otherwise."""
    if not {"RestoreTime", "UseLatestRestorableTime"} & params.keys():
        params["UseLatestRestorableTime"] = True
    if not any(one.startswith("Source") for one in params):
        params["SourceDBInstanceIdentifier"] = "shop"
    return dict(
        cloud.call(
            "RestoreDBInstanceToPointInTime", TargetDBInstanceIdentifier=name, **{"DBSubnetGroupName": "nets", **params}
        )["DBInstance"]
    )


def delete(cloud: Cloud, name: str, **more: Any) -> None:
    cloud.call("DeleteDBInstance", DBInstanceIdentifier=name, SkipFinalSnapshot=True, **more)
    cloud.until_gone(name)


def test_an_instance_is_available_once_there_is_something_to_restore(cloud: Cloud, shop: dict[str, Any]) -> None:
    assert cloud.events("shop", backups=True) == [
        "Backing up DB instance",
        "Finished DB Instance backup",
        "DB instance created",
    ]
    assert abs(shop["LatestRestorableTime"] - datetime.now(UTC)) < timedelta(seconds=60)
    (backup,) = listed(cloud)
    assert backup["Status"] == "active"
    assert backup["DbiResourceId"] == shop["DbiResourceId"]
    assert backup["RestoreWindow"]["EarliestTime"] <= backup["RestoreWindow"]["LatestTime"]
    assert (backup["BackupRetentionPeriod"], backup["PreferredBackupWindow"]) == (7, shop["PreferredBackupWindow"])
    named = (
        {"DBInstanceIdentifier": "SHOP"},
        {"DbiResourceId": shop["DbiResourceId"].lower()},
        {"DBInstanceAutomatedBackupsArn": backup["DBInstanceAutomatedBackupsArn"]},
        {"Filters": [{"Name": "status", "Values": ["active", "retained"]}]},
        {"Filters": [{"Name": "db-instance-id", "Values": [shop["DBInstanceArn"]]}]},
        {"Filters": [{"Name": "dbi-resource-id", "Values": [shop["DbiResourceId"]]}], "MaxRecords": 20},
    )
    for params in named:
        assert [one["DbiResourceId"] for one in listed(cloud, **params)] == [shop["DbiResourceId"]], params
    assert listed(cloud, Filters=[{"Name": "status", "Values": ["retained", "creating"]}]) == []
    for params in (
        {"DBInstanceIdentifier": "other"},
        {"DbiResourceId": "db-X"},
        {"DBInstanceAutomatedBackupsArn": "x"},
    ):
        code, _ = cloud.refusal("DescribeDBInstanceAutomatedBackups", **params)
        assert code == "DBInstanceAutomatedBackupNotFound"


def test_a_restored_instance_is_its_source_with_a_network_and_a_parameter_group_of_its_own(
    cloud: Cloud, shop: dict[str, Any]
) -> None:
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="own", DBParameterGroupFamily="postgres17", Description="own"
    )
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", DBParameterGroupName="own", ApplyImmediately=True)
    begun = restore(cloud, Tags=[{"Key": "a", "Value": "b"}], EnableCloudwatchLogsExports=["postgresql"], Port=5433)
    assert (begun["DBInstanceStatus"], begun["DbiResourceId"] != shop["DbiResourceId"]) == ("creating", True)
    made = cloud.until_status("then", "available")
    same = (
        "DBInstanceClass", "EngineVersion", "AllocatedStorage", "StorageType", "MasterUsername", "DBName",
        "BackupRetentionPeriod", "PreferredBackupWindow", "PreferredMaintenanceWindow", "DBSubnetGroup",
    )  # fmt: skip
    assert {name: made[name] for name in same} == {name: shop[name] for name in same}
    assert made["DBParameterGroups"][0]["DBParameterGroupName"] == "default.postgres17"
    assert (made["MultiAZ"], made["DeletionProtection"], made["Endpoint"]["Port"]) == (False, False, 5433)
    assert made["TagList"] == [{"Key": "a", "Value": "b"}]
    assert made["EnabledCloudwatchLogsExports"] == ["postgresql"]
    assert made["VpcSecurityGroups"] != shop["VpcSecurityGroups"]
    assert (cloud.home.instance(made["DbiResourceId"]).data("a") / "made-by").read_text() == "shop"
    assert "Restored from DB instance shop to then" in cloud.events("then")
    assert [one["DBInstanceIdentifier"] for one in listed(cloud)] == ["shop", "then"]
    # its user has the password he had: another one is the first the supervisor is told of
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="then", MasterUserPassword="staple-battery-horse")
    cloud.until_status("then", "available")


def test_what_a_restore_asks_for_it_gets(cloud: Cloud, shop: dict[str, Any]) -> None:
    earliest = listed(cloud)[0]["RestoreWindow"]["EarliestTime"]
    made = restore(
        cloud, RestoreTime=earliest, SourceDBInstanceIdentifier=shop["DBInstanceArn"], MultiAZ=True,
        DBInstanceClass="db.t3.small", AllocatedStorage=40, StorageType="gp3", MaxAllocatedStorage=100,
        BackupRetentionPeriod=0, PreferredBackupWindow=window_before(shop["PreferredMaintenanceWindow"]),
        DeletionProtection=True, CopyTagsToSnapshot=True, EnableIAMDatabaseAuthentication=True,
        PubliclyAccessible=True, AutoMinorVersionUpgrade=False, DBName="s", Engine="postgres",
    )  # fmt: skip
    assert made["DBInstanceClass"] == "db.t3.small"
    assert (made["AllocatedStorage"], made["StorageType"], made["MaxAllocatedStorage"]) == (40, "gp3", 100)
    for name in ("MultiAZ", "DeletionProtection", "CopyTagsToSnapshot", "IAMDatabaseAuthenticationEnabled",
                 "PubliclyAccessible"):  # fmt: skip
        assert made[name], name
    assert (made["BackupRetentionPeriod"], made["AutoMinorVersionUpgrade"]) == (0, False)
    assert made["PreferredMaintenanceWindow"] != shop["PreferredMaintenanceWindow"]
    done = cloud.until_status("then", "available")
    assert "LatestRestorableTime" not in done
    assert [one["DBInstanceIdentifier"] for one in listed(cloud)] == ["shop"]


def window_before(maintenance: str) -> str:
    """A backup window that overlaps with that maintenance window."""
    begins = datetime.strptime(maintenance[4:9], "%H:%M")
    return f"{begins:%H:%M}-{begins + timedelta(hours=1):%H:%M}"


def test_a_moment_that_cannot_be_restored_is_refused_with_the_one_that_can(cloud: Cloud, shop: dict[str, Any]) -> None:
    window = listed(cloud)[0]["RestoreWindow"]
    before = {"RestoreTime": window["EarliestTime"] - timedelta(milliseconds=2)}
    after = {"RestoreTime": datetime.now(UTC) + timedelta(minutes=5)}
    for params, word in ((before, "earlier"), (after, "later")):
        asked = {"SourceDBInstanceIdentifier": "shop", "TargetDBInstanceIdentifier": "then", **params}
        code, message = cloud.refusal("RestoreDBInstanceToPointInTime", **asked)
        assert (code, f"to a time {word} than {datetime.now(UTC):%Y-}" in message) == ("InvalidParameterValue", True)
    assert [one["DBInstanceIdentifier"] for one in cloud.call("DescribeDBInstances")["DBInstances"]] == ["shop"]


@pytest.fixture(scope="module")
def one_shop(shared_cloud: Cloud) -> Cloud:
    """As `shop`, shared by what changes nothing."""
    cloud = shared_cloud
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare(), DBName="s")
    cloud.until_status("shop", "available")
    return cloud


NOW = {"UseLatestRestorableTime": True}
SHOP = {"SourceDBInstanceIdentifier": "shop"}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({**SHOP}, "InvalidParameterCombination"),
        ({**SHOP, "UseLatestRestorableTime": False}, "InvalidParameterCombination"),
        ({**SHOP, **NOW, "RestoreTime": datetime(2026, 1, 1, tzinfo=UTC)}, "InvalidParameterCombination"),
        (NOW, "InvalidParameterCombination"),
        ({**SHOP, **NOW, "SourceDbiResourceId": "db-X"}, "InvalidParameterCombination"),
        ({**NOW, "SourceDBInstanceIdentifier": "nobody"}, "DBInstanceNotFound"),
        ({**NOW, "SourceDBInstanceIdentifier": "arn:aws:rds:eu-west-1:123456789012:db:shop"}, "DBInstanceNotFound"),
        ({**NOW, "SourceDbiResourceId": "db-NOBODY"}, "DBInstanceAutomatedBackupNotFound"),
        ({**NOW, "SourceDBInstanceAutomatedBackupsArn": "arn:x"}, "DBInstanceAutomatedBackupNotFound"),
        ({**SHOP, **NOW, "TargetDBInstanceIdentifier": "SHOP"}, "DBInstanceAlreadyExists"),
        ({**SHOP, **NOW, "TargetDBInstanceIdentifier": "1"}, "InvalidParameterValue"),
        ({**SHOP, **NOW, "DBName": "other"}, "InvalidParameterCombination"),
        ({**SHOP, **NOW, "Engine": "mysql"}, "InvalidParameterValue"),
        ({**SHOP, **NOW, "OptionGroupName": "default:postgres-16"}, "InvalidParameterCombination"),
        ({**SHOP, **NOW, "DBParameterGroupName": "none"}, "DBParameterGroupNotFound"),
        ({**SHOP, **NOW, "DBSubnetGroupName": "none"}, "DBSubnetGroupNotFoundFault"),
        ({**SHOP, **NOW, "DBInstanceClass": "db.none"}, "InvalidParameterValue"),
        ({**SHOP, **NOW, "AllocatedStorage": 10}, "InvalidParameterCombination"),
        ({**SHOP, **NOW, "BackupRetentionPeriod": 36}, "InvalidParameterValue"),
        ({**SHOP, **NOW, "MultiAZ": True, "AvailabilityZone": "us-east-1a"}, "InvalidParameterCombination"),
        ({**SHOP, **NOW, "CACertificateIdentifier": "none"}, "CertificateNotFound"),
        ({**SHOP, **NOW, "ManageMasterUserPassword": True}, "InvalidParameterCombination"),
    ],
)
def test_a_restore_that_cannot_be_is_refused(one_shop: Cloud, params: dict[str, Any], code: str) -> None:
    cloud = one_shop
    asked = {"TargetDBInstanceIdentifier": "then", "DBSubnetGroupName": "nets", **params}
    assert cloud.refusal("RestoreDBInstanceToPointInTime", **asked)[0] == code
    assert [one["DBInstanceIdentifier"] for one in cloud.call("DescribeDBInstances")["DBInstances"]] == ["shop"]


def test_without_backups_there_is_nothing_to_restore_and_the_fault_says_so(cloud: Cloud) -> None:
    shared = cloud.prepare()
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **shared, BackupRetentionPeriod=0)
    made = cloud.until_status("shop", "available")
    assert listed(cloud) == []
    assert "LatestRestorableTime" not in made
    asked = {"TargetDBInstanceIdentifier": "then", "UseLatestRestorableTime": True}
    for source in ({"SourceDBInstanceIdentifier": "shop"}, {"SourceDbiResourceId": made["DbiResourceId"]}):
        code, message = cloud.refusal("RestoreDBInstanceToPointInTime", **asked, **source)
        assert (code, "shop" in message) == ("PointInTimeRestoreNotEnabled", True)
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", BackupRetentionPeriod=2, ApplyImmediately=True)
    assert "LatestRestorableTime" in cloud.until_status("shop", "available")
    told = cloud.events("shop")
    assert told[-3:].count("Enabled automated backups") == 1
    restore(cloud)
    cloud.until_status("then", "available")
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", BackupRetentionPeriod=0, ApplyImmediately=True)
    assert "LatestRestorableTime" not in cloud.until_status("shop", "available")
    cloud.until(lambda: not cloud.home.backup(made["DbiResourceId"]).folder.exists(), what="they are removed")


def test_a_read_replica_has_backups_of_its_own_once_it_is_promoted(cloud: Cloud, shop: dict[str, Any]) -> None:
    cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="shop")
    cloud.until_status("reader", "available")
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="reader", BackupRetentionPeriod=1, ApplyImmediately=True)
    assert "LatestRestorableTime" not in cloud.until_status("reader", "available")
    assert [one["DBInstanceIdentifier"] for one in listed(cloud)] == ["shop"]
    code, _ = cloud.refusal(
        "RestoreDBInstanceToPointInTime", SourceDBInstanceIdentifier="reader", TargetDBInstanceIdentifier="then",
        UseLatestRestorableTime=True,
    )  # fmt: skip
    assert code == "PointInTimeRestoreNotEnabled"
    cloud.call("PromoteReadReplica", DBInstanceIdentifier="reader", BackupRetentionPeriod=3)
    assert "LatestRestorableTime" in cloud.until_status("reader", "available")
    assert [one["DBInstanceIdentifier"] for one in listed(cloud)] == ["reader", "shop"]
    assert shop["DbiResourceId"] != cloud.instance("reader")["DbiResourceId"]


def test_deletion_removes_the_backups_unless_they_are_to_be_retained(cloud: Cloud, shop: dict[str, Any]) -> None:
    restore(cloud)
    then = cloud.until_status("then", "available")
    delete(cloud, "then")
    assert not cloud.home.backup(then["DbiResourceId"]).folder.exists()

    window = listed(cloud)[0]["RestoreWindow"]
    delete(cloud, "shop", DeleteAutomatedBackups=False)
    (kept,) = listed(cloud)
    assert (kept["Status"], kept["DBInstanceIdentifier"]) == ("retained", "shop")
    assert kept["RestoreWindow"]["EarliestTime"] == window["EarliestTime"]
    assert listed(cloud, DbiResourceId=shop["DbiResourceId"]) == [kept]
    source = {"SourceDbiResourceId": shop["DbiResourceId"]}
    restore(cloud, "shop", **source)  # the name is free
    cloud.until_status("shop", "available")
    assert "Restored from DB instance shop to shop" in cloud.events("shop")
    by_arn = {"SourceDBInstanceAutomatedBackupsArn": kept["DBInstanceAutomatedBackupsArn"]}
    restore(cloud, "again", RestoreTime=window["EarliestTime"], **by_arn)
    cloud.until_status("again", "available")
    cloud.restart()
    assert {one["Status"] for one in listed(cloud, DBInstanceIdentifier="shop")} == {"active", "retained"}

    code, message = cloud.refusal(
        "DeleteDBInstanceAutomatedBackup", DbiResourceId=cloud.instance("again")["DbiResourceId"]
    )
    assert (code, "while its DB instance exists" in message) == ("InvalidDBInstanceAutomatedBackupState", True)
    assert cloud.refusal("DeleteDBInstanceAutomatedBackup")[0] == "InvalidParameterCombination"
    gone = cloud.call("DeleteDBInstanceAutomatedBackup", DbiResourceId=shop["DbiResourceId"])
    assert gone["DBInstanceAutomatedBackup"]["Status"] == "deleting"
    assert not cloud.home.backup(shop["DbiResourceId"]).folder.exists()
    code, _ = cloud.refusal("DeleteDBInstanceAutomatedBackup", DbiResourceId=shop["DbiResourceId"])
    assert code == "DBInstanceAutomatedBackupNotFound"


def test_without_retention_nothing_is_retained(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare(), BackupRetentionPeriod=0)
    cloud.until_status("shop", "available")
    delete(cloud, "shop", DeleteAutomatedBackups=False)
    assert listed(cloud) == []
    assert list(cloud.home.backups.glob("*")) == []


def test_what_somebody_restores_from_is_not_removed_meanwhile(cloud: Cloud, shop: dict[str, Any]) -> None:
    place = cloud.home.backup(shop["DbiResourceId"])
    with place.lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
        observed = cloud.home.instance(shop["DbiResourceId"]).observed
        cloud.until(lambda: '"phase":"deleted"' in observed.read_text(), what="its supervisor has ended")
        time.sleep(0.3)  # some rounds of the watcher
        assert cloud.instance("shop")["DBInstanceStatus"] == "deleting"
        assert place.record.exists()
        code, message = cloud.refusal(
            "RestoreDBInstanceToPointInTime", SourceDBInstanceIdentifier="shop", TargetDBInstanceIdentifier="then",
            UseLatestRestorableTime=True,
        )  # fmt: skip
        assert (code, "being deleted" in message) == ("InvalidDBInstanceState", True)
    cloud.until_gone("shop")
    assert list(cloud.home.backups.glob("*")) == []


def test_backups_somebody_is_about_to_restore_from_are_neither_turned_off_nor_removed(
    cloud: Cloud, shop: dict[str, Any]
) -> None:
    """From the moment a restore is acknowledged, also before its supervisor has begun."""
    cloud.rds.stop()
    restore(cloud)
    off = {"DBInstanceIdentifier": "shop", "BackupRetentionPeriod": 0, "ApplyImmediately": True}
    code, message = cloud.refusal("ModifyDBInstance", **off)
    assert (code, "while then is being restored" in message) == ("InvalidDBInstanceState", True)
    assert not automated.remove(cloud.rds.core, shop["DbiResourceId"])
    assert cloud.home.backup(shop["DbiResourceId"]).record.exists()
    cloud.rds.start()
    cloud.until_status("then", "available")
    cloud.call("ModifyDBInstance", **off)
    assert "LatestRestorableTime" not in cloud.until_status("shop", "available")


def test_retained_backups_are_removed_when_their_retention_is_over(cloud: Cloud, shop: dict[str, Any]) -> None:
    delete(cloud, "shop", DeleteAutomatedBackups=False)
    ends = listed(cloud)[0]["RestoreWindow"]["LatestTime"].timestamp()
    automated.expire(cloud.rds.core, ends + 7 * DAY_S - 1)
    assert len(listed(cloud)) == 1
    place = cloud.home.backup(shop["DbiResourceId"])
    with place.lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        automated.expire(cloud.rds.core, ends + 7 * DAY_S + 1)
        assert len(listed(cloud)) == 1
        code, message = cloud.refusal("DeleteDBInstanceAutomatedBackup", DbiResourceId=shop["DbiResourceId"])
        assert (code, "being restored" in message) == ("InvalidDBInstanceAutomatedBackupState", True)
    automated.expire(cloud.rds.core, ends + 7 * DAY_S + 1)
    assert listed(cloud) == []
    assert not place.folder.exists()


def test_a_restore_needs_the_key_of_its_source(cloud: Cloud) -> None:
    kms = cloud.clients.client("kms", "us-east-1")
    key = kms.create_key()["KeyMetadata"]
    shared = {**cloud.prepare(), "StorageEncrypted": True, "KmsKeyId": key["KeyId"]}
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **shared)
    cloud.until_status("shop", "available")
    kms.disable_key(KeyId=key["KeyId"])
    asked = {"SourceDBInstanceIdentifier": "shop", "TargetDBInstanceIdentifier": "then", **NOW}
    assert cloud.refusal("RestoreDBInstanceToPointInTime", **asked)[0] == "KMSKeyNotAccessibleFault"
    kms.enable_key(KeyId=key["KeyId"])
    made = restore(cloud)
    assert (made["StorageEncrypted"], made["KmsKeyId"]) == (True, key["Arn"])
