"""From the parameters of a call to the parts of a record that several actions share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from multiaz.cloud.rds import addresses, rules
from multiaz.cloud.rds.checks import DEFAULT_KEY, Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.engines import Engine
from multiaz.cloud.rds.faults import bad_combination, bad_value, instance_exists, subnet_group_not_found
from multiaz.cloud.rds.model import Instance, Monitoring, ParameterGroup, Storage, SubnetGroup
from multiaz.cloud.rds.parameters import FAMILIES
from multiaz.cloud.service import AwsFault
from multiaz.instance.records import MemberName

DEFAULT_SUBNET_GROUP = "default"
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


def subnet_group(core: Core, checks: Checks, region: str, name: str | None) -> SubnetGroup:
    """The named group; without a name RDS's own "default", of the default VPC's subnets."""
    shelf = core.repository.subnet_groups
    if name is None:
        name = DEFAULT_SUBNET_GROUP
        if shelf.get(region, name) is None:
            vpc, subnets = checks.default_subnets(region)
            shelf.put(
                region,
                name,
                SubnetGroup(region=region, name=name, description="default", vpc_id=vpc, subnets=subnets),
            )
    found = shelf.get(region, name.lower())
    if found is None:
        raise subnet_group_not_found(name)
    return found


def windows(params: dict[str, Any], identifier: str) -> tuple[str, str]:
    """The backup and the maintenance window: asked for, or chosen so that they do not overlap."""
    backup, maintenance = params.get("PreferredBackupWindow"), params.get("PreferredMaintenanceWindow")
    backup = rules.backup_window(backup) if backup else None
    maintenance = rules.maintenance_window(maintenance) if maintenance else None
    if backup and maintenance:
        rules.windows_apart(backup, maintenance)
        return backup, maintenance
    for attempt in range(64):
        chosen_backup, chosen_maintenance = rules.default_windows(f"{identifier}/{attempt}")
        pair = backup or chosen_backup, maintenance or chosen_maintenance
        try:
            rules.windows_apart(*pair)
        except AwsFault:
            continue
        return pair
    raise bad_value("The backup window and maintenance window must not overlap.")


def authority(params: dict[str, Any]) -> str:
    """The certificate authority that was asked for, or the default one. Raises AwsFault CertificateNotFound."""
    name = params.get("CACertificateIdentifier") or rules.CERTIFICATE_AUTHORITIES[0]
    if name not in rules.CERTIFICATE_AUTHORITIES:
        raise AwsFault("CertificateNotFound", f"Certificate not found: {name}", 404)
    return str(name)


def storage_like(source: Instance, params: dict[str, Any], what: str) -> Storage:
    """The storage of an instance made from another: as its source's where the call says nothing; never less."""
    before = source.storage
    allocated = params.get("AllocatedStorage", before.allocated_gib)
    if allocated < before.allocated_gib:
        raise bad_combination(
            f"The {what}'s storage ({allocated} GiB) can't be less than its source's ({before.allocated_gib} GiB)."
        )
    kind = params.get("StorageType") or before.kind
    inherits = kind == before.kind and allocated == before.allocated_gib and "Iops" not in params
    iops = before.iops if inherits and kind != "gp3" else params.get("Iops")
    most = params.get("MaxAllocatedStorage")
    iops, throughput = rules.storage(kind, allocated, iops, params.get("StorageThroughput"), most)
    if inherits and kind == "gp3" and "StorageThroughput" not in params:
        iops, throughput = before.iops, before.throughput_mibs
    return before.but(kind=kind, allocated_gib=allocated, max_allocated_gib=most, iops=iops, throughput_mibs=throughput)


def add(core: Core, instance: Instance, check: Callable[[], None] = lambda: None) -> Instance:
    """Give the instance an address, and keep it: from here on it is acknowledged.

    `check` is called within the transaction: what was looked at before may have changed.
    """
    with core.repository.transaction():
        if core.name_taken(instance.region, instance.identifier):
            raise instance_exists(instance.identifier)
        check()
        core.target(instance)  # raises if the parameter group is gone, or was given a value that cannot be here
        check_quota(core, instance.region, instance.storage.allocated_gib)
        address, port = addresses.of_name(core.home, core.repository, instance, instance.identifier)
        kept = core.repository.save(instance.but(network=instance.network.but(address=address, port=port)))
    core.wake()
    return kept
