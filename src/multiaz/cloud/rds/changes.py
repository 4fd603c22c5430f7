"""ModifyDBInstance: what the call says, checked; `modifications.py` has what comes of it."""

from __future__ import annotations

from typing import Any

from multiaz.cloud.rds import building, faults, modifications, rules
from multiaz.cloud.rds.checks import Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.model import Instance, Monitoring, OperationKind
from multiaz.cloud.rds.modifications import HIDDEN, Plan, needs_no_window
from multiaz.cloud.rds.status import MODIFIABLE
from multiaz.cloud.service import AwsFault, Context
from multiaz.cloud.service import Operation as Action
from multiaz.instance.records import RunState
from multiaz.postgres.scram import verifier

WHILE_STOPPED = frozenset({"DBInstanceIdentifier", "DBParameterGroupName", "OptionGroupName", "ApplyImmediately"})
"""All that a call may say of an instance that is stopped.
Source: RDS user guide, "Stopping an Amazon RDS DB instance temporarily", limitations and group considerations."""

WHILE_FULL = frozenset({"DBInstanceIdentifier", "ApplyImmediately", "MaxAllocatedStorage", *modifications.STORAGE})
"""All that a call may say of an instance whose storage is full: more of it.
Source: RDS user guide, "Amazon RDS DB instance running out of storage"."""


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
        plan = self._at_once(instance, params)
        with core.repository.transaction():
            fresh = core.require(region, instance.identifier)
            if fresh != instance:
                self._refuse(fresh, params)
                plan = self._at_once(fresh, params)
            self._require_modifiable(fresh, params)
            now, waiting = self._now_and_later(fresh, params, plan)
            modifications.add(core, fresh.but(**plan.changes), now, plan)
            changed = modifications.carry_out(core, waiting, plan, core.seen(fresh))
            if params.get("DBParameterGroupName") is not None:
                core.target(changed)  # raises if the group is gone meanwhile, or comes to a value that cannot be here
            core.repository.save(changed)
        core.wake()
        return {"DBInstance": core.shape(changed)}

    def _now_and_later(self, fresh: Instance, params: dict[str, Any], plan: Plan) -> tuple[dict[str, Any], Instance]:
        """What is made at once of all that waits and is asked for, and the record with the rest of it.

        Raises AwsFault if what is asked for cannot be made. What an earlier call asked for, and cannot be made now,
        waits on: that is told in the maintenance window.
        """
        asked, as_is = modifications.asked(fresh, params), modifications.current(fresh)
        # A value the instance has already takes back what was waiting to change it.
        wanted = {name: value for name, value in {**fresh.pending, **asked}.items() if value != as_is[name]}
        immediately = params.get("ApplyImmediately", False)
        # Servers that are stopped, or do not start, would never answer.
        serves = fresh.run is RunState.RUNNING and not fresh.incompatible
        now: dict[str, Any] = {}
        for part in modifications.parts(wanted):
            chosen = serves and (
                immediately or any(name in asked and needs_no_window(fresh, name, part[name]) for name in part)
            )
            try:
                modifications.check(self._core, fresh.but(**plan.changes), part, now=chosen)
            except AwsFault:
                if part.keys() & asked.keys():
                    raise
                continue
            if chosen:
                now |= part
        waiting = {name: value for name, value in wanted.items() if name not in now}
        due = tuple(
            name for name in waiting if (immediately and not serves) or (name in fresh.due and name not in asked)
        )
        return now, fresh.but(pending=waiting, due=due)

    def _require_modifiable(self, instance: Instance, params: dict[str, Any]) -> None:
        status = self._core.status(instance)
        if status == "incompatible-parameters" and not params.keys() - WHILE_STOPPED:
            return  # with another group it may start
        if status == "storage-full" and not params.keys() - WHILE_FULL:
            return  # what RDS tells to do about it
        if status == "stopped" and params.keys() - WHILE_STOPPED:
            raise faults.wrong_state(
                f"Cannot modify a stopped DB Instance: start {instance.identifier}, and then modify it."
            )
        if status != "stopped" and status not in MODIFIABLE:
            raise faults.wrong_state(
                f"Database instance {instance.identifier} is not in available state: it cannot be modified while "
                f"it is {status}."
            )

    def _refuse(self, instance: Instance, params: dict[str, Any]) -> None:
        """What cannot be changed here, unless it says what is so anyway."""
        asked = params.get("EngineVersion")
        if asked not in (None, instance.version) and self._core.engines.for_version(asked).major != instance.major:
            raise faults.bad_combination(
                f"Cannot upgrade postgres from {instance.version} to {asked}: versions are not upgraded in place on "
                "the local cloud."
            )
        if asked is not None and "." in asked and _numbers(asked) < _numbers(instance.version):
            raise faults.bad_combination(
                f"Cannot upgrade postgres from {instance.version} to {asked}: a minor version is never downgraded."
            )
        building.check_option_group(params.get("OptionGroupName"), instance.major)
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
            if params.get("MasterUserPassword") is not None:
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

    def _at_once(self, instance: Instance, params: dict[str, Any]) -> Plan:
        """Changes that are made at once, whatever ApplyImmediately says."""
        core, region = self._core, instance.region
        plan = Plan()
        changes = plan.changes
        if params.get("DBParameterGroupName") is not None:
            group = core.parameter_group(region, params["DBParameterGroupName"])
            building.check_family(group, instance.major)
            # As on RDS, the values of a newly associated group, dynamic ones too, come with the next reboot.
            changes["parameter_group"] = group.name
            if group.name != instance.parameter_group:
                plan.begun += [
                    f"0011 Updated to use DBParameterGroup {group.name}", "0092 Finished updating DB parameter group"
                ]  # fmt: skip
        if params.get("MasterUserPassword") is not None:
            changes["master_verifier"] = verifier(rules.master_password(params["MasterUserPassword"]))
            changes["master_number"] = instance.master_number + 1
            plan.kinds.add(OperationKind.PASSWORD)
            plan.applying["MasterUserPassword"] = HIDDEN
            plan.done.append("0016 Reset master credentials")
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
        changes["monitoring"] = self._monitoring(instance, params, plan)
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
        return plan

    def _monitoring(self, instance: Instance, params: dict[str, Any], plan: Plan) -> Monitoring:
        before = instance.monitoring
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
        watch = building.monitoring_of(wanted, self._checks, instance.region, instance.version, before)
        if (watch.interval_s, watch.role) != (before.interval_s, before.role):
            plan.kinds.add(OperationKind.MONITORING)
            if watch.interval_s != before.interval_s:
                plan.done.append(f"0078 Monitoring Interval changed to {watch.interval_s}")
        if watch.log_exports != before.log_exports:
            plan.kinds.add(OperationKind.LOGS)
            plan.applying["PendingCloudwatchLogsExports"] = {
                "LogTypesToEnable": sorted(on - kept),
                "LogTypesToDisable": sorted(off & kept),
            }
        return watch


def _numbers(version: str) -> tuple[int, ...]:
    """For comparing: 17.4 is below 17.10."""
    return tuple(int(part) for part in version.split("."))


def _windows(instance: Instance, params: dict[str, Any]) -> dict[str, str]:
    backup = params.get("PreferredBackupWindow", instance.backup_window)
    maintenance = params.get("PreferredMaintenanceWindow", instance.maintenance_window)
    if backup == instance.backup_window and maintenance == instance.maintenance_window:
        return {}
    backup, maintenance = rules.backup_window(backup), rules.maintenance_window(maintenance)
    rules.windows_apart(backup, maintenance)
    return {"backup_window": backup, "maintenance_window": maintenance}
