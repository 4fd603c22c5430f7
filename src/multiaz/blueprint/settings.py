"""What a person chooses: one frozen, validated object from which the whole template follows.

Settings that are also CloudFormation parameters become the parameters' defaults, so they can still be
chosen at deploy time; the others decide the shape of the template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from multiaz.blueprint.engines import (
    CURRENT_ENGINE_VERSIONS,
    DEFAULT_ENGINE_VERSION,
    DEPRECATED_ENGINE_VERSIONS,
)
from multiaz.blueprint.instance_classes import PRIMARY_CLASSES, REPLICA_CLASSES
from multiaz.blueprint.presets import PRESET_ROWS, Preset
from multiaz.blueprint.windows import check_windows, parse_backup_window, parse_maintenance_window
from multiaz.errors import BadInput

T = TypeVar("T")

SUFFIX_PATTERN = r"[a-z0-9]+(-[a-z0-9]+)*"
SUFFIX_MAX_LENGTH = 24
"""So that a name of the runbook, which ends in the time, stays within RDS's limit of 60."""
NAME_PATTERN = r"[a-zA-Z][a-zA-Z0-9]*"
DATABASE_USER_PATTERN = r"[a-z_][a-z0-9_]*"
CIDR_PATTERN = r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$"
KMS_KEY_ARN_PATTERN = r"^$|^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$"
EMAIL_PATTERN = r"^$|^[^@\s]+@[^@\s]+\.[^@\s]+$"
MONITORING_INTERVALS = (0, 1, 5, 10, 15, 30, 60)
INSIGHTS_RETENTION_STANDARD = (7, 731)
"""The seed's choice; RDS also takes 31 x (1-23)."""
INSIGHTS_RETENTION_ADVANCED = (465, 731)
"""Advanced Database Insights needs 15 months or more."""
LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""Source: CloudWatch Logs API, PutRetentionPolicy."""
AUTOSCALING_MIN_PERCENT = 110
"""Source: Amazon RDS user guide, "Managing capacity automatically with storage autoscaling"."""
RESERVED_USERNAMES = frozenset({"admin", "postgres", "rdsadmin", "rdsrepladmin", "rdstopmgr", "public", "none", "user"})
RESERVED_DATABASES = frozenset({"rdsadmin", "template0", "template1"})


class Settings(BaseModel):
    """The stack as wanted. Make it with `settings_from`, which explains what it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_enum_values=False)

    preset: Annotated[Preset, Field(description="prod or test; fills the next four settings")] = Preset.PROD
    deletion_protection: Annotated[bool, Field(description="RDS refuses to delete the instances")] = True
    final_snapshot: Annotated[
        bool, Field(description="deleting the primary leaves a snapshot, and the key it needs")
    ] = True
    keep_bucket: Annotated[
        bool, Field(description="the backup bucket outlives the stack; else it is emptied and deleted")
    ] = True
    apply_immediately: Annotated[
        bool, Field(description="changes are made at once; else in the maintenance window")
    ] = False

    environment_suffix: Annotated[
        str,
        Field(
            description="ends every name; tags every resource",
            pattern=f"^{SUFFIX_PATTERN}$",
            max_length=SUFFIX_MAX_LENGTH,
        ),
    ] = "prod"
    engine_version: Annotated[str, Field(description="PostgreSQL version of all instances")] = DEFAULT_ENGINE_VERSION
    db_instance_class: Annotated[str, Field(description="class of the primary and its standby")] = "db.m5.large"
    read_replica_instance_class: Annotated[str, Field(description="class of the read replicas")] = "db.m5.large"
    db_name: Annotated[
        str,
        Field(description="database made at creation", pattern=f"^{NAME_PATTERN}$", min_length=1, max_length=63),
    ] = "ecommercedb"
    db_master_username: Annotated[
        str,
        Field(
            description="master user; its password is generated",
            pattern=f"^{NAME_PATTERN}$",
            min_length=1,
            max_length=16,
        ),
    ] = "dbadmin"
    db_port: Annotated[int, Field(description="port of all instances", ge=1150, le=65535)] = 5432
    iam_database_username: Annotated[
        str,
        Field(
            description="database user that may log in with an IAM token",
            pattern=f"^{DATABASE_USER_PATTERN}$",
            max_length=63,
        ),
    ] = "app_iam"

    backup_retention_days: Annotated[int, Field(description="days of automated backups", ge=7, le=35)] = 7
    preferred_backup_window: Annotated[str, Field(description="daily, UTC, hh:mm-hh:mm")] = "03:00-04:00"
    preferred_maintenance_window: Annotated[str, Field(description="weekly, UTC, ddd:hh:mm-ddd:hh:mm")] = (
        "sun:04:00-sun:05:00"
    )
    performance_insights_retention: Annotated[int, Field(description="days; 7 or 731 (advanced: 465 or 731)")] = 7
    database_insights_mode: Annotated[
        Literal["standard", "advanced"], Field(description="advanced is billed per vCPU")
    ] = "standard"
    enhanced_monitoring_interval: Annotated[int, Field(description="seconds; 0 disables")] = 60
    log_retention_days: Annotated[int, Field(description="days PostgreSQL's logs are kept")] = 30
    password_rotation_days: Annotated[int, Field(description="days between rotations", ge=1, le=1000)] = 30
    extended_support: Annotated[
        bool, Field(description="enrol in the paid support after the end of community support")
    ] = False

    zones: Annotated[Literal[2, 3], Field(description="Availability Zones with a database subnet")] = 3
    application_subnet_cidr: Annotated[str, Field(description="where the application runs")] = "10.0.1.0/24"
    management_cidr: Annotated[str, Field(description="where people and tools connect from")] = "10.0.0.0/16"

    allocated_storage: Annotated[int, Field(description="GiB at creation", ge=20, le=65536)] = 100
    max_allocated_storage: Annotated[int, Field(description="GiB autoscaling may reach", ge=100, le=65536)] = 1000
    kms_key_arn: Annotated[
        str, Field(description="own KMS key; empty: the stack makes one", pattern=KMS_KEY_ARN_PATTERN)
    ] = ""
    alarm_email: Annotated[
        str, Field(description="address that gets every alarm; empty: none", pattern=EMAIL_PATTERN)
    ] = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        """Rows of the preset, and the retention the mode needs, for every setting that was not given."""
        if not isinstance(values, Mapping):
            return values
        try:
            preset = Preset(values.get("preset", Preset.PROD))
        except ValueError:
            return values  # the field itself says what is allowed
        filled = {**PRESET_ROWS[preset], **values}
        if filled.get("database_insights_mode") == "advanced":
            filled.setdefault("performance_insights_retention", INSIGHTS_RETENTION_ADVANCED[0])
        return filled

    @field_validator("engine_version")
    @classmethod
    def _known_version(cls, value: str) -> str:
        if value not in CURRENT_ENGINE_VERSIONS and value not in DEPRECATED_ENGINE_VERSIONS:
            raise ValueError(f"RDS does not offer this version; choose one of {_listed(CURRENT_ENGINE_VERSIONS)}")
        return value

    @field_validator("db_instance_class")
    @classmethod
    def _primary_class(cls, value: str) -> str:
        return _one_of(value, PRIMARY_CLASSES)

    @field_validator("read_replica_instance_class")
    @classmethod
    def _replica_class(cls, value: str) -> str:
        return _one_of(value, REPLICA_CLASSES)

    @field_validator("enhanced_monitoring_interval")
    @classmethod
    def _monitoring_interval(cls, value: int) -> int:
        return _one_of(value, MONITORING_INTERVALS)

    @field_validator("log_retention_days")
    @classmethod
    def _log_retention(cls, value: int) -> int:
        return _one_of(value, LOG_RETENTION_DAYS)

    @field_validator("db_master_username")
    @classmethod
    def _free_username(cls, value: str) -> str:
        if value.lower() in RESERVED_USERNAMES:
            raise ValueError("reserved by PostgreSQL or RDS, or the first name anybody would guess")
        return value

    @field_validator("db_name")
    @classmethod
    def _free_database(cls, value: str) -> str:
        if value.lower() in RESERVED_DATABASES:
            raise ValueError("reserved by PostgreSQL or RDS")
        return value

    @field_validator("iam_database_username")
    @classmethod
    def _free_iam_username(cls, value: str) -> str:
        if value in RESERVED_USERNAMES or value.startswith(("rds", "pg_")):
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

    @field_validator("application_subnet_cidr", "management_cidr")
    @classmethod
    def _private_cidr(cls, value: str) -> str:
        return _checked_cidr(value)

    @model_validator(mode="after")
    def _cross_field_rules(self) -> Self:
        """Rules that two settings make together; each says which."""
        if self.max_allocated_storage * 100 < self.allocated_storage * AUTOSCALING_MIN_PERCENT:
            raise ValueError(
                f"max_allocated_storage={self.max_allocated_storage} must be at least 10 % above "
                f"allocated_storage={self.allocated_storage} (rule of RDS storage autoscaling)"
            )
        allowed = self.insights_retention_choices
        if self.performance_insights_retention not in allowed:
            raise ValueError(
                f"performance_insights_retention={self.performance_insights_retention} must be one of "
                f"{_listed(allowed)} when database_insights_mode={self.database_insights_mode}"
            )
        check_windows(self.preferred_backup_window, self.preferred_maintenance_window)
        if self.iam_database_username == self.db_master_username.lower():
            raise ValueError(
                f"iam_database_username={self.iam_database_username} must not be the master user: "
                "a member of rds_iam can no longer log in with its password"
            )
        return self

    @property
    def insights_retention_choices(self) -> tuple[int, ...]:
        """Days of Performance Insights the chosen mode allows."""
        if self.database_insights_mode == "advanced":
            return INSIGHTS_RETENTION_ADVANCED
        return INSIGHTS_RETENTION_STANDARD

    @property
    def keep_key(self) -> bool:
        """What is kept is encrypted: a final snapshot or a bucket without its key is lost."""
        return self.final_snapshot or self.keep_bucket


def settings_from(values: Mapping[str, object]) -> Settings:
    """Settings from plain values, defaults filled in.

    Raises BadInput that names every refused setting, its value and the rule.
    """
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as refused:
        raise BadInput(
            "Cannot use these settings",
            "; ".join(_explain(error) for error in refused.errors(include_url=False)),
            "correct the setting and repeat; nothing was changed",
        ) from refused


def _explain(error: Mapping[str, Any]) -> str:
    """`setting=value: rule` of one of pydantic's errors."""
    message = str(error["msg"]).removeprefix("Value error, ")
    where = ".".join(str(part) for part in error["loc"])
    if not where:
        return message
    if error["type"] == "extra_forbidden":
        return f"{where}: there is no such setting"
    if error["type"] == "string_pattern_mismatch":
        message = f"must match {error['ctx']['pattern']}"
    return f"{where}={error['input']!r}: {message}"


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(str(value) for value in values)


def _one_of(value: T, allowed: tuple[T, ...]) -> T:
    if value not in allowed:
        raise ValueError(f"must be one of {_listed(allowed)}")
    return value


def _checked_cidr(value: str) -> str:
    """`value` if it is an IPv4 network of less than everybody.

    Raises ValueError.
    """
    if not re.match(CIDR_PATTERN, value):
        raise ValueError("must be an IPv4 network such as 10.0.1.0/24")
    network = IPv4Network(value)  # a ValueError of its own names host bits and bad octets
    if network.prefixlen == 0:
        raise ValueError("a database must not be open to the whole internet")
    return value
