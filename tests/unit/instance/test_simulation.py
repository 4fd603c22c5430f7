"""Random faults against a simulated instance: the promises of the design hold after every action, and it recovers."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from carried_out import Broken
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from simulated import GOALS, MOST_ACTIONS, World

from multiaz.instance.decide import TRANSITIONS
from multiaz.instance.records import MemberName, RequestKind, RunState
from multiaz.instance.states import State

NAMES = st.sampled_from(["a", "b"])

FAILURES = ["dies", "hangs", "is to be replaced"]
"""Of a primary: each is answered by a failover, if the standby has everything."""

Event = Callable[[World, random.Random], None]

EVENTS: dict[str, Event] = {
    "a client commits": lambda world, _: world.client_commits(),
    "a client cancels": lambda world, _: world.client_cancels(),
    "wal streams": lambda world, _: world.streams(),
    "wal streams to the replica": lambda world, _: world.replica_streams(),
    "the checkpointer reads": lambda world, _: world.checkpointer_reads(),
    "servers answer": lambda world, _: world.servers_answer(),
    "a standby connects": lambda world, _: world.reconnect(),
    "the stream breaks": lambda world, _: world.stream_breaks(),
    "a server dies": lambda world, chance: world.die(chance.choice("ab")),  # type: ignore[arg-type]
    "a server hangs": lambda world, chance: world.hang(chance.choice("ab")),  # type: ignore[arg-type]
    "a server hangs for good": lambda world, chance: world.hang_for_good(chance.choice("ab")),  # type: ignore[arg-type]
    "a startup process stops": lambda world, chance: world.replay_stops(chance.choice("ab")),  # type: ignore[arg-type]
    "a server goes on": lambda world, chance: world.go_on(chance.choice("ab")),  # type: ignore[arg-type]
    "partition": lambda world, _: setattr(world, "partitioned", True),
    "no partition": lambda world, _: setattr(world, "partitioned", False),
    "parameters change": lambda world, _: world.stale.update({"a", "b"}),
    "failover is requested": lambda world, _: world.request(RequestKind.FAILOVER),
    "a restart of the standby is requested": lambda world, _: world.request(RequestKind.RESTART_STANDBY),
    "a new password": lambda world, _: world.change_password(),
    "a disk sticks": lambda world, chance: world.disk_sticks(chance.choice("ab")),  # type: ignore[arg-type]
    "the disks answer": lambda world, _: world.disks_answer(),
    "a zone is lost": lambda world, chance: world.hold(chance.choice("ab")),  # type: ignore[arg-type]
    "no zone is lost": lambda world, _: world.held.clear(),
    "Multi-AZ is turned off": lambda world, _: world.want(multi_az=False),
    "Multi-AZ is turned on": lambda world, _: world.want(multi_az=True),
    "commits are to wait for a lost standby": lambda world, _: world.want(standby_loss="wait"),
    "commits are to go on": lambda world, _: world.want(standby_loss="continue"),
    "the instance is stopped": lambda world, _: world.want(run=RunState.STOPPED),
    "the instance is started": lambda world, _: world.want(run=RunState.RUNNING),
    "the pace is RDS's": lambda world, _: world.want(endpoint_down_s=20.0),
    "the pace is instant": lambda world, _: world.want(endpoint_down_s=0.0),
    "time passes": lambda world, chance: setattr(world, "now", world.now + chance.randrange(20)),
    "reboot is requested": lambda world, _: world.request(RequestKind.REBOOT),
    "a round": lambda world, _: world.round(),
    "a round and nothing else": lambda world, _: world.undisturbed_round(),
    "a job goes on": lambda world, _: world.jobs_go_on(),
    "the supervisor dies in a round": lambda world, chance: world.round(chance.randrange(MOST_ACTIONS + 1)),
    "the supervisor dies in a failover": lambda world, chance: world.primary_fails_and_supervisor_dies(
        chance.choice(FAILURES), chance.randrange(MOST_ACTIONS + 1)
    ),
    "the supervisor dies": lambda world, _: world.supervisor_dies(),
    "a request is replayed": lambda world, chance: world.replay_request(chance.randrange(100)),
    "the record is lost": lambda world, _: world.record_is_lost(),
    "the record is restored": lambda world, _: world.record_is_restored(),
    "an older record is put back": lambda world, chance: world.record_is_put_back(chance.randrange(100)),
}
CALM = [
    "a client commits", "servers answer", "a standby connects", "wal streams", "wal streams to the replica", "a round",
    "a job goes on",
]  # fmt: skip
HEALING = [
    "a server goes on", "no partition", "no zone is lost", "the disks answer", "the instance is started",
    "Multi-AZ is turned on", "the record is restored", "time passes", "a round",
    "a round and nothing else", "a job goes on", "a job goes on",
]  # fmt: skip


class Instance(RuleBasedStateMachine):
    """Whatever is random is drawn from hypothesis, so that every value is reached, and a failing run shrinks."""

    interrupted: ClassVar[set[tuple[int, int]]] = set()
    """After how many actions of a step of how many a supervisor died, on any run."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.interrupted = self.interrupted

    @initialize(rounds=st.integers(0, 30))
    def begin(self, rounds: int) -> None:
        calm(self.world, rounds)

    @rule(name=st.sampled_from(sorted(EVENTS)), chance=st.randoms(use_true_random=False))
    def something_happens(self, name: str, chance: random.Random) -> None:
        EVENTS[name](self.world, chance)

    @rule(rounds=st.integers(1, 12))
    def time_passes(self, rounds: int) -> None:
        calm(self.world, rounds)

    @rule(how=st.sampled_from(FAILURES), after=st.integers(0, MOST_ACTIONS))
    def it_becomes_well_and_the_supervisor_dies_in_a_failover(self, how: str, after: int) -> None:
        self.world.becomes_well()
        self.world.primary_fails_and_supervisor_dies(how, after)

    @rule(after=st.integers(0, MOST_ACTIONS))
    def the_supervisor_dies_in_a_round(self, after: int) -> None:
        self.world.round(after)

    @rule(which=st.integers(0, 99))
    def a_request_is_replayed(self, which: int) -> None:
        self.world.replay_request(which)

    @rule()
    def the_record_is_lost(self) -> None:
        self.world.record_is_lost()

    @rule()
    def the_record_is_restored(self) -> None:
        self.world.record_is_restored()

    @rule(version=st.integers(0, 99))
    def an_older_record_is_put_back(self, version: int) -> None:
        self.world.record_is_put_back(version)

    @rule()
    def left_alone_it_becomes_well(self) -> None:
        self.world.becomes_well()

    @invariant()
    def promises_hold(self) -> None:
        self.world.check()


def calm(world: World, rounds: int) -> None:
    for _ in range(rounds):
        for name in CALM:
            EVENTS[name](world, random.Random(0))
            world.check()


EVERY_NUMBER = {(done, MOST_ACTIONS) for done in range(MOST_ACTIONS + 1)}


class TestInstance(Instance.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

    def runTest(self) -> None:  # noqa: N802 - unittest's name
        """The runs, which do have a supervisor die after each number of a failover's actions."""
        Instance.interrupted.clear()
        for _ in range(3):  # one of thousands leaves a number out by chance
            super().runTest()
            if Instance.interrupted >= EVERY_NUMBER:
                return
        raise AssertionError(f"never after {sorted(EVERY_NUMBER - Instance.interrupted)}")


INTERRUPTED = 8 * ["the supervisor dies in a failover"]
"""So often beside the others: it needs a standby that has everything."""
JOINS = [*CALM, "a client commits", "a job goes on", "a round", "the stream breaks"]
"""A standby that is lost and comes back, with clients and a read replica in a hurry."""


def breaks(left_out: str, seed: int, steps: int = 250) -> str | None:
    """How a promise is broken on this walk, if it is. Mostly calm, so that standbys come back to be lost again.

    Every third walk has nothing but joins.
    """
    world = World(left_out)
    try:
        for _ in walk(world, seed, steps):
            world.check()
        world.becomes_well()
    except Broken as broken:
        return str(broken)
    return None


def walk(world: World, seed: int, steps: int) -> Iterator[int]:
    """The events of this walk, one after the other."""
    chance = random.Random(seed)
    calm(world, 25)
    for number in range(steps):
        names = [*EVENTS, *INTERRUPTED] if chance.random() < 0.2 else [*CALM, *HEALING]
        if seed % 3 == 0:
            names = JOINS
        EVENTS[chance.choice(names)](world, chance)
        yield number


WAITS = [*CALM, "a client commits", "partition", "no partition", "a server dies", "a server hangs", "a server goes on",
         "a job goes on", "a round"]  # fmt: skip


@pytest.mark.parametrize("seed", range(100, 140))
def test_commits_that_wait_for_a_lost_standby_are_not_missing_on_it_once_they_are_acknowledged(seed: int) -> None:
    """Seed 126 found a standby that confirmed commits while it was copied, and that the copy did not have."""
    world, chance = World(), random.Random(seed)
    world.want(standby_loss="wait")
    calm(world, 25)
    for _ in range(200):
        EVENTS[chance.choice(WAITS)](world, chance)
        world.check()
    world.becomes_well()


def interrupted(left_out: str, how: str, after: int, then: int) -> str | None:
    """How a promise is broken when the supervisor dies after so many actions of a failover, if it is."""
    world = World(left_out)
    try:
        calm(world, 25)
        world.primary_fails_and_supervisor_dies(how, after)
        calm(world, then)
        world.becomes_well()
    except Broken as broken:
        return str(broken)
    return None


SEEDS = range(100)


@dataclass
class Walked:
    """What all walks came by."""

    states: dict[State, dict[int, int]] = field(default_factory=dict)
    """For each state: on which walks it is reached, and after how many events first."""
    interrupted: set[tuple[int, int]] = field(default_factory=set)
    """As `World.interrupted`."""
    most_actions: int = 0
    """Of one step."""
    led: set[tuple[str, State]] = field(default_factory=set)
    """As `World.led`."""


@functools.cache
def walked() -> Walked:
    found = Walked()
    for seed in SEEDS:
        world = World()
        world.interrupted, world.led = found.interrupted, found.led
        for number in walk(world, seed, 250):
            found.states.setdefault(world.state(), {}).setdefault(seed, number + 1)
            if world.last_step is not None:
                found.most_actions = max(found.most_actions, len(world.last_step.actions))
    return found


NOT_ON_A_WALK = {
    State.CREATING, State.TWO_PRIMARIES, State.FENCED_RUNS, State.HELD_RUNS,
    State.REPLICA_STREAMING, State.REPLICA_STRAY,
}  # fmt: skip
"""A walk begins with a primary; nobody acts behind the supervisor's back; and the read replica has no supervisor."""


@pytest.mark.parametrize("wanted", sorted(frozenset(State) - NOT_ON_A_WALK))
def test_from_every_state_the_simulated_instance_becomes_well(wanted: State) -> None:
    """Not by what the table declares, but by what then happens, however the state was come to."""
    walks = list(walked().states[wanted].items())
    for seed, events in walks[:20]:
        world = World()
        for _ in walk(world, seed, events):
            pass
        assert world.state() is wanted
        world.becomes_well()


MEDDLING: list[Callable[[World, MemberName], None]] = [
    lambda world, name: world.held.add(name),
    lambda world, name: world.somebody_starts(name),
    lambda world, name: world.somebody_promotes(name),
    lambda world, _: world.want(run=RunState.DELETED),
]
"""What leads to the guarded states: a fault that comes while a server starts, and what a person does by hand."""


@functools.cache
def led() -> set[tuple[str, State]]:
    """Which rules led to which states on the walks, from the beginning, and while somebody meddles."""
    found = set(walked().led)
    for seed in SEEDS:
        chance = random.Random(seed)
        world = World()
        world.led = found
        world.want(multi_az=seed % 2 == 0)
        while world.memory.primary is None:
            world.undisturbed_round()
        for number in walk(world, seed, 120):
            if number % 5 == 0:
                chance.choice(MEDDLING)(world, chance.choice("ab"))  # type: ignore[arg-type]
                world.undisturbed_round()
                world.held.clear()
                world.want(run=RunState.RUNNING)
    return found


def test_what_a_round_does_leads_to_every_state_that_the_table_says() -> None:
    """And to no other: `World.undisturbed_round` raises Broken."""
    declared = {(row.name, goal) for row in TRANSITIONS for goal in row.goal}
    assert declared >= NOT_LED_TO
    assert declared - led() <= NOT_LED_TO


REPLICAS = frozenset({State.REPLICA_STREAMING, State.REPLICA_STRAY})
NOT_LED_TO = {
    *((row.name, goal) for row in TRANSITIONS for goal in row.goal & REPLICAS),
    *(("answer_promote", goal) for goal in (State.SINGLE, State.CLONING, State.RESTARTING)),
    *(("finish_promotion", goal) for goal in (State.SINGLE, State.CLONING)),
    ("stray_replica", State.STOPPED), ("recover", State.PRIMARY_DOWN),
    # no parameters that take a restart, no clock by which a standby is not missed yet, none that diverged unfenced
    *(("restart_standby", goal) for goal in (State.CATCHING_UP, State.REDUNDANT)),
    *(("start_standby", goal) for goal in (State.REJOINING, State.REDUNDANT)),
    ("awaken", State.REDUNDANT),
    # a restart ends when the server answers, and nobody interferes with the first server
    ("restarting", State.PRIMARY_STARTING),
    ("held_alive", State.CREATING),
    # two or three things at once: one of hundreds of walks
    *((rule, State.STANDBY_UNWANTED) for rule in ("take_over", "hung_primary", "answer_failover", "finish_promotion")),
    *((rule, State.STANDBY_UNWANTED) for rule in ("second_primary", "fenced_alive", "held_alive")),
    *(("fenced_alive", goal) for goal in (State.PRIMARY_DOWN, State.PRIMARY_HUNG, State.RESTARTING, State.PROMOTING)),
    *(("held_alive", goal) for goal in (State.CLONING, State.PRIMARY_HUNG, State.STANDBY_AWAITED)),
    *(("restarting", goal) for goal in (State.SINGLE, State.JOINING, State.STANDBY_AWAITED)),
    ("second_primary", State.JOINING), ("awaken", State.JOINING), ("rejoin", State.CLONING), ("leave", State.CLONING),
}  # fmt: skip
"""What the simulation does not have, beginning with read replicas, or has too seldom."""


@pytest.mark.parametrize(
    ("rule", "goal"),
    [("recover", State.PRIMARY_STARTING), ("rejoin", State.STANDBY_DOWN), ("restarting", State.CATCHING_UP)],
)
def test_goal_that_the_table_leaves_out_is_found(rule: str, goal: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GOALS, rule, GOALS[rule] - {goal})
    assert any("the table does not say so" in (breaks("", seed) or "") for seed in SEEDS)


ASKED = [RequestKind.REBOOT, RequestKind.FAILOVER, RequestKind.RESTART_STANDBY]


@pytest.mark.parametrize(("kind", "name", "steps"), list(itertools.product(ASKED, "ab", range(4))))
def test_hang_that_nobody_ends_is_ended_in_every_job_and_promotion(
    kind: RequestKind, name: MemberName, steps: int
) -> None:
    """Only the server's end helps: `becomes_well` lets nobody go on that hangs for good."""
    world = World()
    calm(world, 25)
    world.request(kind)
    world.replay_stops("b")
    world.round()
    for _ in range(steps):
        world.jobs_go_on()
    world.hang_for_good(name)
    world.becomes_well()


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_machine_keeps_its_promises_on_every_walk(seed: int) -> None:
    assert breaks("", seed) is None


@pytest.mark.parametrize(
    ("left_out", "promise"),
    [
        ("Fence", "two primaries"),
        ("fence before", "a fenced member answers"),
        ("stale_request", "is carried out in another epoch"),
        ("answers", "is carried out twice"),
        ("answer_reboot", "is neither carried out nor answered"),
        ("the restart", "is said to be done, and is not"),
        ("Promote", "nobody takes writes"),
        ("PointPrimary", "does not become well"),
        ("Configure", "does not become well"),
        ("record before", "and the standby lacks"),
        ("CHECKPOINT", "commits wait for nobody"),
        ("both waits", "and the standby lacks"),
        ("second wait", "a replica shows"),
    ],
)
def test_each_step_is_needed(left_out: str, promise: str) -> None:
    """Left out, or done late, it breaks this promise on one of the walks that the whole machine survives."""
    assert any(promise in (breaks(left_out, seed) or "") for seed in SEEDS)


def test_no_step_has_more_actions_than_a_failover() -> None:
    """Else `MOST_ACTIONS` would leave some number of them unreached."""
    assert walked().most_actions == MOST_ACTIONS


def test_on_the_walks_the_supervisor_dies_after_each_number_of_actions_of_a_failover() -> None:
    assert walked().interrupted >= EVERY_NUMBER


def rebooted() -> World:
    """A reboot was requested and is answered."""
    world = World()
    calm(world, 25)
    world.request(RequestKind.REBOOT)
    while not world.memory.answered:
        world.round()
        world.jobs_go_on()
    return world


def test_reboot_that_is_on_record_as_done_is_not_done_again() -> None:
    world = rebooted()
    done = dict(world.requests.over)
    world.supervisor_dies()
    world.replay_request(0)
    calm(world, 10)
    assert world.requests.over == done


def test_reboot_is_done_again_if_its_answer_is_lost_with_the_record() -> None:
    """Nobody has acted on the answer, so that nothing speaks against an older `role.json`: docs/failover.md says so."""
    world = rebooted()
    done = dict(world.requests.over)
    world.record_is_put_back(len(world.files) - 2)
    assert world.doubt is None
    calm(world, 10)
    assert world.requests.over[1] > done[1]


@pytest.mark.parametrize("after", range(MOST_ACTIONS + 1))
@pytest.mark.parametrize("how", FAILURES)
def test_failover_that_is_interrupted_anywhere_is_carried_on(how: str, after: int) -> None:
    assert interrupted("", how, after, 3) is None


def test_record_after_the_promotion_would_not_survive_an_interruption() -> None:
    late = "record before promotion"
    assert any(interrupted(late, "dies", after, 3) for after in range(MOST_ACTIONS + 1))
