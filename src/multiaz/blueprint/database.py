"""Subnet group, parameter groups, the Multi-AZ primary and its read replicas."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, If, NoValue, Ref, Select, Split, Sub, rds

from multiaz.blueprint.credentials import resolved
from multiaz.blueprint.engines import ENGINE
from multiaz.blueprint.expressions import MEMBERS, PRIMARY, REPLICAS, Member, key_arn, tags
from multiaz.blueprint.logs import EXPORTED_LOGS, log_group_id
from multiaz.blueprint.network import subnet_ids, subnet_refs
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.tuning import Group, group_values

CERTIFICATE_AUTHORITY = "rds-ca-rsa2048-g1"

NO_EXTENDED_SUPPORT = "open-source-rds-extended-support-disabled"
EXTENDED_SUPPORT = "open-source-rds-extended-support"


def database(s: Settings) -> list[Any]:
    """Everything that is PostgreSQL."""
    replicas = [_replica(s, member, index) for index, member in enumerate(MEMBERS[1:])]
    return [_subnet_group(s), *_parameter_groups(), _primary(s, MEMBERS[0]), *replicas]


def _subnet_group(s: Settings) -> Any:
    return rds.DBSubnetGroup(
        "DBSubnetGroup",
        DBSubnetGroupDescription="Private database subnets",
        SubnetIds=subnet_refs(s),
    )


def _parameter_groups() -> list[Any]:
    """One for the primary, one for the replicas; unnamed, so that a new family can replace them."""
    family = Sub("postgres${Major}", Major=Select(0, Split(".", Ref("EngineVersion"))))

    def group(logical_id: str, kind: Group, description: str) -> Any:
        return rds.DBParameterGroup(
            logical_id,
            Description=description,
            Family=family,
            Parameters=group_values(kind),
        )

    return [
        group("DBParameterGroup", "primary", "Read-heavy shop: primary"),
        group("ReplicaParameterGroup", "replica", "Read-heavy shop: read replicas"),
    ]


def _shared(s: Settings, member: Member) -> dict[str, Any]:
    """What primary and replicas have in common."""
    return {
        "DBInstanceIdentifier": Sub(member.name),
        "Engine": ENGINE,
        "EngineVersion": Ref("EngineVersion"),
        "DBInstanceClass": Ref(member.class_parameter),
        # gp3 below 400 GiB is fixed at 3,000 IOPS and 125 MiB/s: neither may be set.
        "StorageType": "gp3",
        "AllocatedStorage": Ref("AllocatedStorage"),
        "MaxAllocatedStorage": Ref("MaxAllocatedStorage"),
        "Port": Ref("DBPort"),
        "VPCSecurityGroups": [GetAtt("DBSecurityGroup", "GroupId")],
        "PubliclyAccessible": False,
        "CACertificateIdentifier": CERTIFICATE_AUTHORITY,
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
        "MonitoringRoleArn": If("EnableEnhancedMonitoring", GetAtt("EnhancedMonitoringRole", "Arn"), NoValue),
        "EnableCloudwatchLogsExports": list(EXPORTED_LOGS),
        "CopyTagsToSnapshot": True,
        "DeletionProtection": s.deletion_protection,
    }


def _primary(s: Settings, member: Member) -> Any:
    fate = "Snapshot" if s.final_snapshot else "Delete"
    return rds.DBInstance(
        PRIMARY,
        DependsOn=_log_groups(member),
        DeletionPolicy=fate,
        UpdateReplacePolicy=fate,
        **_shared(s, member),
        EngineLifecycleSupport=EXTENDED_SUPPORT if s.extended_support else NO_EXTENDED_SUPPORT,
        MultiAZ=True,
        StorageEncrypted=True,
        KmsKeyId=key_arn(),
        DBName=Ref("DBName"),
        MasterUsername=resolved("username"),
        MasterUserPassword=resolved("password"),
        DBSubnetGroupName=Ref("DBSubnetGroup"),
        DBParameterGroupName=Ref("DBParameterGroup"),
        BackupRetentionPeriod=Ref("BackupRetentionDays"),
        PreferredBackupWindow=Ref("PreferredBackupWindow"),
        Tags=tags(f"db-{member.short_name}", Role="primary"),
    )


def _replica(s: Settings, member: Member, index: int) -> Any:
    """A reader in a zone of its own.

    Encryption, key, master user, database and subnet group are the source's and must not be stated. RDS
    takes no final snapshot of a replica, and CloudFormation's default would ask for one: say Delete.
    """
    zone = subnet_ids(s)[index - len(REPLICAS)]
    return rds.DBInstance(
        member.logical_id,
        DependsOn=_log_groups(member),
        DeletionPolicy="Delete",
        UpdateReplacePolicy="Delete",
        SourceDBInstanceIdentifier=Ref(PRIMARY),
        AvailabilityZone=GetAtt(zone, "AvailabilityZone"),
        **_shared(s, member),
        DBParameterGroupName=Ref("ReplicaParameterGroup"),
        Tags=tags(f"db-{member.short_name}", Role="replica"),
    )


def _log_groups(member: Member) -> list[str]:
    """They must exist first, or RDS makes its own, which never expire and outlive the stack."""
    return [log_group_id(member, log) for log in EXPORTED_LOGS]
