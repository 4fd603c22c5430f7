"""Random faults against a simulated instance: the promises of the design hold after every action, and it recovers."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from simulated import Broken, World

from multiaz.instance.decide import view_of
from multiaz.instance.records import MemberName, RequestKind, RunState
from multiaz.instance.states import State, state_of

NAMES = st.sampled_from(["a", "b"])

Event = Callable[[World, random.Random], None]

EVENTS: dict[str, Event] = {
    "a client commits": lambda world, _: world.client_commits(),
    "a client cancels": lambda world, _: world.client_cancels(),
    "wal streams": lambda world, _: world.streams(),
    "wal streams to the replica": lambda world, _: world.replica_streams(),
    "the checkpointer reads": lambda world, _: world.checkpointer_reads(),
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
    "a job goes on": lambda world, _: world.jobs_go_on(),
    "the supervisor dies in a round": lambda world, chance: world.round(chance.randrange(5)),
    "the supervisor dies": lambda world, _: world.supervisor_dies(),
}
CALM = [
    "a client commits", "a standby connects", "wal streams", "wal streams to the replica", "a round", "a job goes on",
]  # fmt: skip
HEALING = [
    "a server goes on", "no partition", "no zone is lost", "the disks answer", "the instance is started",
    "Multi-AZ is turned on", "time passes", "a round",
    "a job goes on", "a job goes on",
]  # fmt: skip


class Instance(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.requests = []

    @initialize(rounds=st.integers(0, 30))
    def begin(self, rounds: int) -> None:
        calm(self.world, rounds)

    @rule(name=st.sampled_from(sorted(EVENTS)), seed=st.integers(0, 3))
    def something_happens(self, name: str, seed: int) -> None:
        EVENTS[name](self.world, random.Random(seed))
        if self.world.desired.request is not None:
            self.requests.append(self.world.desired.request)

    @rule(rounds=st.integers(1, 12))
    def time_passes(self, rounds: int) -> None:
        calm(self.world, rounds)

    @rule(which=st.integers(0, 99))
    def a_request_is_replayed(self, which: int) -> None:
        """With the same number, made for the epoch it was made for."""
        if self.requests:
            self.world.replay_request(self.requests[which % len(self.requests)])

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


TestInstance = Instance.TestCase
TestInstance.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


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
        names = list(EVENTS) if chance.random() < 0.2 else [*CALM, *HEALING]
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


def interrupted(left_out: str, after: int, then: int) -> str | None:
    """How a promise is broken when the supervisor dies after so many actions of a failover, if it is."""
    world = World(left_out)
    try:
        calm(world, 25)
        world.die("a")
        world.round(after)
        calm(world, then)
        world.becomes_well()
    except Broken as broken:
        return str(broken)
    return None


SEEDS = range(60)


def state(world: World) -> State:
    return state_of(view_of(world.desired, world.see(), world.memory))


@functools.cache
def reached() -> dict[State, list[tuple[int, int]]]:
    """For each state: on which walks it is reached, and after how many events first."""
    found: dict[State, dict[int, int]] = {}
    for seed in SEEDS:
        world = World()
        for number in walk(world, seed, 250):
            found.setdefault(state(world), {}).setdefault(seed, number + 1)
    return {state: list(walks.items()) for state, walks in found.items()}


NOT_ON_A_WALK = {
    State.CREATING, State.RECORD_MISSING, State.RECORD_STALE, State.TWO_PRIMARIES, State.FENCED_RUNS, State.HELD_RUNS,
    State.PRIMARY_STARTING, State.REPLICA_STREAMING, State.REPLICA_STRAY,
}  # fmt: skip
"""A walk begins with a primary; its records are not lost (they are by the machine above); nobody acts behind the
supervisor's back; a server answers as soon as it runs; and the read replica has no supervisor."""


@pytest.mark.parametrize("wanted", sorted(frozenset(State) - NOT_ON_A_WALK))
def test_from_every_state_the_simulated_instance_becomes_well(wanted: State) -> None:
    """Not by what the table declares, but by what then happens, however the state was come to."""
    walks = reached()[wanted]
    for seed, events in walks[:20]:
        world = World()
        for _ in walk(world, seed, events):
            pass
        assert state(world) is wanted
        world.becomes_well()


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


@pytest.mark.parametrize("after", range(7))
def test_failover_that_is_interrupted_anywhere_is_carried_on(after: int) -> None:
    assert interrupted("", after, 3) is None


def test_record_after_the_promotion_would_not_survive_an_interruption() -> None:
    assert any(interrupted("record before promotion", after, 3) for after in range(7))
