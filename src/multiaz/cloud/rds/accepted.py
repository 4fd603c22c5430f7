"""What happens to each parameter of each supported action: nothing a caller says is ever ignored.

A parameter is acted upon, or recorded and returned, or accepted with one value only (the one that says what
is so anyway), or refused by name. A test holds this table against botocore's model, so a new botocore cannot
smuggle a parameter past it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiaz.cloud.rds.faults import bad_combination


@dataclass(frozen=True)
class Acted:
    """Something is done because of it."""


@dataclass(frozen=True)
class Recorded:
    """It is kept and shown, and has no effect on one machine."""


@dataclass(frozen=True)
class Only:
    """Accepted with one of these values, which change nothing."""

    values: tuple[Any, ...]
    why: str


@dataclass(frozen=True)
class Refused:
    """Never accepted."""

    why: str


Treatment = Acted | Recorded | Only | Refused

_A, _R = Acted(), Recorded()
_NO_DOMAIN = Refused("Active Directory is not there")
_NO_ORACLE = Refused("it belongs to another engine than PostgreSQL")
_NO_AURORA = Refused("it belongs to Aurora and to DB clusters")
_NO_OUTPOST = Only((False,), "there is no Outpost")
_NO_SECRET = Refused(
    "passwords managed by RDS are not available (on AWS they exclude read replicas): use a secret of your own, "
    "AWS::SecretsManager::SecretTargetAttachment and a rotation schedule"
)
_NO_RESERVATION = Refused("there are no capacity reservations")
_NO_PROCESSOR = Refused("a class's processor cannot be changed on this machine")
_NO_VOLUMES = Refused("additional storage volumes belong to other engines")
_NO_TAG_SPECIFICATIONS = Refused("automated backups have no tags of their own")
_NO_AUTHENTICATION_TYPE = Only(("password",), "the master user logs in with a password")
_TABLE_FILTERS = Only(([],), "this action has no filters")

_COMMON: dict[str, Treatment] = {
    # taken by CreateDBInstance, CreateDBInstanceReadReplica and ModifyDBInstance alike
    "DBInstanceIdentifier": _A,
    "DBInstanceClass": _A,
    "DBParameterGroupName": _A,
    "MultiAZ": _A,
    "EnableIAMDatabaseAuthentication": _A,
    "VpcSecurityGroupIds": _R,
    "AutoMinorVersionUpgrade": _R,
    "Iops": _R,
    "StorageThroughput": _R,
    "StorageType": _R,
    "AllocatedStorage": _A,
    "MaxAllocatedStorage": _R,
    "OptionGroupName": Only(
        ("default:postgres-16", "default:postgres-17", "default:postgres-18"), "PostgreSQL has no other option groups"
    ),
    "PubliclyAccessible": _R,
    "CopyTagsToSnapshot": _A,
    "MonitoringInterval": _R,
    "MonitoringRoleArn": _R,
    "DatabaseInsightsMode": _R,
    "EnablePerformanceInsights": _R,
    "PerformanceInsightsKMSKeyId": _R,
    "PerformanceInsightsRetentionPeriod": _R,
    "DeletionProtection": _A,
    "CACertificateIdentifier": _R,
    "NetworkType": Only(("IPV4",), "endpoints are IPv4 loopback addresses"),
    "DedicatedLogVolume": Only((False,), "there is one volume"),
    "EnableCustomerOwnedIp": _NO_OUTPOST,
    "Domain": _NO_DOMAIN,
    "DomainFqdn": _NO_DOMAIN,
    "DomainOu": _NO_DOMAIN,
    "DomainAuthSecretArn": _NO_DOMAIN,
    "DomainDnsIps": _NO_DOMAIN,
    "DomainIAMRoleName": _NO_DOMAIN,
    "ProcessorFeatures": _NO_PROCESSOR,
    "AdditionalStorageVolumes": _NO_VOLUMES,
    "TagSpecifications": _NO_TAG_SPECIFICATIONS,
    "DBCapacityReservationIdentifier": _NO_RESERVATION,
}

_NEW: dict[str, Treatment] = {
    "AvailabilityZone": _A,
    "Port": _A,
    "DBSubnetGroupName": _A,
    "Tags": _R,
    "EnableCloudwatchLogsExports": _R,
    "BackupTarget": Only(("region",), "there is no Outpost"),
    "CustomIamInstanceProfile": Refused("it belongs to RDS Custom"),
}

_NOT_RESTORED = frozenset(
    {"DBInstanceIdentifier", "MonitoringInterval", "MonitoringRoleArn", "DatabaseInsightsMode",
     "EnablePerformanceInsights", "PerformanceInsightsKMSKeyId", "PerformanceInsightsRetentionPeriod"}
)  # fmt: skip
"""What RestoreDBInstanceToPointInTime has not of those: a modification sets it afterwards."""

PARAMETERS: dict[str, dict[str, Treatment]] = {
    "CreateDBInstance": {
        **_COMMON,
        **_NEW,
        "Engine": _A,
        "EngineVersion": _A,
        "DBName": _A,
        "MasterUsername": _A,
        "MasterUserPassword": _A,
        "BackupRetentionPeriod": _A,
        "PreferredBackupWindow": _A,
        "PreferredMaintenanceWindow": _A,
        "LicenseModel": Only(("postgresql-license",), "PostgreSQL has one licence"),
        "StorageEncrypted": _R,
        "KmsKeyId": _R,
        "EngineLifecycleSupport": _R,
        "DBSecurityGroups": Only(([],), "EC2-Classic is gone: use VpcSecurityGroupIds"),
        "CharacterSetName": _NO_ORACLE,
        "NcharCharacterSetName": _NO_ORACLE,
        "TdeCredentialArn": _NO_ORACLE,
        "TdeCredentialPassword": _NO_ORACLE,
        "Timezone": _NO_ORACLE,
        "DBSystemId": _NO_ORACLE,
        "MultiTenant": _NO_ORACLE,
        "DBClusterIdentifier": _NO_AURORA,
        "PromotionTier": _NO_AURORA,
        "ManageMasterUserPassword": Only((False,), _NO_SECRET.why),
        "MasterUserSecretKmsKeyId": _NO_SECRET,
        "MasterUserAuthenticationType": _NO_AUTHENTICATION_TYPE,
    },
    "CreateDBInstanceReadReplica": {
        **_COMMON,
        **_NEW,
        "SourceDBInstanceIdentifier": _A,
        "MultiAZ": Only((False,), "a read replica has no standby of its own here"),
        "KmsKeyId": Refused("a read replica in the source's region has the source's key"),
        "SourceDBClusterIdentifier": _NO_AURORA,
        "SourceRegion": Refused("read replicas stay in the source's region"),
        "PreSignedUrl": Refused("read replicas stay in the source's region"),
        "ReplicaMode": _NO_ORACLE,
        "UseDefaultProcessorFeatures": Only((True,), _NO_PROCESSOR.why),
        "UpgradeStorageConfig": Only((False,), "there is no storage configuration to upgrade"),
    },
    "RestoreDBInstanceToPointInTime": {
        **{name: one for name, one in {**_COMMON, **_NEW}.items() if name not in _NOT_RESTORED},
        "SourceDBInstanceIdentifier": _A,
        "SourceDbiResourceId": _A,
        "SourceDBInstanceAutomatedBackupsArn": _A,
        "TargetDBInstanceIdentifier": _A,
        "RestoreTime": _A,
        "UseLatestRestorableTime": _A,
        "Engine": _A,
        "DBName": _A,
        "BackupRetentionPeriod": _A,
        "PreferredBackupWindow": _A,
        "LicenseModel": Only(("postgresql-license",), "PostgreSQL has one licence"),
        "EngineLifecycleSupport": _R,
        "TdeCredentialArn": _NO_ORACLE,
        "TdeCredentialPassword": _NO_ORACLE,
        "UseDefaultProcessorFeatures": Only((True,), _NO_PROCESSOR.why),
        "ManageMasterUserPassword": Only((False,), _NO_SECRET.why),
        "MasterUserSecretKmsKeyId": _NO_SECRET,
    },
    "ModifyDBInstance": {
        **_COMMON,
        "ApplyImmediately": _A,
        "MasterUserPassword": _A,
        "BackupRetentionPeriod": _A,
        "PreferredBackupWindow": _A,
        "PreferredMaintenanceWindow": _A,
        "CloudwatchLogsExportConfiguration": _R,
        "CertificateRotationRestart": Only((False,), "the authority is recorded, and no server is restarted for it"),
        "EngineVersion": _A,
        "AllowMajorVersionUpgrade": Only((False,), "versions are not upgraded in place"),
        "LicenseModel": Only(("postgresql-license",), "PostgreSQL has one licence"),
        "DBPortNumber": _A,
        "DBSubnetGroupName": _A,
        "NewDBInstanceIdentifier": _A,
        "EngineLifecycleSupport": _R,
        "DBSecurityGroups": Only(([],), "EC2-Classic is gone: use VpcSecurityGroupIds"),
        "TdeCredentialArn": _NO_ORACLE,
        "TdeCredentialPassword": _NO_ORACLE,
        "MultiTenant": _NO_ORACLE,
        "ReplicaMode": _NO_ORACLE,
        "PromotionTier": _NO_AURORA,
        "Engine": Only(("postgres",), "the engine cannot be changed"),
        "DisableDomain": Only((True,), "Active Directory is not there"),
        "UseDefaultProcessorFeatures": Only((True,), _NO_PROCESSOR.why),
        "AutomationMode": Refused("it belongs to RDS Custom"),
        "ResumeFullAutomationModeMinutes": Refused("it belongs to RDS Custom"),
        "AwsBackupRecoveryPointArn": Refused("AWS Backup is not there"),
        "ManageMasterUserPassword": Only((False,), _NO_SECRET.why),
        "RotateMasterUserPassword": Only((False,), _NO_SECRET.why),
        "MasterUserSecretKmsKeyId": _NO_SECRET,
        "MasterUserAuthenticationType": _NO_AUTHENTICATION_TYPE,
    },
    "RebootDBInstance": {"DBInstanceIdentifier": _A, "ForceFailover": _A},
    "DeleteDBInstance": {
        "DBInstanceIdentifier": _A,
        "SkipFinalSnapshot": _A,
        "FinalDBSnapshotIdentifier": _A,
        "DeleteAutomatedBackups": _A,
    },
    "PromoteReadReplica": {
        "DBInstanceIdentifier": _A,
        "BackupRetentionPeriod": _A,
        "PreferredBackupWindow": _A,
        "TagSpecifications": _NO_TAG_SPECIFICATIONS,
    },
    "StartDBInstance": {"DBInstanceIdentifier": _A, "DBCapacityReservationIdentifier": _NO_RESERVATION},
    "StopDBInstance": {
        "DBInstanceIdentifier": _A,
        "DBSnapshotIdentifier": Refused("snapshots are made on deletion only"),
        "DetachFromDBCapacityReservation": _NO_RESERVATION,
    },
    "DescribeDBInstances": {"DBInstanceIdentifier": _A, "Filters": _A, "MaxRecords": _A, "Marker": _A},
    "DescribeDBSnapshots": {
        "DBInstanceIdentifier": _A, "DBSnapshotIdentifier": _A, "SnapshotType": _A, "Filters": _A,
        "MaxRecords": _A, "Marker": _A, "DbiResourceId": _A,
        "IncludeShared": Only((False,), "there is one account"),
        "IncludePublic": Only((False,), "there is one account"),
    },
    "DescribeDBInstanceAutomatedBackups": {
        "DBInstanceIdentifier": _A, "DbiResourceId": _A, "DBInstanceAutomatedBackupsArn": _A, "Filters": _A,
        "MaxRecords": _A, "Marker": _A,
    },
    "DeleteDBInstanceAutomatedBackup": {"DbiResourceId": _A, "DBInstanceAutomatedBackupsArn": _A},
    "DeleteDBSnapshot": {"DBSnapshotIdentifier": _A},
    "CreateDBSubnetGroup": {
        "DBSubnetGroupName": _A, "DBSubnetGroupDescription": _R, "SubnetIds": _A, "Tags": _R,
    },
    "DescribeDBSubnetGroups": {"DBSubnetGroupName": _A, "Filters": _TABLE_FILTERS, "MaxRecords": _A, "Marker": _A},
    "ModifyDBSubnetGroup": {"DBSubnetGroupName": _A, "DBSubnetGroupDescription": _R, "SubnetIds": _A},
    "DeleteDBSubnetGroup": {"DBSubnetGroupName": _A},
    "CreateDBParameterGroup": {
        "DBParameterGroupName": _A, "DBParameterGroupFamily": _A, "Description": _R, "Tags": _R,
    },
    "DescribeDBParameterGroups": {
        "DBParameterGroupName": _A, "Filters": _TABLE_FILTERS, "MaxRecords": _A, "Marker": _A,
    },
    "ModifyDBParameterGroup": {"DBParameterGroupName": _A, "Parameters": _A},
    "ResetDBParameterGroup": {"DBParameterGroupName": _A, "ResetAllParameters": _A, "Parameters": _A},
    "DeleteDBParameterGroup": {"DBParameterGroupName": _A},
    "DescribeDBParameters": {
        "DBParameterGroupName": _A, "Source": _A, "Filters": _A, "MaxRecords": _A, "Marker": _A,
    },
    "DescribeEngineDefaultParameters": {
        "DBParameterGroupFamily": _A, "Filters": _A, "MaxRecords": _A, "Marker": _A,
    },
    "DescribeEvents": {
        "SourceIdentifier": _A, "SourceType": _A, "StartTime": _A, "EndTime": _A, "Duration": _A,
        "EventCategories": _A, "Filters": _TABLE_FILTERS, "MaxRecords": _A, "Marker": _A,
    },
    "DescribeEventCategories": {"SourceType": _A, "Filters": _TABLE_FILTERS},
    "CreateEventSubscription": {
        "SubscriptionName": _A, "SnsTopicArn": _A, "SourceType": _A, "EventCategories": _A, "SourceIds": _A,
        "Enabled": _A, "Tags": _R,
    },
    "DescribeEventSubscriptions": {
        "SubscriptionName": _A, "Filters": _TABLE_FILTERS, "MaxRecords": _A, "Marker": _A,
    },
    "ModifyEventSubscription": {
        "SubscriptionName": _A, "SnsTopicArn": _A, "SourceType": _A, "EventCategories": _A, "Enabled": _A,
    },
    "DeleteEventSubscription": {"SubscriptionName": _A},
    "AddSourceIdentifierToSubscription": {"SubscriptionName": _A, "SourceIdentifier": _A},
    "RemoveSourceIdentifierFromSubscription": {"SubscriptionName": _A, "SourceIdentifier": _A},
    "DescribeDBLogFiles": {
        "DBInstanceIdentifier": _A, "FilenameContains": _A, "FileLastWritten": _A, "FileSize": _A,
        "Filters": _TABLE_FILTERS, "MaxRecords": _A, "Marker": _A,
    },
    "DownloadDBLogFilePortion": {
        "DBInstanceIdentifier": _A, "LogFileName": _A, "Marker": _A, "NumberOfLines": _A,
    },
    "DescribeDBEngineVersions": {
        "Engine": _A, "EngineVersion": _A, "DBParameterGroupFamily": _A, "Filters": _TABLE_FILTERS,
        "MaxRecords": _A, "Marker": _A, "DefaultOnly": _A, "IncludeAll": _A,
        "ListSupportedCharacterSets": Only((False,), "PostgreSQL has no instance-wide character set"),
        "ListSupportedTimezones": Only((False,), "PostgreSQL has no instance-wide time zone"),
    },
    "DescribeOrderableDBInstanceOptions": {
        "Engine": _A, "EngineVersion": _A, "DBInstanceClass": _A, "LicenseModel": _A, "Vpc": _A,
        "AvailabilityZoneGroup": Refused("there are no Local Zones"),
        "Filters": _TABLE_FILTERS, "MaxRecords": _A, "Marker": _A,
    },
    "DescribeCertificates": {
        "CertificateIdentifier": _A, "Filters": _TABLE_FILTERS, "MaxRecords": _A, "Marker": _A,
    },
    "AddTagsToResource": {"ResourceName": _A, "Tags": _R},
    "RemoveTagsFromResource": {"ResourceName": _A, "TagKeys": _A},
    "ListTagsForResource": {"ResourceName": _A, "Filters": _TABLE_FILTERS},
    "DescribeAccountAttributes": {},
}  # fmt: skip


def check(action: str, params: Mapping[str, Any]) -> None:
    """Refuse, by name, what the action does not do. Raises AwsFault InvalidParameterCombination."""
    table = PARAMETERS[action]
    for name, value in params.items():
        match table.get(name, Refused("this local cloud does not know it")):
            case Refused(why):
                raise bad_combination(f"The parameter {name} is not available on the local cloud: {why}.")
            case Only(values, why) if value not in values:
                raise bad_combination(
                    f"The parameter {name} cannot be {value!r} on the local cloud: {why}. Allowed: "
                    f"{', '.join(repr(one) for one in values)}."
                )
            case _:
                pass
