"""The records in which the cloud and a DB instance's supervisor meet: files, never calls.

`desired.json` is written by the cloud, all others by the supervisor. Each is replaced atomically
and can be read with `cat`. No record holds a password: the master user's is a SCRAM verifier.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MemberName = Literal["a", "b"]
ARCHIVE_EVERY_S = 300.0
"""How often WAL is archived at least. Source: RDS user guide, "Restoring a DB instance to a specified time": the latest
restorable time is typically within the last five minutes."""
MOST_OFTEN_S = 1.0
MOST_DOWN_S = 120.0
"""The most of `endpoint_down_s`. Source: RDS user guide, "Failing over a Multi-AZ DB instance": typically 60–120 s."""


class Record(BaseModel):
    """A frozen record; unknown fields are refused, so a version mismatch is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunState(StrEnum):
    """What the cloud wants of the servers as a whole."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"
    """Stop servers and relay, keep a final snapshot if asked, write a last observation, exit.
    The cloud removes the folders once the supervisor's lock is free."""


class RequestKind(StrEnum):
    """One-shot requests."""

    REBOOT = "reboot"
    """Restart the primary in place (RebootDBInstance)."""
    FAILOVER = "failover"
    """Reboot with failover; needs an in-sync standby, else it is refused."""
    PROMOTE = "promote"
    """Make a read replica an instance of its own."""
    RESTART_STANDBY = "restart-standby"
    """Restart the standby for the parameters that are wanted; done once it is in sync again. Clients notice nothing."""


class Request(Record):
    """A one-shot request. Carried out once: `number` rises with each request of an instance,
    and a request whose `epoch` is older than the role record's is answered `stale`, not done."""

    number: int = Field(ge=1)
    kind: RequestKind
    epoch: int = Field(ge=0)


class MasterUser(Record):
    """The master user. Whenever `number` is above the last one applied, the verifier is set."""

    name: str
    verifier: str = Field(repr=False)
    """SCRAM-SHA-256 verifier as pg_authid keeps it."""
    number: int = Field(ge=1)


class Source(Record):
    """Where a read replica streams from."""

    resource_id: str
    upstream: str
    """Absolute path of the source's `upstream` link (a folder with a Unix socket)."""


class BackupPlan(Record):
    """Automated backups as they are wanted; of a read replica none are made until it is promoted, as on RDS."""

    retention_days: int = Field(ge=1, le=35)
    window: str
    """Daily, "hh:mm-hh:mm" in UTC: a base backup begins in it."""
    archive_every_s: float = Field(default=ARCHIVE_EVERY_S, ge=MOST_OFTEN_S, le=ARCHIVE_EVERY_S, allow_inf_nan=False)
    """How far the latest restorable time may lie behind."""


class Restore(Record):
    """What the first server is made from, instead of from nothing: the backups of another instance."""

    resource_id: str
    """Whose backups (`Home.backup`)."""
    base: str
    """Name of the base backup."""
    until: float
    """Unix time in seconds: what was committed after it is not in the new instance."""


class Endpoint(Record):
    """Where clients connect."""

    address: str
    port: int
    region: str
    """Region of the instance: IAM tokens are signed for it."""
    force_ssl: bool
    iam_authentication: bool
    authorize_url: str | None = None
    """Where the relay has IAM tokens judged; None: no token is ever accepted."""


class DesiredInstance(Record):
    """What the cloud wants of one DB instance."""

    resource_id: str
    identifier: str
    run: RunState = RunState.RUNNING
    bin_folder: str
    """Folder of `postgres`, `initdb`, `pg_basebackup`, `pg_rewind`, reachable by the server's user."""
    major: int
    multi_az: bool
    zones: dict[MemberName, str]
    """Availability Zone of each member; both are always named, "b" is used once Multi-AZ is on."""
    standby_loss: Literal["continue", "wait"] = "continue"
    """What commits do when an in-sync standby is lost: go on with one copy, as on RDS, or wait until it is back.
    Right after a failover there is one copy in both cases, until the former primary has joined again."""
    source: Source | None = None
    restore: Restore | None = None
    """Where the first server comes from; not looked at once there was one. Roles and database are the backup's."""
    backups: BackupPlan | None = None
    """None: there are to be none, and those there were are removed."""
    database: str | None = None
    """DBName: created once, with the first primary."""
    master: MasterUser | None = None
    """None for a read replica: its roles come from the source."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Evaluated values of the parameter group, `rds.*` included, as postgresql.conf takes them."""
    endpoint: Endpoint
    request: Request | None = None
    endpoint_down_s: float = Field(default=0, ge=0, le=MOST_DOWN_S, allow_inf_nan=False)
    """Least time the endpoint leads nowhere in a failover, counted from its start (`--pace rds`)."""
    allocated_gib: int = 0
    """AllocatedStorage. It bounds nothing here; growing it ends an injected lack of space."""
    final_snapshot: str | None = None
    """With run=deleted: absolute path of a folder the primary's data directory is moved to."""


class MemberState(StrEnum):
    """What is seen of one server."""

    ABSENT = "absent"
    """No data directory."""
    DOWN = "down"
    STARTING = "starting"
    PRIMARY = "primary"
    STANDBY = "standby"


class ObservedMember(Record):
    """One server as last seen."""

    name: MemberName
    zone: str
    state: MemberState
    pid: int | None = None
    timeline: int | None = None
    flushed: int | None = None
    """Bytes of WAL flushed (primary) or received and flushed (standby), as pg_lsn counts."""
    replayed: int | None = None
    streaming: bool = False
    """A standby or replica whose WAL receiver is streaming now."""


class Phase(StrEnum):
    """What the supervisor is doing; the cloud derives DBInstanceStatus from it and `failure`."""

    CREATING = "creating"
    RUNNING = "running"
    REBOOTING = "rebooting"
    FAILING_OVER = "failing-over"
    RECOVERING = "recovering"
    """The primary is being restarted after it died without a standby to take over."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETED = "deleted"
    FAILED = "failed"


class Answer(Record):
    """The outcome of one request."""

    number: int
    outcome: Literal["done", "refused", "stale"]
    reason: str


class Failover(Record):
    """A failover and when each of its steps was done: unix times in seconds, None while a step is not done."""

    epoch: int
    """The epoch it began."""
    cause: str
    """Why, in a sentence for people."""
    suspected: float | None = None
    """When the former primary last answered the supervisor."""
    detected: float
    """When it was decided."""
    fenced: float | None = None
    """No process of the former primary is left."""
    recorded: float | None = None
    """`role.json` names the new primary."""
    promoted: float | None = None
    """The new primary takes writes."""
    endpoint: float | None = None
    """Clients are led to it."""


class ObservedInstance(Record):
    """What the supervisor sees of one DB instance; valid only while its lock is held."""

    resource_id: str
    written_at: float
    """Unix time in seconds."""
    pid: int
    phase: Phase
    reason: str
    """Why the phase is what it is, in a sentence for people."""
    epoch: int
    primary: MemberName | None
    in_sync: bool
    """The standby has every commit that was acknowledged: a failover now loses nothing."""
    writable: bool
    """The primary answers and takes writes (for a read replica: answers and takes reads)."""
    redundant: bool
    """Multi-AZ asked for and in_sync, and no commit waits for a lost standby; True as well when Multi-AZ is
    not asked for."""
    members: tuple[ObservedMember, ...]
    answers: tuple[Answer, ...] = ()
    """Outcomes of the latest requests, newest last (at most 16)."""
    master_number: int = 0
    """`MasterUser.number` last applied."""
    pending_restart: tuple[str, ...] = ()
    """Parameters whose new value waits for a reboot (pg_settings.pending_restart)."""
    applied: dict[str, str] = Field(default_factory=dict)
    """Parameters as last written to the servers' configuration."""
    replication_lag_s: float | None = None
    """Read replicas: seconds since the last commit replayed, as RDS's ReplicaLag; -1 while replication is broken,
    None until something was replayed."""
    replication_error: str | None = None
    """Read replicas: why it does not follow its source now."""
    server_version: str | None = None
    relay_ready: bool = False
    """The endpoint process holds its lock and listens."""
    storage_full: bool = False
    """There is no room for another WAL segment of the primary."""
    last_failover: Failover | None = None
    backing_up: bool = False
    """A base backup is being made."""
    restorable_from: float | None = None
    """Unix time: the earliest a new instance can be restored to; None while there is no base backup."""
    restorable_until: float | None = None
    """Unix time: the latest one (LatestRestorableTime); None while there is no base backup."""
    backup_problem: str = ""
    """Why WAL or a base backup cannot be kept now; empty: it can."""


class BaseBackup(Record):
    """One base backup: a data directory that, with WAL from `start_segment` on, is recovered to `ended_at` or later."""

    name: str
    """Of its folder."""
    began_at: float
    """Unix time in seconds, as `ended_at`."""
    ended_at: float
    start_segment: str
    """Name of the first WAL file its recovery reads."""
    timeline: int
    """On which it ended."""
    end: int
    """WAL position (bytes) up to which it must be recovered to be consistent."""
    size_bytes: int
    """Of its files."""
    server_version: str
    """For example "17.10"."""


class BackupRecord(Record):
    """`backups.json`: what can be restored of one DB instance. It outlives the instance if that is asked for."""

    resource_id: str
    bases: tuple[BaseBackup, ...] = ()
    """Oldest first; each is whole, and all WAL from the oldest one's start to `restorable_until` is archived."""
    restorable_until: float | None = None
    """Unix time: everything that was committed until then is in the archive; None while `bases` is empty."""
    marker_at: float = 0.0
    """Unix time of the last commit in the archive that is sure to be there: one of ours."""
    marker: str = ""
    """WAL position right after it ("16/B374D848"). Nothing was committed between it and `restorable_until`, if that is
    later: who restores to such a moment stops here, because there is no later commit to stop at."""

    @property
    def restorable_from(self) -> float | None:
        """Unix time of the earliest moment that can be restored."""
        return self.bases[0].ended_at if self.bases else None


class InstanceEvent(Record):
    """One line of `events.jsonl`; the cloud turns it into an RDS event."""

    number: int
    at: float
    code: str
    """RDS event id, for example "RDS-EVENT-0013"."""
    message: str


class RoleRecord(Record):
    """`role.json`: who is primary, written and fsynced before each irreversible act.

    Invariant: `epoch` never falls; `in_sync` is True only while the primary's commits wait for
    the standby; a member named in `fenced` never serves a client until it has been rewound or
    cloned from the primary.
    """

    revision: int = 0
    """Rises with each writing: Unix time in milliseconds (`evidence`); 0 was never written."""
    epoch: int = 0
    primary: MemberName | None = None
    """None until the first server has been made."""
    in_sync: bool = False
    fenced: MemberName | None = None
    initialised: bool = False
    """The first primary's roles and database exist."""
    following: bool = False
    """This instance is a read replica that has not been promoted."""
    request: Request | None = None
    """The request being carried out: repeated after a crash if its epoch still holds."""
    answers: tuple[Answer, ...] = ()
    """Outcomes of the latest requests, newest last."""
    master_number: int = 0
    """`MasterUser.number` last applied."""
    alone_since: float | None = None
    """Unix time at which the record ceased to say in sync; None while it does, and before it first did."""
    alone_told: bool = False
    """Multi-AZ: it was told that there is one copy only, and not yet that there are two again."""
    replication_broken: bool = False
    """Read replicas: RDS-EVENT-0045 was told, and RDS-EVENT-0046 has not followed yet."""
    to_announce: tuple[str, ...] = ()
    """Event ids to be said once clients reach the primary."""
    endpoint_opens_at: float | None = None
    """Unix time until which the endpoint leads nowhere after a failover; None once it has opened."""
    last_failover: Failover | None = None
    """What the latest failover took; its last times are written with the next record."""

    @property
    def answered(self) -> int:
        """Highest request number answered."""
        return self.answers[-1].number if self.answers else 0
