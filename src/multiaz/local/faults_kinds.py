"""What each kind of fault is, for people; `docs/faults.md` says the same at length."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    what: str
    """What breaks."""
    expect: str
    """What must be seen."""
    heal: str
    """How it ends."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"kind": self.name, "what": self.what, "expect": self.expect, "heal": self.heal}


BY_ITSELF = "by itself: nothing is left to heal"
SAME_PROCESSES = "heal sends SIGCONT to exactly those processes that still are the same"

KINDS = (
    Kind("kill", "kill -9 of a postmaster, or of one backend (which ends its server too)",
         "primary: the standby takes over; standby: commits go on, it comes back", BY_ITSELF),
    Kind("hang", "SIGSTOP to a postmaster, or to all processes of its server",
         "it is ended: the standby takes over for a primary, which rejoins; a standby is struck off and comes back; a "
         "server that has none is started again",
         f"by itself, once it is ended; before, {SAME_PROCESSES}"),
    Kind("zone-loss", "every server in an Availability Zone dies at once and cannot start there",
         "primaries there fail over, standbys there are struck off; single servers there are down until healed",
         "heal lets them start; they rejoin"),
    Kind("standby-loss", "the standby dies and stays down",
         "commits go on after at most the time a standby is waited for; redundancy is lost and said so",
         "heal lets it start; it rejoins"),
    Kind("replica-lag", "a read replica replays each commit a stated time after it was made (recovery_min_apply_delay)",
         "reads there are that old, replication_lag_s and the lag in `multiaz status` rise to it (CloudWatch has no "
         "ReplicaLag here); nothing is lost; a promotion does not wait for it",
         "heal takes the delay away; it replays what it has at once"),
    Kind("slow-disk", "each flush of the WAL by a commit takes longer (commit_delay with commit_siblings = 0)",
         "commits are slower by that, reads are not; no failover",
         "heal takes the delay away"),
    Kind("disk-full", "the WAL of every member lies on a small file system (tmpfs), whose ENOSPC is real; needs root",
         "status storage-full, events 0007 and 0221; the server ends when it finds no room, and does not start",
         "heal gives the storage back; the servers are restarted"),
    Kind("slow-network", "delay and bandwidth between clients and endpoint, or between servers",
         "clients: everything is slower; servers: commits wait longer for the standby, replicas fall behind",
         "heal takes it away; open sessions go on"),
    Kind("partition", "nothing passes between primary and standby, or a read replica and its source; silent, or cut",
         "the standby is struck off and commits go on alone; a replica falls behind; nobody fails over",
         "heal leads them to each other again; redundancy returns"),
    Kind("supervisor", "kill -9 of the instance's supervisor, or SIGSTOP (a frozen manager)",
         "killed: its relay starts another within a second; frozen: clients go on, nobody fails over",
         f"killed: {BY_ITSELF}; frozen: {SAME_PROCESSES}"),
    Kind("relay", "kill -9 of the instance's endpoint process, or SIGSTOP",
         "killed: sessions are cut, its supervisor starts another; frozen: clients get no answer until it is taken for "
         "a hang and replaced, within seconds",
         f"by itself, once it is ended; before, {SAME_PROCESSES}"),
    Kind("cloud-endpoint", "kill -9 of the AWS endpoint, or SIGSTOP",
         "AWS calls fail; databases serve and fail over; afterwards everything is as it was",
         "heal, or whatever command starts it (`multiaz local start`, `multiaz up`)"),
)  # fmt: skip
"""In the order in which people are told."""

NAMES = tuple(kind.name for kind in KINDS)


def kind_named(name: str) -> Kind:
    """The kind of that name; KeyError if there is none."""
    return next(kind for kind in KINDS if kind.name == name)
