"""The standby: leaves, is removed, comes back, joins."""

from __future__ import annotations

from multiaz.instance.actions import Announce, Begin, Configure, Fence, JobKind, PointUpstream, Record, Start, Step
from multiaz.instance.records import Phase
from multiaz.instance.rules.steps import step
from multiaz.instance.view import IDLE_AFTER_S, STRAY_AFTER_S, View

CLONE_AFTER_FAILURES = 3
TOLD_AFTER_S = 10.0
"""How long there may be one copy only before it is told: a failover or restart brings that too, and is told itself."""
NOTIFICATION = "RDS-EVENT-0044"
"""RDS's notification whose text says it all; it has no event of its own for a standby that is lost.
Source: RDS user guide, "Amazon RDS event categories and event messages", notification."""


def leave(view: View) -> Step | None:
    """The standby no longer takes commits: strike it off, durably, before commits stop waiting.

    Also while the primary does not answer us, because it may well answer clients, whose commits wait; but not before it
    takes any: until then the standby has every commit, and may be the only one that starts.
    """
    if view.leaving is None or not view.memory.in_sync or not (view.p.answering or view.p.accepting):
        return None
    alone = Configure(view.primary, synchronous=False)
    record = Record(view.remember(in_sync=False))
    phase = Phase.RUNNING if view.p.answering else Phase.RECOVERING
    return step(phase, view.leaving, record, alone, PointUpstream(view.primary))


def single(view: View) -> Step | None:
    """Multi-AZ is off (or this is a replica) and the other member is still there: remove it."""
    if view.o.job is not None:
        return None
    if view.o.stuck:
        return step(Phase.RUNNING, f"the standby is to be removed, and waits: {view.o.stuck}")
    if view.o.exists or view.o.alive:
        begin = () if view.o.wait_s > 0 else (Begin(JobKind.REMOVE, view.other),)
        return step(Phase.RUNNING, "the standby is being removed", *begin)
    return step(Phase.RUNNING, "the standby is removed", Record(view.remember(fenced=None)))


def record_join(view: View) -> Step | None:
    """The join is done and commits wait: say in sync, durably."""
    if not view.joined or not _free(view):
        return None
    return step(Phase.RUNNING, "the standby is in sync", Record(view.remember(in_sync=True)))


def tell_alone(view: View) -> Step | None:
    """There has been no standby in sync for a while: tell it once."""
    since, zone = view.memory.alone_since, view.desired.zones.get(view.other, view.other)
    if view.memory.alone_told or since is None or view.seen.now - since < TOLD_AFTER_S:
        return None
    text = f"The standby in {zone} is not in sync: commits have one copy, and a failover must wait until they have two."
    told = Announce(NOTIFICATION, text)
    return step(Phase.RUNNING, "the standby has been away for long", told, Record(view.remember(alone_told=True)))


def tell_redundant(view: View) -> Step | None:
    """The standby is in sync again after it was told that it was not."""
    if not view.memory.alone_told:
        return None
    told = Announce(NOTIFICATION, "The standby is in sync again: commits have two copies.")
    return step(Phase.RUNNING, "the standby is back", told, Record(view.remember(alone_told=False)))


def rejoin(view: View) -> Step | None:
    """The former primary is fenced: bring it to the primary's history, then let it run as standby."""
    if not _free(view):
        return None
    other, pardon = view.other, Record(view.remember(fenced=None))
    if other in view.seen.rejoined:
        return step(Phase.RUNNING, f"{other} has the primary's history", pardon)
    if not view.o.exists:
        return step(Phase.RUNNING, f"{other} has no data left to fence", pardon)
    return step(Phase.RUNNING, f"{other} rejoins as standby", Begin(JobKind.REJOIN, other))


def clone(view: View) -> Step | None:
    """The standby has no data, does not start, or cannot stream: copy the primary."""
    o = view.o
    if not _free(view):
        return None
    if not o.exists:
        why = f"{view.other} is being cloned from the primary"
    elif not o.alive and o.failures >= CLONE_AFTER_FAILURES:
        why = f"{view.other} does not start and is cloned again"
    elif o.alive and not o.streaming and o.stalled_s > STRAY_AFTER_S and not _restart_due(view):
        why = "the standby cannot stream and is cloned again"
    elif o.alive and o.idle_s > IDLE_AFTER_S:
        why = f"the standby has answered nobody and recovered nothing for {IDLE_AFTER_S:g} s and is cloned again"
    elif o.alive and o.diverged:
        why = f"the standby is cloned again: {o.diverged}"
    else:
        return None
    # In sync on record: what it confirmed while it is copied would be acknowledged, and be missing in the copy.
    first = (Fence(view.other),) if view.memory.in_sync and o.alive else ()
    return step(Phase.RUNNING, why, *first, Begin(JobKind.CLONE, view.other))


def hung_standby(view: View) -> Step | None:
    """The standby hangs, or confirms nothing for long: end it, so that it is started again.

    Also where it hangs while it is restarted; the restart then fails, and others are tried.
    """
    if view.o.job not in (None, JobKind.RESTART) or not (view.o.hung or view.o.stuck_s > STRAY_AFTER_S):
        return None
    why = f"the standby hangs and is ended: {view.o.hung_why}" if view.o.hung else "the standby is stuck and is ended"
    return step(Phase.RUNNING, why, Fence(view.other))


def start_standby(view: View) -> Step | None:
    """The standby is down: start it, unless it has rows of its own; then it is fenced, and rejoins.

    While the primary does not answer only one that has every commit is started: it may be the one that starts.
    """
    if not _free(view) or view.o.alive:
        return None
    if not view.p.answering:
        if not view.memory.in_sync or not view.o.exists or view.o.diverged:
            return None
        why = "the primary is starting; the standby has everything and is started, too"
        return step(Phase.REBOOTING if view.reboot_in_progress else Phase.RECOVERING, why,
                    Start(view.other, standby=True))  # fmt: skip
    if view.o.diverged:
        fenced = Record(view.remember(fenced=view.other, in_sync=False))
        return step(Phase.RUNNING, f"{view.other}: {view.o.diverged}", fenced)
    return step(Phase.RUNNING, "the standby is being started", Start(view.other, standby=True))


def restart_standby(view: View) -> Step | None:
    """The standby must be restarted for new parameters, or because it replays nothing, before it joins again."""
    if not _free(view) or not (_restart_due(view) or view.o.paused):
        return None
    why = (
        f"the standby is restarted: {view.o.paused}" if view.o.paused else "the standby is restarted for new parameters"
    )
    return step(Phase.RUNNING, why, Begin(JobKind.RESTART, view.other))


def join(view: View) -> Step | None:
    """The standby streams: make commits wait for it."""
    if not _free(view) or not view.o.streaming or view.stuck or view.o.unsteady_s > 0:
        return None
    return step(Phase.RUNNING, "the standby catches up", Begin(JobKind.JOIN, view.other))


def _free(view: View) -> bool:
    """Something may be done to the other member now."""
    return view.o.job is None and view.o.wait_s <= 0 and not view.o.held


def _restart_due(view: View) -> bool:
    return view.o.pending_restart and not view.p.pending_restart
