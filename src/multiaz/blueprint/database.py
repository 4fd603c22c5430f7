"""Subnet group, parameter groups, the Multi-AZ primary and its read replicas."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, If, NoValue, Ref, Sub, rds

from multiaz.blueprint.access import monitoring_role
from multiaz.blueprint.credentials import resolved
from multiaz.blueprint.engines import ENGINE
from multiaz.blueprint.expressions import key_arn, major_version, tags
from multiaz.blueprint.logs import EXPORTED_LOGS, log_group_id
from multiaz.blueprint.members import PRIMARY, Member, members, replicas
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.subnets import database_subnet_ids, replica_placement
from multiaz.blueprint.tuning import Group, group_values

NO_EXTENDED_SUPPORT = "open-source-rds-extended-support-disabled"
EXTENDED_SUPPORT = "open-source-rds-extended-support"


def database(s: Settings) -> list[Any]:
    """Subnet group, parameter groups, the primary with its standby, and the read replicas in zones in turn."""
    readers = [_replica(s, member) for member in replicas(s)]
    return [_subnet_group(s), *_parameter_groups(s), _primary(s, members(s)[0]), *readers]


def _subnet_group(s: Settings) -> Any:
    return rds.DBSubnetGroup(
        "DBSubnetGroup",
        DBSubnetGroupDescription="Private database subnets",
        SubnetIds=database_subnet_ids(s),
    )


def _parameter_groups(s: Settings) -> list[Any]:
    """One for the primary, one for the replicas; unnamed, so that a new family can replace them."""
    family = Sub("postgres${Major}", Major=major_version())

    def group(logical_id: str, kind: Group, description: str) -> Any:
        return rds.DBParameterGroup(
            logical_id,
            Description=description,
            Family=family,
            Parameters=group_values(kind, s),
        )

    groups = [group("DBParameterGroup", "primary", "Read-heavy shop: primary")]
    if s.read_replicas:
        groups.append(group("ReplicaParameterGroup", "replica", "Read-heavy shop: read replicas"))
    return groups


def _shared(s: Settings, member: Member) -> dict[str, Any]:
    """What primary and replicas have in common."""
    return {
        "DBInstanceIdentifier": Sub(member.name),
        "Engine": ENGINE,
        "EngineVersion": _version(member),
        "DBInstanceClass": Ref(member.class_parameter),
        "StorageType": "gp3",
        **_storage_figures(s),
        "AllocatedStorage": Ref("AllocatedStorage"),
        "MaxAllocatedStorage": Ref("MaxAllocatedStorage"),
        "Port": Ref("DBPort"),
        "VPCSecurityGroups": [GetAtt("DBSecurityGroup", "GroupId")],
        "PubliclyAccessible": False,
        "CACertificateIdentifier": s.ca_certificate_identifier,
        "PreferredMaintenanceWindow": Ref("PreferredMaintenanceWindow"),
        # The version is pinned: an upgrade behind CloudFormation's back would break the next update.
        "AutoMinorVersionUpgrade": False,
        # Unset, an update of anything may reboot an instance whose parameter group waits for a reboot.
        "ApplyImmediately": s.apply_immediately,
        "EnableIAMDatabaseAuthentication": True,
        "DatabaseInsightsMode": s.database_insights_mode,
        "EnablePerformanceInsights": True,
        "PerformanceInsightsKMSKeyId": key_arn(),
        "PerformanceInsightsRetentionPeriod": Ref("PerformanceInsightsRetention"),
        "MonitoringInterval": Ref("EnhancedMonitoringInterval"),
        "MonitoringRoleArn": If("EnableEnhancedMonitoring", monitoring_role(s), NoValue),
        "EnableCloudwatchLogsExports": list(EXPORTED_LOGS),
        "CopyTagsToSnapshot": True,
        "DeletionProtection": s.deletion_protection,
    }


def _version(member: Member) -> Any:
    """RDS upgrades no source before its replicas: they have a parameter of their own, which goes first.

    Source: Amazon RDS user guide, "Upgrades of the RDS for PostgreSQL DB engine".
    """
    if member.is_primary:
        return Ref("EngineVersion")
    return If("ReplicaVersionApart", Ref("ReplicaEngineVersion"), Ref("EngineVersion"))


def _storage_figures(s: Settings) -> dict[str, int]:
    """gp3 below 400 GiB is fixed at 3,000 IOPS and 125 MiB/s: neither may be set."""
    given = {"Iops": s.storage_iops, "StorageThroughput": s.storage_throughput}
    return {name: value for name, value in given.items() if value is not None}


def _primary(s: Settings, member: Member) -> Any:
    fate = "Snapshot" if s.final_snapshot else "Delete"
    return rds.DBInstance(
        PRIMARY,
        DependsOn=_log_groups(member),
        DeletionPolicy=fate,
        UpdateReplacePolicy=fate,
        **_shared(s, member),
        **({"AllowMajorVersionUpgrade": True} if s.allow_major_version_upgrade else {}),
        EngineLifecycleSupport=EXTENDED_SUPPORT if s.extended_support else NO_EXTENDED_SUPPORT,
        MultiAZ=s.multi_az,
        StorageEncrypted=True,
        KmsKeyId=key_arn(),
        DBName=Ref("DBName"),
        MasterUsername=resolved("username"),
        MasterUserPassword=resolved("password"),
        DBSubnetGroupName=Ref("DBSubnetGroup"),
        DBParameterGroupName=Ref("DBParameterGroup"),
        BackupRetentionPeriod=Ref("BackupRetentionDays"),
        PreferredBackupWindow=Ref("PreferredBackupWindow"),
        **_copies(s),
        Tags=tags(f"db-{member.short_name}", Role="primary"),
    )


def _copies(s: Settings) -> dict[str, Any]:
    """Automated backups in another region, as old as those at home. Source: AWS::RDS::DBInstance."""
    if not s.backup_copy_region:
        return {}
    return {
        "AutomaticBackupReplicationRegion": s.backup_copy_region,
        "AutomaticBackupReplicationKmsKeyId": s.backup_copy_kms_key_arn,
        "AutomaticBackupReplicationRetentionPeriod": Ref("BackupRetentionDays"),
    }


def _replica(s: Settings, member: Member) -> Any:
    """A reader in a zone of its own.

    Encryption, key, master user, database and subnet group are the source's and must not be stated. RDS
    takes no final snapshot of a replica, and CloudFormation's default would ask for one: say Delete.
    """
    return rds.DBInstance(
        member.logical_id,
        DependsOn=_log_groups(member),
        DeletionPolicy="Delete",
        UpdateReplacePolicy="Delete",
        SourceDBInstanceIdentifier=Ref(PRIMARY),
        **replica_placement(s, member),
        **_shared(s, member),
        DBParameterGroupName=Ref("ReplicaParameterGroup"),
        Tags=tags(f"db-{member.short_name}", Role="replica"),
    )


def _log_groups(member: Member) -> list[str]:
    """They must exist first, or RDS makes its own, which never expire and outlive the stack."""
    return [log_group_id(member, log) for log in EXPORTED_LOGS]
