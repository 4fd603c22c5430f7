"""Guards, and what becomes of the instance as a whole: made, stopped, deleted, or left for a person to look at."""

from __future__ import annotations

from multiaz.instance.actions import (
    Action,
    Begin,
    EndJob,
    Fence,
    JobKind,
    PointPrimary,
    Record,
    Step,
    StopAll,
    TakeSnapshot,
)
from multiaz.instance.records import Phase, RunState
from multiaz.instance.rules.steps import step
from multiaz.instance.view import View


def record_stale(view: View) -> Step:
    """The servers are ahead of the record, which so cannot say who has what: no server is started, promoted or fenced.

    Clients stay where they were led. Stopping needs no record; a final snapshot does, so deleting with one waits.
    """
    wanted = view.desired.run
    if wanted is RunState.STOPPED:
        return stopped(view)
    if wanted is RunState.DELETED and not view.desired.final_snapshot:
        return deleted(view)
    return step(Phase.FAILED, f"role.json cannot be trusted: {view.seen.doubt}; nothing is touched; restore role.json")


def second_primary(view: View) -> Step:
    """A member that is not the recorded primary takes writes: fence it, whatever else is going on."""
    why = f"{view.other} takes writes and is not the primary"
    record = view.remember(fenced=view.other, in_sync=False)
    return step(Phase.FAILING_OVER, why, Fence(view.other), Record(record))


def fenced_alive(view: View) -> Step:
    """A fenced member runs: fence it again."""
    fenced = view.memory.fenced
    assert fenced is not None
    return step(Phase.FAILING_OVER, f"{fenced} is fenced and must not run", Fence(fenced))


def held_alive(view: View) -> Step | None:
    """A member runs that must not: it was being started when a fault came, or came to be stuck. Kill it."""
    for name, member in view.seen.members.items():
        if member.held and member.alive:
            return step(Phase.RECOVERING if name == view.primary else Phase.RUNNING, member.held, Fence(name))
    return None


def deleted(view: View) -> Step:
    """The instance is to go: stop, keep the final snapshot if asked, and say so."""
    if view.busy or view.anything_alive:
        return step(Phase.STOPPING, "the instance is being deleted", *_stop_all(view))
    stuck = next((member.stuck for member in view.seen.members.values() if member.stuck), "")
    if stuck:
        return step(Phase.STOPPING, f"the instance is being deleted, and waits: {stuck}")
    if view.desired.final_snapshot and not view.seen.snapshot_taken and view.memory.primary is not None:
        return step(Phase.STOPPING, "the final snapshot is being taken", TakeSnapshot())
    return step(Phase.DELETED, "the instance is deleted")


def stopped(view: View) -> Step:
    """The instance is to rest with its data."""
    if view.busy or view.anything_alive:
        return step(Phase.STOPPING, "the instance is being stopped", *_stop_all(view))
    return step(Phase.STOPPED, "the instance is stopped")


def _stop_all(view: View) -> tuple[Action, ...]:
    """A job may wait for what never comes (a copy through a dead wire): it is ended, not waited for."""
    ending = [EndJob(name) for name, member in view.seen.members.items() if member.job is not None]
    return (*ending, StopAll())


def record_missing(view: View) -> Step:
    """There is data and nothing says who is primary: nothing is touched."""
    return step(Phase.FAILED, "role.json is missing and there is data: nothing is touched; restore role.json")


def create(view: View) -> Step:
    """There has never been a primary: make the first server."""
    if view.seen.created:
        replica = view.desired.source is not None
        theirs = replica or view.desired.restore is not None  # roles and passwords came with the data
        number = 0 if theirs or view.desired.master is None else view.desired.master.number
        record = view.remember(primary="a", epoch=1, initialised=True, following=replica, master_number=number)
        return step(Phase.CREATING, "the first server is made", Record(record), PointPrimary("a"))
    if view.p.job is not None:
        return step(Phase.CREATING, "the first server is being made")
    if view.p.held:
        return step(Phase.CREATING, view.p.held)
    if view.p.failed and view.p.wait_s > 0:
        return step(Phase.FAILED, view.p.failed)
    return step(Phase.CREATING, "there is no server yet", Begin(JobKind.CREATE, "a"))
