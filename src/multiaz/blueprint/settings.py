"""What a person chooses: one frozen, validated object from which the whole template follows.

Settings that are also CloudFormation parameters become the parameters' defaults, so they can still be
chosen at deploy time; the others decide the shape of the template. Rules that two settings make together
are in `constraints.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from multiaz.blueprint import addressing, offerings, patterns
from multiaz.blueprint.constraints import Violation, violations
from multiaz.blueprint.engines import ALL_ENGINE_VERSIONS, CURRENT_ENGINE_VERSIONS, DEFAULT_ENGINE_VERSION
from multiaz.blueprint.instance_classes import PRIMARY_CLASSES, REPLICA_CLASSES, SEED_CLASSES
from multiaz.blueprint.presets import PRESET_ROWS, Preset
from multiaz.blueprint.reserved_words import is_reserved
from multiaz.blueprint.windows import parse_backup_window, parse_maintenance_window
from multiaz.errors import BadInput

if TYPE_CHECKING:
    from multiaz.blueprint.workload import Load

T = TypeVar("T")

MONITORING_INTERVALS = (0, 1, 5, 10, 15, 30, 60)
INSIGHTS_RETENTION = (7, *(31 * months for months in range(1, 24)), 731)
"""Days RDS takes."""
INSIGHTS_RETENTION_ADVANCED = tuple(days for days in INSIGHTS_RETENTION if days >= 465)
"""Advanced Database Insights needs 15 months or more."""
LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
RESERVED_USERNAMES = frozenset({"admin", "postgres", "rdsadmin", "rdsrepladmin", "rdstopmgr", "public", "none", "user"})
RESERVED_DATABASES = frozenset({"rdsadmin", "template0", "template1"})
MAX_READ_REPLICAS = 15
CERTIFICATE_AUTHORITIES = ("rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1")

CREATE = "Amazon RDS API reference, CreateDBInstance"
LIMITS = "Amazon RDS user guide, Quotas and constraints for Amazon RDS"
OURS = "multiaz"
"""The source of a rule that is a choice of ours."""


def option(group: str, description: str, source: str = OURS, **bounds: Any) -> Any:
    """The field of one setting: the group it is listed in, what it is, and where its bounds come from."""
    return Field(description=description, json_schema_extra={"group": group, "source": source}, **bounds)


class Settings(BaseModel):
    """The stack as wanted. Make it with `settings_from`, which explains what it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_enum_values=False)

    preset: Annotated[Preset, option("Environment", "prod or test; fills the settings of `multiaz presets`")] = (
        Preset.PROD
    )
    environment_suffix: Annotated[
        str,
        option(
            "Environment",
            "ends every name; tags every resource",
            pattern=f"^{patterns.SUFFIX}$",
            max_length=patterns.SUFFIX_MAX_LENGTH,
        ),
    ] = "prod"
    region: Annotated[
        str,
        option(
            "Environment",
            "region the template is for: its classes and zones are checked; empty: any region",
            "AWS regional service data as cfn-lint ships it",
            pattern=patterns.REGION,
        ),
    ] = ""

    deletion_protection: Annotated[bool, option("Protection", "RDS refuses to delete the instances")] = True
    final_snapshot: Annotated[
        bool, option("Protection", "deleting the primary leaves a snapshot, and the key it needs")
    ] = True
    keep_bucket: Annotated[
        bool, option("Protection", "the buckets outlive the stack; else they are emptied and deleted")
    ] = True
    apply_immediately: Annotated[
        bool,
        option("Protection", "changes of instances are made at once; else in the maintenance window", CREATE),
    ] = False

    engine_version: Annotated[
        str, option("Database", "PostgreSQL version of all instances", "DescribeDBEngineVersions as cfn-lint ships it")
    ] = DEFAULT_ENGINE_VERSION
    replica_engine_version: Annotated[
        str,
        option(
            "Database",
            "version of the read replicas while a minor upgrade is under way: they go first; empty: the same",
            "Amazon RDS user guide, Upgrades of the RDS for PostgreSQL DB engine",
        ),
    ] = ""
    allow_major_version_upgrade: Annotated[
        bool, option("Database", "an update may change the major version; with apply_immediately", CREATE)
    ] = False
    allow_deprecated_engine_version: Annotated[
        bool, option("Database", "accept a version RDS has deprecated, for a stack that still runs it")
    ] = False
    extended_support: Annotated[
        bool, option("Database", "enrol in the paid support after the end of community support", CREATE)
    ] = False
    multi_az: Annotated[bool, option("Database", "the primary has a synchronous standby in another zone", CREATE)] = (
        True
    )
    read_replicas: Annotated[
        int,
        option("Database", "number of read replicas, in zones in turn", LIMITS, ge=0, le=MAX_READ_REPLICAS),
    ] = 2
    db_instance_class: Annotated[str, option("Database", "class of the primary and its standby", CREATE)] = (
        "db.m5.large"
    )
    read_replica_instance_class: Annotated[str, option("Database", "class of the read replicas", CREATE)] = (
        "db.m5.large"
    )
    db_name: Annotated[
        str,
        option(
            "Database",
            "database made at creation",
            CREATE,
            pattern=f"^{patterns.NAME}$",
            min_length=1,
            max_length=63,
        ),
    ] = "ecommercedb"
    db_port: Annotated[int, option("Database", "port of all instances", CREATE, ge=1150, le=65535)] = 5432
    ca_certificate_identifier: Annotated[
        Literal["rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1"],
        option("Database", "authority of the instances' certificates", "Amazon RDS user guide, Using SSL/TLS"),
    ] = "rds-ca-rsa2048-g1"

    orders_per_day: Annotated[
        int | None,
        option(
            "Capacity",
            "sizes the instances and volumes not given otherwise, see `multiaz capacity`; none: the preset's sizes",
            ge=1,
            le=100_000_000,
        ),
    ] = None
    reads_per_write: Annotated[
        float | None, option("Capacity", "queries that read for each that writes; with orders_per_day", ge=1, le=1000)
    ] = None
    peak_factor: Annotated[
        float | None, option("Capacity", "peak hour over the average; with orders_per_day", ge=1, le=100)
    ] = None
    allocated_storage: Annotated[
        int, option("Storage", "GiB of each instance at creation", CREATE, ge=20, le=65536)
    ] = 100
    max_allocated_storage: Annotated[int, option("Storage", "GiB autoscaling may reach", CREATE, ge=100, le=65536)] = (
        1000
    )
    storage_iops: Annotated[
        int | None,
        option(
            "Storage",
            "gp3 operations/s; none: the 3,000 or 12,000 that come with the volume",
            "Amazon RDS user guide, Amazon RDS DB instance storage",
            ge=12_000,
            le=64_000,
        ),
    ] = None
    storage_throughput: Annotated[
        int | None,
        option(
            "Storage",
            "gp3 MiB/s; none: the 125 or 500 that come with the volume",
            "Amazon RDS user guide, Amazon RDS DB instance storage",
            ge=500,
            le=4_000,
        ),
    ] = None
    kms_key_arn: Annotated[
        str,
        option("Storage", "own KMS key; empty: the stack makes one", CREATE, pattern=patterns.KMS_KEY_ARN),
    ] = ""

    vpc_id: Annotated[
        str, option("Network", "existing VPC; empty: the stack makes one", pattern=patterns.optional("vpc"))
    ] = ""
    subnet_ids: Annotated[
        tuple[str, ...],
        option("Network", "existing private subnets of that VPC, one a zone; readers are spread over them"),
    ] = ()
    vpc_cidr: Annotated[str, option("Network", "network of the VPC, made or existing")] = "10.0.0.0/16"
    zones: Annotated[
        int,
        option(
            "Network",
            "Availability Zones with a database subnet; three where the region has them",
            "Amazon RDS user guide, Working with a DB instance in a VPC",
            ge=2,
            le=3,
        ),
    ] = 3
    database_subnet_cidrs: Annotated[
        tuple[str, ...], option("Network", "networks of the database subnets, one a zone; none: placed by themselves")
    ] = ()
    nat_gateways: Annotated[
        Literal["none", "single", "per-zone"],
        option("Network", "way out of the database subnets; none: PostgreSQL needs no internet"),
    ] = "none"
    flow_logs: Annotated[
        bool, option("Network", "accepted and rejected connections are logged; off in an existing VPC unless given")
    ] = True
    secrets_endpoint: Annotated[
        bool,
        option(
            "Network",
            "an endpoint for the rotation to reach Secrets Manager; off where the subnets have another way, "
            "or the existing VPC such an endpoint",
        ),
    ] = True
    application_subnet_cidr: Annotated[str, option("Network", "where the application runs, inside the VPC")] = (
        "10.0.1.0/24"
    )
    application_security_group_id: Annotated[
        str,
        option(
            "Network",
            "security group of the application; admitted instead of its network",
            pattern=patterns.optional("sg"),
        ),
    ] = ""
    management_cidr: Annotated[str, option("Network", "where people and tools connect from")] = "10.0.0.0/16"

    db_master_username: Annotated[
        str,
        option(
            "Credentials",
            "master user; its password is generated",
            CREATE,
            pattern=f"^{patterns.NAME}$",
            min_length=1,
            max_length=16,
        ),
    ] = "dbadmin"
    password_rotation_days: Annotated[
        int,
        option(
            "Credentials",
            "days between rotations",
            "AWS Secrets Manager API reference, RotationRulesType",
            ge=1,
            le=1000,
        ),
    ] = 30
    writer_username: Annotated[
        str,
        option(
            "Credentials",
            "database user that reads and writes, by IAM token (made by `multiaz bootstrap`)",
            pattern=f"^{patterns.DATABASE_USER}$",
            max_length=63,
        ),
    ] = "app_writer"
    reader_username: Annotated[
        str,
        option(
            "Credentials",
            "database user that only reads, by IAM token (made by `multiaz bootstrap`)",
            pattern=f"^{patterns.DATABASE_USER}$",
            max_length=63,
        ),
    ] = "app_reader"

    backup_retention_days: Annotated[int, option("Backups", "days of automated backups", CREATE, ge=7, le=35)] = 7
    preferred_backup_window: Annotated[str, option("Backups", "daily, UTC, hh:mm-hh:mm", CREATE)] = "03:00-04:00"
    preferred_maintenance_window: Annotated[str, option("Backups", "weekly, UTC, ddd:hh:mm-ddd:hh:mm", CREATE)] = (
        "sun:04:00-sun:05:00"
    )
    aws_backup: Annotated[bool, option("Backups", "a vault and a daily plan of AWS Backup besides")] = False
    aws_backup_retention_days: Annotated[
        int,
        option(
            "Backups", "days AWS Backup keeps a recovery point", "AWS Backup API reference, Lifecycle", ge=1, le=36_500
        ),
    ] = 35
    backup_copy_region: Annotated[
        str,
        option(
            "Backups",
            "region automated backups are copied to; empty: none",
            "Amazon RDS user guide, Replicating automated backups to another AWS Region",
            pattern=patterns.REGION,
        ),
    ] = ""
    backup_copy_kms_key_arn: Annotated[
        str, option("Backups", "KMS key of the copies, in that region", pattern=patterns.KMS_KEY_ARN)
    ] = ""
    access_log_retention_days: Annotated[
        int, option("Backups", "days the access log of the backup bucket is kept", ge=1, le=3653)
    ] = 365

    performance_insights_retention: Annotated[
        int, option("Monitoring", "days of Performance Insights; 7, 31 to 713 in months of 31, 731", CREATE)
    ] = 7
    database_insights_mode: Annotated[
        Literal["standard", "advanced"], option("Monitoring", "advanced is billed per vCPU", CREATE)
    ] = "standard"
    enhanced_monitoring_interval: Annotated[int, option("Monitoring", "seconds; 0 disables", CREATE)] = 60
    monitoring_role_arn: Annotated[
        str,
        option(
            "Monitoring",
            "own role for Enhanced Monitoring; empty: the stack makes one",
            CREATE,
            pattern=patterns.ROLE_ARN,
        ),
    ] = ""
    log_retention_days: Annotated[
        int,
        option("Monitoring", "days the logs are kept", "Amazon CloudWatch Logs API reference, PutRetentionPolicy"),
    ] = 90
    account_events: Annotated[
        bool,
        option(
            "Monitoring",
            "also events no stack can choose by itself: of all DB snapshots and DB security groups of the account; on "
            "in one of its stacks (a region has 20 subscriptions)",
            LIMITS,
        ),
    ] = True
    alarm_email: Annotated[
        str,
        option("Monitoring", "address that gets every alarm; empty: none", pattern=patterns.EMAIL),
    ] = ""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Rows of the preset, and what other settings imply, for every setting that was not given."""
        if not isinstance(values, Mapping):
            return values
        try:
            preset = Preset(values.get("preset", Preset.PROD))
        except ValueError:
            return values  # the field itself says what is allowed
        filled = {**PRESET_ROWS[preset], **values}
        if filled.get("database_insights_mode") == "advanced":
            filled.setdefault("performance_insights_retention", INSIGHTS_RETENTION_ADVANCED[0])
        if filled.get("vpc_id"):
            filled.setdefault("flow_logs", False)
        if filled.get("region"):
            filled.setdefault("zones", offerings.zones_of(str(filled["region"])))
        return filled

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: Any, info: Any) -> Any:
        """Environment and flags hold text: a list is separated by commas, nothing is no value."""
        annotation = cls.model_fields[info.field_name].annotation
        if isinstance(value, str) and type(None) in get_args(annotation) and not value:
            return None
        if isinstance(value, str) and annotation == tuple[str, ...]:
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("engine_version", "replica_engine_version")
    @classmethod
    def _known_version(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.field_name == "replica_engine_version":
            return value
        if value not in ALL_ENGINE_VERSIONS:
            raise ValueError(f"RDS does not offer this version; choose one of {_listed(CURRENT_ENGINE_VERSIONS)}")
        return value

    @field_validator("db_instance_class")
    @classmethod
    def _primary_class(cls, value: str) -> str:
        return _a_class(value, PRIMARY_CLASSES)

    @field_validator("read_replica_instance_class")
    @classmethod
    def _replica_class(cls, value: str) -> str:
        return _a_class(value, REPLICA_CLASSES)

    @field_validator("enhanced_monitoring_interval")
    @classmethod
    def _monitoring_interval(cls, value: int) -> int:
        return _one_of(value, MONITORING_INTERVALS)

    @field_validator("performance_insights_retention")
    @classmethod
    def _insights_retention(cls, value: int) -> int:
        return _one_of(value, INSIGHTS_RETENTION)

    @field_validator("log_retention_days")
    @classmethod
    def _log_retention(cls, value: int) -> int:
        return _one_of(value, LOG_RETENTION_DAYS)

    @field_validator("db_master_username")
    @classmethod
    def _free_username(cls, value: str) -> str:
        if value.lower() in RESERVED_USERNAMES or is_reserved(value):
            raise ValueError("reserved by PostgreSQL or RDS, or the first name anybody would guess")
        return value

    @field_validator("db_name")
    @classmethod
    def _free_database(cls, value: str) -> str:
        if value.lower() in RESERVED_DATABASES or is_reserved(value):
            raise ValueError("reserved by PostgreSQL or RDS")
        return value

    @field_validator("writer_username", "reader_username")
    @classmethod
    def _free_role(cls, value: str) -> str:
        if value in RESERVED_USERNAMES or value.startswith(("rds", "pg_")) or is_reserved(value):
            raise ValueError("reserved by PostgreSQL or RDS")
        return value

    @field_validator("preferred_backup_window")
    @classmethod
    def _backup_window(cls, value: str) -> str:
        parse_backup_window(value)
        return value

    @field_validator("preferred_maintenance_window")
    @classmethod
    def _maintenance_window(cls, value: str) -> str:
        parse_maintenance_window(value)
        return value

    @field_validator("application_subnet_cidr", "management_cidr", "vpc_cidr")
    @classmethod
    def _network(cls, value: str) -> str:
        addressing.network(value)
        return value

    @field_validator("database_subnet_cidrs")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            addressing.network(part)
        return value

    @field_validator("subnet_ids")
    @classmethod
    def _subnets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            patterns.check_id(part, "subnet")
        return value

    @property
    def keep_key(self) -> bool:
        """What is kept is encrypted: a final snapshot or a bucket without its key is lost."""
        return self.final_snapshot or self.keep_bucket

    @property
    def makes_vpc(self) -> bool:
        """False: VPC and subnets exist already."""
        return not self.vpc_id


def settings_from(values: Mapping[str, object], origins: Mapping[str, str] | None = None) -> Settings:
    """Settings from plain values, defaults filled in; with orders_per_day the sizes not given follow from the load.

    `origins` says in words where each value was given ("multiaz.toml line 3").
    Raises BadInput that names every refused setting, its value, its origin, the rule and the rule's source;
    LoadTooLarge if nothing RDS has carries the load.
    """
    made = checked_alone(values, origins)
    sized = _sized(made, values)
    if sized:
        made = checked_alone({**values, **sized}, origins)
    broken = violations(made)
    if broken:
        told = None if origins is None else {**dict.fromkeys(sized, "orders_per_day"), **origins}
        raise _refusal([_told(violation, made, told) for violation in broken])
    return made


def checked_alone(values: Mapping[str, object], origins: Mapping[str, str] | None = None) -> Settings:
    """Settings each of which is right by itself; what they make together is not judged. Raises BadInput."""
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as refused:
        raise _refusal([_explain(error, origins or {}) for error in refused.errors(include_url=False)]) from refused


def load_of(s: Settings) -> Load:
    """The load these settings tell; what they leave open has the default of `Load`."""
    from multiaz.blueprint.workload import Load

    given = {name: getattr(s, name) for name in ("orders_per_day", "reads_per_write", "peak_factor")}
    return Load(**{name: value for name, value in given.items() if value is not None})


def _sized(made: Settings, values: Mapping[str, object]) -> dict[str, object]:
    """What the load decides: the sizes nobody gave, in place of the preset's. Nothing without orders_per_day."""
    if made.orders_per_day is None:
        return {}
    from multiaz.blueprint.capacity import capacity_for

    return {name: value for name, value in capacity_for(load_of(made)).settings().items() if name not in values}


def _refusal(reasons: list[str]) -> BadInput:
    return BadInput(
        "Cannot use these settings", "; ".join(reasons), "correct the setting and repeat; nothing was changed"
    )


def _told(violation: Violation, made: Settings, origins: Mapping[str, str] | None) -> str:
    """`setting=value from origin and …: rule (source: …)`; without `origins` nothing is said of any."""

    def origin(name: str) -> str:
        if origins is None:
            return ""
        unsaid = f"the preset {made.preset}" if name in PRESET_ROWS[made.preset] else "its default"
        return f" from {origins.get(name, unsaid)}"

    named = " and ".join(f"{name}={_shown(value)}{origin(name)}" for name, value in violation.settings.items())
    return f"{named}: {violation.rule} (source: {violation.source})"


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _explain(error: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """`setting=value from origin: rule (source: …)` of one of pydantic's errors."""
    message = str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    if error["type"] == "string_pattern_mismatch":
        message = f"must be {patterns.in_words(error['ctx']['pattern'])}"
    field = Settings.model_fields.get(name)
    extra = field.json_schema_extra if field else None
    source = f" (source: {extra['source']})" if isinstance(extra, dict) else ""
    origin = f" from {origins[name]}" if name in origins else ""
    return f"{name}={_cut(repr(error['input']))}{origin}: {message}{source}"


def _cut(text: str) -> str:
    """An error stays readable whatever was given."""
    return text if len(text) <= 80 else f"{text[:80]}…"


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(str(value) for value in values)


def _one_of(value: T, allowed: tuple[T, ...]) -> T:
    if value not in allowed:
        raise ValueError(f"must be one of {_listed(allowed)}")
    return value


def _a_class(value: str, offered: tuple[str, ...]) -> str:
    """`value`, if it is a class that is offered; else the nearest are named, not all of them."""
    if value not in offered:
        near = difflib.get_close_matches(value[:40].lower(), offered, n=4, cutoff=0.5) or list(SEED_CLASSES[:4])
        raise ValueError(f"not one of the {len(offered)} classes offered; near it: {', '.join(near)}")
    return value
