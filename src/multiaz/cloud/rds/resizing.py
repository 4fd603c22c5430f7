"""A new class of a Multi-AZ instance: the standby first, then a failover, then the former primary.

As on RDS, clients notice one failover. The steps are requests to the supervisor, one after the other, each begun when
the one before is answered; the former primary gets its new parameters when it rejoins. Source: RDS user guide,
"Modifying a DB instance", setting "DB instance class", and the events real instances tell meanwhile (0012, 0013, 0006,
0049, 0014).
"""

from __future__ import annotations

import time

from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.model import Instance, Operation
from multiaz.cloud.rds.requests import with_request
from multiaz.cloud.rds.status import Seen, serving
from multiaz.instance.records import Answer, RequestKind

NOT_LOWER_ON_A_STANDBY = (
    "max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
    "max_locks_per_transaction",
)  # fmt: skip
"""A standby keeps its primary's values of these while they are higher (PostgreSQL manual, "Hot Standby"): a smaller
class needs one restart more, of the new primary."""

ASK_AGAIN_S = 5.0
"""After a refused failover: it may be refused for long, and each time is written to the disk, which may be full."""

_REQUESTS = {
    "standby": RequestKind.RESTART_STANDBY,
    "failover": RequestKind.FAILOVER,
    "restart": RequestKind.REBOOT,
}


def goes_by_failover(before: Instance, after: Instance) -> bool:
    """True if the change of class can go by the standby."""
    return before.instance_class != after.instance_class and before.multi_az and after.multi_az


def begin(after: Instance, operation: Operation, seen: Seen) -> Instance:
    """The record of an instance whose standby gets the new parameters."""
    asked = with_request(after, RequestKind.RESTART_STANDBY, seen)
    return asked.but(operation=operation.but(stage="standby", request=asked.requests))


def proceed(core: Core, instance: Instance, operation: Operation, seen: Seen, answer: Answer | None) -> bool:
    """Go on to the next step if this one is done; True if the record changed."""
    observed = seen.valid
    if observed is None or (operation.request is not None and answer is None) or not serving(observed):
        return False
    if operation.request is None and (not observed.in_sync or time.time() < operation.ask_again_at):
        return False
    with core.repository.transaction():
        fresh = core.repository.instances.get(instance.region, instance.identifier)
        if fresh is None or fresh.operation != operation:
            return False
        core.repository.save(_next(core, fresh, operation, seen, answer))
    return True


def _next(core: Core, fresh: Instance, operation: Operation, seen: Seen, answer: Answer | None) -> Instance:
    outcome = answer.outcome if answer is not None else None
    match operation.stage, outcome:
        case "standby", "refused":
            return _take_back(core, fresh, operation, answer.reason if answer else "")
        case "standby", "done":
            return _ask(fresh, operation, "failover", seen)
        case "failover", "refused":
            # Not in sync at that moment, or for as long as its storage is full: asked again when it is, now and then.
            return fresh.but(operation=operation.but(request=None, ask_again_at=time.time() + ASK_AGAIN_S))
        case "failover", "done" | "stale" if _is_smaller(fresh, operation):
            return _ask(fresh, operation, "restart", seen)
        case ("failover", "done" | "stale") | ("restart", "done" | "refused"):
            # A stale request was made before a failover that happened by itself: that served as well.
            return fresh.but(operation=operation.but(stage="", request=None))
        case stage, _:
            return _ask(fresh, operation, stage, seen)


def _ask(fresh: Instance, operation: Operation, stage: str, seen: Seen) -> Instance:
    asked = with_request(fresh, _REQUESTS[stage], seen)
    return asked.but(operation=operation.but(stage=stage, request=asked.requests))


def _is_smaller(fresh: Instance, operation: Operation) -> bool:
    before = operation.undo.get("parameters", {})
    return any(int(fresh.parameters.get(name, 0)) < int(before.get(name, 0)) for name in NOT_LOWER_ON_A_STANDBY)


def _take_back(core: Core, fresh: Instance, operation: Operation, why: str) -> Instance:
    """The standby does not run with the new class's parameters; what else was changed by the same call goes on."""
    back, rest = take_back(core, fresh, operation, why)
    return back.but(operation=rest)


def take_back(core: Core, instance: Instance, operation: Operation, why: str) -> tuple[Instance, Operation]:
    """The record as before a restart that was refused, with the class it had, and what is left of the operation.

    Tells that. 0157 is told on RDS of SQL Server alone, for its number of databases: so this is told as the
    notification with a text of its own.
    """
    resized = "DBInstanceClass" in operation.applying
    what = "Unable to modify the DB instance class." if resized else "The new parameters were not taken:"
    core.tell(instance, "0044", f"{what} {why}")
    rest = operation.but(
        stage="",
        request=None,
        undo={},
        detail="\n".join(line for line in operation.detail.splitlines() if not line.startswith("0014 ")),
        before={name: value for name, value in operation.before.items() if name != "DBInstanceClass"},
        applying={name: value for name, value in operation.applying.items() if name != "DBInstanceClass"},
    )
    return instance.but(**operation.undo), rest
