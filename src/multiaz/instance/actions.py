"""What a supervisor can do, as data: `decide` returns these, `perform` carries them out in order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from multiaz.instance.records import MemberName, Phase, RoleRecord


class JobKind(StrEnum):
    """Work that takes long; done beside the loop, at most one per member."""

    CREATE = "create"
    """The first server: initdb and bootstrap, or a copy of the source."""
    CLONE = "clone"
    """A base backup of the primary."""
    REJOIN = "rejoin"
    """pg_rewind to the primary's history, or a base backup if that fails."""
    JOIN = "join"
    """Make commits wait for the standby, and wait until it has everything."""
    RESTART = "restart"
    """Stop the server cleanly and start it."""
    REMOVE = "remove"
    """Stop the server and delete its data directory."""
    MASTER = "master"
    """Set the master user's verifier: a commit, which waits for the standby and so may take long."""


@dataclass(frozen=True)
class Record:
    """Write `role.json` and fsync it, before what follows."""

    memory: RoleRecord


@dataclass(frozen=True)
class Fence:
    """Kill every process of the member, and see that none is left that can still run."""

    member: MemberName


@dataclass(frozen=True)
class Start:
    """Start the member's server, as a standby (or replica) or as primary."""

    member: MemberName
    standby: bool


@dataclass(frozen=True)
class StopAll:
    """Stop all servers cleanly: the primary first, so that the standby has its last WAL."""


@dataclass(frozen=True)
class Promote:
    """Make the member primary, waiting for nobody's flush, and wait until it takes writes."""

    member: MemberName


@dataclass(frozen=True)
class PointPrimary:
    """Point the link `primary` (where the relay connects) at the member; None: clients are led nowhere."""

    member: MemberName | None


@dataclass(frozen=True)
class PointUpstream:
    """Point the link `upstream` at the member, and cut replicas off the other one."""

    member: MemberName


@dataclass(frozen=True)
class Configure:
    """Write the member's configuration and reload it."""

    member: MemberName
    synchronous: bool
    """Commits wait for the other member."""


@dataclass(frozen=True)
class Begin:
    """Begin a job."""

    kind: JobKind
    member: MemberName


@dataclass(frozen=True)
class EndJob:
    """Have the job on the member end: its programs are killed, and it begins no further step.

    It has ended once it is no longer seen; what it had begun that cannot be left half done is done by then.
    """

    member: MemberName


@dataclass(frozen=True)
class TakeSnapshot:
    """Move the stopped primary's data directory to the final snapshot's folder."""


@dataclass(frozen=True)
class Announce:
    """Append an event."""

    code: str
    message: str


Action = (
    Record | Fence | Start | StopAll | Promote | PointPrimary | PointUpstream | Configure | Begin
    | EndJob | TakeSnapshot | Announce
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One round's decision: what is going on, why, and what to do now, in this order."""

    rule: str
    phase: Phase
    reason: str
    actions: tuple[Action, ...] = ()
