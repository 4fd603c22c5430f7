"""One-shot requests: each is carried out once, or answered with why not."""

from __future__ import annotations

from multiaz.instance.actions import (
    Begin,
    Configure,
    EndJob,
    JobKind,
    PointPrimary,
    PointUpstream,
    Promote,
    Record,
    Step,
)
from multiaz.instance.records import Phase, Request, RequestKind
from multiaz.instance.rules.steps import failover, step
from multiaz.instance.view import View


def stale_request(view: View) -> Step | None:
    """A request was made for an epoch that is over, and was not begun: say so instead of doing it."""
    request = view.waiting_request
    if request is None or request.epoch >= view.memory.epoch or view.memory.request == request:
        return None
    answers = view.answer(request, "stale", f"made for epoch {request.epoch}, this is {view.memory.epoch}")
    return step(Phase.RUNNING, "a stale request", Record(view.remember(answers=answers)))


def answer_failover(view: View) -> Step | None:
    """A failover is requested and possible: it takes the same path as a death."""
    request = _asked(view, RequestKind.FAILOVER)
    if request is None or not view.takeover_possible or not view.o.answering or view.o.full:
        return None
    return failover(view, "a failover was requested", view.answer(request, "done", f"{view.other} is primary"))


def refuse_failover(view: View) -> Step | None:
    """A failover is requested and would lose commits, or the standby is lost, hangs, or could not write.

    A standby that has every commit and does not answer at this moment (the supervisor was stopped, or the standby has
    just started) is no reason: it answers soon, or is said to hang (`silent`), or leaves.
    """
    request = _asked(view, RequestKind.FAILOVER)
    if request is None:
        return None
    why = "there is no standby that has every commit"
    if view.memory.in_sync:
        why = view.lost or ("the standby does not answer" if view.o.silent else "")
        why = why or ("the standby's storage is full: it could not take writes" if view.o.full else "")
        if not why and view.takeover_possible and not view.o.answering:
            return None
    answers = view.answer(request, "refused", why or "the standby cannot take over now")
    return step(Phase.RUNNING, "a failover was requested and refused", Record(view.remember(answers=answers)))


def answer_reboot(view: View) -> Step | None:
    """A reboot is requested: remember that it is no failure, restart, answer."""
    request = _asked(view, RequestKind.REBOOT)
    if request is None or view.p.job is not None:
        return None  # a job may be a commit that waits for a lost standby: the leave must not wait for the reboot
    restart = Begin(JobKind.RESTART, view.primary)
    if view.memory.request != request:
        return step(Phase.REBOOTING, "a reboot was requested", Record(view.remember(request=request)), restart)
    if view.seen.restarted:
        answers = view.answer(request, "done", "the primary was restarted")
        told = ("RDS-EVENT-0004", "RDS-EVENT-0006")
        record = view.remember(request=None, answers=answers, to_announce=told)
        return step(Phase.RUNNING, "the reboot is done", Record(record))
    # the supervisor died in the middle: whether the restart happened is unknown, so it is done again
    return step(Phase.REBOOTING, "a reboot is carried on", restart)


def answer_restart_standby(view: View) -> Step | None:
    """The standby is to have new parameters before the primary: strike it off, restart it, let it join, answer.

    A standby that does not start with them is the answer too; the primary has not been touched.
    """
    request = _asked(view, RequestKind.RESTART_STANDBY)
    if request is None:
        return None
    begun, o = view.memory.request == request, view.o
    if not view.standby_wanted:
        return _refuse(view, request, "there is no standby")
    if begun and view.seen.standby_restarted and view.memory.in_sync:
        answers = view.answer(request, "done", f"{view.other} was restarted and is in sync")
        return step(
            Phase.RUNNING, "the standby has been restarted", Record(view.remember(request=None, answers=answers))
        )
    if begun and o.failed and not o.alive and o.job is None:
        return _refuse(view, request, f"the standby did not start: {o.failed}")
    if not o.alive or o.job is not None or o.held or (begun and view.seen.standby_restarted):
        return None  # other rules bring it up, and in sync again
    record = Record(view.remember(request=request, in_sync=False))
    return step(
        Phase.RUNNING, "the standby is restarted on request", record, Configure(view.primary, synchronous=False),
        PointUpstream(view.primary), Begin(JobKind.RESTART, view.other),
    )  # fmt: skip


def _refuse(view: View, request: Request, why: str) -> Step:
    record = view.remember(request=None, answers=view.answer(request, "refused", why))
    return step(Phase.RUNNING, "a restart of the standby was refused", Record(record))


def answer_promote(view: View) -> Step | None:
    """A read replica is to become an instance of its own: it forgets its source before it takes writes.

    One whose replay is paused would not leave recovery and is restarted first; a diverged one is copied again first.
    Any other copy is ended first: once promoted, its rows are nobody else's, and no copy may take their place.
    """
    request = _asked(view, RequestKind.PROMOTE)
    if request is None or not view.memory.following:
        return None
    if view.p.diverged and view.seen.source_alive:
        return None
    if view.p.diverged:
        answers = view.answer(request, "refused", view.p.diverged)
        return step(Phase.RUNNING, "a promotion was refused", Record(view.remember(answers=answers)))
    if view.p.job is not None:
        return step(Phase.RUNNING, f"the {view.p.job} of the replica is ended, because it is to be promoted",
                    EndJob(view.primary))  # fmt: skip
    if view.p.paused:
        return step(Phase.REBOOTING, "the replica is restarted before it is promoted, because its replay is paused",
                    Begin(JobKind.RESTART, view.primary))  # fmt: skip
    answers = view.answer(request, "done", "the read replica is an instance of its own")
    record = view.remember(following=False, replication_broken=False, epoch=view.memory.epoch + 1, answers=answers)
    why = "the read replica is being promoted"
    return step(Phase.RUNNING, why, Record(record), Promote(view.primary), PointPrimary(view.primary))


def refuse_promote(view: View) -> Step | None:
    """A promotion is requested of what is no read replica."""
    request = _asked(view, RequestKind.PROMOTE)
    if request is None:
        return None
    answers = view.answer(request, "refused", "this is not a read replica")
    return step(Phase.RUNNING, "a promotion was refused", Record(view.remember(answers=answers)))


def _asked(view: View, kind: RequestKind) -> Request | None:
    request = view.waiting_request
    return request if request is not None and request.kind is kind else None
