"""Records and observations as the RDS API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from multiaz.cloud.rds.model import Instance, ParameterGroup, Snapshot, SubnetGroup, Subscription
from multiaz.cloud.rds.status import Seen, parameter_apply_status, replication_of, status_of
from multiaz.cloud.service import ACCOUNT_ID, PARTITION

PORT_ZONE_ID = "Z00000000LOCALCLOUD"
"""HostedZoneId of an endpoint: no DNS zone stands behind a loopback address."""
STOP_DAYS = 7
"""A stopped instance is started again after this many days, as on RDS."""


def arn(region: str, kind: str, name: str) -> str:
    """The ARN of an RDS resource; `kind` is db, pg, subgrp, snapshot, es, og, auto-backup."""
    return f"arn:{PARTITION}:rds:{region}:{ACCOUNT_ID}:{kind}:{name}"


def time_of(seconds: float) -> datetime:
    """A time as the API shows it: UTC, to the millisecond."""
    return datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)


def unix_time(value: datetime | str | float) -> float:
    """A time as the API is given it, in seconds; without a zone it is UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value)


def tag_list(tags: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Tags in the API's shape."""
    return [{"Key": key, "Value": value} for key, value in tags]


@dataclass(frozen=True)
class Surroundings:
    """What the description of an instance takes from elsewhere."""

    seen: Seen
    subnet_group: SubnetGroup | None
    target: dict[str, str]
    """What the instance's parameter group comes to now."""
    source_identifier: str | None
    replica_identifiers: tuple[str, ...]
    certificate_valid_till: datetime | None


def instance_shape(instance: Instance, around: Surroundings) -> dict[str, Any]:
    """One DBInstance."""
    seen, network, storage, watch = around.seen, instance.network, instance.storage, instance.monitoring
    status = status_of(instance, seen)
    primary = seen.primary or "a"
    under_way = instance.operation
    before = under_way.before if under_way else {}
    multi_az = before.get("MultiAZ", instance.multi_az)
    shape: dict[str, Any] = {
        "DBInstanceIdentifier": instance.identifier,
        "DBInstanceClass": instance.instance_class,
        "Engine": "postgres",
        "DBInstanceStatus": status,
        "MasterUsername": instance.master_username,
        "DBName": instance.database,
        "AllocatedStorage": storage.allocated_gib,
        "PreferredBackupWindow": instance.backup_window,
        "BackupRetentionPeriod": instance.backup_retention_days,
        "DBSecurityGroups": [],
        "VpcSecurityGroups": [{"VpcSecurityGroupId": group, "Status": "active"} for group in network.security_groups],
        "DBParameterGroups": [
            {
                "DBParameterGroupName": instance.parameter_group,
                "ParameterApplyStatus": parameter_apply_status(instance, around.target, seen),
            }
        ],
        "AvailabilityZone": network.zones[primary],
        "PreferredMaintenanceWindow": instance.maintenance_window,
        "PendingModifiedValues": {**instance.pending, **(under_way.applying if under_way else {})},
        "MultiAZ": multi_az,
        "EngineVersion": instance.version,
        "AutoMinorVersionUpgrade": instance.auto_minor_upgrade,
        "ReadReplicaSourceDBInstanceIdentifier": around.source_identifier,
        "ReadReplicaDBInstanceIdentifiers": list(around.replica_identifiers),
        "LicenseModel": "postgresql-license",
        "Iops": storage.iops,
        "StorageThroughput": storage.throughput_mibs,
        "OptionGroupMemberships": [{"OptionGroupName": f"default:postgres-{instance.major}", "Status": "in-sync"}],
        "SecondaryAvailabilityZone": network.zones["b" if primary == "a" else "a"] if multi_az else None,
        "PubliclyAccessible": network.publicly_accessible,
        "StorageType": storage.kind,
        "DbInstancePort": 0,
        "StorageEncrypted": storage.encrypted,
        "KmsKeyId": storage.kms_key,
        "DbiResourceId": instance.resource_id,
        "CACertificateIdentifier": instance.certificate_authority,
        "DomainMemberships": [],
        "CopyTagsToSnapshot": instance.copy_tags,
        "MonitoringInterval": watch.interval_s,
        "MonitoringRoleArn": watch.role,
        "DBInstanceArn": arn(instance.region, "db", instance.identifier),
        "IAMDatabaseAuthenticationEnabled": instance.iam_authentication,
        "DatabaseInsightsMode": watch.insights_mode,
        "PerformanceInsightsEnabled": watch.insights,
        "PerformanceInsightsKMSKeyId": watch.insights_kms_key,
        "PerformanceInsightsRetentionPeriod": watch.insights_retention_days,
        "EnabledCloudwatchLogsExports": list(watch.log_exports) or None,
        "DeletionProtection": instance.deletion_protection,
        "AssociatedRoles": [],
        "MaxAllocatedStorage": storage.max_allocated_gib,
        "TagList": tag_list(instance.tags),
        "CustomerOwnedIpEnabled": False,
        "NetworkType": "IPV4",
        "ActivityStreamStatus": "stopped",
        "BackupTarget": "region",
        "DedicatedLogVolume": False,
        "IsStorageConfigUpgradeAvailable": False,
        "EngineLifecycleSupport": instance.lifecycle_support,
        **before,
    }
    if around.subnet_group is not None:
        shape["DBSubnetGroup"] = subnet_group_shape(around.subnet_group)
    if instance.created or status == "available":
        # As on RDS, the endpoint is told once the instance has been made.
        shape["InstanceCreateTime"] = time_of(instance.created_at)
        shape["Endpoint"] = {"Address": network.address, "Port": network.port, "HostedZoneId": PORT_ZONE_ID}
    if watch.interval_s:
        shape["EnhancedMonitoringResourceArn"] = (
            f"arn:{PARTITION}:logs:{instance.region}:{ACCOUNT_ID}:log-group:RDSOSMetrics:log-stream:"
            f"{instance.resource_id}"
        )
    if around.certificate_valid_till is not None:
        shape["CertificateDetails"] = {
            "CAIdentifier": instance.certificate_authority,
            "ValidTill": around.certificate_valid_till,
        }
    observed = seen.observed or seen.last
    if instance.backup_retention_days and not instance.is_replica and observed and observed.restorable_until:
        shape["LatestRestorableTime"] = time_of(observed.restorable_until)
    if status == "stopped" and instance.stopped_at is not None:
        shape["AutomaticRestartTime"] = time_of(instance.stopped_at + STOP_DAYS * 86400)
    replication = replication_of(instance, seen)
    if replication is not None:
        shape["StatusInfos"] = [
            {
                "StatusType": "read replication",
                "Normal": replication.normal,
                "Status": replication.status,
                "Message": replication.message or None,
            }
        ]
    return without_nothing(shape)


def without_nothing(shape: dict[str, Any]) -> dict[str, Any]:
    """The shape without members that are None, at every depth: RDS leaves those out."""
    cleaned: dict[str, Any] = {}
    for key, value in shape.items():
        if value is None:
            continue
        if isinstance(value, dict):
            value = without_nothing(value)
        elif isinstance(value, list):
            value = [without_nothing(one) if isinstance(one, dict) else one for one in value]
        cleaned[key] = value
    return cleaned


def subnet_group_shape(group: SubnetGroup) -> dict[str, Any]:
    """One DBSubnetGroup."""
    return {
        "DBSubnetGroupName": group.name,
        "DBSubnetGroupDescription": group.description,
        "VpcId": group.vpc_id,
        "SubnetGroupStatus": "Complete",
        "Subnets": [
            {
                "SubnetIdentifier": subnet.identifier,
                "SubnetAvailabilityZone": {"Name": subnet.zone},
                "SubnetOutpost": {},
                "SubnetStatus": "Active",
            }
            for subnet in group.subnets
        ],
        "DBSubnetGroupArn": arn(group.region, "subgrp", group.name),
        "SupportedNetworkTypes": ["IPV4"],
    }


def parameter_group_shape(group: ParameterGroup) -> dict[str, Any]:
    """One DBParameterGroup."""
    return {
        "DBParameterGroupName": group.name,
        "DBParameterGroupFamily": group.family,
        "Description": group.description,
        "DBParameterGroupArn": arn(group.region, "pg", group.name),
    }


def snapshot_shape(snapshot: Snapshot) -> dict[str, Any]:
    """One DBSnapshot."""
    instance = snapshot.instance
    made = time_of(snapshot.created_at)
    return without_nothing(
        {
            "DBSnapshotIdentifier": snapshot.identifier,
            "DBInstanceIdentifier": instance.identifier,
            "SnapshotCreateTime": made if snapshot.ready else None,
            "OriginalSnapshotCreateTime": made if snapshot.ready else None,
            "SnapshotDatabaseTime": made if snapshot.ready else None,
            "Engine": "postgres",
            "AllocatedStorage": instance.storage.allocated_gib,
            "Status": "available" if snapshot.ready else "creating",
            "Port": instance.network.asked_port,
            "AvailabilityZone": snapshot.zone,
            "VpcId": instance.network.vpc_id,
            "InstanceCreateTime": time_of(instance.created_at),
            "MasterUsername": instance.master_username,
            "EngineVersion": instance.version,
            "LicenseModel": "postgresql-license",
            "SnapshotType": snapshot.kind,
            "Iops": instance.storage.iops,
            "StorageThroughput": instance.storage.throughput_mibs,
            "OptionGroupName": f"default:postgres-{instance.major}",
            "PercentProgress": 100 if snapshot.ready else 0,
            "StorageType": instance.storage.kind,
            "Encrypted": instance.storage.encrypted,
            "KmsKeyId": instance.storage.kms_key,
            "DBSnapshotArn": arn(snapshot.region, "snapshot", snapshot.identifier),
            "IAMDatabaseAuthenticationEnabled": instance.iam_authentication,
            "ProcessorFeatures": [],
            "DbiResourceId": instance.resource_id,
            "TagList": tag_list(snapshot.tags),
            "SnapshotTarget": "region",
            "DedicatedLogVolume": False,
        }
    )


def subscription_shape(subscription: Subscription) -> dict[str, Any]:
    """One EventSubscription."""
    return without_nothing(
        {
            "CustomerAwsId": ACCOUNT_ID,
            "CustSubscriptionId": subscription.name,
            "SnsTopicArn": subscription.topic,
            "Status": "active",
            "SubscriptionCreationTime": subscription.created_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
            "SourceType": subscription.source_type,
            "SourceIdsList": list(subscription.sources),
            "EventCategoriesList": list(subscription.categories),
            "Enabled": subscription.enabled,
            "EventSubscriptionArn": arn(subscription.region, "es", subscription.name),
        }
    )
