"""What a decision may look at: one server as seen, everything as seen, and both with what is wanted and remembered."""

from __future__ import annotations

from dataclasses import dataclass, field

from multiaz.instance.actions import JobKind
from multiaz.instance.records import Answer, DesiredInstance, MemberName, Request, RequestKind, RoleRecord

KEPT_ANSWERS = 16
LEAVE_AFTER_S = 1.0
"""How long commits wait for a standby that is up but not streaming before it is struck off. RDS too goes on."""
STRAY_AFTER_S = 5.0
"""How long a standby or replica may be up, with its upstream up, and not stream before it is rebuilt."""
IDLE_AFTER_S = 30.0
"""How long a standby or replica may answer nobody and recover nothing, with its upstream up, before it is rebuilt."""

NOT_STREAMING = "the replica is not streaming from its source"


@dataclass(frozen=True)
class SeenMember:
    """One server as seen this round."""

    exists: bool = False
    alive: bool = False
    """A live postmaster."""
    answering: bool = False
    """Its latest probe succeeded, on this postmaster."""
    accepting: bool = False
    """Its postmaster says that it takes clients, whether or not it answers us: commits may be under way."""
    in_recovery: bool | None = None
    """None while it does not answer."""
    streaming: bool = False
    """Its WAL receiver streams, and (of our own standby) the primary says so too."""
    not_streaming_s: float = 0.0
    """For how long it has not been streaming, up or not: how long commits have waited for it."""
    stalled_s: float = 0.0
    """For how long it has been answering without streaming and without replaying anything."""
    idle_s: float = 0.0
    """For how long it has answered nobody and recovered nothing although its upstream was there to be streamed from."""
    diverged: str = ""
    """Why it can never follow its upstream as it is: its WAL has a history of its own."""
    paused: str = ""
    """Why it replays nothing, whatever it receives."""
    silent: bool = False
    """It runs and has not answered for seconds: it hangs, or its machine does."""
    hung: bool = False
    """It runs, does not answer a new client or does not commit, and makes no progress (`progress.judge`)."""
    hung_why: str = ""
    """What does not move, in a few words for people."""
    stuck_s: float = 0.0
    """Standby: for how long the primary has been ahead of what it has confirmed, without that moving."""
    failures: int = 0
    """Attempts to start it, or jobs on it, that failed one after the other."""
    pending_restart: bool = False
    job: JobKind | None = None
    """The job that is being done on it."""
    failed: str | None = None
    """Why the latest start or job failed; cleared by the next success."""
    wait_s: float = 0.0
    """How long to wait before the next attempt after a failure."""
    unsteady_s: float = 0.0
    """Standby: how long to wait before it joins again, because it fell out although it ran (`progress.Setbacks`)."""
    held: str | None = None
    """Why it must not run: an injected fault, or `stuck`; None: nothing holds it down."""
    full: bool = False
    """There is no room for another segment of its WAL. Looked at only of a standby that is asked to take over."""
    stuck: str = ""
    """Processes of it were killed and wait for its storage: nothing may be done to its files; empty: none do."""


@dataclass(frozen=True)
class Seen:
    """Everything a decision may look at beside what is wanted and remembered."""

    members: dict[MemberName, SeenMember]
    doubt: str | None = None
    """Why the record cannot be the newest that was written; None: nothing speaks against it."""
    joined_epoch: int | None = None
    """A join finished in this epoch: the standby has everything and commits wait for it."""
    primary_link: MemberName | None = None
    upstream_link: MemberName | None = None
    source_alive: bool = False
    """Read replicas: something listens at the source's upstream link."""
    rejoined: frozenset[MemberName] = frozenset()
    """Members that a rejoin job has brought to the primary's history and that have not been started since."""
    outdated: tuple[MemberName, ...] = ()
    """Members that run and whose configuration is not the wanted one."""
    replicas_on_primary: bool = False
    """A read replica streams from the primary."""
    creating: bool = False
    """The first server was being made, perhaps by a supervisor before us."""
    data_exists: bool = False
    """Some member has a data directory."""
    master_set: int = 0
    """`MasterUser.number` whose job finished."""
    master_wait: bool = False
    """Setting the master user's verifier failed a moment ago."""
    created: bool = False
    """The create job finished: the first server is made and bootstrapped."""
    standby_restarted: bool = False
    """The restart job of the standby for the request in progress finished."""
    restarted: bool = False
    """The restart job of the primary for the request in progress finished."""
    snapshot_taken: bool = False
    now: float = 0.0
    """Unix time."""


@dataclass(frozen=True)
class View:
    """What the rules look at, with the names they use."""

    desired: DesiredInstance
    seen: Seen
    memory: RoleRecord
    primary: MemberName
    other: MemberName
    p: SeenMember = field(init=False)
    o: SeenMember = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", self.seen.members.get(self.primary, SeenMember()))
        object.__setattr__(self, "o", self.seen.members.get(self.other, SeenMember()))

    @property
    def takeover_possible(self) -> bool:
        """The standby has every acknowledged commit and is up."""
        return self.memory.in_sync and self.o.alive and self.o.job is None

    @property
    def endpoint_closed(self) -> bool:
        """A failover was less than `endpoint_down_s` ago. A clock set back, or a shorter pace, opens it at once."""
        opens_at = self.memory.endpoint_opens_at
        return opens_at is not None and 0 < opens_at - self.seen.now <= self.desired.endpoint_down_s

    @property
    def clients_to(self) -> MemberName | None:
        """Whom the endpoint leads to once that one takes clients; None while it is to lead nowhere."""
        return None if self.endpoint_closed else self.primary

    @property
    def joined(self) -> bool:
        """A join finished in this epoch, and commits still wait for the standby because of it."""
        return self.seen.joined_epoch is not None and self.seen.joined_epoch == self.memory.epoch

    @property
    def standby_wanted(self) -> bool:
        """A read replica gets its standby once it is promoted."""
        return self.desired.multi_az and not self.memory.following

    @property
    def stuck(self) -> bool:
        """The standby confirms nothing of what it is sent: commits would wait for it in vain."""
        return self.o.stuck_s >= LEAVE_AFTER_S

    @property
    def lost(self) -> str | None:
        """Why the standby takes no commits; None: it takes them, or has not been away for long."""
        if not self.o.alive or self.o.job is not None:
            return "the standby is gone"
        if self.o.hung:
            return f"the standby hangs: {self.o.hung_why}"
        if self.stuck:
            return "the standby confirms nothing more"
        if not self.p.answering:
            return None  # what follows is said by the primary
        if not self.o.streaming and self.o.not_streaming_s >= LEAVE_AFTER_S:
            return "the standby is gone"
        if self.o.pending_restart and not self.p.pending_restart:
            return "the standby must be restarted for new parameters"
        return None

    @property
    def leaving(self) -> str | None:
        """Why a standby that is in sync has to leave; None: it stays."""
        if not self.desired.multi_az:
            return "Multi-AZ was turned off"
        if self.desired.standby_loss == "wait":
            return None
        if self.o.alive and self.o.paused:
            return f"the standby replays nothing, so its promotion would take a restart: {self.o.paused}"
        return self.lost

    @property
    def awaited(self) -> str | None:
        """Why commits wait for a standby that is in sync on record, as is wanted; None: they do not."""
        return self.lost if self.memory.in_sync and self.leaving is None else None

    @property
    def replication_broken(self) -> str:
        """Why a read replica's replication is broken, once that is no passing matter; empty: it is not."""
        if self.p.diverged or self.p.paused:
            return self.p.diverged or self.p.paused
        return NOT_STREAMING if not self.p.streaming and self.p.stalled_s > STRAY_AFTER_S else ""

    @property
    def busy(self) -> bool:
        """A job is being done on some member."""
        return any(member.job is not None for member in self.seen.members.values())

    @property
    def anything_alive(self) -> bool:
        """Some server runs."""
        return any(member.alive for member in self.seen.members.values())

    @property
    def reboot_in_progress(self) -> bool:
        """A requested reboot was begun and is not answered. One that another request superseded never will be."""
        begun = self.memory.request
        return begun is not None and begun.kind is RequestKind.REBOOT and begun == self.desired.request

    @property
    def waiting_request(self) -> Request | None:
        """The request that is wanted and not answered, nor superseded: one that was begun has a higher number."""
        request, begun = self.desired.request, self.memory.request
        if request is None or request.number <= self.memory.answered:
            return None
        return request if begun is None or request.number >= begun.number else None

    def remember(self, **changes: object) -> RoleRecord:
        """The memory with `changes`; when it ceases to say in sync, the time is kept."""
        if changes.get("in_sync", self.memory.in_sync) is not self.memory.in_sync:
            changes["alone_since"] = None if changes["in_sync"] else self.seen.now
        return self.memory.model_copy(update=changes)

    def answer(self, request: Request, outcome: str, reason: str) -> tuple[Answer, ...]:
        """The answers so far with this one."""
        answer = Answer.model_validate({"number": request.number, "outcome": outcome, "reason": reason})
        return (*self.memory.answers, answer)[-KEPT_ANSWERS:]
