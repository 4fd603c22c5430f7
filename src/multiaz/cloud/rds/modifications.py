"""What ModifyDBInstance sets going: what waits for the maintenance window, what is refused, and how it is shown.

A `Plan` gathers what one call, or one window, changes; `carry_out` makes it the instance's record, which the
watcher then brings about. Until that is seen to be done, the old values are shown, and the new ones as pending.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from multiaz.cloud.rds import addresses, automated, faults, resizing, rules
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.model import Instance, Operation, OperationKind
from multiaz.cloud.rds.requests import with_request
from multiaz.cloud.rds.status import Seen
from multiaz.cloud.service import AwsFault
from multiaz.instance.records import RequestKind

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
    "NewDBInstanceIdentifier": "DBInstanceIdentifier",
}
"""Changes that wait for the maintenance window without ApplyImmediately.
Source: RDS user guide, "Modifying an Amazon RDS DB instance", table of settings."""

STORAGE = ("AllocatedStorage", "StorageType", "Iops", "StorageThroughput")
STORAGE_REST_S = 6 * 3600
"""Storage is not changed again within six hours.
Source: RDS user guide, "Working with storage for Amazon RDS DB instances"."""

HIDDEN = "****"
"""What PendingModifiedValues shows of a password. Source: API reference, ModifyDBInstance, its example."""

_SAID: dict[str, tuple[str, str]] = {
    # what is changed: event when it begins, event when it is done
    "class": (
        "0012 Applying modification to database instance class",
        "0014 Finished applying modification to DB instance class",
    ),
    "storage": (
        "0018 Applying modification to allocated storage",
        "0017 Finished applying modification to allocated storage",
    ),
    "multi-az": (
        "0024 Applying modification to convert to a Multi-AZ DB instance",
        "0025 Finished applying modification to convert to a Multi-AZ DB instance",
    ),
    "single-az": (
        "0030 Applying modification to convert to a standard (Single-AZ) DB instance",
        "0029 Finished applying modification to convert to a standard (Single-AZ) DB instance",
    ),
}
"""Source: RDS user guide, "Amazon RDS event categories and event messages", DB instance events."""


@dataclass
class Plan:
    """What one call, or one maintenance window, changes."""

    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the record."""
    kinds: set[OperationKind] = field(default_factory=set)
    """What is under way then; empty: nothing that takes time."""
    begun: list[str] = field(default_factory=list)
    """Events, each "nnnn message", told at once."""
    done: list[str] = field(default_factory=list)
    """Events told once it is seen to be done."""
    before: dict[str, Any] = field(default_factory=dict)
    """What DescribeDBInstances still shows, by its names."""
    applying: dict[str, Any] = field(default_factory=dict)
    """What PendingModifiedValues shows meanwhile."""
    restart: bool = False
    """The servers take over new parameters by a restart."""
    rename: str | None = None

    def say(self, what: str) -> None:
        """Tell the beginning and the end of a change."""
        begin, end = _SAID[what]
        self.begun.append(begin)
        self.done.append(end)


def current(instance: Instance) -> dict[str, Any]:
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
        "DBInstanceIdentifier": instance.identifier,
    }


def asked(instance: Instance, params: Mapping[str, Any]) -> dict[str, Any]:
    """What the call says of the values that may wait: what is to change, and what waits already."""
    now = current(instance)
    if "." not in params.get("EngineVersion", "."):
        # A major version alone is what the instance has: that was checked before.
        params = {**params, "EngineVersion": instance.version}
    if params.get("NewDBInstanceIdentifier") is not None:
        identifier = rules.identifier(params["NewDBInstanceIdentifier"], "NewDBInstanceIdentifier")
        params = {**params, "NewDBInstanceIdentifier": identifier}
    return {
        shown: params[name]
        for name, shown in DEFERRED.items()
        if params.get(name) is not None and (params[name] != now[shown] or shown in instance.pending)
    }


def needs_no_window(instance: Instance, name: str, value: Any) -> bool:
    """True for a change that is made at once whatever ApplyImmediately says.

    Another backup retention, unless backups are turned on or off by it. Source: API reference, ModifyDBInstance.
    """
    return name == "BackupRetentionPeriod" and value != 0 and instance.backup_retention_days != 0


def parts(wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The changes in parts that are judged each by itself: what is said of storage belongs together."""
    storage = {name: value for name, value in wanted.items() if name in STORAGE}
    return [{name: value} for name, value in wanted.items() if name not in STORAGE] + ([storage] if storage else [])


def check(core: Core, instance: Instance, wanted: Mapping[str, Any], *, now: bool) -> None:
    """Raise AwsFault if the changes could not be made; `now`: they are to be made at once."""
    if "DBInstanceIdentifier" in wanted and core.name_taken(instance.region, wanted["DBInstanceIdentifier"]):
        raise faults.instance_exists(wanted["DBInstanceIdentifier"])
    if "DBInstanceClass" in wanted:
        one_class = rules.instance_class(wanted["DBInstanceClass"])
        core.target(instance.but(instance_class=one_class.name))
    if "BackupRetentionPeriod" in wanted and rules.retention_days(wanted["BackupRetentionPeriod"]) == 0:
        if core.repository.replicas_of(instance.resource_id):
            raise faults.bad_combination("Automated backups cannot be turned off while the instance has read replicas.")
        users = automated.being_restored(core, instance.resource_id) if now else []
        if users:
            raise faults.wrong_state(
                f"Automated backups cannot be turned off while {', '.join(users)} is being restored from them."
            )
    _storage_changes(instance, wanted)


def _storage_changes(instance: Instance, wanted: Mapping[str, Any]) -> dict[str, Any]:
    if not any(name in wanted for name in STORAGE):
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
    rests_until = (instance.storage_changed_at or 0) + STORAGE_REST_S
    if time.time() < rests_until:
        raise faults.bad_combination(
            "You can't currently modify the storage of this DB instance because the previous storage change is being "
            f"optimized: it can be changed again after {time.strftime('%Y-%m-%d %H:%M', time.gmtime(rests_until))} UTC."
        )
    return {"storage": before.but(kind=kind, allocated_gib=allocated, iops=iops, throughput_mibs=throughput)}


def add(core: Core, instance: Instance, wanted: Mapping[str, Any], plan: Plan) -> None:
    """Put changes of values that may wait, and have passed `check`, into the plan."""
    now = current(instance)
    storage = _storage_changes(instance, wanted)
    if storage:
        plan.changes |= storage
        plan.say("storage")
    if "BackupRetentionPeriod" in wanted:
        days = plan.changes["backup_retention_days"] = wanted["BackupRetentionPeriod"]
        if days == 0:
            plan.done.append("0028 Disabled automated backups")
        elif instance.backup_retention_days == 0:
            plan.done.append("0032 Enabled automated backups")
    if "CACertificateIdentifier" in wanted:
        plan.changes["certificate_authority"] = wanted["CACertificateIdentifier"]
    if "EngineVersion" in wanted:
        # Recorded only: the server that runs is the one installed, of the same major version.
        plan.changes["version"] = wanted["EngineVersion"]
    if "IAMDatabaseAuthenticationEnabled" in wanted:
        plan.changes["iam_authentication"] = wanted["IAMDatabaseAuthenticationEnabled"]
        plan.kinds.add(OperationKind.IAM)
    if "MultiAZ" in wanted:
        plan.changes["multi_az"] = wanted["MultiAZ"]
        plan.say("multi-az" if wanted["MultiAZ"] else "single-az")
    if "DBInstanceClass" in wanted:
        plan.changes["instance_class"] = wanted["DBInstanceClass"]
        plan.restart = True
        plan.say("class")
    if "DBInstanceIdentifier" in wanted:
        # As on RDS the endpoint goes with the name, and the instance is rebooted.
        plan.rename = wanted["DBInstanceIdentifier"]
        plan.restart = True
        plan.kinds.add(OperationKind.RENAME)
    if wanted.keys() - {"IAMDatabaseAuthenticationEnabled", "DBInstanceIdentifier"}:
        plan.kinds.add(OperationKind.MODIFY)
    plan.before |= {name: now[name] for name in wanted}
    plan.applying |= wanted


def carry_out(core: Core, instance: Instance, plan: Plan, seen: Seen) -> Instance:
    """The record with the plan's changes, under way. Tells the events of its beginning.

    Raises AwsFault, before anything is told, if the parameter group comes to nothing its servers could have.
    """
    changed, undo = instance.but(**plan.changes), {}
    if plan.restart:
        # A new class means new hardware on RDS, so everything that waited for a reboot comes with it.
        changed = changed.but(parameters=core.target(changed))
        undo = {"parameters": instance.parameters, "instance_class": instance.instance_class}
    if plan.rename is not None:
        address, port = addresses.of_name(core.home, core.repository, instance, plan.rename)
        changed = changed.but(network=changed.network.but(address=address, port=port))
    for line in plan.begun:
        core.tell(instance, *line.split(" ", 1))  # type: ignore[arg-type]
    if not plan.kinds:
        for line in plan.done:
            core.tell(instance, *line.split(" ", 1))  # type: ignore[arg-type]
        return changed
    operation = Operation(
        kind=plan.kinds.copy().pop() if len(plan.kinds) == 1 else OperationKind.MODIFY,
        started_at=time.time(),
        detail="\n".join(plan.done),
        before=plan.before,
        applying=plan.applying,
        rename=plan.rename,
        undo=undo,
    )
    if resizing.goes_by_failover(instance, changed):
        return resizing.begin(changed, operation, seen)
    if plan.restart:
        changed = with_request(changed, RequestKind.REBOOT, seen)
        operation = operation.but(request=changed.requests)
    return changed.but(operation=operation)


def apply_pending(core: Core, instance: Instance, names: Collection[str]) -> bool:
    """The time of some changes that waited has come: make them; True if the record changed.

    One that cannot be made is told and dropped, and does not keep the others from being made.
    """
    with core.repository.transaction():
        fresh = core.repository.instances.get(instance.region, instance.identifier)
        if fresh is None or fresh.operation is not None:
            return False
        chosen = {name: value for name, value in fresh.pending.items() if name in names}
        if not chosen:
            return False
        waiting = fresh.but(
            pending={name: value for name, value in fresh.pending.items() if name not in chosen},
            due=tuple(name for name in fresh.due if name not in chosen),
        )
        now: dict[str, Any] = {}
        for part in parts(chosen):
            try:
                check(core, waiting, part, now=True)
            except AwsFault as fault:
                _tell_dropped(core, fresh, part, fault)
            else:
                now |= part
        plan = Plan()
        add(core, waiting, now, plan)
        try:
            changed = carry_out(core, waiting, plan, core.seen(fresh))
        except AwsFault as fault:
            _tell_dropped(core, fresh, now, fault)
            changed = waiting
        core.repository.save(changed)
    return True


def _tell_dropped(core: Core, instance: Instance, names: Collection[str], fault: AwsFault) -> None:
    core.tell(instance, "0044", f"Pending modifications could not be applied ({', '.join(names)}): {fault.message}")
