"""What cannot be had is refused at once, by name, with AWS's code; nothing is changed."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from multiaz.cloud.rds import instances

if TYPE_CHECKING:
    from conftest import Cloud

REGION = "us-east-1"


@pytest.fixture(scope="module")
def creation(shared_cloud: Cloud) -> dict[str, Any]:
    """What CreateDBInstance takes, in a cloud for what makes nothing."""
    return shared_cloud.prepare()


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"Engine": "mysql"}, "InvalidParameterValue", "mysql"),
        ({"EngineVersion": "9.6"}, "InvalidParameterCombination", "Cannot find version 9.6 for postgres"),
        ({"EngineVersion": "17.99"}, "InvalidParameterCombination", "Cannot find version 17.99"),
        ({"EngineVersion": "seventeen"}, "InvalidParameterCombination", "Cannot find version"),
        ({"DBInstanceClass": "db.x9.huge"}, "InvalidParameterValue", "db.x9.huge"),
        ({"MasterUsername": "admin"}, "InvalidParameterValue", "reserved"),
        ({"MasterUserPassword": "short"}, "InvalidParameterValue", "MasterUserPassword"),
        ({"MasterUserPassword": None}, "InvalidParameterValue", "MasterUserPassword"),
        ({"AllocatedStorage": 5}, "InvalidParameterValue", "storage size"),
        ({"AllocatedStorage": None}, "InvalidParameterValue", "AllocatedStorage"),
        ({"StorageType": "gp3", "Iops": 12000}, "InvalidParameterCombination", "400"),
        ({"StorageType": "gp9"}, "InvalidParameterValue", "gp9"),
        ({"BackupRetentionPeriod": 36}, "InvalidParameterValue", "36"),
        ({"PreferredBackupWindow": "3-4"}, "InvalidParameterValue", "3-4"),
        ({"DBSubnetGroupName": "nowhere"}, "DBSubnetGroupNotFoundFault", "nowhere"),
        ({"DBParameterGroupName": "nothing"}, "DBParameterGroupNotFound", "nothing"),
        ({"DBParameterGroupName": "default.postgres16"}, "InvalidParameterCombination", "postgres16"),
        ({"VpcSecurityGroupIds": ["sg-404"]}, "InvalidParameterValue", "sg-404"),
        ({"KmsKeyId": "alias/none", "StorageEncrypted": True}, "KMSKeyNotAccessibleFault", "alias/none"),
        ({"KmsKeyId": "alias/none"}, "InvalidParameterCombination", "StorageEncrypted"),
        ({"MonitoringInterval": 7}, "InvalidParameterValue", "7"),
        ({"MonitoringInterval": 60}, "InvalidParameterCombination", "MonitoringRoleARN"),
        (
            {"MonitoringInterval": 60, "MonitoringRoleArn": "arn:aws:iam::123456789012:role/none"},
            "InvalidParameterValue",
            "ENHANCED_MONITORING",
        ),
        ({"PerformanceInsightsRetentionPeriod": 7}, "InvalidParameterCombination", "Performance Insights"),
        (
            {"EnablePerformanceInsights": True, "PerformanceInsightsRetentionPeriod": 8},
            "InvalidParameterValue",
            "8",
        ),
        ({"EnableCloudwatchLogsExports": ["slowquery"]}, "InvalidParameterCombination", "slowquery"),
        ({"CACertificateIdentifier": "rds-ca-2019"}, "CertificateNotFound", "rds-ca-2019"),
        ({"AvailabilityZone": "us-east-1f"}, "InvalidVPCNetworkStateFault", "us-east-1f"),
        ({"AvailabilityZone": "us-east-1a", "MultiAZ": True}, "InvalidParameterCombination", "Multi-AZ"),
        ({"Port": 80}, "InvalidParameterValue", "80"),
        ({"ManageMasterUserPassword": True}, "InvalidParameterCombination", "ManageMasterUserPassword"),
        ({"Tags": [{"Key": "aws:stack", "Value": "x"}]}, "InvalidParameterValue", "aws:"),
        ({"DBName": "template0"}, "InvalidParameterValue", "template0"),
        ({"OptionGroupName": "mine"}, "InvalidParameterCombination", "OptionGroupName"),
        ({"OptionGroupName": "default:postgres-16"}, "InvalidParameterCombination", "default:postgres-17"),
    ],
)
def test_a_create_call_that_cannot_be_carried_out_makes_nothing(
    shared_cloud: Cloud, creation: dict[str, Any], change: dict[str, Any], code: str, says: str
) -> None:
    cloud = shared_cloud
    params = {**creation, "DBInstanceIdentifier": "never-made", **change}
    before = sorted(cloud.home.instances.glob("*"))
    refused = cloud.refusal("CreateDBInstance", **{key: value for key, value in params.items() if value is not None})
    assert refused[0] == code
    assert says in refused[1]
    assert cloud.refusal("DescribeDBInstances", DBInstanceIdentifier="never-made")[0] == "DBInstanceNotFound"
    assert sorted(cloud.home.instances.glob("*")) == before


def test_a_disabled_key_is_refused(cloud: Cloud) -> None:
    kms = cloud.clients.client("kms", REGION)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=key)
    code, message = cloud.refusal(
        "CreateDBInstance", DBInstanceIdentifier="shop", StorageEncrypted=True, KmsKeyId=key, **cloud.prepare()
    )
    assert code == "KMSKeyNotAccessibleFault"
    assert "Disabled" in message


def test_monitoring_insights_and_encryption_are_kept_as_asked(cloud: Cloud) -> None:
    trust = {
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "monitoring.rds.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ]
    }
    role = cloud.clients.client("iam", REGION).create_role(
        RoleName="watch", AssumeRolePolicyDocument=json.dumps(trust)
    )["Role"]["Arn"]
    key = cloud.clients.client("kms", REGION).create_key()["KeyMetadata"]["Arn"]
    cloud.call(
        "CreateDBInstance",
        DBInstanceIdentifier="shop",
        MonitoringInterval=60,
        MonitoringRoleArn=role,
        EnablePerformanceInsights=True,
        PerformanceInsightsKMSKeyId=key,
        PerformanceInsightsRetentionPeriod=731,
        StorageEncrypted=True,
        KmsKeyId=key,
        EnableCloudwatchLogsExports=["upgrade", "postgresql"],
        **cloud.prepare(),
    )
    there = cloud.until_status("shop", "available")
    assert there["MonitoringRoleArn"] == role
    assert there["EnhancedMonitoringResourceArn"].endswith(there["DbiResourceId"])
    assert there["PerformanceInsightsRetentionPeriod"] == 731
    assert there["KmsKeyId"] == there["PerformanceInsightsKMSKeyId"] == key
    assert there["EnabledCloudwatchLogsExports"] == ["postgresql", "upgrade"]


def test_an_instance_is_not_made_twice(cloud: Cloud) -> None:
    params = cloud.prepare()
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **params)
    assert cloud.refusal("CreateDBInstance", DBInstanceIdentifier="SHOP", **params)[0] == "DBInstanceAlreadyExists"


def test_a_busy_instance_takes_no_change(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    for action, more in (
        ("RebootDBInstance", {}),
        ("ModifyDBInstance", {"MultiAZ": True}),
        ("StopDBInstance", {}),
        ("StartDBInstance", {}),
    ):
        code, message = cloud.refusal(action, DBInstanceIdentifier="shop", **more)
        assert code == "InvalidDBInstanceState"
        assert "creating" in message


def test_deletion_protection_and_final_snapshot_rules_hold(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", DeletionProtection=True, **cloud.prepare())
    cloud.until_status("shop", "available")
    skip = {"DBInstanceIdentifier": "shop", "SkipFinalSnapshot": True}
    assert cloud.refusal("DeleteDBInstance", **skip)[0] == "InvalidParameterCombination"
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", DeletionProtection=False)
    both = cloud.refusal("DeleteDBInstance", **skip, FinalDBSnapshotIdentifier="last")
    assert both[0] == "InvalidParameterCombination"
    assert cloud.refusal("DeleteDBInstance", DBInstanceIdentifier="shop")[0] == "InvalidParameterCombination"
    cloud.call("DeleteDBInstance", **skip)
    assert cloud.refusal("DeleteDBInstance", **skip)[0] == "InvalidDBInstanceState"


def test_a_read_replica_needs_a_source_with_backups_and_room(cloud: Cloud) -> None:
    params = cloud.prepare()
    replica = {"DBInstanceIdentifier": "reader", "SourceDBInstanceIdentifier": "shop"}
    assert cloud.refusal("CreateDBInstanceReadReplica", **replica)[0] == "DBInstanceNotFound"
    cloud.call(
        "CreateDBInstance",
        DBInstanceIdentifier="shop",
        BackupRetentionPeriod=0,
        **{**params, "DBInstanceClass": "db.t3.small"},
    )
    assert cloud.refusal("CreateDBInstanceReadReplica", **replica)[0] == "InvalidDBInstanceState"
    cloud.until_status("shop", "available")
    code, message = cloud.refusal("CreateDBInstanceReadReplica", **replica)
    assert (code, "Automated backups" in message) == ("InvalidDBInstanceState", True)
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", BackupRetentionPeriod=1, ApplyImmediately=True)
    cloud.until_status("shop", "available")
    code, message = cloud.refusal("CreateDBInstanceReadReplica", **replica, DBInstanceClass="db.t3.micro")
    assert (code, "max_connections" in message) == ("InvalidParameterCombination", True)
    assert cloud.refusal("CreateDBInstanceReadReplica", **replica, AllocatedStorage=19)[0] == (
        "InvalidParameterCombination"
    )
    cloud.call("CreateDBInstanceReadReplica", **replica)
    cloud.until_status("reader", "available")
    refused = cloud.refusal("DeleteDBInstance", DBInstanceIdentifier="reader", FinalDBSnapshotIdentifier="last")
    assert refused[0] == "InvalidDBInstanceState"
    turned_off = {"DBInstanceIdentifier": "shop", "BackupRetentionPeriod": 0, "ApplyImmediately": True}
    assert cloud.refusal("ModifyDBInstance", **turned_off)[0] == "InvalidParameterCombination"
    assert cloud.refusal("StopDBInstance", DBInstanceIdentifier="shop")[0] == "InvalidDBInstanceState"


def test_a_source_has_fifteen_read_replicas_and_no_more(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert instances.MOST_REPLICAS == 15
    monkeypatch.setattr(instances, "MOST_REPLICAS", 2)
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", BackupRetentionPeriod=1, **cloud.prepare())
    cloud.until_status("shop", "available")
    source = {"SourceDBInstanceIdentifier": "shop"}
    for number in (1, 2):
        cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier=f"reader-{number}", **source)
    code, message = cloud.refusal("CreateDBInstanceReadReplica", DBInstanceIdentifier="reader-3", **source)
    assert (code, "shop has 2 read replicas already" in message) == ("InstanceQuotaExceeded", True)


@pytest.fixture(scope="module")
def unchanged(shared_cloud: Cloud, creation: dict[str, Any]) -> Cloud:
    """An instance that no modification changes."""
    cloud = shared_cloud
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", BackupRetentionPeriod=0, **creation)
    cloud.until_status("shop", "available")
    return cloud


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"EngineVersion": "16.9"}, "16.9"),
        ({"DBPortNumber": 5555}, "DBPortNumber"),
        ({"DBSubnetGroupName": "other"}, "DBSubnetGroupName"),
        ({"PromotionTier": 1}, "PromotionTier"),
        ({"CertificateRotationRestart": False}, "CACertificateIdentifier"),
        (
            {"CertificateRotationRestart": True, "CACertificateIdentifier": "rds-ca-ecc384-g1"},
            "CertificateRotationRestart",
        ),
        ({"OptionGroupName": "default:postgres-16"}, "default:postgres-17"),
        ({"EngineVersion": "17.4"}, "never downgraded"),
    ],
)
def test_a_modification_that_cannot_be_made_is_refused_by_name(
    unchanged: Cloud, change: dict[str, Any], says: str
) -> None:
    before = unchanged.instance("shop")
    code, message = unchanged.refusal("ModifyDBInstance", DBInstanceIdentifier="shop", **change)
    assert code == "InvalidParameterCombination"
    assert says in message
    assert unchanged.instance("shop") == before


def test_changes_without_apply_immediately_are_pending_until_the_window(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "available")
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", AllocatedStorage=30, MultiAZ=True)
    there = cloud.instance("shop")
    assert there["PendingModifiedValues"] == {"AllocatedStorage": 30, "MultiAZ": True}
    assert (there["AllocatedStorage"], there["MultiAZ"], there["DBInstanceStatus"]) == (20, False, "available")
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", ApplyImmediately=True)
    there = cloud.until_status("shop", "available")
    assert (there["AllocatedStorage"], there["MultiAZ"], there["PendingModifiedValues"]) == (30, True, {})
    shrink = {"DBInstanceIdentifier": "shop", "AllocatedStorage": 20}
    assert cloud.refusal("ModifyDBInstance", **shrink)[0] == "InvalidParameterValue"


def test_pending_changes_are_made_in_the_maintenance_window(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "available")
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", AllocatedStorage=30)
    monkeypatch.setattr("multiaz.cloud.rds.progress.in_maintenance_window", lambda *_: True)
    cloud.until(lambda: cloud.instance("shop")["AllocatedStorage"] == 30)
    assert cloud.until_status("shop", "available")["PendingModifiedValues"] == {}


def test_a_port_somebody_holds_is_refused_with_the_holders_name(cloud: Cloud) -> None:
    params = cloud.prepare()
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = holder.getsockname()[1]
        code, message = cloud.refusal("CreateDBInstance", DBInstanceIdentifier="shop", Port=port, **params)
    assert code == "InsufficientDBInstanceCapacity"
    assert "pid" in message
    assert "--port-base" in message
    assert cloud.call("DescribeDBInstances")["DBInstances"] == []


def test_two_instances_share_a_port_and_no_address(cloud: Cloud) -> None:
    params = cloud.prepare()
    for name in ("one", "two"):
        cloud.call("CreateDBInstance", DBInstanceIdentifier=name, **params)
    endpoints = {cloud.until_status(name, "available")["Endpoint"]["Address"] for name in ("one", "two")}
    assert len(endpoints) == 2


def test_no_record_holds_the_password(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "available")
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", MasterUserPassword="quite-another-one")
    cloud.until_status("shop", "available")
    read = set()
    for path in cloud.home.root.rglob("*"):
        try:
            content = path.read_bytes()
        except (IsADirectoryError, FileNotFoundError):  # the supervisor goes on replacing its records
            continue
        assert b"correct-horse-battery" not in content, path
        assert b"quite-another-one" not in content, path
        read.add(path.name)
    assert {cloud.home.database.name, "desired.json", "role.json"} <= read


def test_filters_and_pages_of_describe(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    arn = cloud.instance("shop")["DBInstanceArn"]

    def found(name: str, *values: str) -> list[str]:
        shown = cloud.call("DescribeDBInstances", Filters=[{"Name": name, "Values": list(values)}])
        return [one["DBInstanceIdentifier"] for one in shown["DBInstances"]]

    assert found("db-instance-id", arn) == ["shop"]
    assert found("db-instance-id", "other") == []
    assert found("engine", "postgres") == ["shop"]
    assert found("db-cluster-id", "x") == []
    assert cloud.refusal("DescribeDBInstances", Filters=[{"Name": "zone", "Values": ["a"]}])[0] == (
        "InvalidParameterValue"
    )
    assert cloud.refusal("DescribeDBInstances", MaxRecords=5)[0] == "InvalidParameterValue"
    assert cloud.refusal("DescribeDBInstances", DBInstanceIdentifier="none")[0] == "DBInstanceNotFound"
