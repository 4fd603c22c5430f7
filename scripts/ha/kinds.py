"""The sections of the bench and what happens in their trials."""

from __future__ import annotations

from ha.trials import Kind

OURS = (
    Kind("requested", "requested", "RebootDBInstance with ForceFailover, through the AWS API"),
    Kind("kill", "kill", "kill -9 of the primary's postmaster"),
    Kind("hang", "hang", "SIGSTOP of every process of the primary"),
    Kind("hang-postmaster", "hang-postmaster", "SIGSTOP of the primary's postmaster alone: sessions go on, new "
         "connections hang; the outage is that of clients that connect for each row", fresh=4),
    Kind("zone", "zone", "every server of the primary's zone, replicas included, is killed at once and stays down "
         "until clients write again", heals_late=True),
    Kind("second", "kill", "kill -9, and kill -9 of the new primary as soon as the standby is in sync again",
         then="redundant"),
    Kind("second-early", "kill", "kill -9, and kill -9 of the new primary as soon as every client has written to it, "
         "before there is a standby", then="writable"),
)  # fmt: skip

PATRONI = (
    Kind("requested", "requested", "patronictl switchover"),
    Kind("kill", "kill", "kill -9 of the primary's postmaster"),
    Kind("hang", "hang", "SIGSTOP of every PostgreSQL process of the primary, killed once clients write again; Patroni "
         "itself runs on", heals_late=True),
    Kind("node", "node", "kill -9 of every process of the primary's node, Patroni included; it stays down until "
         "clients write again", heals_late=True),
)  # fmt: skip


def ours(name: str) -> Kind:
    """The kind of ours of that name."""
    return next(kind for kind in OURS if kind.name == name)


def patroni(name: str) -> tuple[str, Kind]:
    """Settings and kind of a section patroni-SETTINGS-KIND."""
    _, settings, kind = name.split("-", 2)
    return settings, next(found for found in PATRONI if found.name == kind)
