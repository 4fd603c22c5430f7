"""Subscriptions to RDS events as data: of what, which categories, and why these.

An account has 20 of them in a region. Sources: Amazon RDS user guide, "Amazon RDS event categories and event
messages"; AWS Security Hub user guide, controls RDS.20, RDS.21 and RDS.22.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from multiaz.blueprint.members import members
from multiaz.blueprint.settings import Settings

SourceType = Literal["db-instance", "db-parameter-group", "db-security-group", "db-snapshot"]


@dataclass(frozen=True)
class Category:
    """A category a person must know of."""

    name: str
    reason: str


@dataclass(frozen=True)
class Subscription:
    """One subscription; RDS tells the alarm topic."""

    logical_id: str
    source_type: SourceType
    categories: tuple[Category, ...]
    about: str

    def sources(self, s: Settings) -> tuple[str, ...]:
        """Logical ids of the sources in the stack; none: whatever the account has of the type."""
        match self.source_type:
            case "db-instance":
                return tuple(member.logical_id for member in members(s))
            case "db-parameter-group":
                return ("DBParameterGroup", "ReplicaParameterGroup") if s.read_replicas else ("DBParameterGroup",)
            case "db-security-group" | "db-snapshot":
                return ()

    def wanted(self, s: Settings) -> bool:
        """What is of the whole account is subscribed to by one stack of it."""
        return bool(self.sources(s)) or s.account_events


SUBSCRIPTIONS: tuple[Subscription, ...] = (
    Subscription(
        "InstanceEvents",
        "db-instance",
        (
            Category("availability", "it shut down or restarted"),
            Category("configuration change", "somebody changed it; Security Hub RDS.20"),
            Category("deletion", "an instance is gone"),
            Category("failover", "writes stopped for a minute, and the other zone serves now"),
            Category("failure", "it failed, or does not fit its parameters or network; Security Hub RDS.20"),
            Category("low storage", "autoscaling cannot, or did not, make room"),
            Category("maintenance", "AWS takes it down, or wants to; Security Hub RDS.20"),
            Category("notification", "what RDS wants done, and replication slots it cut off"),
            Category("read replica", "replication stopped, resumed or ended"),
            Category("recovery", "it is being repaired after a failure"),
            Category("security", "its key or password cannot be used"),
            Category("security patching", "an update of its operating system waits"),
        ),
        "this stack's own, for an account may have other databases and other people. Not backup and creation: "
        "they say daily that all is well. Not restoration and backtrack: a restored instance is another one, and "
        "PostgreSQL has no backtrack",
    ),
    Subscription(
        "ParameterGroupEvents",
        "db-parameter-group",
        (Category("configuration change", "a tuned value was changed beside the template; Security Hub RDS.21"),),
        "this stack's own",
    ),
    Subscription(
        "SecurityGroupEvents",
        "db-security-group",
        (
            Category("configuration change", "Security Hub RDS.22"),
            Category("failure", "Security Hub RDS.22"),
        ),
        "EC2-Classic's groups, which no account has any more (this stack's are VPC security groups): it never speaks, "
        "costs nothing, and the control fails without it",
    ),
    Subscription(
        "SnapshotEvents",
        "db-snapshot",
        (
            Category("deletion", "a manual snapshot, perhaps the last one, is gone"),
            Category("notification", "an export to the bucket failed or was cancelled; nothing else tells"),
        ),
        "the whole account's: RDS cannot choose snapshots by their instance. Not creation and restoration: somebody "
        "asked for them",
    ),
)
