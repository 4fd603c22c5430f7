"""Which properties of AWS::RDS::DBInstance go to which RDS call: tables, no code."""

from __future__ import annotations

from typing import Any

from multiaz.cloud.stacks.resources.base import same

EITHER = {
    **same(
        "AutoMinorVersionUpgrade",
        "AvailabilityZone",
        "CopyTagsToSnapshot",
        "DBInstanceClass",
        "DBSubnetGroupName",
        "DatabaseInsightsMode",
        "DedicatedLogVolume",
        "DeletionProtection",
        "EnableCloudwatchLogsExports",
        "EnableIAMDatabaseAuthentication",
        "EnablePerformanceInsights",
        "Iops",
        "KmsKeyId",
        "MonitoringInterval",
        "MonitoringRoleArn",
        "MultiAZ",
        "NetworkType",
        "OptionGroupName",
        "PerformanceInsightsKMSKeyId",
        "PerformanceInsightsRetentionPeriod",
        "PubliclyAccessible",
        "StorageThroughput",
        "StorageType",
    ),
    "VPCSecurityGroups": "VpcSecurityGroupIds",
}
LATER = same(
    "BackupRetentionPeriod",
    "CACertificateIdentifier",
    "DBParameterGroupName",
    "MaxAllocatedStorage",
    "PreferredBackupWindow",
    "PreferredMaintenanceWindow",
)
"""A read replica gets these by a later modification where its creation did not set them."""
DIRECT = same("CACertificateIdentifier", "DBParameterGroupName", "MaxAllocatedStorage")
"""Those of `LATER` that creating a read replica may set at once. (For PostgreSQL, Amazon's documents say that the
parameter group is not applied then: the comparison afterwards would see it, and modify.)"""
PRIMARY_ONLY = same(
    "DBName",
    "Engine",
    "EngineLifecycleSupport",
    "EngineVersion",
    "LicenseModel",
    "ManageMasterUserPassword",
    "MasterUserPassword",
    "MasterUsername",
    "StorageEncrypted",
)
NOT_ON_REPLICA: tuple[str, ...] = (
    "DBName",
    "MasterUsername",
    "MasterUserPassword",
    "ManageMasterUserPassword",
    "StorageEncrypted",
    "CharacterSetName",
    "LicenseModel",
    "EngineLifecycleSupport",
)

RESTORED_TO = same(
    "RestoreTime", "SourceDBInstanceAutomatedBackupsArn", "SourceDbiResourceId", "UseLatestRestorableTime"
)
"""One of these makes it a restore to a point in time, also where SourceDBInstanceIdentifier names the source.
Source: the type's registry schema, and CloudFormation's handler for it."""
AFTER_RESTORE = same(
    "DatabaseInsightsMode",
    "EnablePerformanceInsights",
    "EngineVersion",
    "MasterUserPassword",
    "MonitoringInterval",
    "MonitoringRoleArn",
    "PerformanceInsightsKMSKeyId",
    "PerformanceInsightsRetentionPeriod",
    "PreferredMaintenanceWindow",
)
"""What RestoreDBInstanceToPointInTime has no parameter for: a restored instance gets it by a later modification."""
NOT_RESTORED: tuple[str, ...] = ("KmsKeyId", "MasterUsername", "StorageEncrypted")
"""What a restored instance has from its source."""
AT_RESTORE = {
    name: parameter
    for name, parameter in {
        **EITHER,
        **LATER,
        **PRIMARY_ONLY,
        **RESTORED_TO,
        **same("SourceDBInstanceIdentifier"),
    }.items()
    if name not in {*AFTER_RESTORE, *NOT_RESTORED}
}

MODIFIED = {
    **same(
        "AllocatedStorage",
        "AutoMinorVersionUpgrade",
        "BackupRetentionPeriod",
        "CACertificateIdentifier",
        "CopyTagsToSnapshot",
        "DBInstanceClass",
        "DBParameterGroupName",
        "DatabaseInsightsMode",
        "DeletionProtection",
        "EnableIAMDatabaseAuthentication",
        "EnablePerformanceInsights",
        "EngineLifecycleSupport",
        "EngineVersion",
        "Iops",
        "MasterUserPassword",
        "MaxAllocatedStorage",
        "MonitoringInterval",
        "MonitoringRoleArn",
        "MultiAZ",
        "PerformanceInsightsRetentionPeriod",
        "PreferredBackupWindow",
        "PreferredMaintenanceWindow",
        "PubliclyAccessible",
        "StorageThroughput",
        "StorageType",
    ),
    "VPCSecurityGroups": "VpcSecurityGroupIds",
}
"""Properties ModifyDBInstance changes on an instance that exists, under its names for them."""
HOW = frozenset({"AllowMajorVersionUpgrade", "ApplyImmediately", "DeleteAutomatedBackups"})
"""Properties that say how a later change or deletion is made: nothing is called when they change."""
TAKEN_AWAY: dict[str, Any] = {
    "CopyTagsToSnapshot": False,
    "DeletionProtection": False,
    "EnableIAMDatabaseAuthentication": False,
    "EnablePerformanceInsights": False,
    "MonitoringInterval": 0,
    "MultiAZ": False,
    "PubliclyAccessible": False,
}
"""What an instance gets when the template gives a property no more: what CreateDBInstance gives without it."""
