"""What a failover costs, step by step: pure bookkeeping of when each of its actions was done."""

from __future__ import annotations

from multiaz.instance.actions import Action, Fence, PointPrimary, Promote, Record, Step
from multiaz.instance.records import Failover, RoleRecord


def begun(step: Step, memory: RoleRecord, now: float, suspected: float | None) -> Failover | None:
    """The failover this step is, decided `now`; None if it is none."""
    for action in step.actions:
        if isinstance(action, Record) and action.memory.epoch > memory.epoch and memory.primary is not None:
            if action.memory.primary == memory.primary:
                return None  # a read replica that is promoted
            return Failover(epoch=action.memory.epoch, cause=step.reason, suspected=suspected, detected=now)
    return None


def after(failover: Failover | None, action: Action, now: float) -> Failover | None:
    """The failover once `action` is done. The first time counts: a later round may do an action again."""
    match failover, action:
        case None, _:
            return None
        case Failover(fenced=None), Fence():
            done = "fenced"
        case Failover(recorded=None), Record():
            done = "recorded"
        case Failover(recorded=float(), promoted=None), Promote():
            done = "promoted"
        case Failover(promoted=float(), endpoint=None), PointPrimary(member) if member is not None:
            done = "endpoint"
        case _:
            return failover
    return failover.model_copy(update={done: now})
