"""The primary: taken over, promoted, recovered, reached, configured."""

from __future__ import annotations

from multiaz.instance.actions import (
    Action,
    Announce,
    Begin,
    Configure,
    Fence,
    JobKind,
    PointPrimary,
    PointUpstream,
    Promote,
    Record,
    Start,
    Step,
)
from multiaz.instance.records import Phase
from multiaz.instance.rules.steps import MESSAGES, failover, step
from multiaz.instance.view import View


def restarting(view: View) -> Step:
    """The primary is down because it is being restarted on request: that is no failure, unless it hangs at that.

    Ended, its restart has failed, and who goes on is decided as after a death.
    """
    if view.p.hung:
        why = f"the primary hangs while it is restarted, and is ended: {view.p.hung_why}"
        return step(Phase.REBOOTING, why, Fence(view.primary))
    return step(Phase.REBOOTING, "the primary is being restarted")


def take_over(view: View) -> Step | None:
    """The primary is dead and the standby has every acknowledged commit: promote the standby."""
    startable = view.p.exists and not view.p.failed and not view.p.held
    if (view.o.silent or view.o.hung) and startable:
        return None
    if not view.reboot_in_progress:
        return failover(view, "the primary died")
    if view.p.job is not None or startable:
        return None
    assert view.memory.request is not None
    why = view.p.failed or view.p.held or "its data directory is gone"
    answers = view.answer(view.memory.request, "refused", f"the primary did not start again: {why}")
    return failover(view, "the primary did not start again after a reboot", answers)


def hung_primary(view: View) -> Step | None:
    """The primary hangs: promote a standby that has every acknowledged commit; without one, end it to start it again.

    The fence comes first here too: a stopped process may go on at any moment.
    """
    if view.takeover_possible and not (view.o.silent or view.o.hung):
        return failover(view, f"the primary hangs: {view.p.hung_why}")
    if view.p.job not in (None, JobKind.MASTER):
        return None
    return step(Phase.RECOVERING, f"the server hangs and is ended: {view.p.hung_why}", Fence(view.primary))


def finish_promotion(view: View) -> Step:
    """The recorded primary is still in recovery: a promotion was begun and is carried on.

    One that stands still is ended by Promote; the server is then down, and started to be promoted again.
    """
    actions: list[Action] = [Fence(view.other)] if view.o.alive else []
    actions += [Promote(view.primary), PointPrimary(view.clients_to), PointUpstream(view.primary)]
    return step(Phase.FAILING_OVER, f"{view.primary} is being promoted", *actions)


def recover(view: View) -> Step:
    """The primary is down and nobody may take over: start it again."""
    if view.p.job is not None:
        return step(Phase.RECOVERING, f"the {view.p.job} of the server is under way")
    phase = Phase.REBOOTING if view.reboot_in_progress else Phase.RECOVERING
    lost = view.p.failed or view.p.held or not view.p.exists
    startable = view.o.exists and not view.o.alive and view.o.job is None and not view.o.wait_s and not view.o.held
    if lost and view.memory.in_sync and startable:
        why = "the primary does not start; the standby has everything and is started"
        return step(phase, why, Start(view.other, standby=True))
    if view.p.held:
        return step(phase, f"the primary waits: {view.p.held}")
    if view.p.wait_s > 0:
        return step(Phase.FAILED, view.p.failed or "the server does not start")
    if not view.p.exists and view.memory.following:
        return step(phase, "the replica has no data and is copied again", Begin(JobKind.REJOIN, view.primary))
    if view.p.diverged:  # of a read replica: it is not shown again
        again = (Begin(JobKind.REJOIN, view.primary),) if view.seen.source_alive else ()
        return step(phase, f"{view.p.diverged}: the replica is copied again", *again)
    if not view.p.exists:
        return step(Phase.FAILED, "the primary's data directory is gone; restore a snapshot")
    why = "the primary is down and is being started"
    return step(phase, why, Start(view.primary, standby=view.memory.following))


def awaken(view: View) -> Step:
    """The primary is up but does not answer yet."""
    phase = Phase.REBOOTING if view.reboot_in_progress else Phase.RECOVERING
    if view.p.silent:
        return step(phase, "the primary does not answer")
    return step(phase, "the primary is slow to answer" if view.p.accepting else "the primary is starting")


def point(view: View) -> Step | None:
    """The primary answers and the link does not name it (a new run folder, the end of a pause): point it there."""
    if view.seen.primary_link == view.clients_to:
        return None
    if view.clients_to is None:
        return step(Phase.FAILING_OVER, "clients are led nowhere for a while", PointPrimary(None))
    return step(Phase.RECOVERING, "clients are led to the primary", PointPrimary(view.primary))


def announce(view: View) -> Step | None:
    """Clients reach the primary again: say what happened, at least once."""
    if not view.memory.to_announce or view.endpoint_closed:
        return None
    said = [Announce(code, MESSAGES[code]) for code in view.memory.to_announce]
    return step(Phase.RUNNING, "events are told", *said, Record(view.remember(to_announce=(), endpoint_opens_at=None)))


def configure(view: View) -> Step | None:
    """A server runs with another configuration than the wanted one."""
    idle = [name for name in view.seen.outdated if view.seen.members[name].job is None]
    if not idle or view.o.job is JobKind.JOIN:
        return None
    waits = view.memory.in_sync or view.joined
    actions = [Configure(name, synchronous=name == view.primary and waits) for name in idle]
    return step(Phase.RUNNING, "parameters are being applied", *actions)


def master_user(view: View) -> Step | None:
    """The master user's password changed."""
    master = view.desired.master
    if master is None or view.memory.following or master.number <= view.memory.master_number:
        return None
    if view.seen.master_set > view.memory.master_number:
        record = view.remember(master_number=view.seen.master_set)
        return step(Phase.RUNNING, "the master user's password is set", Record(record))
    if view.p.job is not None or view.seen.master_wait:
        return None
    return step(Phase.RUNNING, "the master user's password is being set", Begin(JobKind.MASTER, view.primary))


def rest(view: View) -> Step:
    """Nothing to do."""
    if view.awaited is not None:
        return step(Phase.RUNNING, f"commits wait for the standby: {view.o.held or view.o.failed or view.awaited}")
    if not view.desired.multi_az or view.memory.in_sync:
        return step(Phase.RUNNING, "the instance is well")
    pauses = "the standby fell out although it runs, and joins again after a pause" if view.o.unsteady_s > 0 else ""
    return step(Phase.RUNNING, view.o.held or view.o.failed or pauses or "the standby is on its way")
