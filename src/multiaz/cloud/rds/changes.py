"""ModifyDBInstance: which changes are made at once, which wait for the maintenance window, and how."""

from __future__ import annotations

import time
from typing import Any

from multiaz.cloud.rds import building, faults, rules
from multiaz.cloud.rds.checks import Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.model import Instance, Monitoring, Operation, OperationKind
from multiaz.cloud.rds.requests import with_request
from multiaz.cloud.rds.status import Seen
from multiaz.cloud.service import AwsFault, Context
from multiaz.cloud.service import Operation as Action
from multiaz.instance.records import RequestKind
from multiaz.postgres.scram import verifier

DEFERRED = {
    # parameter of the call: its name in PendingModifiedValues
    "DBInstanceClass": "DBInstanceClass",
    "AllocatedStorage": "AllocatedStorage",
    "MultiAZ": "MultiAZ",
    "StorageType": "StorageType",
    "Iops": "Iops",
    "StorageThroughput": "StorageThroughput",
    "BackupRetentionPeriod": "BackupRetentionPeriod",
    "CACertificateIdentifier": "CACertificateIdentifier",
    "EngineVersion": "EngineVersion",
    "EnableIAMDatabaseAuthentication": "IAMDatabaseAuthenticationEnabled",
}
"""Changes that wait for the maintenance window without ApplyImmediately.
Source: RDS user guide, "Modifying an Amazon RDS DB instance", table of settings."""

_STORAGE = ("AllocatedStorage", "StorageType", "Iops", "StorageThroughput")


class ModifyAction:
    """ModifyDBInstance."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._checks = Checks(core.clients)
        self.operations: dict[str, Action] = {"ModifyDBInstance": self.modify}

    def modify(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """ModifyDBInstance."""
        core, region = self._core, context.region
        instance = core.require(region, params["DBInstanceIdentifier"])
        self._refuse(instance, params)
        recorded = self._recorded(instance, params)
        with core.repository.transaction():
            fresh = core.require(region, instance.identifier)
            if fresh != instance:
                recorded = self._recorded(fresh, params)
            seen = core.seen(fresh)
            status = core.status(fresh)
            pending = _pending(fresh, params)
            if status != "available" and not (status == "stopped" and _only_recorded(params)):
                raise faults.wrong_state(
                    f"Database instance {fresh.identifier} is not in available state: it cannot be modified while "
                    f"it is {status}."
                )
            changed = fresh.but(**recorded)
            if params.get("MasterUserPassword"):
                changed = changed.but(
                    master_verifier=verifier(rules.master_password(params["MasterUserPassword"])),
                    master_number=fresh.master_number + 1,
                    operation=Operation(kind=OperationKind.PASSWORD, started_at=time.time()),
                )
            if params.get("ApplyImmediately", False):
                changed = apply(core, changed.but(pending={}), {**fresh.pending, **pending}, seen)
            else:
                # A value the instance has already takes back what was waiting to change it.
                now = _current(fresh)
                waiting = {
                    name: value for name, value in {**fresh.pending, **pending}.items() if value != now.get(name)
                }
                check(changed, waiting)
                changed = changed.but(pending=waiting)
            core.repository.save(changed)
        core.wake()
        return {"DBInstance": core.shape(changed)}

    def _refuse(self, instance: Instance, params: dict[str, Any]) -> None:
        """What cannot be changed here, unless it says what is so anyway."""
        asked = params.get("EngineVersion")
        if asked not in (None, instance.version) and self._core.engines.for_version(asked).major != instance.major:
            raise faults.bad_combination(
                f"Cannot upgrade postgres from {instance.version} to {asked}: versions are not upgraded in place on "
                "the local cloud."
            )
        if params.get("DBPortNumber", instance.network.asked_port) != instance.network.asked_port:
            raise faults.bad_combination(
                "The parameter DBPortNumber is not available on the local cloud: an endpoint keeps its port."
            )
        group = params.get("DBSubnetGroupName", instance.network.subnet_group).lower()
        if group != instance.network.subnet_group:
            raise faults.bad_combination(
                "The parameter DBSubnetGroupName is not available on the local cloud: an instance keeps its subnets."
            )
        if instance.is_replica:
            if params.get("MasterUserPassword"):
                raise faults.bad_combination("The master password of a read replica is its source's: change it there.")
            if params.get("MultiAZ"):
                raise faults.bad_combination(
                    "The parameter MultiAZ cannot be true for a read replica on the local cloud: it has no standby "
                    "of its own."
                )
        if params.get("CertificateRotationRestart") is not None and "CACertificateIdentifier" not in params:
            raise faults.bad_combination("CertificateRotationRestart requires CACertificateIdentifier.")
        authority = params.get("CACertificateIdentifier")
        if authority is not None and authority not in rules.CERTIFICATE_AUTHORITIES:
            raise AwsFault("CertificateNotFound", f"Certificate not found: {authority}", 404)

    def _recorded(self, instance: Instance, params: dict[str, Any]) -> dict[str, Any]:
        """Changes that are made at once, whatever ApplyImmediately says."""
        core, region = self._core, instance.region
        changes: dict[str, Any] = {}
        if params.get("DBParameterGroupName"):
            group = core.parameter_group(region, params["DBParameterGroupName"])
            building.check_family(group, instance.major)
            # As on RDS, the values of a newly associated group, dynamic ones too, come with the next reboot.
            changes["parameter_group"] = group.name
        for name, field in (
            ("DeletionProtection", "deletion_protection"),
            ("CopyTagsToSnapshot", "copy_tags"),
            ("AutoMinorVersionUpgrade", "auto_minor_upgrade"),
        ):
            if name in params:
                changes[field] = params[name]
        if "EngineLifecycleSupport" in params:
            changes["lifecycle_support"] = rules.one_of(
                params["EngineLifecycleSupport"], rules.LIFECYCLES, "EngineLifecycleSupport"
            )
        changes.update(_windows(instance, params))
        changes["monitoring"] = self._monitoring(instance, params)
        network = instance.network
        if params.get("VpcSecurityGroupIds"):
            groups = self._checks.security_groups(region, params["VpcSecurityGroupIds"], network.vpc_id)
            network = network.but(security_groups=groups)
        if "PubliclyAccessible" in params:
            network = network.but(publicly_accessible=params["PubliclyAccessible"])
        changes["network"] = network
        if "MaxAllocatedStorage" in params:
            most = params["MaxAllocatedStorage"]
            allocated = params.get("AllocatedStorage", instance.storage.allocated_gib)
            # As on RDS, a maximum equal to the storage turns autoscaling off.
            if most == allocated:
                most = None
            storage = instance.storage
            rules.storage("gp2", max(20, allocated), None, None, most)
            changes["storage"] = storage.but(max_allocated_gib=most)
        return changes

    def _monitoring(self, instance: Instance, params: dict[str, Any]) -> Monitoring:
        wanted = {key: value for key, value in params.items() if key != "EnableCloudwatchLogsExports"}
        exports = params.get("CloudwatchLogsExportConfiguration") or {}
        kept = set(instance.monitoring.log_exports)
        on = set(rules.log_types(exports.get("EnableLogTypes", ()), instance.version))
        off = set(rules.log_types(exports.get("DisableLogTypes", ()), instance.version))
        if on & off:
            raise faults.bad_combination(
                f"A log type cannot be enabled and disabled at once: {', '.join(sorted(on & off))}"
            )
        wanted["EnableCloudwatchLogsExports"] = sorted((kept | on) - off)
        return building.monitoring_of(wanted, self._checks, instance.region, instance.version, instance.monitoring)


def _windows(instance: Instance, params: dict[str, Any]) -> dict[str, str]:
    backup = params.get("PreferredBackupWindow") or instance.backup_window
    maintenance = params.get("PreferredMaintenanceWindow") or instance.maintenance_window
    if backup == instance.backup_window and maintenance == instance.maintenance_window:
        return {}
    backup, maintenance = rules.backup_window(backup), rules.maintenance_window(maintenance)
    rules.windows_apart(backup, maintenance)
    return {"backup_window": backup, "maintenance_window": maintenance}


def _current(instance: Instance) -> dict[str, Any]:
    """The values PendingModifiedValues may hold, as they are now."""
    return {
        "DBInstanceClass": instance.instance_class,
        "AllocatedStorage": instance.storage.allocated_gib,
        "MultiAZ": instance.multi_az,
        "StorageType": instance.storage.kind,
        "Iops": instance.storage.iops,
        "StorageThroughput": instance.storage.throughput_mibs,
        "BackupRetentionPeriod": instance.backup_retention_days,
        "CACertificateIdentifier": instance.certificate_authority,
        "EngineVersion": instance.version,
        "IAMDatabaseAuthenticationEnabled": instance.iam_authentication,
    }


def _pending(instance: Instance, params: dict[str, Any]) -> dict[str, Any]:
    """What the call changes among the values that may wait."""
    now = {**_current(instance), **instance.pending}
    if "." not in params.get("EngineVersion", "."):
        # A major version alone is what the instance has: that was checked before.
        params = {**params, "EngineVersion": instance.version}
    return {
        shown: params[name]
        for name, shown in DEFERRED.items()
        if params.get(name) is not None and params[name] != now[shown]
    }


def _only_recorded(params: dict[str, Any]) -> bool:
    return not (params.keys() & (DEFERRED.keys() | {"MasterUserPassword"}))


def check(instance: Instance, wanted: dict[str, Any]) -> None:
    """Raise AwsFault if the pending changes could not be made."""
    if "DBInstanceClass" in wanted:
        rules.instance_class(wanted["DBInstanceClass"])
    if "BackupRetentionPeriod" in wanted:
        rules.retention_days(wanted["BackupRetentionPeriod"])
    _storage_changes(instance, wanted)


def _storage_changes(instance: Instance, wanted: dict[str, Any]) -> dict[str, Any]:
    if not any(name in wanted for name in _STORAGE):
        return {}
    before = instance.storage
    allocated = wanted.get("AllocatedStorage", before.allocated_gib)
    rules.growth(before.allocated_gib, allocated)
    kind = wanted.get("StorageType", before.kind)
    keeps = kind == before.kind and (kind != "gp3" or before.allocated_gib >= 400)
    iops = wanted.get("Iops", before.iops if keeps else None)
    throughput = wanted.get("StorageThroughput", before.throughput_mibs if keeps else None)
    most = before.max_allocated_gib
    if most is not None and most <= allocated:
        raise faults.bad_combination(f"MaxAllocatedStorage ({most}) must be above AllocatedStorage ({allocated}).")
    iops, throughput = rules.storage(kind, allocated, iops, throughput, None)
    return {"storage": before.but(kind=kind, allocated_gib=allocated, iops=iops, throughput_mibs=throughput)}


def apply(core: Core, instance: Instance, wanted: dict[str, Any], seen: Seen) -> Instance:
    """The record with the changes, which the watcher then brings about. Raises AwsFault if one is refused."""
    check(instance, wanted)
    if not wanted:
        return instance
    said: list[str] = []
    changes: dict[str, Any] = _storage_changes(instance, wanted)
    if changes:
        said.append("0018 Finished applying modification to allocated storage")
    if "BackupRetentionPeriod" in wanted:
        days = changes["backup_retention_days"] = wanted["BackupRetentionPeriod"]
        if days == 0 and core.repository.replicas_of(instance.resource_id):
            raise faults.bad_combination("Automated backups cannot be turned off while the instance has read replicas.")
        said.append("0028 Disabled automated backups" if days == 0 else "0032 Enabled automated backups")
    if "CACertificateIdentifier" in wanted:
        changes["certificate_authority"] = wanted["CACertificateIdentifier"]
    if "EngineVersion" in wanted:
        # Recorded only: the server that runs is the one installed, of the same major version.
        changes["version"] = wanted["EngineVersion"]
    if "IAMDatabaseAuthenticationEnabled" in wanted:
        changes["iam_authentication"] = wanted["IAMDatabaseAuthenticationEnabled"]
    if "MultiAZ" in wanted:
        changes["multi_az"] = wanted["MultiAZ"]
        said.append(
            "0025 Finished applying modification to convert to a Multi-AZ DB instance"
            if wanted["MultiAZ"]
            else "0030 Finished applying modification to convert to a standard (Single-AZ) DB instance"
        )
    changed = instance.but(**changes)
    if "DBInstanceClass" in wanted:
        changed = changed.but(instance_class=wanted["DBInstanceClass"])
        # A new class means new hardware on RDS, so everything that waited for a reboot comes with it.
        changed = with_request(changed.but(parameters=core.target(changed)), RequestKind.REBOOT, seen)
        said.append("0014 Finished applying modification to DB instance class")
    password = instance.operation is not None and instance.operation.kind is OperationKind.PASSWORD
    if password:
        said.append("0016 Reset master credentials")
    operation = Operation(
        kind=OperationKind.MODIFY,
        started_at=time.time(),
        request=changed.requests if "DBInstanceClass" in wanted else None,
        detail="\n".join(said),
    )
    return changed.but(operation=operation)


def apply_pending(core: Core, instance: Instance) -> bool:
    """The maintenance window has come: make the changes that waited; True if the record changed."""
    with core.repository.transaction():
        fresh = core.repository.instances.get(instance.region, instance.identifier)
        if fresh is None or not fresh.pending or fresh.operation is not None:
            return False
        waiting = fresh.but(pending={})
        try:
            changed = apply(core, waiting, fresh.pending, core.seen(fresh))
        except AwsFault as fault:
            core.tell(fresh, "0036", f"The pending modifications could not be applied: {fault.message}")
            changed = waiting
        core.repository.save(changed)
    return True
