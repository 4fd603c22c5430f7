"""From the parameters of a call to the parts of a record that several actions share."""

from __future__ import annotations

import secrets
from typing import Any

from multiaz.cloud.rds import rules
from multiaz.cloud.rds.checks import DEFAULT_KEY, Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.engines import Engine
from multiaz.cloud.rds.faults import bad_combination, bad_value
from multiaz.cloud.rds.model import Monitoring, ParameterGroup, SubnetGroup
from multiaz.cloud.rds.parameters import FAMILIES
from multiaz.cloud.service import AwsFault
from multiaz.instance.records import MemberName

MOST_INSTANCES = 40
MOST_STORAGE_GIB = 100_000
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
ADVANCED_RETENTION_DAYS = 465


def resource_id() -> str:
    """A new DbiResourceId: "db-" and 26 random letters and digits."""
    return "db-" + "".join(secrets.choice(_LETTERS) for _ in range(26))


def port_of(port: int) -> int:
    """A port RDS takes."""
    if not 1150 <= port <= 65535:
        raise bad_value(f"Invalid database port: {port}. It must be between 1150 and 65535.")
    return port


def zones_of(group: SubnetGroup, *, multi_az: bool, asked: str | None) -> dict[MemberName, str]:
    """The zone of each member: the one that was asked for first, then the group's others in order."""
    if asked is not None and multi_az:
        raise bad_combination("Requesting a specific availability zone is not valid for Multi-AZ instances.")
    zones = list(group.zones)
    if asked is not None:
        if asked not in zones:
            raise AwsFault(
                "InvalidVPCNetworkStateFault",
                f"DB subnet group {group.name} has no subnet in {asked}. It covers: {', '.join(zones)}.",
            )
        zones.remove(asked)
        zones.insert(0, asked)
    if len(zones) < 2:
        raise AwsFault(
            "DBSubnetGroupDoesNotCoverEnoughAZs",
            f"The DB subnet group {group.name} doesn't meet Availability Zone (AZ) coverage requirement. "
            "Add subnets to cover at least 2 AZs.",
        )
    return {"a": zones[0], "b": zones[1]}


def parameter_group_for(core: Core, region: str, name: str | None, engine: Engine) -> ParameterGroup:
    """The parameter group to use, which must be of the engine's family."""
    group = core.parameter_group(region, name or core.default_group_name(engine.major))
    check_family(group, engine.major)
    return group


def check_family(group: ParameterGroup, major: int) -> None:
    """A group serves its own major version only."""
    if group.family != FAMILIES[major]:
        raise bad_combination(
            f"The parameter group {group.name} with DBParameterGroupFamily {group.family} can't be used for this "
            f"instance. Please use a parameter group with DBParameterGroupFamily {FAMILIES[major]}."
        )


def check_option_group(name: str | None, major: int) -> None:
    """An option group serves its own major version only, and there is only each version's default.

    Raises AwsFault InvalidParameterCombination.
    """
    if name not in (None, f"default:postgres-{major}"):
        raise bad_combination(
            f"The option group {name} can't be used for this instance: it is of another major version than "
            f"PostgreSQL {major}. Please use the option group default:postgres-{major}."
        )


def monitoring_of(
    params: dict[str, Any], checks: Checks, region: str, version: str, before: Monitoring | None = None
) -> Monitoring:
    """What is to be watched, after `before` was changed by the parameters."""
    before = before or Monitoring()
    interval = params.get("MonitoringInterval", before.interval_s)
    if interval not in rules.MONITORING_INTERVALS:
        raise bad_value(f"Invalid monitoring interval: {interval}. Valid values: 0, 1, 5, 10, 15, 30, 60.")
    role = params.get("MonitoringRoleArn", before.role) or None
    if interval and role is None:
        raise bad_combination(
            "A MonitoringRoleARN value is required if you specify a MonitoringInterval value other than 0."
        )
    if "MonitoringRoleArn" in params and role is not None:
        if not interval:
            raise bad_combination(
                "A MonitoringInterval value other than 0 is required if you specify a MonitoringRoleArn."
            )
        checks.monitoring_role(region, role)
    insights = params.get("EnablePerformanceInsights", before.insights)
    return Monitoring(
        interval_s=interval,
        role=role if interval else None,
        insights=insights,
        **_insights_of(params, checks, region, before, enabled=insights),
        log_exports=(
            rules.log_types(params["EnableCloudwatchLogsExports"], version)
            if "EnableCloudwatchLogsExports" in params
            else before.log_exports
        ),
    )


def _insights_of(
    params: dict[str, Any], checks: Checks, region: str, before: Monitoring, *, enabled: bool
) -> dict[str, Any]:
    mode = rules.one_of(
        params.get("DatabaseInsightsMode", before.insights_mode), ("standard", "advanced"), "DatabaseInsightsMode"
    )
    if not enabled:
        for name in ("PerformanceInsightsKMSKeyId", "PerformanceInsightsRetentionPeriod"):
            if params.get(name) is not None:
                raise bad_combination(f"{name} cannot be specified when Performance Insights is not enabled.")
        if mode == "advanced":
            raise bad_combination("Database Insights in advanced mode requires Performance Insights.")
        return {"insights_mode": mode}
    days = params.get("PerformanceInsightsRetentionPeriod", before.insights_retention_days)
    if days is None:
        days = ADVANCED_RETENTION_DAYS if mode == "advanced" else 7
    if days not in rules.INSIGHTS_RETENTION:
        raise bad_value(
            f"Invalid Performance Insights retention period: {days}. Valid values: 7, 731, and 31 times 1 to 23."
        )
    if mode == "advanced" and days < ADVANCED_RETENTION_DAYS:
        raise bad_combination(
            f"Database Insights in advanced mode requires a retention period of {ADVANCED_RETENTION_DAYS} days."
        )
    key = before.insights_kms_key
    wanted = params.get("PerformanceInsightsKMSKeyId")
    if wanted is not None or key is None:
        asked = checks.key(region, wanted or DEFAULT_KEY)
        if key is not None and asked != key:
            raise bad_combination("The Performance Insights KMS key cannot be changed once it is set.")
        key = asked
    return {"insights_mode": mode, "insights_kms_key": key, "insights_retention_days": days}


def check_quota(core: Core, region: str, more_gib: int) -> None:
    """One instance and its storage more are within an account's default quotas."""
    instances = core.repository.instances.all(region)
    if len(instances) >= MOST_INSTANCES:
        raise AwsFault("InstanceQuotaExceeded", "Instance Quota Exceeded")
    if sum(one.storage.allocated_gib for one in instances) + more_gib > MOST_STORAGE_GIB:
        raise AwsFault("StorageQuotaExceeded", "Storage quota exceeded")
