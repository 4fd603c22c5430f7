"""A simulated DB instance under the real `decide`: two servers, a read replica, clients, a supervisor that may die.

Rows stand for flushed WAL. Jobs go on step by step, and anything may happen between two steps, or between two actions.
`check` raises Broken where a promise of the design does not hold; `left_out` names steps that are skipped,
to show that each is needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from unittest.mock import patch

from carried_out import Broken, CarriedOut
from test_decide import DESIRED

from multiaz.instance import decide as machine
from multiaz.instance.actions import (
    Action,
    Announce,
    Begin,
    Configure,
    EndJob,
    Fence,
    JobKind,
    PointPrimary,
    PointUpstream,
    Promote,
    Record,
    Start,
    Step,
    StopAll,
)
from multiaz.instance.decide import TRANSITIONS, decide, view_of
from multiaz.instance.evidence import doubt_of
from multiaz.instance.records import MemberName, Phase, Request, RequestKind, RoleRecord, RunState
from multiaz.instance.states import State, state_of
from multiaz.instance.view import Seen, SeenMember, View

OTHER: dict[MemberName, MemberName] = {"a": "b", "b": "a"}
LONG_S = 60.0
RULES = frozenset(row.name for row in TRANSITIONS)
GOALS = {row.name: row.goal for row in TRANSITIONS}
MOST_JOB_STEPS = 20
"""More than any job has that nothing holds up."""
MOST_ACTIONS = 6
"""The longest step there is: a failover."""


class JobFailed(Exception):
    """A job cannot go on."""


@dataclass
class Server:
    """One server. What is set in `__post_init__` is lost with its processes."""

    exists: bool = False
    whole: bool = True
    """Not in the middle of a pg_rewind."""
    alive: bool = False
    starting: bool = False
    """It runs and does not answer yet."""
    hung: bool = False
    for_good: bool = False
    """It does not go on by itself: only its end helps."""
    replay_stuck: bool = False
    """Its startup process is stopped: it streams, and replays and promotes nothing."""
    standby: bool = True
    history: list[int] = field(default_factory=list)
    conf_waits: bool = False
    """Its configuration has commits wait for the other member."""
    waits: bool = False
    """Commits do wait."""
    connected: bool = False
    """A standby that streams."""
    waiting: list[int] = field(default_factory=list)
    """Rows whose clients wait for the standby."""
    noted: int = 0
    """Revision it last acted on."""

    @property
    def takes_writes(self) -> bool:
        return self.alive and not self.standby

    @property
    def answers(self) -> bool:
        return self.alive and not self.hung and not self.starting


class World:
    """Everything there is."""

    def __init__(self, left_out: str = "") -> None:
        self.left_out = left_out
        self.servers: dict[MemberName, Server] = {"a": Server(), "b": Server()}
        self.desired = DESIRED
        self.files: list[RoleRecord] = []
        """Every version of role.json ever written, oldest first."""
        self.disk: RoleRecord | None = None
        self.memory = RoleRecord()
        self.doubt: str | None = None
        self.link: MemberName | None = None
        self.upstream: MemberName | None = None
        self.partitioned = False
        self.now = 1000.0
        self.held: set[MemberName] = set()
        """Members that an injected fault holds down."""
        self.stuck: set[MemberName] = set()
        """Members whose disk answers nobody: their processes do nothing, and outlive even SIGKILL."""
        self.acknowledged: set[int] = set()
        self.next_row = 1
        self.replica: list[int] = []
        self.replica_from: MemberName | None = None
        self.last_step: Step | None = None
        self.decided_on: View | None = None
        self.requests = CarriedOut()
        self.led: set[tuple[str, State]] = set()
        """Which rules led to which other states, undisturbed."""
        self.interrupted: set[tuple[int, int]] = set()
        """After how many actions of a step of how many the supervisor died."""
        self._forget()
        self.stale: set[MemberName] = set()

    # -- clients -------------------------------------------------------------------------------------

    def client_commits(self) -> None:
        """A client commits where the link leads, or where it is still connected."""
        for name, server in self.servers.items():
            if server.takes_writes and server.answers and (self.link == name or server.waiting):
                row, self.next_row = self.next_row, self.next_row + 1
                server.history.append(row)
                if server.waits:
                    server.waiting.append(row)
                else:
                    self._acknowledge(row)

    def client_cancels(self) -> None:
        """A COMMIT that waits is cancelled: the row is there, with a warning, and was not acknowledged as safe."""
        for server in self.servers.values():
            if server.answers:
                server.waiting.clear()

    def _acknowledge(self, row: int) -> None:
        self.acknowledged.add(row)

    def streams(self) -> None:
        """WAL goes to the standby, if it can; its word lets clients go on."""
        for name, server in self.servers.items():
            source = self.servers[OTHER[name]]
            if not (server.answers and server.connected and server.standby):
                continue
            if self.partitioned or not source.takes_writes or not source.answers:
                continue
            server.history = list(source.history)
            for row in source.waiting:
                self._acknowledge(row)
            source.waiting.clear()

    def replica_streams(self) -> None:
        """WAL goes to the read replica, from where it is connected, and is shown there at once."""
        if self.replica_from is None:
            self.replica_from = self.upstream
        if self.replica_from is None:
            return
        source = self.servers[self.replica_from]
        if not source.alive:
            self.replica_from = None
        elif source.answers and source.history[: len(self.replica)] == self.replica:
            self.replica = list(source.history)

    # -- what may happen ---------------------------------------------------------------------------------

    def die(self, name: MemberName) -> None:
        server = self.servers[name]
        server.alive = server.starting = server.hung = server.for_good = False
        server.connected = server.waits = server.replay_stuck = False
        server.waiting.clear()

    def hang(self, name: MemberName) -> None:
        self.servers[name].hung = self.servers[name].alive

    def hang_for_good(self, name: MemberName) -> None:
        self.hang(name)
        self.servers[name].for_good = self.servers[name].hung

    def go_on(self, name: MemberName) -> None:
        self.servers[name].hung = self.servers[name].for_good or name in self.stuck

    def disk_sticks(self, name: MemberName) -> None:
        if self.servers[name].alive:
            self.stuck.add(name)
            self.hang(name)

    def disks_answer(self) -> None:
        stuck, self.stuck = self.stuck, set()
        for name in stuck:
            self.go_on(name)

    def replay_stops(self, name: MemberName) -> None:
        self.servers[name].replay_stuck = self.servers[name].alive

    def servers_answer(self) -> None:
        """Those that were starting and do not hang."""
        for server in self.servers.values():
            server.starting = server.starting and server.hung

    def stream_breaks(self) -> None:
        for server in self.servers.values():
            server.connected = False

    def reconnect(self) -> None:
        """A standby streams if its history is a beginning of the primary's."""
        for name, server in self.servers.items():
            source = self.servers[OTHER[name]]
            fits = source.history[: len(server.history)] == server.history
            if server.answers and server.standby and source.takes_writes and source.answers and fits:
                server.connected = server.connected or not self.partitioned

    def checkpointer_reads(self) -> None:
        """It reads its configuration now and then; only then commits begin to wait."""
        for server in self.servers.values():
            server.waits = server.waits or (server.takes_writes and server.answers and server.conf_waits)

    def hold(self, name: MemberName) -> None:
        """The zone of a member is lost, until `held` is emptied."""
        self.held.add(name)
        self.die(name)

    def somebody_starts(self, name: MemberName) -> None:
        """By hand, a member that is fenced."""
        if name == self.memory.fenced and self.servers[name].exists and not self.doubt:
            self.servers[name].alive = True

    def somebody_promotes(self, name: MemberName) -> None:
        """By hand, the standby."""
        if self.memory.primary == OTHER[name] and self.servers[name].answers and not self.doubt:
            self.servers[name].standby = False

    def want(self, **changes: object) -> None:
        """Another `desired.json`."""
        self.desired = self.desired.model_copy(update=changes)

    def change_password(self) -> None:
        assert self.desired.master is not None
        number = self.desired.master.number + 1
        self.want(master=self.desired.master.model_copy(update={"number": number}))

    def request(self, kind: RequestKind) -> None:
        self.want(request=self.requests.ask(kind, self.memory.epoch))

    def replay_request(self, which: int) -> None:
        """One of those made so far, with the same number, made for the epoch it was made for."""
        made = self.requests.made
        if made:
            self.want(request=made[which % len(made)])

    # -- the supervisor ------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self.jobs: dict[MemberName, tuple[JobKind, Iterator[None]]] = {}
        self.failed: dict[MemberName, str] = {}
        self.joined: int | None = None
        self.rejoined: frozenset[MemberName] = frozenset()
        self.created = False
        self.restarted: set[MemberName] = set()
        self.restart_for: dict[MemberName, Request] = {}
        self.master_set = 0

    def supervisor_dies(self) -> None:
        """A new one knows what is on disk, and writes every configuration again."""
        self._forget()
        self.requests.supervisor_dies()
        self.stale = {"a", "b"}
        self._load()

    def _load(self) -> None:
        self.memory = self.disk or RoleRecord()
        noted = {name: server.noted for name, server in self.servers.items()}
        self.doubt = doubt_of(self.disk, noted) if self.disk is not None else None
        if self.memory.primary is not None and not self.doubt:
            self.requests.record_is_believed(self.memory.revision)
            self._remember(self.memory)

    def record_is_lost(self) -> None:
        self.disk = None
        self.supervisor_dies()

    def record_is_put_back(self, version: int) -> None:
        if self.files:
            self.disk = self.files[version % len(self.files)]
            self.supervisor_dies()

    def record_is_restored(self) -> None:
        """A person does what the reason asks for."""
        if self.files and (self.doubt or self.disk is None):
            self.disk = self.files[-1]

    def round(self, at_most: int | None = None) -> None:
        """One round; with `at_most` the supervisor dies after so many actions."""
        if self.doubt or self.memory.primary is None:
            self._load()
        step = self.last_step = self._decide()
        actions, done = self._changed(step.actions), 0
        for action in actions[:at_most]:
            try:
                self._perform(action)
            except JobFailed:
                break
            self.check()
            done += 1
        self.all_done = done == len(actions)
        if at_most is not None:
            if done == min(at_most, len(actions)):
                self.interrupted.add((done, len(actions)))
            self.supervisor_dies()
        self.check()

    def _decide(self) -> Step:
        """What the machine says, without the row that is left out."""
        view = self.decided_on = view_of(self.desired, self.see(), self.memory)
        if self.left_out not in RULES:
            return decide(view.desired, view.seen, view.memory)
        with patch.object(machine, "TRANSITIONS", [row for row in TRANSITIONS if row.name != self.left_out]):
            return decide(view.desired, view.seen, view.memory)

    def primary_fails_and_supervisor_dies(self, how: str, after: int) -> None:
        """The primary dies, hangs, or is to be replaced, and the round that answers it ends after so many actions."""
        if self.memory.primary is None:
            return
        match how:
            case "dies":
                self.die(self.memory.primary)
            case "hangs":
                self.hang(self.memory.primary)
            case "is to be replaced":
                self.request(RequestKind.FAILOVER)
            case _:
                raise AssertionError(f"a primary that {how}")
        self.round(after)

    def _remember(self, memory: RoleRecord) -> None:
        self.memory = self.disk = memory.model_copy(update={"revision": len(self.files) + 1})
        self.files.append(self.disk)

    def _changed(self, actions: tuple[Action, ...]) -> list[Action]:
        """Without the step that is left out, or in another order."""
        kept = [action for action in actions if type(action).__name__ != self.left_out]
        if self.left_out == "fence before" and any(isinstance(one, Promote) for one in actions):
            return [*kept[1:2], kept[0], *kept[2:]]
        if self.left_out == "record before" and not any(isinstance(one, Promote) for one in actions):
            return sorted(kept, key=lambda one: isinstance(one, Record))
        if self.left_out == "record before promotion" and any(isinstance(one, Promote) for one in actions):
            return sorted(kept, key=lambda one: isinstance(one, Record))
        return kept

    def undisturbed_round(self) -> None:
        """A round and the job that it begins, while nothing else happens: what succeeds leads where the table says."""
        self.round()
        step, view = self.last_step, self.decided_on
        assert step is not None
        assert view is not None
        before = state_of(view)
        if step.rule == "awaken":
            self.servers_answer()
        elif not step.actions or not self.all_done:
            return
        self._leads(step.rule, before)
        begun = [action for action in step.actions if isinstance(action, Begin)]
        if begun and self.state() is State.RESTARTING:
            self._ends_well(begun[0].member, "restarting", State.RESTARTING)
        elif begun:
            self._ends_well(begun[0].member, step.rule, before)

    def _ends_well(self, name: MemberName, rule: str, before: State) -> None:
        """The job on this member goes on alone; it may wait for ever."""
        for _ in range(MOST_JOB_STEPS):
            if name in self.jobs:
                self.jobs_go_on([name])
        if name not in self.jobs and name not in self.failed:
            self._leads(rule, before)

    def _leads(self, rule: str, before: State) -> None:
        after = self.state()
        if after is before:
            return
        if after not in GOALS[rule]:
            raise Broken(f"{rule} leads from {before} to {after}, and the table does not say so")
        self.led.add((rule, after))

    def state(self) -> State:
        return state_of(view_of(self.desired, self.see(), self.memory))

    def jobs_go_on(self, names: Sequence[MemberName] = ("a", "b")) -> None:
        """One step of each job."""
        for name, (kind, work) in list(self.jobs.items()):
            if name not in names:
                continue
            try:
                if self._stuck(name):
                    raise JobFailed(self._stuck(name))
                next(work)
            except StopIteration:
                del self.jobs[name]
                self.failed.pop(name, None)
                self._finished(kind, name)
            except JobFailed as error:
                del self.jobs[name]
                self.failed[name] = str(error)
            self.check()

    def _finished(self, kind: JobKind, name: MemberName) -> None:
        match kind:
            case JobKind.CREATE:
                self.created = True
            case JobKind.REJOIN:
                self.rejoined |= {name}
            case JobKind.JOIN:
                self.joined = self.memory.epoch
            case JobKind.RESTART:
                self.restarted.add(name)
                self.requests.restart_ends(self.restart_for[name])
            case _:
                pass

    def see(self) -> Seen:
        primary = self.memory.primary
        members = {"a": self._look("a"), "b": self._look("b")}
        lost = view_of(self.desired, Seen(members), self.memory).lost
        if primary and members[OTHER[primary]].job is not JobKind.JOIN and lost is not None:
            self.joined = None
        joined = self.joined if primary and self.servers[primary].conf_waits else None
        awaited = primary if self.memory.in_sync or (joined is not None and joined == self.memory.epoch) else None
        outdated = tuple(
            name for name, server in self.servers.items()
            if server.answers and (name in self.stale or server.conf_waits != (name == awaited))
        )  # fmt: skip
        return Seen(
            members=members, doubt=self.doubt, joined_epoch=joined,
            primary_link=self.link, upstream_link=self.upstream, rejoined=self.rejoined, created=self.created,
            outdated=outdated, creating=not self.files, data_exists=any(one.exists for one in self.servers.values()),
            restarted=primary in self.restarted or self.left_out == "the restart",
            now=self.now,
            standby_restarted=primary is not None and OTHER[primary] in self.restarted, master_set=self.master_set,
            replicas_on_primary=primary is not None and self.replica_from == primary,
        )  # fmt: skip

    def _look(self, name: MemberName) -> SeenMember:
        server, source = self.servers[name], self.servers[OTHER[name]]
        streaming = (
            server.answers and server.standby and server.connected and source.answers and not self.partitioned
        )  # fmt: skip
        diverged = source.takes_writes and source.history[: len(server.history)] != server.history
        stalled = diverged or (self.partitioned and not streaming)
        failures = 3 if name in self.failed or not server.whole else 0
        return SeenMember(
            exists=server.exists, alive=server.alive, answering=server.answers,
            in_recovery=server.standby if server.answers else None, streaming=streaming,
            not_streaming_s=0.0 if streaming else LONG_S, stalled_s=LONG_S if stalled else 0.0,
            silent=server.hung, hung=server.hung, failures=failures,
            diverged="it has rows of its own" if diverged else "", held=self._held(name),
            stuck=self._stuck(name),
            job=self.jobs[name][0] if name in self.jobs else None, failed=self.failed.get(name),
        )  # fmt: skip

    def _held(self, name: MemberName) -> str | None:
        if name in self.held:
            return "a fault"
        return self._stuck(name) or None

    def _stuck(self, name: MemberName) -> str:
        return "its processes are stuck" if name in self.stuck and not self.servers[name].alive else ""

    def _perform(self, action: Action) -> None:
        match action:
            case Record(memory):
                if memory.epoch < self.memory.epoch:
                    raise Broken("the epoch fell")
                self.requests.record_is_written(self.memory, memory, len(self.files) + 1)
                if self.left_out == "answers":
                    memory = memory.model_copy(update={"answers": self.memory.answers})
                if memory.request != self.memory.request:
                    self.restarted.clear()
                self._remember(memory)
                if memory.in_sync or memory.epoch != self.joined:
                    self.joined = None
            case Fence(name):
                self.die(name)
            case Start(name, standby):
                self._start(name, standby=standby)
            case Promote(name):
                self._promote(name)
            case PointPrimary(name):
                self.link = name
            case PointUpstream(name):
                self._point_upstream(name)
            case Configure(name, synchronous):
                self._configure(name, synchronous=synchronous)
                self.stale.discard(name)
            case Begin(_, name) if self._stuck(name):
                raise Broken(f"{action} although processes of {name} are stuck")
            case Begin(kind, name):
                if name not in self.jobs:
                    self.jobs[name] = (kind, self._work(kind, name))
                    if kind is JobKind.RESTART:
                        self.restarted.discard(name)
                        assert self.desired.request is not None, "a restart that nobody asked for"
                        self.restart_for[name] = self.desired.request
                        self.requests.restart_begins(self.desired.request, self.memory.epoch)
            case EndJob(name):
                self._end_job(name)
            case StopAll():
                self.streams()  # a clean shutdown of the primary, which goes first, sends what there is
                for name in OTHER:
                    self.die(name)
            case Announce():
                pass
            case _:
                raise AssertionError(f"the simulation has no {action}")

    def _start(self, name: MemberName, *, standby: bool) -> None:
        server = self.servers[name]
        if not server.exists or not server.whole or name in self.held | self.stuck:
            self.failed[name] = "it does not start"
            return
        self.die(name)
        server.standby = standby or server.standby
        self._configure(name, synchronous=name == self.memory.primary and self.memory.in_sync)
        server.alive, server.starting, server.waits = True, True, server.conf_waits
        self.rejoined -= {name}
        self.failed.pop(name, None)

    def _promote(self, name: MemberName) -> None:
        server = self.servers[name]
        server.noted = max(server.noted, self.memory.revision)
        if not server.answers:
            raise JobFailed("nobody to promote")
        if server.replay_stuck and server.standby:
            self.die(name)
            raise JobFailed("the promotion stands still, and the server is ended")
        server.standby, server.connected = False, False
        server.waits = server.conf_waits

    def _configure(self, name: MemberName, *, synchronous: bool) -> None:
        """Commits stop waiting at once, and begin to wait when the checkpointer gets round to it."""
        server = self.servers[name]
        server.noted = max(server.noted, self.memory.revision)
        server.conf_waits = synchronous
        if not synchronous and server.answers:
            server.waits = False
            for row in server.waiting:
                self._acknowledge(row)
            server.waiting.clear()

    def _point_upstream(self, name: MemberName) -> None:
        self.upstream = name
        if self.replica_from == OTHER[name] and self.servers[OTHER[name]].answers:
            self.replica_from = name

    def _end_job(self, name: MemberName) -> None:
        if name in self.jobs:
            _, work = self.jobs.pop(name)
            with contextlib.suppress(JobFailed, StopIteration):
                work.throw(JobFailed("it was ended"))

    # -- jobs ----------------------------------------------------------------------------------------------

    def _work(self, kind: JobKind, name: MemberName) -> Iterator[None]:
        server, source = self.servers[name], self.servers[OTHER[name]]
        match kind:
            case JobKind.CREATE:
                yield
                self.servers[name] = Server(exists=True, alive=True, standby=False)
            case JobKind.CLONE:
                yield from self._clone(name, server, source)
            case JobKind.REJOIN:
                self.die(name)
                yield
                self._needs(source)
                server.whole = False
                yield
                self._needs(source)
                server.history, server.standby, server.whole = list(source.history), True, True
            case JobKind.JOIN:
                yield from self._join(name, server, source)
            case JobKind.RESTART:
                self.die(name)
                yield
                self._start(name, standby=server.standby)
                yield
                while server.hung:
                    yield
                server.starting = False
                if not server.alive:
                    raise JobFailed("it does not start")
            case JobKind.REMOVE:
                self.die(name)
                yield
                self.servers[name] = Server(noted=server.noted)
            case JobKind.MASTER:
                yield from self._set_master(server)
            case _:
                raise AssertionError(f"the simulation has no {kind}")

    def _clone(self, name: MemberName, server: Server, source: Server) -> Iterator[None]:
        if name == self.memory.primary:
            raise Broken("the primary is rebuilt")
        yield
        self._needs(source)
        copy = list(source.history)
        yield
        self.die(name)
        server.exists, server.whole, server.standby, server.history = True, True, True, copy
        server.conf_waits = False

    def _join(self, name: MemberName, server: Server, source: Server) -> Iterator[None]:
        try:
            self._needs(source)
            self._configure(OTHER[name], synchronous=True)
            yield
            if self.left_out != "CHECKPOINT":
                self._needs(source)
                source.waits = True
            yield
            yield from self._wait_for_flush(server, source)
            yield
            self._needs(source)
            self._point_upstream(name)
            yield
            if self.left_out != "second wait":
                yield from self._wait_for_flush(server, source)
        except JobFailed:
            self._configure(OTHER[name], synchronous=False)
            raise

    def _set_master(self, server: Server) -> Iterator[None]:
        """A commit like any other: it waits for the standby, and may wait for ever."""
        assert self.desired.master is not None
        number = self.desired.master.number
        self._needs(server)
        row, self.next_row = self.next_row, self.next_row + 1
        server.history.append(row)
        if server.waits:
            server.waiting.append(row)
        else:
            self._acknowledge(row)
        while row in server.waiting:
            yield
        self._needs(server)
        self.master_set = number

    def _wait_for_flush(self, server: Server, source: Server) -> Iterator[None]:
        if self.left_out == "both waits":
            return
        self._needs(source)
        target = list(source.history)
        for _ in range(3):
            if server.history[: len(target)] == target:
                return
            yield
            self.streams()
        raise JobFailed("no progress")

    def _needs(self, source: Server) -> None:
        if not source.takes_writes or not source.answers:
            raise JobFailed("the primary does not answer")

    # -- the promises ---------------------------------------------------------------------------------------

    def check(self) -> None:
        if all(server.takes_writes for server in self.servers.values()):
            raise Broken("two primaries")
        record = self.disk
        if record is None or record.primary is None or self.doubt:
            return
        primary, other = self.servers[record.primary], self.servers[OTHER[record.primary]]
        lost = self.acknowledged - set(primary.history)
        if lost:
            raise Broken(f"acknowledged and lost: {lost}")
        fenced = self.servers[record.fenced] if record.fenced is not None else None
        if fenced is not None and fenced.alive and not fenced.hung:
            raise Broken("a fenced member answers")
        if record.in_sync:
            missing = self.acknowledged - set(other.history)
            if missing:
                raise Broken(f"in sync on record, and the standby lacks {missing}")
            if primary.takes_writes and not primary.waits:
                raise Broken("in sync on record, and commits wait for nobody")
            shown = set(self.replica) - set(other.history)
            if shown:
                raise Broken(f"a replica shows {shown}, which a failover would lose")
        if set(self.replica) - set(primary.history):
            raise Broken(f"a replica shows {set(self.replica) - set(primary.history)}, which is lost")

    def becomes_well(self, rounds: int = 80) -> None:
        """Left alone, with the network whole and nobody stopped, the instance becomes well again."""
        self.partitioned = False
        self.held.clear()
        self.disks_answer()
        self.want(multi_az=True, run=RunState.RUNNING)
        for name in OTHER:
            self.go_on(name)
        self.record_is_restored()
        for _ in range(rounds):
            self.now += 1
            self.round()
            self.jobs_go_on()
            self.servers_answer()
            self.reconnect()
            self.streams()
            self.replica_streams()
            self.failed = {name: why for name, why in self.failed.items() if not self.servers[name].alive}
        if self.last_step is None or self.last_step.phase is Phase.CREATING:
            return
        primary = self.servers[self.memory.primary] if self.memory.primary else None
        if primary is None or not primary.answers or not primary.takes_writes:
            raise Broken(f"nobody takes writes: {self.last_step}")
        if not self.memory.in_sync or self.link != self.memory.primary:
            raise Broken(f"it does not become well: {self.last_step}")
        if self.replica != self.servers[self.memory.primary].history:
            raise Broken("the replica does not follow")
        asked, begun = self.desired.request, self.memory.request
        superseded = asked is not None and begun is not None and asked.number < begun.number
        if asked is not None and asked.number > self.memory.answered and not superseded:
            raise Broken(f"request {asked.number} is neither carried out nor answered")
