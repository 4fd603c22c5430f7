"""Read replicas: this instance being one, and those that stream from it."""

from __future__ import annotations

from multiaz.instance.actions import Announce, Begin, JobKind, PointUpstream, Record, Step
from multiaz.instance.records import Phase
from multiaz.instance.rules.steps import step
from multiaz.instance.view import IDLE_AFTER_S, STRAY_AFTER_S, View


def stray_replica(view: View) -> Step | None:
    """A read replica cannot stream although its source is up, or has a history of its own: copy the source again.

    Also one that answers nobody and will not, because it gets nothing to recover.
    """
    if not view.memory.following or view.p.job is not None or view.p.wait_s > 0 or not view.seen.source_alive:
        return None
    if view.p.stalled_s <= STRAY_AFTER_S and view.p.idle_s <= IDLE_AFTER_S and not view.p.diverged:
        return None
    why = view.p.diverged or "the replica cannot follow its source"
    phase = Phase.RUNNING if view.p.answering else Phase.RECOVERING
    return step(phase, f"{why}: it is copied again", Begin(JobKind.REJOIN, view.primary))


def replication_events(view: View) -> Step | None:
    """Replication broke, or goes on after it broke: tell it once."""
    why = view.replication_broken
    if view.memory.replication_broken:
        if why or not view.p.streaming or view.p.job is not None:
            return None
        told = Announce("RDS-EVENT-0046", "Replication for the Read Replica resumed")
        return step(Phase.RUNNING, "replication has resumed", told, Record(view.remember(replication_broken=False)))
    if not why:
        return None
    told = Announce("RDS-EVENT-0045", f"Replication has stopped: {why}")
    return step(Phase.RUNNING, why, told, Record(view.remember(replication_broken=True)))


def upstream(view: View) -> Step | None:
    """Replicas stream from the in-sync standby, and from the primary only without one."""
    target = view.other if view.memory.in_sync and view.o.alive else view.primary
    strays = view.seen.replicas_on_primary and target == view.other
    if view.seen.upstream_link == target and not strays:
        return None
    if target == view.primary and view.seen.upstream_link is not None and view.o.job is JobKind.JOIN:
        return None  # the join has moved the replicas to the standby and is about to finish
    return step(Phase.RUNNING, f"replicas are led to {target}", PointUpstream(target))
