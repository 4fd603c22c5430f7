"""DBInstanceStatus, computed purely from what is recorded and what is observed.

Nothing here advances because somebody looks: the same record and observation give the same word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from multiaz.cloud.rds.model import Instance, Operation, OperationKind
from multiaz.instance.records import Answer, MemberName, ObservedInstance, Phase, RunState

GRACE_S = 3.0
"""How long the last observation is still believed after its writer's lock was found free: the supervisor
is being restarted, and the servers go on without it."""


@dataclass(frozen=True)
class Seen:
    """What is known of an instance's supervisor now."""

    observed: ObservedInstance | None = None
    """The last observation, whoever wrote it."""
    supervised: bool = False
    """The supervisor's lock is held: the observation is valid."""
    unsupervised_s: float = 0.0
    """Seconds since the lock was last seen held."""
    given_up: str = ""
    """Why the supervisor is not started again for now; empty while it is."""
    last: ObservedInstance | None = None
    """The last observation that was read, for what is so also while a supervisor that starts has made none yet."""

    @property
    def valid(self) -> ObservedInstance | None:
        """The observation, if it can be believed."""
        return self.observed if self.supervised or self.unsupervised_s < GRACE_S else None

    @property
    def primary(self) -> MemberName | None:
        """The member last seen as primary; it outlives the supervisor."""
        known = self.observed or self.last
        return known.primary if known is not None else None


_WORDS = {
    OperationKind.CREATE: "creating",
    OperationKind.MODIFY: "modifying",
    OperationKind.PASSWORD: "resetting-master-credentials",
    OperationKind.IAM: "configuring-iam-database-auth",
    OperationKind.MONITORING: "configuring-enhanced-monitoring",
    OperationKind.LOGS: "configuring-log-exports",
    OperationKind.OPTIMIZE: "storage-optimization",
    OperationKind.BACKUP: "backing-up",
    OperationKind.RENAME: "renaming",
    OperationKind.REBOOT: "rebooting",
    OperationKind.FAILOVER: "rebooting",
    OperationKind.PROMOTE: "modifying",
    OperationKind.START: "starting",
    OperationKind.STOP: "stopping",
    OperationKind.DELETE: "deleting",
}
"""Source: RDS user guide, "Viewing Amazon RDS DB instance status". A call that changes several things at once
shows "modifying"."""

MODIFIABLE = frozenset({"available", "backing-up", "storage-optimization"})
"""Statuses in which calls that need an available instance are taken: in all it is fully operational. RDS refuses some
while it backs up, which takes minutes there; here it takes about a second, and no change is in its way."""


def answer_to(observed: ObservedInstance, number: int | None) -> Answer | None:
    """The supervisor's answer to a request, if it has given one."""
    return next((answer for answer in observed.answers if answer.number == number), None)


def serving(observed: ObservedInstance) -> bool:
    """Clients are served at the endpoint."""
    return observed.phase is Phase.RUNNING and observed.writable and observed.relay_ready


def hangs(instance: Instance, seen: Seen) -> bool:
    """Its primary runs and does not serve, while nothing was asked of it: a forced failover is what helps.

    The supervisor fails a hung primary over by itself, but may still be finding out whether it is merely slow.
    """
    observed = seen.valid
    return (
        _asked(instance) is None
        and instance.run is RunState.RUNNING
        and not seen.given_up
        and observed is not None
        and observed.phase is Phase.RECOVERING
        and observed.in_sync
    )


def _asked(instance: Instance) -> Operation | None:
    """What was asked of its servers and is under way; the first backup is not, and leaves them as they are."""
    operation = instance.operation
    return None if operation is not None and operation.kind is OperationKind.BACKUP else operation


def first_backup_due(instance: Instance, observed: ObservedInstance) -> bool:
    """Automated backups are on, and there is none yet: nothing can be restored."""
    return (
        instance.backup_retention_days > 0
        # Of a read replica none are made, as on RDS.
        and not instance.is_replica
        and observed.restorable_until is None
    )


_OF_THE_STANDBY = frozenset({"MultiAZ", "DBInstanceClass"})
"""Modifications that make, remove or replace the standby. No other waits for one that is away: that is told apart."""


def is_finished(instance: Instance, operation: Operation, observed: ObservedInstance | None) -> bool:
    """True if what was asked is seen to be done (DELETE never is: the record goes instead)."""
    if observed is None:
        return False
    match operation.kind:
        case OperationKind.DELETE:
            return False
        case OperationKind.STOP:
            return observed.phase is Phase.STOPPED
        case OperationKind.IAM | OperationKind.MONITORING | OperationKind.LOGS | OperationKind.OPTIMIZE:
            return serving(observed)
        case OperationKind.BACKUP:
            # What keeps it from being made is told, and does not keep the instance from its users.
            there = not first_backup_due(instance, observed) or bool(observed.backup_problem)
            return serving(observed) and there and not observed.backing_up
        case OperationKind.PASSWORD:
            return observed.master_number >= instance.master_number
        case OperationKind.REBOOT | OperationKind.FAILOVER | OperationKind.PROMOTE | OperationKind.RENAME:
            return answer_to(observed, operation.request) is not None and serving(observed)
        case OperationKind.CREATE | OperationKind.START:
            return (
                serving(observed)
                and observed.in_sync == instance.multi_az
                and (instance.is_replica or observed.master_number >= instance.master_number)
            )
        case OperationKind.MODIFY if operation.stage:
            return False
        case OperationKind.MODIFY:
            answered = operation.request is None or answer_to(observed, operation.request) is not None
            return (
                answered
                and serving(observed)
                # not `redundant`: until the supervisor has read the change, that speaks of what was wanted before
                and (observed.in_sync == instance.multi_az or not operation.applying.keys() & _OF_THE_STANDBY)
                and (instance.is_replica or observed.master_number >= instance.master_number)
                and not _unapplied(instance, observed)
            )


_OF_PARAMETERS = re.compile(
    r"shared memory|could not create semaphores|cannot allocate memory|out of memory|invalid value for parameter"
    r"|unrecognized configuration parameter|insufficient parameter settings|configuration file .* contains errors"
    r"|must be less than|before shutdown|could not (access file|load library)",
    re.IGNORECASE,
)
"""What PostgreSQL says when it does not start because of its parameters. Source: its messages, in postmaster.c, ipci.c,
sysv_shmem.c, pg_sema.c, guc.c, slot.c, xlogrecovery.c and dfmgr.c."""


def incompatible_parameters(instance: Instance, observed: ObservedInstance) -> str:
    """Why the servers do not start with the parameters the instance is to have; empty if that is not what is seen."""
    if observed.phase is not Phase.FAILED or observed.storage_full or _unapplied(instance, observed):
        return ""
    return observed.reason if _OF_PARAMETERS.search(observed.reason) else ""


def status_of(instance: Instance, seen: Seen) -> str:
    """DBInstanceStatus."""
    observed = seen.valid
    operation = _asked(instance)
    if operation is not None and operation.kind is OperationKind.DELETE:
        return "deleting"
    if seen.given_up:
        return "failed"
    if instance.incompatible:
        return "incompatible-parameters"
    if observed is not None and observed.storage_full and instance.run is RunState.RUNNING:
        return "storage-full" if operation is None else _WORDS[operation.kind]
    if observed is not None and observed.phase is Phase.FAILED:
        # Other parameters than those that failed are on their way: the next attempt will show. A creation that failed
        # before it had any did not fail because of them.
        made = operation is None or operation.kind is not OperationKind.CREATE or bool(observed.applied)
        if operation is None or not made or not _unapplied(instance, observed):
            return "failed" if instance.created or instance.restore is None else "restore-error"
        return _WORDS[operation.kind]
    if operation is not None:
        # The watcher ends it once it is seen to be done, with its events: so no call comes in between.
        return _WORDS[operation.kind]
    if instance.run is RunState.STOPPED:
        return "stopped"
    if observed is None or not serving(observed):
        # A failover or a recovery: RDS has no word of its own for either.
        return "rebooting"
    return _WORDS[OperationKind.BACKUP] if instance.operation is not None or observed.backing_up else "available"


def _unapplied(instance: Instance, observed: ObservedInstance) -> bool:
    """A value that is to be in effect has not reached the servers' configuration."""
    return any(observed.applied.get(name) != value for name, value in instance.parameters.items())


def parameter_apply_status(
    instance: Instance, target: dict[str, str], seen: Seen
) -> Literal["in-sync", "applying", "pending-reboot"]:
    """DBParameterGroups[0].ParameterApplyStatus; `target` is what the group comes to now."""
    if target != instance.parameters:
        return "pending-reboot"
    if seen.observed is None or instance.run is not RunState.RUNNING:
        return "in-sync"
    if seen.observed.pending_restart:
        return "pending-reboot"
    return "applying" if _unapplied(instance, seen.observed) else "in-sync"


@dataclass(frozen=True)
class Replication:
    """`StatusInfos` of a read replica."""

    normal: bool
    status: str
    message: str = ""


def replication_of(instance: Instance, seen: Seen) -> Replication | None:
    """How a read replica's replication goes; None if the instance is none, or is still being made."""
    observed = seen.observed
    if not instance.is_replica or not instance.created or observed is None:
        return None
    if observed.replication_error:
        return Replication(False, "error", observed.replication_error)
    if any(member.streaming for member in observed.members):
        return Replication(True, "replicating")
    return Replication(False, "stopped" if instance.run is not RunState.RUNNING else "connecting")
