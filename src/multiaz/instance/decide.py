"""What a supervisor does next: a pure function of what is wanted, what is seen, and what is remembered.

TRANSITIONS is the failover state machine: rows of current states, run states that are wanted, and a rule, in order of
precedence. A row is asked only in its states; the first rule that speaks decides. Guards come first. A rule that
acts leads to a state in which it is silent, so the loop comes to rest; an action that fails is decided anew.
docs/failover.md is made from the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
from multiaz.instance.states import State, state_of
from multiaz.instance.view import Seen, View

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
    """The next step. Pure; some row always speaks."""
    view = view_of(desired, seen, memory)
    state = state_of(view)
    for row in TRANSITIONS:
        if state in row.current and desired.run in row.wanted:
            step = row.rule(view)
            if step is not None:
                return step
    raise AssertionError(f"unreachable: in {state} nobody speaks")


# -- guards ------------------------------------------------------------------------------------------


def second_primary(view: View) -> Step:
    """A member that is not the recorded primary takes writes: fence it, whatever else is going on."""
    record = view.remember(fenced=view.other, in_sync=False)
    return _step(view, "second_primary", Phase.FAILING_OVER, f"{view.other} takes writes and is not the primary",
                 Fence(view.other), Record(record))  # fmt: skip


def fenced_alive(view: View) -> Step:
    """A fenced member runs: fence it again."""
    fenced = view.memory.fenced
    assert fenced is not None
    return _step(view, "fenced_alive", Phase.FAILING_OVER, f"{fenced} is fenced and must not run", Fence(fenced))


def held_alive(view: View) -> Step | None:
    """A fault holds a member down and it runs (it was being started when the fault came): kill it."""
    for name, member in view.seen.members.items():
        if member.held and member.alive:
            phase = Phase.RECOVERING if name == view.primary else Phase.RUNNING
            return _step(view, "held_alive", phase, member.held, Fence(name))
    return None


# -- the whole instance --------------------------------------------------------------------------------


def deleted(view: View) -> Step:
    """The instance is to go: stop, keep the final snapshot if asked, and say so."""
    if view.busy or view.anything_alive:
        return _step(view, "deleted", Phase.STOPPING, "the instance is being deleted", *_stop_all(view))
    if view.desired.final_snapshot and not view.seen.snapshot_taken and view.memory.primary is not None:
        return _step(view, "deleted", Phase.STOPPING, "the final snapshot is being taken", TakeSnapshot())
    return _step(view, "deleted", Phase.DELETED, "the instance is deleted")


def stopped(view: View) -> Step:
    """The instance is to rest with its data."""
    if view.busy or view.anything_alive:
        return _step(view, "stopped", Phase.STOPPING, "the instance is being stopped", *_stop_all(view))
    return _step(view, "stopped", Phase.STOPPED, "the instance is stopped")


def create(view: View) -> Step:
    """There has never been a primary: make the first server."""
    if view.seen.created:
        replica = view.desired.source is not None
        number = 0 if replica or view.desired.master is None else view.desired.master.number
        record = view.remember(primary="a", epoch=1, initialised=True, following=replica, master_number=number)
        return _step(view, "create", Phase.CREATING, "the first server is made", Record(record), PointPrimary("a"))
    if view.p.job is JobKind.CREATE:
        return _step(view, "create", Phase.CREATING, "the first server is being made")
    if view.p.held:
        return _step(view, "create", Phase.CREATING, view.p.held)
    if view.p.failed and view.p.wait_s > 0:
        return _step(view, "create", Phase.FAILED, view.p.failed)
    return _step(view, "create", Phase.CREATING, "there is no server yet", Begin(JobKind.CREATE, "a"))


def record_missing(view: View) -> Step:
    """There is data and nothing says who is primary: nothing is touched."""
    return _step(view, "record_missing", Phase.FAILED, "role.json is missing and there is data: nothing is touched; "
                 "restore role.json")  # fmt: skip


# -- the primary ---------------------------------------------------------------------------------------


def restarting(view: View) -> Step:
    """The primary is down because it is being restarted on request: that is no failure."""
    return _step(view, "restarting", Phase.REBOOTING, "the primary is being restarted")


def take_over(view: View) -> Step | None:
    """The primary is dead and the standby has every acknowledged commit: promote the standby."""
    startable = view.p.exists and not view.p.failed
    if view.o.silent and startable:
        return None
    if not view.reboot_in_progress:
        return _failover(view, "take_over", "the primary died", view.memory.answers)
    if view.p.job is not None or startable:
        return None
    assert view.memory.request is not None
    why = view.p.failed or "its data directory is gone"
    answers = view.answer(view.memory.request, "refused", f"the primary did not start again: {why}")
    return _failover(view, "take_over", "the primary did not start again after a reboot", answers)


def hung_primary(view: View) -> Step | None:
    """The primary hangs and the standby has every acknowledged commit: promote the standby.

    The fence comes first here too: a stopped process may go on at any moment.
    """
    if not view.takeover_possible or not view.o.answering:
        return None
    return _failover(view, "hung_primary", "the primary hangs", view.memory.answers)


def finish_promotion(view: View) -> Step:
    """The recorded primary is still in recovery: a promotion was begun and is carried on."""
    actions: list[Action] = [Fence(view.other)] if view.o.alive and view.memory.fenced == view.other else []
    actions += [Promote(view.primary), PointPrimary(view.primary), PointUpstream(view.primary)]
    return _step(view, "finish_promotion", Phase.FAILING_OVER, f"{view.primary} is being promoted", *actions)


def recover(view: View) -> Step:
    """The primary is down and nobody may take over: start it again."""
    if view.p.job is not None:
        return _step(view, "recover", Phase.RECOVERING, f"the {view.p.job} of the server is under way")
    phase = Phase.REBOOTING if view.reboot_in_progress else Phase.RECOVERING
    lost = view.p.failed or view.p.held or not view.p.exists
    startable = view.o.exists and not view.o.alive and not view.o.wait_s and not view.o.held
    if lost and view.memory.in_sync and startable:
        return _step(view, "recover", phase, "the primary does not start; the standby has everything and is started",
                     Start(view.other, standby=True))  # fmt: skip
    if view.p.held:
        return _step(view, "recover", phase, f"the primary waits: {view.p.held}")
    if view.p.wait_s > 0:
        return _step(view, "recover", Phase.FAILED, view.p.failed or "the server does not start")
    if not view.p.exists and view.memory.following:
        return _step(view, "recover", phase, "the replica has no data and is copied again",
                     Begin(JobKind.REJOIN, view.primary))  # fmt: skip
    if not view.p.exists:
        return _step(view, "recover", Phase.FAILED, "the primary's data directory is gone; restore a snapshot")
    return _step(view, "recover", phase, "the primary is down and is being started",
                 Start(view.primary, standby=view.memory.following))  # fmt: skip


def awaken(view: View) -> Step:
    """The primary is up but does not answer yet."""
    phase = Phase.REBOOTING if view.reboot_in_progress else Phase.RECOVERING
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
    if view.leaving is None:
        return None
    return _step(view, "leave", Phase.RUNNING, view.leaving, Record(view.remember(in_sync=False)),
                 Configure(view.primary, synchronous=False), PointUpstream(view.primary))  # fmt: skip


def single(view: View) -> Step | None:
    """Multi-AZ is off (or this is a replica) and the other member is still there: remove it."""
    if view.o.job is not None:
        return None
    if view.o.exists or view.o.alive:
        begin = () if view.o.wait_s > 0 else (Begin(JobKind.REMOVE, view.other),)
        return _step(view, "single", Phase.RUNNING, "the standby is being removed", *begin)
    return _step(view, "single", Phase.RUNNING, "the standby is removed", Record(view.remember(fenced=None)))


def record_join(view: View) -> Step | None:
    """The join is done and commits wait: say in sync, durably."""
    if not view.joined or view.o.job is not None or view.o.wait_s > 0:
        return None
    return _step(view, "record_join", Phase.RUNNING, "the standby is in sync", Record(view.remember(in_sync=True)))


def rejoin(view: View) -> Step | None:
    """The former primary is fenced: bring it to the primary's history, then let it run as standby."""
    if not _free(view):
        return None
    other, pardon = view.other, Record(view.remember(fenced=None))
    if other in view.seen.rejoined:
        return _step(view, "rejoin", Phase.RUNNING, f"{other} has the primary's history", pardon)
    if not view.o.exists:
        return _step(view, "rejoin", Phase.RUNNING, f"{other} has no data left to fence", pardon)
    return _step(view, "rejoin", Phase.RUNNING, f"{other} rejoins as standby", Begin(JobKind.REJOIN, other))


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
    else:
        return None
    return _step(view, "clone", Phase.RUNNING, why, Begin(JobKind.CLONE, view.other))


def start_standby(view: View) -> Step | None:
    """The standby is down and has the primary's history."""
    if not _free(view):
        return None
    return _step(view, "start_standby", Phase.RUNNING, "the standby is being started",
                 Start(view.other, standby=True))  # fmt: skip


def restart_standby(view: View) -> Step | None:
    """The standby must be restarted for new parameters, before it joins again."""
    if not _free(view) or not _restart_due(view):
        return None
    return _step(view, "restart_standby", Phase.RUNNING, "the standby is restarted for new parameters",
                 Begin(JobKind.RESTART, view.other))  # fmt: skip


def join(view: View) -> Step | None:
    """The standby streams: make commits wait for it."""
    if not _free(view) or not view.o.streaming:
        return None
    return _step(view, "join", Phase.RUNNING, "the standby catches up", Begin(JobKind.JOIN, view.other))


def _free(view: View) -> bool:
    """Something may be done to the other member now."""
    return view.o.job is None and view.o.wait_s <= 0 and not view.o.held


def _restart_due(view: View) -> bool:
    return view.o.pending_restart and not view.p.pending_restart


# -- read replicas, master user ------------------------------------------------------------------------


def stray_replica(view: View) -> Step | None:
    """A read replica is up, its source too, and it cannot stream: copy the source again."""
    if view.p.job is not None or view.p.wait_s > 0 or not view.seen.source_alive:
        return None
    if view.p.stalled_s <= STRAY_AFTER_S:
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
    return _step(view, "rest", Phase.RUNNING, view.o.held or view.o.failed or "the standby is on its way")


# -- parts of rules -----------------------------------------------------------------------------------


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
    return () if view.busy else (StopAll(),)


# -- the table -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transition:
    """One row: `rule` is asked in a state of `current`, with a run state of `wanted`; it leads to one of `goal`."""

    current: frozenset[State]
    rule: Rule
    reason: str
    """What the row is for, in a few words."""
    goal: frozenset[State] = frozenset()
    """States it leads to, once all it does has succeeded; empty: the state stays as it is."""
    wanted: frozenset[RunState] = frozenset({RunState.RUNNING})


def view_of(desired: DesiredInstance, seen: Seen, memory: RoleRecord) -> View:
    """What the rules look at."""
    primary: MemberName = memory.primary or "a"
    return View(desired, seen, memory, primary, "b" if primary == "a" else "a")


def states(*names: State) -> frozenset[State]:
    """A set of states."""
    return frozenset(names)


S = State
GUARDED = states(S.TWO_PRIMARIES, S.FENCED_RUNS)
UNGUARDED = frozenset(State) - GUARDED
DOWN = states(S.PRIMARY_LOST, S.PRIMARY_DOWN, S.STOPPED)
APART = states(S.JOINING, S.REJOINING, S.CLONING, S.STANDBY_DOWN, S.CATCHING_UP)
"""Multi-AZ is on, the primary answers, the standby is not in sync."""
WRITABLE = APART | states(S.REDUNDANT, S.STANDBY_LEAVING, S.STANDBY_UNWANTED, S.SINGLE)
FOLLOWING = states(S.REPLICA_STREAMING, S.REPLICA_STRAY)
ANSWERING = WRITABLE | FOLLOWING
UP = ANSWERING | states(S.PRIMARY_STARTING, S.PRIMARY_HUNG)
EVER = frozenset(RunState)

TRANSITIONS: tuple[Transition, ...] = (
    Transition(states(S.TWO_PRIMARIES), second_primary, "fence the member that is not the recorded primary",
               states(S.REJOINING, S.STANDBY_UNWANTED), EVER),
    Transition(states(S.FENCED_RUNS), fenced_alive, "fence it again", states(S.REJOINING, S.STANDBY_UNWANTED), EVER),
    Transition(UNGUARDED, held_alive, "kill what an injected fault holds down", wanted=EVER),
    Transition(UNGUARDED, deleted, "stop, keep the final snapshot, end", states(S.STOPPED),
               frozenset({RunState.DELETED})),
    Transition(UNGUARDED, stopped, "stop all servers", states(S.STOPPED), frozenset({RunState.STOPPED})),
    Transition(states(S.RECORD_MISSING), record_missing, "touch nothing"),
    Transition(states(S.CREATING), create, "make the first server",
               states(S.SINGLE, S.CLONING, S.REPLICA_STREAMING)),
    Transition(states(S.RESTARTING), restarting, "wait for the restart", states(S.PRIMARY_STARTING) | ANSWERING),
    Transition(states(S.PRIMARY_LOST), take_over, "fail over to the standby", states(S.REJOINING, S.CLONING)),
    Transition(DOWN, recover, "start the server that has every commit",
               states(S.PRIMARY_STARTING, S.PRIMARY_LOST)),
    Transition(states(S.PROMOTING), finish_promotion, "carry the promotion on", states(S.REJOINING, S.CLONING)),
    Transition(states(S.PRIMARY_HUNG), hung_primary, "fail over to the standby", states(S.REJOINING)),
    Transition(UP, answer_request, "carry a request out, or refuse it",
               states(S.REJOINING, S.RESTARTING, S.SINGLE, S.CLONING)),
    Transition(states(S.PRIMARY_STARTING, S.PRIMARY_HUNG), awaken, "wait for an answer", ANSWERING),
    Transition(ANSWERING, point, "lead clients to the primary"),
    Transition(ANSWERING, announce, "tell the events of what happened"),
    Transition(ANSWERING, configure, "apply the parameters"),
    Transition(states(S.STANDBY_LEAVING), leave, "strike the standby off, then let commits go on",
               APART | states(S.STANDBY_UNWANTED)),
    Transition(WRITABLE, master_user, "set the master user's password"),
    Transition(states(S.STANDBY_UNWANTED), single, "remove the standby", FOLLOWING | states(S.SINGLE)),
    Transition(states(S.JOINING), record_join, "record that the standby is in sync", states(S.REDUNDANT)),
    Transition(states(S.REJOINING), rejoin, "rewind it, or clone it", states(S.STANDBY_DOWN, S.CLONING)),
    Transition(states(S.CLONING, S.STANDBY_DOWN, S.CATCHING_UP), clone, "copy the primary",
               states(S.STANDBY_DOWN)),
    Transition(states(S.STANDBY_DOWN), start_standby, "start the standby", states(S.CATCHING_UP)),
    Transition(states(S.CATCHING_UP), restart_standby, "restart it for new parameters", states(S.CATCHING_UP)),
    Transition(states(S.CATCHING_UP), join, "make commits wait for it, and wait for it", states(S.JOINING)),
    Transition(states(S.REPLICA_STRAY), stray_replica, "copy the source again", states(S.REPLICA_STREAMING)),
    Transition(ANSWERING, upstream, "lead read replicas to the standby, or to the primary without one"),
    Transition(ANSWERING, rest, "nothing to do"),
)  # fmt: skip
"""Order is precedence."""
