"""The states of a DB instance as a whole: which one holds is a pure function of the view.

Exactly one holds at any moment: `state_of` asks in order, and the first that fits is it. A state says what is seen and
remembered, never what is wanted of the servers as a whole (running, stopped, deleted); that is the other key
of the table in `transitions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from multiaz.instance.actions import JobKind
from multiaz.instance.view import View


class State(StrEnum):
    """One word for the whole instance, and what it means."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> State:
        """A word with its meaning."""
        state = str.__new__(cls, value)
        state._value_ = value
        state.meaning = meaning
        return state

    RECORD_STALE = "record-stale", "`role.json` is not the newest that was written, or cannot be read."
    TWO_PRIMARIES = "two-primaries", "The member that is not the recorded primary takes writes."
    FENCED_RUNS = "fenced-runs", "A member that was fenced runs again."
    HELD_RUNS = "held-runs", "A member that must not run (an injected fault, processes of it that are stuck) runs."
    RECORD_MISSING = "record-missing", "There is data and no `role.json` that says whose it is."
    CREATING = "creating", "There has never been a primary; the first server is made."
    RESTARTING = "restarting", "The primary is restarted on request."
    STOPPED = "stopped", "No server runs, and nothing is being done to one."
    PRIMARY_LOST = "primary-lost", "The primary is dead; the standby runs and has every acknowledged commit."
    PRIMARY_DOWN = "primary-down", "The primary is dead, and nobody has all it acknowledged and runs."
    PRIMARY_HUNG = "primary-hung", "The primary runs, takes no client or no commit, and makes no progress."
    PROMOTING = "promoting", "The recorded primary is still in recovery: its promotion was begun."
    PRIMARY_STARTING = "primary-starting", "The primary runs and does not answer yet."
    STANDBY_LEAVING = (
        "standby-leaving",
        "In sync on record, and the standby takes no commits any more, or is to go.",
    )
    STANDBY_AWAITED = "standby-awaited", "In sync on record; the standby is lost and commits wait for it, as is wanted."
    REDUNDANT = "redundant", "The standby has every acknowledged commit, and takes the next."
    STANDBY_UNWANTED = "standby-unwanted", "There is a standby, and none is wanted."
    REPLICA_STREAMING = "replica-streaming", "A read replica that follows its source."
    REPLICA_STRAY = "replica-stray", "A read replica that does not stream."
    SINGLE = "single", "The primary is alone, as is wanted."
    JOINING = "joining", "The standby streams, and commits begin to wait for it."
    REJOINING = "rejoining", "The former primary is fenced and is brought to the primary's history."
    CLONING = "cloning", "The standby has no data, or is cloned again."
    STANDBY_DOWN = "standby-down", "The standby has data and does not run."
    CATCHING_UP = "catching-up", "The standby runs; commits do not wait for it."


RESTING = frozenset({
    State.REDUNDANT, State.SINGLE, State.REPLICA_STREAMING, State.STOPPED, State.RECORD_MISSING, State.RECORD_STALE,
})  # fmt: skip
"""States in which an instance may stay for ever: it is well, or a person must act."""


@dataclass(frozen=True)
class Happening:
    """What changes the state without the supervisor's doing."""

    before: State
    after: State
    what: str


HAPPENINGS = (
    Happening(State.REDUNDANT, State.PRIMARY_LOST, "the primary dies"),
    Happening(State.REDUNDANT, State.PRIMARY_HUNG, "the primary hangs"),
    Happening(State.REDUNDANT, State.STANDBY_LEAVING, "the standby dies or falls out, or Multi-AZ is turned off"),
    Happening(State.REDUNDANT, State.STANDBY_AWAITED, "the standby dies, and commits are to wait for it"),
    Happening(State.STANDBY_AWAITED, State.REDUNDANT, "the standby streams again"),
    Happening(State.REDUNDANT, State.STOPPED, "both die"),
    Happening(State.REDUNDANT, State.PROMOTING, "the supervisor dies once it has recorded a failover"),
    Happening(State.REDUNDANT, State.RECORD_STALE, "an older role.json is put back"),
    Happening(State.RECORD_STALE, State.REDUNDANT, "the newest is put back"),
    Happening(State.REDUNDANT, State.RECORD_MISSING, "role.json is lost"),
    Happening(State.RECORD_MISSING, State.REDUNDANT, "role.json is put back"),
    Happening(State.CATCHING_UP, State.PRIMARY_DOWN, "the primary dies"),
    Happening(State.CATCHING_UP, State.STANDBY_DOWN, "the standby dies"),
    Happening(State.JOINING, State.CATCHING_UP, "the join fails"),
    Happening(State.PRIMARY_HUNG, State.REDUNDANT, "the primary goes on"),
    Happening(State.PRIMARY_LOST, State.STOPPED, "the standby dies too"),
    Happening(State.SINGLE, State.CLONING, "Multi-AZ is turned on"),
    Happening(State.SINGLE, State.STOPPED, "the primary dies"),
    Happening(State.REPLICA_STREAMING, State.REPLICA_STRAY, "the stream breaks"),
    Happening(State.REPLICA_STRAY, State.REPLICA_STREAMING, "the stream is back"),
    Happening(State.REJOINING, State.FENCED_RUNS, "somebody starts the fenced member"),
    Happening(State.CATCHING_UP, State.TWO_PRIMARIES, "somebody promotes the standby"),
    Happening(State.CATCHING_UP, State.HELD_RUNS, "a fault comes while the standby starts"),
)
"""The main ones, for the diagram."""


def state_of(view: View) -> State:
    """The state that holds."""
    guard = _guard(view)
    if guard is not None:
        return guard
    if view.memory.primary is None:
        return _before_the_first(view)
    if view.p.job is JobKind.RESTART:
        return State.RESTARTING
    if not view.p.alive:
        return _without_primary(view)
    if view.p.hung:
        return State.PRIMARY_HUNG
    return _with_primary(view) if view.p.answering else State.PRIMARY_STARTING


def _guard(view: View) -> State | None:
    memory = view.memory
    if view.seen.doubt is not None:
        return State.RECORD_STALE
    if memory.primary is not None and view.o.alive and view.o.in_recovery is False and not memory.following:
        return State.TWO_PRIMARIES
    if memory.fenced is not None and memory.fenced in view.seen.members and view.seen.members[memory.fenced].alive:
        return State.FENCED_RUNS
    if any(member.held and member.alive for member in view.seen.members.values()):
        return State.HELD_RUNS
    return None


def _before_the_first(view: View) -> State:
    seen = view.seen
    if seen.data_exists and not (seen.creating or seen.created or view.p.job is JobKind.CREATE):
        return State.RECORD_MISSING
    return State.CREATING


def _without_primary(view: View) -> State:
    if view.takeover_possible:
        return State.PRIMARY_LOST
    if view.busy or view.anything_alive:
        return State.PRIMARY_DOWN
    return State.STOPPED


def _with_primary(view: View) -> State:
    memory, p = view.memory, view.p
    if p.in_recovery and not memory.following:
        return State.PROMOTING
    if memory.in_sync:
        if view.leaving is not None:
            return State.STANDBY_LEAVING
        return State.REDUNDANT if view.awaited is None else State.STANDBY_AWAITED
    if not view.standby_wanted and (view.o.exists or view.o.alive or memory.fenced is not None):
        return State.STANDBY_UNWANTED
    if memory.following:
        return State.REPLICA_STREAMING if p.streaming and not p.diverged else State.REPLICA_STRAY
    return _without_redundancy(view) if view.desired.multi_az else State.SINGLE


def _without_redundancy(view: View) -> State:
    o = view.o
    if o.job is JobKind.JOIN or (view.joined and o.alive and o.job is None):
        return State.JOINING
    if view.memory.fenced == view.other:
        return State.REJOINING
    if not o.exists or o.job is JobKind.CLONE:
        return State.CLONING
    return State.CATCHING_UP if o.alive else State.STANDBY_DOWN
