"""Read replicas: this instance being one, and those that stream from it."""

from __future__ import annotations

from multiaz.instance.actions import Begin, JobKind, PointUpstream, Step
from multiaz.instance.records import Phase
from multiaz.instance.rules.steps import step
from multiaz.instance.view import STRAY_AFTER_S, View


def stray_replica(view: View) -> Step | None:
    """A read replica is up, its source too, and it cannot stream: copy the source again."""
    if view.p.job is not None or view.p.wait_s > 0 or not view.seen.source_alive:
        return None
    if view.p.stalled_s <= STRAY_AFTER_S:
        return None
    why = "the replica cannot follow its source and is copied again"
    return step(Phase.RUNNING, why, Begin(JobKind.REJOIN, view.primary))


def upstream(view: View) -> Step | None:
    """Replicas stream from the in-sync standby, and from the primary only without one."""
    target = view.other if view.memory.in_sync and view.o.alive else view.primary
    strays = view.seen.replicas_on_primary and target == view.other
    if view.seen.upstream_link == target and not strays:
        return None
    if target == view.primary and view.seen.upstream_link is not None and view.o.job is JobKind.JOIN:
        return None  # the join has moved the replicas to the standby and is about to finish
    return step(Phase.RUNNING, f"replicas are led to {target}", PointUpstream(target))
