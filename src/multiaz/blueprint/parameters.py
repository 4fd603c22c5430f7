"""Parameters, conditions, mappings, and how the console groups them."""

from __future__ import annotations

from typing import Any

from troposphere import Condition, Equals, FindInMap, Not, Or, Parameter, Ref

from multiaz.blueprint.engines import ENGINE_VERSION_PATTERN
from multiaz.blueprint.instance_classes import INSTANCE_CLASSES, PRIMARY_CLASSES, REPLICA_CLASSES
from multiaz.blueprint.members import Member
from multiaz.blueprint.patterns import (
    CIDR,
    DATABASE_USER,
    EMAIL,
    KMS_KEY_ARN,
    NAME,
    SUFFIX,
    SUFFIX_MAX_LENGTH,
    optional,
)
from multiaz.blueprint.settings import MONITORING_INTERVALS, Settings

CLASS_MAP = "InstanceClass"
"""The mapping of facts per DB instance class; its columns are the next three."""
VCPU = "VCPU"
CONNECTIONS_ALARM = "ConnectionsAlarm"
MEMORY_ALARM = "MemoryAlarm"

APPLICATION_BY_GROUP = "ApplicationByGroup"
"""The condition: the application is admitted by its security group, not by its network."""


def parameters(s: Settings) -> list[Any]:
    """The seed's parameters first, then ours; the settings are their defaults.

    What nothing in the template would read is left out: a parameter without effect is a trap.
    """
    unused = set() if s.read_replicas else {"ReadReplicaInstanceClass", "ReplicaEngineVersion"}
    if s.makes_vpc:
        unused |= {"VpcId", "SubnetIds"}
    return [parameter for parameter in _all(s) if parameter.title not in unused]


def _all(s: Settings) -> list[Any]:
    return [
        Parameter(
            "EnvironmentSuffix",
            Type="String",
            Default=s.environment_suffix,
            Description="Environment suffix for resource naming and tagging. Kept for life: another one would make "
            "new, empty instances",
            AllowedPattern=SUFFIX,
            MaxLength=SUFFIX_MAX_LENGTH,
            ConstraintDescription="lower-case letters, digits and single hyphens",
        ),
        Parameter(
            "DBInstanceClass",
            Type="String",
            Default=s.db_instance_class,
            Description="RDS instance class for primary database",
            AllowedValues=list(PRIMARY_CLASSES),
        ),
        Parameter(
            "ReadReplicaInstanceClass",
            Type="String",
            Default=s.read_replica_instance_class,
            Description="RDS instance class for read replicas",
            AllowedValues=list(REPLICA_CLASSES),
        ),
        Parameter(
            "DBName",
            Type="String",
            Default=s.db_name,
            Description="Database name",
            MinLength=1,
            MaxLength=63,
            AllowedPattern=NAME,
        ),
        Parameter(
            "DBMasterUsername",
            Type="String",
            Default=s.db_master_username,
            Description="Master username for database. Kept for life: another one would make another secret",
            MinLength=1,
            MaxLength=16,
            AllowedPattern=NAME,
        ),
        Parameter(
            "BackupRetentionDays",
            Type="Number",
            Default=s.backup_retention_days,
            MinValue=7,
            MaxValue=35,
            Description="Number of days to retain automated backups",
        ),
        Parameter(
            "PreferredBackupWindow",
            Type="String",
            Default=s.preferred_backup_window,
            Description="Daily backup window (UTC)",
        ),
        Parameter(
            "PreferredMaintenanceWindow",
            Type="String",
            Default=s.preferred_maintenance_window,
            Description="Weekly maintenance window (UTC)",
        ),
        Parameter(
            "PerformanceInsightsRetention",
            Type="Number",
            Default=s.performance_insights_retention,
            AllowedValues=insights_retention_choices(s),
            Description="Performance Insights retention period in days "
            f"({' or '.join(str(days) for days in insights_retention_choices(s))})",
        ),
        Parameter(
            "EnhancedMonitoringInterval",
            Type="Number",
            Default=s.enhanced_monitoring_interval,
            AllowedValues=list(MONITORING_INTERVALS),
            Description="Enhanced Monitoring interval in seconds (0 to disable)",
        ),
        Parameter(
            "ApplicationSubnetCIDR",
            Type="String",
            Default=s.application_subnet_cidr,
            Description="CIDR block allowed to access database (application subnet)",
            AllowedPattern=CIDR,
        ),
        Parameter(
            "ManagementCIDR",
            Type="String",
            Default=s.management_cidr,
            Description="CIDR block for management access",
            AllowedPattern=CIDR,
        ),
        Parameter(
            "AllocatedStorage",
            Type="Number",
            Default=s.allocated_storage,
            MinValue=20,
            MaxValue=65536,
            Description="Allocated storage in GB",
        ),
        Parameter(
            "MaxAllocatedStorage",
            Type="Number",
            Default=s.max_allocated_storage,
            MinValue=100,
            MaxValue=65536,
            Description="Maximum storage for autoscaling in GB",
        ),
        Parameter(
            "KMSKeyARN",
            Type="String",
            Default=s.kms_key_arn,
            Description="Optional KMS Key ARN (leave empty to create new key); "
            "its policy must admit CloudWatch, its logs and RDS events",
            AllowedPattern=KMS_KEY_ARN,
        ),
        Parameter(
            "EngineVersion",
            Type="String",
            Default=s.engine_version,
            Description="PostgreSQL version of all instances",
            AllowedPattern=ENGINE_VERSION_PATTERN,
            ConstraintDescription="a minor version of PostgreSQL 16, 17 or 18",
        ),
        Parameter(
            "ReplicaEngineVersion",
            Type="String",
            Default=s.replica_engine_version,
            Description="PostgreSQL version of the read replicas: set it to the new minor version one update before "
            "EngineVersion, as RDS asks; empty: the same",
            AllowedPattern=f"^$|^{ENGINE_VERSION_PATTERN}$",
        ),
        Parameter(
            "DBPort",
            Type="Number",
            Default=s.db_port,
            MinValue=1150,
            MaxValue=65535,
            Description="Port of all instances. Kept for life: the secret would go on naming the old one",
        ),
        Parameter(
            "VpcId",
            Type="AWS::EC2::VPC::Id",
            Default=s.vpc_id,
            Description="Existing VPC of the databases",
        ),
        Parameter(
            "SubnetIds",
            Type="List<AWS::EC2::Subnet::Id>",
            Default=",".join(s.subnet_ids),
            Description="Existing private subnets of that VPC, one a zone, in two zones or more",
        ),
        Parameter(
            "ApplicationSecurityGroupId",
            Type="String",
            Default=s.application_security_group_id,
            Description="Security group of the application (empty: ApplicationSubnetCIDR is admitted instead)",
            AllowedPattern=optional("sg"),
        ),
        Parameter(
            "WriterUsername",
            Type="String",
            Default=s.writer_username,
            Description="Database user that reads and writes, by IAM token (made by multiaz bootstrap)",
            AllowedPattern=DATABASE_USER,
            MaxLength=63,
        ),
        Parameter(
            "ReaderUsername",
            Type="String",
            Default=s.reader_username,
            Description="Database user that only reads, by IAM token (made by multiaz bootstrap)",
            AllowedPattern=DATABASE_USER,
            MaxLength=63,
        ),
        Parameter(
            "AlarmEmail",
            Type="String",
            Default=s.alarm_email,
            Description="Address that gets every alarm and event (empty for none)",
            AllowedPattern=EMAIL,
        ),
    ]


def insights_retention_choices(s: Settings) -> list[int]:
    """Days a deployment may choose: the seed's two, 465 instead of 7 in the advanced mode, and the setting's own."""
    least = 465 if s.database_insights_mode == "advanced" else 7
    return sorted({least, s.performance_insights_retention, 731})


def conditions(s: Settings) -> dict[str, Any]:
    """Conditions by name."""
    return {
        "CreateKMSKey": Equals(Ref("KMSKeyARN"), ""),
        "EnableEnhancedMonitoring": Not(Equals(Ref("EnhancedMonitoringInterval"), 0)),
        APPLICATION_BY_GROUP: Not(Equals(Ref("ApplicationSecurityGroupId"), "")),
        # EC2 refuses the same rule twice.
        "ManagementElsewhere": Or(
            Condition(APPLICATION_BY_GROUP), Not(Equals(Ref("ManagementCIDR"), Ref("ApplicationSubnetCIDR")))
        ),
        **({"ReplicaVersionApart": Not(Equals(Ref("ReplicaEngineVersion"), ""))} if s.read_replicas else {}),
        "NotifyByEmail": Not(Equals(Ref("AlarmEmail"), "")),
    }


PARTITION_MAP = "Partition"
CONSOLE = "Console"
_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
"""Host of the console by partition. Source: AWS General Reference, service endpoints of the partitions."""


def console_host() -> Any:
    """Host of the console where the stack is."""
    return FindInMap(PARTITION_MAP, Ref("AWS::Partition"), CONSOLE)


def mappings() -> dict[str, dict[str, dict[str, Any]]]:
    """Consoles, and what the alarms must know of each class, so that they follow when the class parameter changes."""
    return {
        PARTITION_MAP: {name: {CONSOLE: host} for name, host in _CONSOLES.items()},
        CLASS_MAP: {
            name: {
                VCPU: facts.vcpu,
                CONNECTIONS_ALARM: facts.connections_alarm,
                MEMORY_ALARM: facts.freeable_memory_alarm_bytes,
            }
            for name, facts in INSTANCE_CLASSES.items()
        },
    }


def class_fact(member: Member, column: str) -> Any:
    """A column of the mapping for the class an instance has: it follows when the class parameter changes."""
    return FindInMap(CLASS_MAP, Ref(member.class_parameter), column)


_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Environment", ("EnvironmentSuffix",)),
    (
        "Database",
        (
            *("EngineVersion", "ReplicaEngineVersion", "DBInstanceClass", "ReadReplicaInstanceClass", "DBName"),
            *("DBMasterUsername", "WriterUsername", "ReaderUsername", "DBPort"),
        ),
    ),
    ("Storage", ("AllocatedStorage", "MaxAllocatedStorage", "KMSKeyARN")),
    (
        "Network",
        (*("VpcId", "SubnetIds", "ApplicationSubnetCIDR", "ApplicationSecurityGroupId", "ManagementCIDR"),),
    ),
    ("Backup", ("BackupRetentionDays", "PreferredBackupWindow", "PreferredMaintenanceWindow")),
    ("Monitoring", ("EnhancedMonitoringInterval", "PerformanceInsightsRetention", "AlarmEmail")),
)


def parameter_groups(s: Settings) -> list[tuple[str, tuple[str, ...]]]:
    """Heading to names of the parameters the template has with these settings."""
    there = {parameter.title for parameter in parameters(s)}
    return [(label, tuple(name for name in names if name in there)) for label, names in _GROUPS]


def interface(s: Settings) -> dict[str, Any]:
    """Template metadata: how the console groups the parameters."""
    return {
        "AWS::CloudFormation::Interface": {
            "ParameterGroups": [
                {"Label": {"default": label}, "Parameters": list(names)} for label, names in parameter_groups(s)
            ]
        }
    }
