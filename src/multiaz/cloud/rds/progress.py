"""Ends operations that are seen to be done, says so in events, and begins what is due."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from multiaz.cloud.rds import resizing
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.describe import STOP_DAYS
from multiaz.cloud.rds.model import Instance, Operation, OperationKind, RetainedBackup
from multiaz.cloud.rds.modifications import STORAGE, apply_pending
from multiaz.cloud.rds.requests import begin_promotion, with_request
from multiaz.cloud.rds.rules import in_maintenance_window
from multiaz.cloud.rds.status import Seen, answer_to, first_backup_due, incompatible_parameters, is_finished, serving
from multiaz.cloud.rds.wanted import snapshot_folder
from multiaz.instance.records import Answer, ObservedInstance, RequestKind, RunState

SYNC_WAIT_S = 120.0
"""How long a forced failover waits for the standby to catch up."""

_REQUESTS = {
    OperationKind.REBOOT: RequestKind.REBOOT,
    OperationKind.MODIFY: RequestKind.REBOOT,
    OperationKind.RENAME: RequestKind.REBOOT,
    OperationKind.FAILOVER: RequestKind.FAILOVER,
    OperationKind.PROMOTE: RequestKind.PROMOTE,
}


def advance(core: Core, instance: Instance, seen: Seen) -> bool:
    """Carry an instance's operation on by what is seen; True if the record changed."""
    operation, observed = instance.operation, seen.valid
    if observed is not None and _note_parameters(core, instance, observed):
        return True
    if operation is None:
        return _begin_due(core, instance, seen)
    if operation.kind is OperationKind.DELETE:
        return _promote_replicas(core, instance)
    if observed is None:
        return False
    if operation.kind is OperationKind.FAILOVER and operation.request is None:
        return _ask_when_in_sync(core, instance, operation, seen)
    answer = answer_to(observed, operation.request)
    if operation.stage:
        return resizing.proceed(core, instance, operation, seen, answer)
    if answer is not None and answer.outcome == "stale" and operation.kind in _REQUESTS:
        return _repeat(core, instance, operation, seen)
    if not is_finished(instance, operation, observed):
        return False
    return _finish(core, instance, operation, seen, answer)


def _note_parameters(core: Core, instance: Instance, observed: ObservedInstance) -> bool:
    """Say, once, that the servers do not start with their parameters; forget it when they serve; True if changed."""
    why = incompatible_parameters(instance, observed)
    if bool(why) == bool(instance.incompatible) or not (why or serving(observed)):
        return False
    with core.repository.transaction():
        fresh = core.repository.instances.get(instance.region, instance.identifier)
        if fresh is None or fresh.parameters != instance.parameters:
            return False
        core.repository.save(fresh.but(incompatible=why))
        if why:
            core.tell(fresh, "0035", f"Database instance put into incompatible-parameters. {why}")
    return True


def _ask_when_in_sync(core: Core, instance: Instance, operation: Operation, seen: Seen) -> bool:
    """A forced failover waits for the standby to have every commit, and is abandoned if it never does."""
    in_sync = seen.valid is not None and seen.valid.in_sync
    if not in_sync and time.time() < operation.started_at + SYNC_WAIT_S:
        return False
    with core.repository.transaction():
        fresh = core.repository.instances.get(instance.region, instance.identifier)
        if fresh is None or fresh.operation != operation:
            return False
        if in_sync:
            asked = with_request(fresh, RequestKind.FAILOVER, seen)
            core.repository.save(asked.but(operation=operation.but(request=asked.requests)))
        else:
            core.repository.save(fresh.but(**operation.undo, operation=None))
            core.tell(fresh, "0034", "Abandoning user requested failover: the standby is not in sync")
    return True


def _repeat(core: Core, instance: Instance, operation: Operation, seen: Seen) -> bool:
    """The request was made for an epoch that is over.

    A failover has then happened by itself, which is what a forced one asked for, but for a restart that was to follow;
    anything else is asked again.
    """
    repository = core.repository
    with repository.transaction():
        fresh = repository.instances.get(instance.region, instance.identifier)
        if fresh is None or fresh.operation != operation:
            return False
        if operation.kind is OperationKind.FAILOVER:
            repository.save(_after_failover(fresh, operation, seen))
            return True
        again = with_request(fresh, _REQUESTS[operation.kind], seen)
        repository.save(again.but(operation=operation.but(request=again.requests)))
    return True


def _after_failover(fresh: Instance, operation: Operation, seen: Seen) -> Instance:
    """The record after a forced failover: the new primary is restarted too, if parameters wait for that."""
    if operation.detail != "restart":
        return fresh.but(operation=None)
    again = with_request(fresh, RequestKind.REBOOT, seen)
    return again.but(operation=operation.but(kind=OperationKind.REBOOT, request=again.requests, detail=""))


def _finish(core: Core, instance: Instance, operation: Operation, seen: Seen, answer: Answer | None) -> bool:
    repository, observed = core.repository, seen.valid
    with repository.transaction():
        fresh = repository.instances.get(instance.region, instance.identifier)
        # A newer call may have changed the record since it was compared: then the next round decides.
        if fresh is None or fresh.operation != operation or not is_finished(fresh, operation, observed):
            return False
        refused = answer is not None and answer.outcome == "refused"
        if operation.kind is OperationKind.FAILOVER and operation.detail == "restart" and not refused:
            repository.save(_after_failover(fresh, operation, seen))
            return True
        done = fresh.but(operation=None)
        match operation.kind:
            case OperationKind.CREATE:
                done = done.but(created=True, created_at=time.time())
                core.tell(fresh, "0005", "DB instance created")
                if fresh.is_replica:
                    core.tell(fresh, "0046", "Replication for the Read Replica resumed")
                if fresh.restore is not None:
                    source = core.repository.name_of(fresh.restore.resource_id)
                    core.tell(fresh, "0019", f"Restored from DB instance {source} to {fresh.identifier}")
            case OperationKind.FAILOVER if answer is not None and refused:
                # What was to come with it waits for a reboot again.
                done = done.but(**operation.undo)
                core.tell(fresh, "0034", f"Abandoning user requested failover: {answer.reason}")
            case OperationKind.REBOOT if answer is not None and refused:
                # The standby took over with the values it has: those are to be in effect again.
                done = done.but(**operation.undo)
                core.tell(fresh, "0044", f"The new parameters were not taken: {answer.reason}")
            case OperationKind.PROMOTE:
                if answer is not None and answer.outcome == "done":
                    done = done.but(source=None)
                    core.tell(fresh, "0057", "Replication streaming has been terminated")
                else:
                    # RDS tells a failed promotion of RDS Custom only (0279); 0045 is replication's own.
                    core.tell(fresh, "0044", f"The read replica was not promoted: {answer.reason if answer else ''}")
            case OperationKind.STOP:
                done = done.but(stopped_at=time.time())
                core.tell(fresh, "0004", "DB instance shutdown")
                core.tell(fresh, "0087", "DB instance stopped")
            case OperationKind.START:
                done = done.but(stopped_at=None)
                core.tell(fresh, "0088", "DB instance started")
            case _:
                if operation.rename is not None:
                    done = done.but(identifier=operation.rename)
                if answer is not None and refused:
                    done, operation = resizing.take_back(core, done, operation, answer.reason)
                done = _modified(core, done, operation)
        if operation.rename is not None:
            repository.instances.remove(fresh.region, fresh.identifier)
        if observed is not None:
            done = _with_first_backup(core, done, operation, observed)
        repository.save(done)
    return True


_BEGINS_BACKUPS = frozenset(
    {OperationKind.CREATE, OperationKind.PROMOTE, OperationKind.MODIFY, OperationKind.OPTIMIZE, OperationKind.BACKUP}
)


def _with_first_backup(core: Core, done: Instance, operation: Operation, observed: ObservedInstance) -> Instance:
    """The first backup follows what turned backups on: the instance is `backing-up` until it is there.

    One that cannot be made is told, and awaited no longer: the supervisor tries on, and the instance is available.
    """
    due = first_backup_due(done, observed)
    if done.operation is not None or operation.kind not in _BEGINS_BACKUPS or not (due or observed.backing_up):
        return done
    if observed.backing_up or not observed.backup_problem:
        return done.but(operation=Operation(kind=OperationKind.BACKUP, started_at=time.time()))
    core.tell(done, "0044", f"Automated backups are on, and none could be made so far: {observed.backup_problem}")
    return done


def _modified(core: Core, done: Instance, operation: Operation) -> Instance:
    """Tell what was modified; storage that was is optimised from now on."""
    for line in operation.detail.splitlines():
        core.tell(done, *line.split(" ", 1))  # type: ignore[arg-type]
    if not any(name in operation.applying for name in STORAGE):
        return done
    now = time.time()
    return done.but(storage_changed_at=now, operation=Operation(kind=OperationKind.OPTIMIZE, started_at=now))


def waiting_replicas(core: Core, instance: Instance) -> list[Instance]:
    """Read replicas a deleted source waits for; one that does not start cannot be promoted and is left behind."""
    replicas = core.repository.replicas_of(instance.resource_id)
    return [one for one in replicas if core.status(one) not in ("failed", "incompatible-parameters", "deleting")]


def _promote_replicas(core: Core, instance: Instance) -> bool:
    """A source is deleted: as on RDS its read replicas become instances of their own, and then it goes."""
    changed = False
    for replica in waiting_replicas(core, instance):
        seen = core.seen(replica)
        with core.repository.transaction():
            fresh = core.repository.instances.get(replica.region, replica.identifier)
            if fresh is None or fresh.operation is not None or seen.valid is None:
                continue
            core.repository.save(begin_promotion(fresh, seen))
            changed = True
    return changed


def _begin_due(core: Core, instance: Instance, seen: Seen) -> bool:
    """Pending changes in the maintenance window, and the end of a week's stop."""
    now = time.time()
    if instance.run is RunState.STOPPED and instance.stopped_at is not None:
        if now < instance.stopped_at + STOP_DAYS * 86400:
            return False
        with core.repository.transaction():
            fresh = core.repository.instances.get(instance.region, instance.identifier)
            if fresh is None or fresh.operation is not None:
                return False
            operation = Operation(kind=OperationKind.START, started_at=now)
            target = core.known_target(fresh)  # as with StartDBInstance, but nobody is there to be refused
            core.repository.save(fresh.but(run=RunState.RUNNING, operation=operation, parameters=target))
            core.tell(fresh, "0154", "DB instance is being started due to it exceeding the maximum allowed time "
                      "being stopped.")  # fmt: skip
        return True
    names = instance.due
    if instance.pending and in_maintenance_window(instance.maintenance_window, datetime.now(UTC)):
        names = tuple(instance.pending)
    if not names or seen.valid is None:
        return False
    status = core.status(instance)
    if status == "storage-full":
        names = tuple(name for name in names if name in STORAGE)  # more of it is what helps; the rest waits
    return status in ("available", "storage-full") and bool(names) and apply_pending(core, instance, names)


def forget(core: Core, instance: Instance, retained: RetainedBackup | None = None) -> None:
    """The files of a deleted instance are gone: so is its record, and its final snapshot is complete.

    `retained`: what stays of it.
    """
    repository = core.repository
    with repository.transaction():
        if retained is not None:
            repository.retained_backups.put(instance.region, instance.resource_id, retained)
        if instance.final_snapshot is not None:
            snapshot = repository.snapshots.get(instance.region, instance.final_snapshot)
            if snapshot is not None and snapshot_folder(core.home, instance.resource_id).is_dir():
                finished = snapshot.but(ready=True, created_at=time.time())
                repository.snapshots.put(instance.region, snapshot.identifier, finished)
                core.events.add(
                    instance.region, "db-snapshot", snapshot.identifier, "RDS-EVENT-0042",
                    "Manual snapshot created",
                )  # fmt: skip
            elif snapshot is not None:
                repository.snapshots.remove(instance.region, snapshot.identifier)
                core.tell(instance, "0044", "The final snapshot could not be made: there was no data to keep")
        core.tell(instance, "0003", "DB instance deleted")
        repository.instances.remove(instance.region, instance.identifier)
