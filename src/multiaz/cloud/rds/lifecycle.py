"""Reboot, stop, start, promote, delete."""

from __future__ import annotations

import time
from typing import Any

from multiaz.cloud.rds import faults, rules
from multiaz.cloud.rds.checks import Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.model import Instance, Operation, OperationKind, Snapshot
from multiaz.cloud.rds.requests import begin_promotion, with_request
from multiaz.cloud.rds.status import hangs
from multiaz.cloud.service import AwsFault, Context
from multiaz.cloud.service import Operation as Action
from multiaz.instance.records import RequestKind, RunState

MOST_SNAPSHOTS = 100


class LifecycleActions:
    """The actions that change what an instance does, not what it is."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._checks = Checks(core.clients)
        self.operations: dict[str, Action] = {
            "RebootDBInstance": self.reboot,
            "StopDBInstance": self.stop,
            "StartDBInstance": self.start,
            "PromoteReadReplica": self.promote,
            "DeleteDBInstance": self.delete,
        }

    def reboot(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """RebootDBInstance: what waited for a reboot comes into effect."""
        core = self._core
        failover = params.get("ForceFailover", False)
        with core.repository.transaction():
            instance = core.require(context.region, params["DBInstanceIdentifier"])
            if instance.incompatible and not failover:
                return self._shape(core.repository.save(self._start_with_other_values(instance)))
            if not failover or not hangs(instance, core.seen(instance)):
                instance = core.require_available(context.region, params["DBInstanceIdentifier"], "rebooted")
            if failover and not instance.multi_az:
                raise faults.bad_combination(
                    "Cannot force failover: the DB instance is not Multi-AZ, so there is no standby."
                )
            target = core.target(instance)
            seen = core.seen(instance)
            waits = target != instance.parameters or bool(seen.observed and seen.observed.pending_restart)
            asked = instance.but(parameters=target)
            # While the standby is still catching up the supervisor would refuse: the watcher asks it later.
            at_once = not failover or (seen.valid is not None and seen.valid.in_sync)
            if at_once:
                asked = with_request(asked, RequestKind.FAILOVER if failover else RequestKind.REBOOT, seen)
            operation = Operation(
                kind=OperationKind.FAILOVER if failover else OperationKind.REBOOT,
                started_at=time.time(),
                request=asked.requests if at_once else None,
                # After the failover the new primary is restarted too, if parameters wait for that.
                detail="restart" if failover and waits else "",
                undo={"parameters": instance.parameters},
            )
            kept = core.repository.save(asked.but(operation=operation))
        return self._shape(kept)

    def _start_with_other_values(self, instance: Instance) -> Instance:
        """The record of an instance that did not start with the values it had; what was under way goes on then."""
        core = self._core
        changed = instance.but(parameters=core.target(instance), incompatible="")
        if instance.operation is not None:
            return changed
        asked = with_request(changed, RequestKind.REBOOT, core.seen(instance))
        operation = Operation(kind=OperationKind.REBOOT, started_at=time.time(), request=asked.requests)
        return asked.but(operation=operation)

    def stop(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """StopDBInstance."""
        core = self._core
        with core.repository.transaction():
            instance = core.require_available(context.region, params["DBInstanceIdentifier"], "stopped")
            if instance.is_replica:
                raise faults.wrong_state("A read replica cannot be stopped.")
            if core.repository.replicas_of(instance.resource_id):
                raise faults.wrong_state("An instance that has read replicas cannot be stopped.")
            operation = Operation(kind=OperationKind.STOP, started_at=time.time())
            kept = core.repository.save(instance.but(run=RunState.STOPPED, operation=operation))
        return self._shape(kept)

    def start(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """StartDBInstance."""
        core = self._core
        instance = core.require(context.region, params["DBInstanceIdentifier"])
        if instance.storage.kms_key is not None:
            self._checks.key(context.region, instance.storage.kms_key)
        with core.repository.transaction():
            instance = core.require(context.region, params["DBInstanceIdentifier"])
            status = core.status(instance)
            if status != "stopped":
                raise faults.wrong_state(f"Instance {instance.identifier} is not in stopped state: it is {status}.")
            operation = Operation(kind=OperationKind.START, started_at=time.time())
            kept = core.repository.save(
                instance.but(run=RunState.RUNNING, operation=operation, parameters=core.target(instance))
            )
        return self._shape(kept)

    def promote(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """PromoteReadReplica: the replica becomes an instance of its own, with backups if asked."""
        core = self._core
        changes: dict[str, Any] = {
            "backup_retention_days": rules.retention_days(params.get("BackupRetentionPeriod", 1))
        }
        with core.repository.transaction():
            instance = core.require_available(context.region, params["DBInstanceIdentifier"], "promoted")
            if not instance.is_replica:
                raise faults.wrong_state("DB Instance is not a read replica.")
            if params.get("PreferredBackupWindow") is not None:
                window = rules.backup_window(params["PreferredBackupWindow"])
                rules.windows_apart(window, instance.maintenance_window)
                changes["backup_window"] = window
            kept = core.repository.save(begin_promotion(instance, core.seen(instance), **changes))
        return self._shape(kept)

    def delete(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DeleteDBInstance. Read replicas of a deleted source are promoted first, as RDS does."""
        core = self._core
        with core.repository.transaction():
            instance = core.require(context.region, params["DBInstanceIdentifier"])
            status = core.status(instance)
            if status == "deleting":
                raise faults.wrong_state(f"Instance {instance.identifier} is already being deleted.")
            if instance.deletion_protection:
                raise faults.bad_combination(
                    "Cannot delete protected DB Instance, please disable deletion protection and try again."
                )
            wanted = rules.final_snapshot(
                is_replica=instance.is_replica,
                skip=params.get("SkipFinalSnapshot"),
                wanted=params.get("FinalDBSnapshotIdentifier"),
                has_data=instance.created and status != "failed",
            )
            if wanted is not None:
                self._add_snapshot(instance, wanted)
            keep = not params.get("DeleteAutomatedBackups", True)
            kept = core.repository.save(
                instance.but(
                    operation=Operation(kind=OperationKind.DELETE, started_at=time.time()),
                    final_snapshot=wanted,
                    # Without backups there is nothing to retain.
                    retain_backups=keep and instance.backup_retention_days > 0,
                    pending={},
                    request=None,
                )
            )
        return self._shape(kept)

    def _add_snapshot(self, instance: Instance, identifier: str) -> None:
        core = self._core
        if core.repository.snapshots.get(instance.region, identifier) is not None:
            raise faults.snapshot_exists(identifier)
        if len(core.repository.snapshots.all(instance.region)) >= MOST_SNAPSHOTS:
            raise AwsFault("SnapshotQuotaExceeded", "Cannot create more than 100 manual snapshots")
        primary = core.seen(instance).primary or "a"
        snapshot = Snapshot(
            region=instance.region,
            identifier=identifier,
            resource_id=instance.resource_id,
            instance=instance,
            zone=instance.network.zones[primary],
            created_at=time.time(),
            tags=instance.tags if instance.copy_tags else (),
        )
        core.repository.snapshots.put(instance.region, identifier, snapshot)
        core.events.add(instance.region, "db-snapshot", identifier, "RDS-EVENT-0040", "Creating manual snapshot")

    def _shape(self, kept: Instance) -> dict[str, Any]:
        self._core.wake()
        return {"DBInstance": self._core.shape(kept)}
