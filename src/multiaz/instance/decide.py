"""What a supervisor does next: a pure function of what is wanted, what is seen, and what is remembered.

The rules are tried in order and the first that speaks decides. Guards come first. A rule that acts
leads to a state in which it is silent, so the loop comes to rest; an action that fails is decided anew.
"""

from __future__ import annotations

from collections.abc import Callable

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
    StopAll,
    TakeSnapshot,
)
from multiaz.instance.records import (
    Answer,
    DesiredInstance,
    MemberName,
    Phase,
    Request,
    RequestKind,
    RoleRecord,
    RunState,
)
from multiaz.instance.view import Seen, SeenMember, View

LEAVE_AFTER_S = 1.0
"""How long commits wait for a standby that is up but not streaming before it is struck off. RDS too goes on."""
STRAY_AFTER_S = 5.0
"""How long a standby or replica may be up, with its upstream up, and not stream before it is rebuilt."""
CLONE_AFTER_FAILURES = 3
MESSAGES = {
    "RDS-EVENT-0006": "DB instance restarted",
    "RDS-EVENT-0013": "Multi-AZ instance failover started.",
    "RDS-EVENT-0049": "Multi-AZ instance failover completed",
}


Rule = Callable[[View], Step | None]


def decide(desired: DesiredInstance, seen: Seen, memory: RoleRecord) -> Step:
    """The next step. Pure; the last rule always speaks."""
    primary: MemberName = memory.primary or "a"
    view = View(desired, seen, memory, primary, "b" if primary == "a" else "a")
    for rule in RULES:
        step = rule(view)
        if step is not None:
            return step
    raise AssertionError("unreachable: rest() always speaks")


# -- guards ------------------------------------------------------------------------------------------


def second_primary(view: View) -> Step | None:
    """A member that is not the recorded primary takes writes: fence it, whatever else is going on."""
    if view.memory.primary is None or not view.o.alive or view.o.in_recovery is not False or view.memory.following:
        return None
    record = view.remember(fenced=view.other, in_sync=False)
    return _step(view, "second_primary", Phase.FAILING_OVER, f"{view.other} takes writes and is not the primary",
                 Fence(view.other), Record(record))  # fmt: skip


def fenced_alive(view: View) -> Step | None:
    """A fenced member runs: fence it again."""
    fenced = view.memory.fenced
    if fenced is None or not view.seen.members.get(fenced, SeenMember()).alive:
        return None
    return _step(view, "fenced_alive", Phase.FAILING_OVER, f"{fenced} is fenced and must not run", Fence(fenced))


# -- the whole instance --------------------------------------------------------------------------------


def deleted(view: View) -> Step | None:
    """The instance is to go: stop, keep the final snapshot if asked, and say so."""
    if view.desired.run is not RunState.DELETED:
        return None
    if _busy(view) or _anything_alive(view):
        return _step(view, "deleted", Phase.STOPPING, "the instance is being deleted", *_stop_all(view))
    if view.desired.final_snapshot and not view.seen.snapshot_taken and view.memory.primary is not None:
        return _step(view, "deleted", Phase.STOPPING, "the final snapshot is being taken", TakeSnapshot())
    return _step(view, "deleted", Phase.DELETED, "the instance is deleted")


def stopped(view: View) -> Step | None:
    """The instance is to rest with its data."""
    if view.desired.run is not RunState.STOPPED:
        return None
    if _busy(view) or _anything_alive(view):
        return _step(view, "stopped", Phase.STOPPING, "the instance is being stopped", *_stop_all(view))
    return _step(view, "stopped", Phase.STOPPED, "the instance is stopped")


def create(view: View) -> Step | None:
    """There has never been a primary: make the first server."""
    if view.memory.primary is not None:
        return None
    if view.seen.created:
        replica = view.desired.source is not None
        number = 0 if replica or view.desired.master is None else view.desired.master.number
        record = view.remember(primary="a", epoch=1, initialised=True, following=replica, master_number=number)
        return _step(view, "create", Phase.CREATING, "the first server is made", Record(record), PointPrimary("a"))
    if view.p.job is JobKind.CREATE:
        return _step(view, "create", Phase.CREATING, "the first server is being made")
    if view.p.failed and view.p.wait_s > 0:
        return _step(view, "create", Phase.FAILED, view.p.failed)
    if view.seen.data_exists and not view.seen.creating:
        return _step(view, "create", Phase.FAILED, "role.json is missing and there is data: nothing is touched; "
                     "restore role.json")  # fmt: skip
    return _step(view, "create", Phase.CREATING, "there is no server yet", Begin(JobKind.CREATE, "a"))


# -- the primary ---------------------------------------------------------------------------------------


def restarting(view: View) -> Step | None:
    """The primary is down because it is being restarted on request: that is no failure."""
    if view.p.job is not JobKind.RESTART:
        return None
    return _step(view, "restarting", Phase.REBOOTING, "the primary is being restarted")


def take_over(view: View) -> Step | None:
    """The primary is dead and the standby has every acknowledged commit: promote the standby."""
    if view.p.alive or not view.takeover_possible or (view.o.silent and not view.p.failed):
        return None
    if not _reboot_in_progress(view):
        return _failover(view, "take_over", "the primary died", view.memory.answers)
    if view.p.job is not None or not view.p.failed:
        return None
    assert view.memory.request is not None
    answers = view.answer(view.memory.request, "refused", f"the primary did not start again: {view.p.failed}")
    return _failover(view, "take_over", "the primary did not start again after a reboot", answers)


def finish_promotion(view: View) -> Step | None:
    """The recorded primary is still in recovery: a promotion was begun and is carried on."""
    if view.memory.following or not view.p.answering or view.p.in_recovery is not True:
        return None
    actions: list[Action] = [Fence(view.other)] if view.o.alive and view.memory.fenced == view.other else []
    actions += [Promote(view.primary), PointPrimary(view.primary), PointUpstream(view.primary)]
    return _step(view, "finish_promotion", Phase.FAILING_OVER, f"{view.primary} is being promoted", *actions)


def recover(view: View) -> Step | None:
    """The primary is down and nobody may take over: start it again."""
    if view.p.alive:
        return None
    if view.p.job is not None:
        return _step(view, "recover", Phase.RECOVERING, f"the {view.p.job} of the server is under way")
    phase = Phase.REBOOTING if _reboot_in_progress(view) else Phase.RECOVERING
    if view.p.failed and view.memory.in_sync and view.o.exists and not view.o.alive and not view.o.wait_s:
        return _step(view, "recover", phase, "the primary does not start; the standby has everything and is started",
                     Start(view.other, standby=True))  # fmt: skip
    if view.p.wait_s > 0:
        return _step(view, "recover", Phase.FAILED, view.p.failed or "the server does not start")
    if not view.p.exists and view.memory.following:
        return _step(view, "recover", phase, "the replica has no data and is copied again",
                     Begin(JobKind.REJOIN, view.primary))  # fmt: skip
    if not view.p.exists:
        return _step(view, "recover", Phase.FAILED, "the primary's data directory is gone; restore a snapshot")
    return _step(view, "recover", phase, "the primary is down and is being started",
                 Start(view.primary, standby=view.memory.following))  # fmt: skip


def awaken(view: View) -> Step | None:
    """The primary is up but does not answer yet."""
    if view.p.answering:
        return None
    phase = Phase.REBOOTING if _reboot_in_progress(view) else Phase.RECOVERING
    return _step(view, "awaken", phase, "the primary does not answer" if view.p.silent else "the primary is starting")


def point(view: View) -> Step | None:
    """The primary answers and the link does not name it (a new run folder): point it there."""
    if view.seen.primary_link == view.primary:
        return None
    return _step(view, "point", Phase.RECOVERING, "clients are led to the primary", PointPrimary(view.primary))


def configure(view: View) -> Step | None:
    """A server runs with another configuration than the wanted one."""
    idle = [name for name in view.seen.outdated if view.seen.members[name].job is None]
    if not idle or view.o.job is JobKind.JOIN:
        return None
    waits = view.memory.in_sync or view.joined
    actions = [Configure(name, synchronous=name == view.primary and waits) for name in idle]
    return _step(view, "configure", Phase.RUNNING, "parameters are being applied", *actions)


def announce(view: View) -> Step | None:
    """Clients reach the primary again: say what happened, at least once."""
    if not view.memory.to_announce:
        return None
    said = [Announce(code, MESSAGES[code]) for code in view.memory.to_announce]
    return _step(view, "announce", Phase.RUNNING, "events are told", *said, Record(view.remember(to_announce=())))


# -- requests ------------------------------------------------------------------------------------------


def answer_request(view: View) -> Step | None:
    """A one-shot request waits: carry it out once, or say why not."""
    request = view.desired.request
    if request is None or request.number <= view.memory.answered:
        return None
    if request.epoch < view.memory.epoch and view.memory.request != request:
        answers = view.answer(request, "stale", f"made for epoch {request.epoch}, this is {view.memory.epoch}")
        return _step(view, "answer_request", Phase.RUNNING, "a stale request", Record(view.remember(answers=answers)))
    if not view.p.answering and request.kind is not RequestKind.FAILOVER:
        return None
    match request.kind:
        case RequestKind.FAILOVER:
            return _answer_failover(view, request)
        case RequestKind.REBOOT:
            return _answer_reboot(view, request)
        case RequestKind.PROMOTE:
            return _answer_promote(view, request)


def _answer_failover(view: View, request: Request) -> Step:
    if view.takeover_possible and view.o.answering:
        answers = view.answer(request, "done", f"{view.other} is primary")
        return _failover(view, "answer_request", "a failover was requested", answers)
    answers = view.answer(request, "refused", "there is no standby that has every commit")
    return _step(view, "answer_request", Phase.RUNNING, "a failover was requested and refused",
                 Record(view.remember(answers=answers)))  # fmt: skip


def _answer_reboot(view: View, request: Request) -> Step:
    if view.memory.request != request:
        return _step(view, "answer_request", Phase.REBOOTING, "a reboot was requested",
                     Record(view.remember(request=request)), Begin(JobKind.RESTART, view.primary))  # fmt: skip
    if view.seen.restarted:
        answers = view.answer(request, "done", "the primary was restarted")
        record = view.remember(request=None, answers=answers, to_announce=("RDS-EVENT-0006",))
        return _step(view, "answer_request", Phase.RUNNING, "the reboot is done", Record(record))
    # the supervisor died in the middle: whether the restart happened is unknown, so it is done again
    return _step(view, "answer_request", Phase.REBOOTING, "a reboot is carried on",
                 Begin(JobKind.RESTART, view.primary))  # fmt: skip


def _answer_promote(view: View, request: Request) -> Step:
    if not view.memory.following:
        record = view.remember(answers=view.answer(request, "refused", "this is not a read replica"))
        return _step(view, "answer_request", Phase.RUNNING, "a promotion was refused", Record(record))
    answers = view.answer(request, "done", "the read replica is an instance of its own")
    record = view.remember(following=False, epoch=view.memory.epoch + 1, answers=answers)
    return _step(view, "answer_request", Phase.RUNNING, "the read replica is being promoted",
                 Record(record), Promote(view.primary), PointPrimary(view.primary))  # fmt: skip


# -- the standby ---------------------------------------------------------------------------------------


def leave(view: View) -> Step | None:
    """The standby no longer takes commits: strike it off, durably, before commits stop waiting."""
    if not view.memory.in_sync:
        return None
    if view.desired.multi_az and view.o.alive and view.o.job is None and (
        view.o.streaming or view.o.not_streaming_s < LEAVE_AFTER_S
    ):  # fmt: skip
        if not (view.o.pending_restart and not view.p.pending_restart):
            return None
        why = "the standby must be restarted for new parameters"
    else:
        why = "the standby is gone" if view.desired.multi_az else "Multi-AZ was turned off"
    return _step(view, "leave", Phase.RUNNING, why, Record(view.remember(in_sync=False)),
                 Configure(view.primary, synchronous=False), PointUpstream(view.primary))  # fmt: skip


def single(view: View) -> Step | None:
    """Multi-AZ is off (or this is a replica) and the other member is still there: remove it."""
    if (view.desired.multi_az and not view.memory.following) or view.o.job is not None:
        return None
    if view.o.exists or view.o.alive:
        begin = () if view.o.wait_s > 0 else (Begin(JobKind.REMOVE, view.other),)
        return _step(view, "single", Phase.RUNNING, "the standby is being removed", *begin)
    if view.memory.fenced is None:
        return None
    return _step(view, "single", Phase.RUNNING, "the standby is removed", Record(view.remember(fenced=None)))


def restore_redundancy(view: View) -> Step | None:
    """Multi-AZ is on and the standby is not in sync: clone, rejoin, start or join it."""
    if not view.desired.multi_az or view.memory.following or view.memory.in_sync or view.o.wait_s > 0:
        return None
    o, other = view.o, view.other
    if view.joined and o.alive and o.job is None:
        return _step(view, "restore_redundancy", Phase.RUNNING, "the standby is in sync",
                     Record(view.remember(in_sync=True)))  # fmt: skip
    if o.job is not None:
        return None
    if view.memory.fenced == other:
        if other in view.seen.rejoined:
            return _step(view, "restore_redundancy", Phase.RUNNING, f"{other} has the primary's history",
                         Record(view.remember(fenced=None)))  # fmt: skip
        if o.exists:
            return _step(view, "restore_redundancy", Phase.RUNNING, f"{other} rejoins as standby",
                         Begin(JobKind.REJOIN, other))  # fmt: skip
        return _step(view, "restore_redundancy", Phase.RUNNING, f"{other} has no data left to fence",
                     Record(view.remember(fenced=None)))  # fmt: skip
    if not o.exists:
        return _begin(view, JobKind.CLONE, f"{other} is being cloned from the primary")
    if not o.alive and o.failures >= CLONE_AFTER_FAILURES:
        return _begin(view, JobKind.CLONE, f"{other} does not start and is cloned again")
    if not o.alive:
        return _step(view, "restore_redundancy", Phase.RUNNING, "the standby is being started",
                     Start(other, standby=True))  # fmt: skip
    if o.pending_restart and not view.p.pending_restart:
        return _begin(view, JobKind.RESTART, "the standby is restarted for new parameters")
    if o.streaming:
        return _begin(view, JobKind.JOIN, "the standby catches up")
    if o.stalled_s > STRAY_AFTER_S:
        return _begin(view, JobKind.CLONE, "the standby cannot stream and is cloned again")
    return None


def _begin(view: View, kind: JobKind, reason: str) -> Step:
    return _step(view, "restore_redundancy", Phase.RUNNING, reason, Begin(kind, view.other))


# -- read replicas, master user ------------------------------------------------------------------------


def stray_replica(view: View) -> Step | None:
    """A read replica is up, its source too, and it cannot stream: copy the source again."""
    if not view.memory.following or view.p.job is not None or view.p.wait_s > 0 or not view.seen.source_alive:
        return None
    if view.p.streaming or view.p.stalled_s <= STRAY_AFTER_S:
        return None
    return _step(view, "stray_replica", Phase.RUNNING, "the replica cannot follow its source and is copied again",
                 Begin(JobKind.REJOIN, view.primary))  # fmt: skip


def upstream(view: View) -> Step | None:
    """Replicas stream from the in-sync standby, and from the primary only without one."""
    target = view.other if view.memory.in_sync and view.o.alive else view.primary
    strays = view.seen.replicas_on_primary and target == view.other
    if view.seen.upstream_link == target and not strays:
        return None
    if target == view.primary and view.seen.upstream_link is not None and view.o.job is JobKind.JOIN:
        return None  # the join has moved the replicas to the standby and is about to finish
    return _step(view, "upstream", Phase.RUNNING, f"replicas are led to {target}", PointUpstream(target))


def master_user(view: View) -> Step | None:
    """The master user's password changed."""
    master = view.desired.master
    if master is None or view.memory.following or master.number <= view.memory.master_number:
        return None
    if view.seen.master_set > view.memory.master_number:
        return _step(view, "master_user", Phase.RUNNING, "the master user's password is set",
                     Record(view.remember(master_number=view.seen.master_set)))  # fmt: skip
    if view.p.job is not None or view.seen.master_wait:
        return None
    return _step(view, "master_user", Phase.RUNNING, "the master user's password is being set",
                 Begin(JobKind.MASTER, view.primary))  # fmt: skip


def rest(view: View) -> Step:
    """Nothing to do."""
    if not view.desired.multi_az or view.memory.in_sync:
        return _step(view, "rest", Phase.RUNNING, "the instance is well")
    return _step(view, "rest", Phase.RUNNING, view.o.failed or "the standby is on its way")


RULES: tuple[Rule, ...] = (
    second_primary, fenced_alive, deleted, stopped, create, restarting, take_over, finish_promotion, recover,
    answer_request, awaken, point, announce, configure, leave, master_user, single, restore_redundancy, stray_replica,
    upstream, rest,
)  # fmt: skip


def _step(view: View, rule: str, phase: Phase, reason: str, *actions: Action) -> Step:
    return Step(rule, phase, reason, actions)


def _failover(view: View, rule: str, why: str, answers: tuple[Answer, ...]) -> Step:
    """Fence, remember, promote, lead clients there: in this order."""
    record = view.remember(
        epoch=view.memory.epoch + 1, primary=view.other, in_sync=False, fenced=view.primary, answers=answers,
        request=None, to_announce=("RDS-EVENT-0006", "RDS-EVENT-0049"),
    )  # fmt: skip
    return _step(
        view, rule, Phase.FAILING_OVER, why,
        Fence(view.primary), Record(record), Announce("RDS-EVENT-0013", MESSAGES["RDS-EVENT-0013"]),
        Promote(view.other), PointPrimary(view.other), PointUpstream(view.other),
    )  # fmt: skip


def _stop_all(view: View) -> tuple[Action, ...]:
    return () if _busy(view) else (StopAll(),)


def _busy(view: View) -> bool:
    return any(member.job is not None for member in view.seen.members.values())


def _anything_alive(view: View) -> bool:
    return any(member.alive for member in view.seen.members.values())


def _reboot_in_progress(view: View) -> bool:
    request = view.memory.request
    return request is not None and request.kind is RequestKind.REBOOT
