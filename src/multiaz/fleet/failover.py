"""A failover on request, with a client that writes all the while and measures what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from multiaz.errors import BadInput, Conflict, MultiazError, NoProgress
from multiaz.fleet.databases import Databases
from multiaz.fleet.instances import Instance, Instances
from multiaz.fleet.replication import SqlUnavailable
from multiaz.fleet.secrets import Credentials
from multiaz.fleet.stacks import Pace
from multiaz.fleet.writer import Writer, longest_gap

Say = Callable[[str], None]
"""Told what is going on, in a sentence."""

WRITES_BEFORE = 20
WRITES_AFTER = 20
"""Acknowledged rows that show the writer was, and is again, at its usual pace."""


class AcknowledgedRowsLost(MultiazError):
    """Rows the database had acknowledged are not there after a failover: the one thing that must not be."""


@dataclass(frozen=True)
class FailoverReport:
    """What a failover did and cost."""

    identifier: str
    zone_before: str | None
    standby_zone_before: str | None
    zone_after: str | None
    standby_zone_after: str | None
    write_outage_s: float
    """Between the last row acknowledged before and the first one after."""
    available_after_s: float
    """From the request until RDS said `available` with the zones changed."""
    in_sync_after_s: float | None
    """From the request until the new standby was synchronous; None: not seen yet."""
    acknowledged: int
    unknown: int
    failed: int
    requested_at: float = 0.0
    """Unix time of the request."""
    first_commit_at: float = 0.0
    """Unix time of the first row acknowledged after the outage."""

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "identifier": self.identifier,
            "zone_before": self.zone_before,
            "standby_zone_before": self.standby_zone_before,
            "zone_after": self.zone_after,
            "standby_zone_after": self.standby_zone_after,
            "write_outage_s": round(self.write_outage_s, 4),
            "available_after_s": round(self.available_after_s, 3),
            "in_sync_after_s": None if self.in_sync_after_s is None else round(self.in_sync_after_s, 3),
            "rows_acknowledged": self.acknowledged,
            "rows_unknown": self.unknown,
            "rows_failed": self.failed,
            "rows_lost": 0,
        }


def check_can_fail_over(primary: Instance) -> None:
    """Raise if `primary` is not an available Multi-AZ instance with a standby."""
    what = f"Cannot fail over {primary.identifier}"
    if not primary.multi_az:
        raise BadInput(what, "it is not Multi-AZ: there is no standby", "deploy it with MultiAZ: true")
    if primary.status != "available":
        raise Conflict(what, f"its status is {primary.status}", "wait until `multiaz status` shows available")


def fail_over(
    primary: Instance,
    instances: Instances,
    databases: Databases,
    credentials: Credentials,
    say: Say,
    *,
    quiet_limit_s: float = 600.0,
    sync_limit_s: float = 120.0,
    standby_in_sql: bool = False,
) -> FailoverReport:
    """Reboot `primary` with failover while a client writes to it; say and return what happened.

    `standby_in_sql`: pg_stat_replication shows the standby, as it does on the local cloud and not on Amazon.
    Raises AcknowledgedRowsLost if a row the client was told is committed is not there afterwards.
    """
    check_can_fail_over(primary)
    say(f"writing rows to {primary.endpoint}")
    with Writer(databases, credentials) as writer:
        if not writer.wait_for(lambda ledger: len(ledger.acknowledged) >= WRITES_BEFORE, quiet_limit_s):
            raise NoProgress(
                f"Did not fail over {primary.identifier}",
                "no row was acknowledged, so there would be nothing to measure",
                "look at `multiaz status`",
            )
        abandoned = instances.abandoned_failovers(primary.identifier)
        if standby_in_sql:  # before the request: right after it the new primary may answer, which has no standby yet
            say_what_it_waits_for(databases, credentials, say)
        requested = time.monotonic()
        instances.reboot_with_failover(primary.identifier)
        say("failover requested")
        after = _wait_for_zones(primary, instances, abandoned, say, quiet_limit_s)
        available_s = time.monotonic() - requested
        seen = len(writer.ledger.acknowledged)
        if not writer.wait_for(lambda ledger: len(ledger.acknowledged) >= seen + WRITES_AFTER, quiet_limit_s):
            raise NoProgress(
                f"{primary.identifier} failed over, but takes no writes",
                f"no row was acknowledged for {quiet_limit_s:.0f} s",
                "look at `multiaz status`",
            )
        in_sync_s = _wait_for_sync(databases, credentials, requested, sync_limit_s)
        writer.stop()
        ledger = writer.ledger
        lost = writer.lost()
    if lost:
        raise AcknowledgedRowsLost(
            f"{len(lost)} acknowledged rows are missing on {primary.identifier}",
            f"the first is number {lost[0]} of {len(ledger.acknowledged)}",
            "keep the instance's logs and report this: it must never happen",
        )
    unix = time.time() - time.monotonic()
    outage = longest_gap(ledger.acknowledged_at, since=requested)
    return FailoverReport(
        identifier=primary.identifier,
        zone_before=primary.zone,
        standby_zone_before=primary.standby_zone,
        zone_after=after.zone,
        standby_zone_after=after.standby_zone,
        write_outage_s=outage.seconds if outage else 0.0,
        available_after_s=available_s,
        in_sync_after_s=in_sync_s,
        acknowledged=len(ledger.acknowledged),
        unknown=len(ledger.unknown),
        failed=len(ledger.failed),
        requested_at=requested + unix,
        first_commit_at=(outage.first_after if outage else requested) + unix,
    )


def say_what_it_waits_for(databases: Databases, credentials: Credentials, say: Say) -> None:
    """Say that a request will wait, if no standby is in sync; nothing if one is, or if SQL is not answered now."""
    try:
        sync = databases.standby_seen(credentials).sync
    except SqlUnavailable:
        return
    if sync not in ("sync", "quorum"):
        say(
            "the standby is not in sync: the failover waits for it two minutes, and is abandoned if it does not come "
            "back (`multiaz fault list` shows what was broken on purpose)"
        )


def _wait_for_zones(
    before: Instance, instances: Instances, abandoned: set[tuple[datetime, str]], say: Say, quiet_limit_s: float
) -> Instance:
    """The instance once its primary is in another zone and it is available again.

    Raises Conflict once RDS has abandoned the failover; `abandoned` are those of before.
    """
    pace = Pace(shortest_s=0.05)
    moved, last = time.monotonic(), (before.status, before.zone)
    while True:
        looked = time.monotonic()
        now = instances.get(before.identifier)
        look_s = time.monotonic() - looked
        if (now.status, now.zone) != last:
            moved, last = time.monotonic(), (now.status, now.zone)
            say(f"{now.status}, primary in {now.zone}")
        if now.status == "available" and now.zone != before.zone:
            return now
        if now.status == "available" and (told := instances.abandoned_failovers(before.identifier) - abandoned):
            raise Conflict(
                f"{before.identifier} was not failed over",
                max(told)[1],
                "wait until `multiaz status` shows the standby in sync, and ask again",
            )
        if time.monotonic() - moved > quiet_limit_s:
            raise NoProgress(
                f"The failover of {before.identifier} does not move",
                f"status {now.status}, primary still in {now.zone} after {quiet_limit_s:.0f} s",
                "look at `multiaz status` and at the instance's events",
            )
        time.sleep(pace.after(look_s))


def _wait_for_sync(databases: Databases, credentials: Credentials, requested: float, limit_s: float) -> float | None:
    """Seconds from `requested` until a standby is synchronous again, or None if not within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if databases.standby_seen(credentials).sync in ("sync", "quorum"):
                return time.monotonic() - requested
        except SqlUnavailable:
            pass  # its old connection or none: ask again
        time.sleep(0.1)
    return None
