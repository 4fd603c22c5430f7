"""The failover state machine: what a supervisor does next, given what is wanted, what is seen, and what is remembered.

TRANSITIONS is the machine: rows of states, run states that are wanted, and a rule, in order of precedence. A row is
asked only in its states; the first rule that speaks decides. Guards come first. A rule that acts leads to a state in
which it is silent, so the loop comes to rest; an action that fails is decided anew. docs/failover.md is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from multiaz.instance.actions import Step
from multiaz.instance.records import DesiredInstance, MemberName, RoleRecord, RunState
from multiaz.instance.rules.primary import (
    announce,
    awaken,
    configure,
    finish_promotion,
    hung_primary,
    master_user,
    point,
    recover,
    rest,
    restarting,
    take_over,
)
from multiaz.instance.rules.replicas import replication_events, stray_replica, upstream
from multiaz.instance.rules.requests import (
    answer_failover,
    answer_promote,
    answer_reboot,
    answer_restart_standby,
    refuse_failover,
    refuse_promote,
    stale_request,
)
from multiaz.instance.rules.standby import (
    clone,
    hung_standby,
    join,
    leave,
    record_join,
    rejoin,
    restart_standby,
    single,
    start_standby,
    tell_alone,
    tell_redundant,
)
from multiaz.instance.rules.steps import Rule, phase_for_clients
from multiaz.instance.rules.whole import (
    create,
    deleted,
    fenced_alive,
    held_alive,
    record_missing,
    record_stale,
    second_primary,
    stopped,
)
from multiaz.instance.states import State, state_of
from multiaz.instance.view import Seen, View


def decide(desired: DesiredInstance, seen: Seen, memory: RoleRecord) -> Step:
    """The next step. Pure; some row always speaks."""
    view = view_of(desired, seen, memory)
    state = state_of(view)
    for row in TRANSITIONS:
        if state in row.current and desired.run in row.wanted:
            step = row.rule(view)
            if step is not None:
                return replace(step, rule=row.name, phase=phase_for_clients(view, step.phase))
    raise AssertionError(f"unreachable: in {state} nobody speaks")


@dataclass(frozen=True)
class Transition:
    """One row: `rule` is asked in a state of `current`, with a run state of `wanted`; it leads to one of `goal`."""

    current: frozenset[State]
    rule: Rule
    reason: str
    """What the row is for, in a few words."""
    goal: frozenset[State] = frozenset()
    """Other states it may lead to: seen once its actions have succeeded, or once the job that they begin has.

    Empty: the state stays as it is.
    """
    wanted: frozenset[RunState] = frozenset({RunState.RUNNING})

    @property
    def name(self) -> str:
        """The rule's name, as logs say it."""
        return self.rule.__name__


def view_of(desired: DesiredInstance, seen: Seen, memory: RoleRecord) -> View:
    """What the rules look at."""
    primary: MemberName = memory.primary or "a"
    return View(desired, seen, memory, primary, "b" if primary == "a" else "a")


def states(*names: State) -> frozenset[State]:
    """A set of states."""
    return frozenset(names)


S = State
GUARDED = states(S.RECORD_STALE, S.TWO_PRIMARIES, S.FENCED_RUNS, S.HELD_RUNS)
UNGUARDED = frozenset(State) - GUARDED
DOWN = states(S.PRIMARY_LOST, S.PRIMARY_DOWN, S.STOPPED)
APART = states(S.JOINING, S.REJOINING, S.CLONING, S.STANDBY_DOWN, S.CATCHING_UP)
"""Multi-AZ is on, the primary answers, the standby is not in sync."""
IN_SYNC = states(S.REDUNDANT, S.STANDBY_LEAVING)
FOLLOWING = states(S.REPLICA_STREAMING, S.REPLICA_STRAY)
ANSWERING = APART | IN_SYNC | FOLLOWING | states(S.STANDBY_AWAITED, S.STANDBY_UNWANTED, S.SINGLE)
CALM = ANSWERING - states(S.STANDBY_LEAVING)
"""A leave does not wait for what may be done in these."""
MUTE = states(S.PRIMARY_STARTING, S.PRIMARY_HUNG)
KILLED = MUTE | states(S.RESTARTING, S.PRIMARY_DOWN, S.STOPPED, S.STANDBY_UNWANTED)
"""What a member that must not run may leave behind once it is killed."""
TAKEN_OVER = states(S.REJOINING, S.STANDBY_UNWANTED)
EVER = frozenset(RunState)

TRANSITIONS: tuple[Transition, ...] = (
    Transition(states(S.RECORD_STALE), record_stale, "touch nothing but to stop or delete", wanted=EVER),
    Transition(states(S.TWO_PRIMARIES), second_primary, "fence the member that is not the recorded primary",
               KILLED | states(S.REJOINING, S.PROMOTING, S.JOINING), EVER),
    Transition(states(S.FENCED_RUNS), fenced_alive, "fence it again", KILLED | states(S.REJOINING, S.PROMOTING), EVER),
    Transition(states(S.HELD_RUNS), held_alive, "kill it",
               KILLED | states(S.PRIMARY_LOST, S.STANDBY_DOWN, S.CLONING, S.JOINING, S.STANDBY_LEAVING,
                               S.STANDBY_AWAITED, S.RECORD_MISSING, S.CREATING), EVER),
    Transition(UNGUARDED, deleted, "stop, keep the final snapshot, end", states(S.STOPPED),
               frozenset({RunState.DELETED})),
    Transition(UNGUARDED, stopped, "stop all servers", states(S.STOPPED), frozenset({RunState.STOPPED})),
    Transition(states(S.RECORD_MISSING), record_missing, "touch nothing"),
    Transition(states(S.CREATING), create, "make the first server",
               states(S.SINGLE, S.CLONING, S.REPLICA_STREAMING)),
    Transition(states(S.RESTARTING), restarting, "wait for the restart", states(S.PRIMARY_STARTING) | ANSWERING),
    Transition(states(S.PRIMARY_LOST), take_over, "fail over to the standby", TAKEN_OVER),
    Transition(DOWN, recover, "start the server that has every commit",
               states(S.PRIMARY_STARTING, S.PRIMARY_LOST, S.PRIMARY_DOWN)),
    Transition(states(S.PROMOTING), finish_promotion, "carry the promotion on",
               TAKEN_OVER | states(S.CLONING, S.SINGLE)),
    Transition(states(S.PRIMARY_HUNG), hung_primary, "fail over to the standby, or end it to start it again",
               TAKEN_OVER | DOWN),
    Transition(ANSWERING | MUTE, stale_request, "say that a request is stale"),
    Transition(IN_SYNC | states(S.PRIMARY_STARTING), answer_failover, "fail over on request", TAKEN_OVER),
    Transition(ANSWERING | MUTE, refuse_failover, "refuse a failover that would lose commits or cannot be done"),
    Transition(ANSWERING, answer_reboot, "restart the primary on request", states(S.RESTARTING)),
    Transition(ANSWERING, answer_restart_standby, "restart the standby on request, or refuse it",
               states(S.CATCHING_UP)),
    Transition(FOLLOWING | states(S.STANDBY_UNWANTED), answer_promote, "promote a read replica on request",
               states(S.SINGLE, S.CLONING, S.RESTARTING)),
    Transition(ANSWERING - FOLLOWING, refuse_promote, "refuse to promote what is no read replica"),
    Transition(ANSWERING, point, "lead clients to the primary"),
    Transition(ANSWERING, announce, "tell the events of what happened"),
    Transition(ANSWERING, configure, "apply the parameters"),
    Transition(states(S.STANDBY_LEAVING, S.PRIMARY_STARTING), leave, "strike the standby off, then let commits go on",
               states(S.CLONING, S.STANDBY_DOWN, S.CATCHING_UP, S.STANDBY_UNWANTED)),
    Transition(CALM - FOLLOWING, master_user, "set the master user's password"),
    Transition(states(S.STANDBY_UNWANTED), single, "remove the standby", FOLLOWING | states(S.SINGLE)),
    Transition(states(S.JOINING), record_join, "record that the standby is in sync", states(S.REDUNDANT)),
    Transition(states(S.REJOINING), rejoin, "rewind it, or clone it", states(S.STANDBY_DOWN, S.CLONING)),
    Transition(states(S.CATCHING_UP, S.STANDBY_AWAITED), hung_standby, "end it, so that it is started again",
               states(S.STANDBY_DOWN)),
    Transition(states(S.CLONING, S.STANDBY_DOWN, S.CATCHING_UP, S.STANDBY_AWAITED), clone, "copy the primary",
               states(S.CLONING, S.STANDBY_DOWN)),
    Transition(states(S.STANDBY_DOWN, S.STANDBY_AWAITED, S.PRIMARY_STARTING), start_standby,
               "start the standby, or fence it if it was a primary", states(S.CATCHING_UP, S.REJOINING, S.REDUNDANT)),
    Transition(states(S.CATCHING_UP, S.STANDBY_AWAITED), restart_standby, "restart it for new parameters",
               states(S.CATCHING_UP, S.REDUNDANT)),
    Transition(states(S.CATCHING_UP), join, "make commits wait for it, and wait for it", states(S.JOINING)),
    Transition(APART, tell_alone, "tell that there is one copy only"),
    Transition(states(S.REDUNDANT), tell_redundant, "tell that there are two copies again"),
    Transition(FOLLOWING, replication_events, "tell that replication broke, or resumed"),
    Transition(states(S.REPLICA_STRAY, S.PRIMARY_STARTING), stray_replica, "copy the source again",
               states(S.STOPPED)),
    Transition(CALM - states(S.STANDBY_AWAITED), upstream,
               "lead read replicas to the standby, or to the primary without one"),
    Transition(MUTE, awaken, "wait for an answer", ANSWERING | states(S.PROMOTING)),
    Transition(CALM, rest, "nothing to do"),
)  # fmt: skip
"""Order is precedence."""
