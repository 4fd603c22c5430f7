"""Random faults against a simulated pair of servers: the promises of the design hold after every action.

The supervisor may also die between any two actions of a step; what it remembered on disk is all that is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from test_decide import DESIRED

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
)
from multiaz.instance.decide import decide
from multiaz.instance.records import MemberName, Request, RequestKind, RoleRecord
from multiaz.instance.view import Seen, SeenMember

OTHER: dict[MemberName, MemberName] = {"a": "b", "b": "a"}


@dataclass
class Simulated:
    """One server: its rows stand for flushed WAL."""

    exists: bool = False
    alive: bool = False
    standby: bool = True
    history: list[int] = field(default_factory=list)
    waits: bool = False
    """Its commits wait for the other's flush."""
    connected: bool = False


class Pair(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.servers: dict[MemberName, Simulated] = {"a": Simulated(), "b": Simulated()}
        self.disk = RoleRecord()
        self.desired = DESIRED
        self.acknowledged: list[int] = []
        self.next_row = 1
        self.created = False
        self.joined: int | None = None
        self.rejoined: frozenset[MemberName] = frozenset()
        self.link: MemberName | None = None
        self.upstream: MemberName | None = None
        self.stale: set[MemberName] = set()

    # -- the world ---------------------------------------------------------------------------------

    @rule()
    def client_writes(self) -> None:
        """A client commits where the link leads; with a waiting primary only once the standby has it."""
        if self.link is None:
            return
        primary, other = self.servers[self.link], self.servers[OTHER[self.link]]
        if not primary.alive or primary.standby:
            return
        row, self.next_row = self.next_row, self.next_row + 1
        primary.history.append(row)
        streams = other.alive and other.standby and other.connected
        if streams:
            other.history.append(row)
        if streams or not primary.waits:
            self.acknowledged.append(row)

    @rule()
    def primary_dies(self) -> None:
        if self.disk.primary:
            self._die(self.disk.primary)

    @rule()
    def standby_dies(self) -> None:
        if self.disk.primary:
            self._die(OTHER[self.disk.primary])

    @rule()
    def stream_breaks(self) -> None:
        for server in self.servers.values():
            server.connected = False

    @rule()
    def standby_falls_behind(self) -> None:
        """The stream breaks for long enough that the standby is struck off, and a client goes on."""
        self.stream_breaks()
        for _ in range(3):
            self._round(None)
        self.client_writes()

    @rule()
    def parameters_change(self) -> None:
        self.stale = {"a", "b"}

    @rule()
    def failover_is_requested(self) -> None:
        number = self.disk.answered + 1
        request = Request(number=number, kind=RequestKind.FAILOVER, epoch=self.disk.epoch)
        self.desired = self.desired.model_copy(update={"request": request})

    def _die(self, name: MemberName) -> None:
        self.servers[name].alive = self.servers[name].connected = False

    # -- the supervisor ------------------------------------------------------------------------------

    @rule()
    def rounds(self) -> None:
        for _ in range(12):
            self._round(None)

    @rule()
    def one_round(self) -> None:
        self._round(None)

    @rule()
    def supervisor_dies_after_one_action(self) -> None:
        self._round(1)
        self._forget()

    @rule()
    def supervisor_dies_after_two_actions(self) -> None:
        self._round(2)
        self._forget()

    def _forget(self) -> None:
        self.joined, self.rejoined, self.created = None, frozenset(), False

    def _round(self, at_most: int | None) -> None:
        step = decide(self.desired, self._see(), self.disk)
        for action in step.actions[:at_most]:
            self._perform(action)

    def _see(self) -> Seen:
        def look(name: MemberName) -> SeenMember:
            server = self.servers[name]
            streaming = server.alive and server.standby and server.connected
            return SeenMember(
                exists=server.exists, alive=server.alive, answering=server.alive,
                in_recovery=server.standby if server.alive else None, streaming=streaming,
                not_streaming_s=0.0 if streaming else 2.0,
            )  # fmt: skip

        primary = self.disk.primary
        joined = self.joined if primary and self.servers[primary].waits else None
        waiting = primary if self.disk.in_sync or joined == self.disk.epoch else None
        outdated = tuple(
            name for name, server in self.servers.items()
            if server.alive and (name in self.stale or server.waits != (name == waiting))
        )  # fmt: skip
        return Seen(
            members={"a": look("a"), "b": look("b")}, joined_epoch=joined, primary_link=self.link,
            upstream_link=self.upstream, rejoined=self.rejoined, created=self.created, outdated=outdated,
            creating=True, data_exists=any(server.exists for server in self.servers.values()),
        )  # fmt: skip

    def _perform(self, action: Action) -> None:
        match action:
            case Record(memory):
                assert memory.epoch >= self.disk.epoch, "the epoch fell"
                self.disk = memory
                if memory.in_sync or memory.epoch != self.joined:
                    self.joined = None
            case Fence(name):
                self._die(name)
            case Start(name, standby):
                server = self.servers[name]
                server.alive, server.standby = True, standby or server.standby
                server.waits = name == self.disk.primary and self.disk.in_sync
                self._connect(name)
                self.rejoined -= {name}
            case Promote(name):
                assert not self._takes_writes(OTHER[name]), "promoted beside a living primary"
                if self.servers[name].alive:
                    self.servers[name].standby, self.servers[name].waits = False, False
            case PointPrimary(name):
                self.link = name
            case PointUpstream(name):
                self.upstream = name
            case Configure(name, synchronous):
                self.servers[name].waits = synchronous
                self.stale.discard(name)
            case Begin(kind, name):
                self._job(kind, name)
            case Announce():
                pass
            case _:
                raise AssertionError(f"the simulation has no {action}")

    def _job(self, kind: JobKind, name: MemberName) -> None:
        server, other = self.servers[name], self.servers[OTHER[name]]
        match kind:
            case JobKind.CREATE:
                self.servers[name] = Simulated(exists=True, alive=True, standby=False)
                self.created = True
            case JobKind.CLONE | JobKind.REJOIN:
                assert name != self.disk.primary, "the primary was rebuilt"
                self._die(name)
                server.exists, server.standby, server.history = True, True, list(other.history)
                if kind is JobKind.REJOIN:
                    self.rejoined |= {name}
            case JobKind.JOIN:
                self._connect(name)
                if server.connected:
                    other.waits, self.joined = True, self.disk.epoch
            case _:
                raise AssertionError(f"the simulation has no {kind}")

    def _connect(self, name: MemberName) -> None:
        """A standby streams if its history is a beginning of the primary's."""
        server, other = self.servers[name], self.servers[OTHER[name]]
        fits = other.history[: len(server.history)] == server.history
        if server.alive and server.standby and other.alive and not other.standby and fits:
            server.history, server.connected = list(other.history), True

    def _takes_writes(self, name: MemberName) -> bool:
        return self.servers[name].alive and not self.servers[name].standby

    # -- the promises ----------------------------------------------------------------------------------

    @invariant()
    def clients_never_reach_two_primaries(self) -> None:
        assert not (self._takes_writes("a") and self._takes_writes("b"))

    @invariant()
    def the_standby_has_every_acknowledged_commit_while_the_record_says_in_sync(self) -> None:
        if self.disk.in_sync and self.disk.primary:
            missing = set(self.acknowledged) - set(self.servers[OTHER[self.disk.primary]].history)
            assert not missing, f"in sync, and the standby lacks {missing}"

    @invariant()
    def commits_wait_for_the_standby_while_the_record_says_in_sync(self) -> None:
        """Whether or not a commit has been lost by it yet."""
        if self.disk.in_sync and self.disk.primary and self._takes_writes(self.disk.primary):
            assert self.servers[self.disk.primary].waits, "in sync on record, and commits wait for nobody"

    @invariant()
    def the_recorded_primary_has_every_acknowledged_commit(self) -> None:
        if self.disk.primary:
            missing = set(self.acknowledged) - set(self.servers[self.disk.primary].history)
            assert not missing, f"acknowledged and lost: {missing}"

    @precondition(lambda self: self.disk.primary is not None)
    @rule()
    def left_alone_it_becomes_well_again(self) -> None:
        for _ in range(40):
            self._round(None)
            for name in ("a", "b"):
                self._connect(name)
        assert self.disk.in_sync
        assert self._takes_writes(self.disk.primary)  # type: ignore[arg-type]
        assert self.link == self.disk.primary


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
