"""Commands that change nothing: `status` and `version`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from multiaz.cli.configuration import stack_named
from multiaz.cli.faulting import look_at_faults, show_active
from multiaz.cli.localcloud import fleet_of, home
from multiaz.cli.output import Output
from multiaz.errors import ExitCode

if TYPE_CHECKING:
    from multiaz.fleet.instances import FleetStatus, InstanceStatus, MissingInstance

COLUMNS = ("NAME", "ROLE", "ZONE", "STATUS", "ENDPOINT", "LAG", "SYNC")


def status(output: Output, *, stack: str | None, suffix: str | None, config: str | None, region: str | None) -> int:
    """Show the stack's instances; the exit code is NOT_FOUND if one of them is not there."""
    found = fleet_of(stack_named(stack, suffix, config), region=region).status()
    faults, unknown = ((), "") if region is not None else look_at_faults(home())

    def show() -> None:
        show_status(output, found)
        show_active(output, faults, unknown)

    told = {**found.as_dict(), "faults": [one.as_dict() for one in faults], "faults_unknown": unknown or None}
    output.result(told, show)
    return int(ExitCode.NOT_FOUND if found.missing else ExitCode.OK)


def show_status(output: Output, found: FleetStatus) -> None:
    """The table of instances, and why SQL could not be asked where it could not."""
    output.line(f"Stack {found.stack}: {found.stack_status}")
    output.table(COLUMNS, [*status_rows(found.instances), *missing_rows(found.missing)])
    for told in found.instances:
        if told.sql_error:
            output.line(f"{told.instance.name}: lag and sync unknown: {told.sql_error}")
        if told.instance.replication_error:
            output.line(f"{told.instance.name}: replication is broken: {told.instance.replication_error}")


def status_rows(instances: Sequence[InstanceStatus]) -> list[tuple[str, ...]]:
    """Rows under COLUMNS; a Multi-AZ instance has a second row for its hidden standby."""
    rows: list[tuple[str, ...]] = []
    for told in instances:
        instance = told.instance
        rows.append(
            (
                instance.name,
                instance.role,
                instance.zone or "-",
                instance.status,
                instance.endpoint or "-",
                _lag(told),
                "-",
            )
        )
        if instance.multi_az:
            rows.append(
                (
                    f"{instance.name}'s standby" if instance.name != "primary" else "standby",
                    "standby",
                    instance.standby_zone or "-",
                    "hidden",
                    "-",
                    "?" if told.standby is None else _bytes(told.standby.lag_bytes),
                    "?" if told.standby is None else told.standby.sync,
                )
            )
    return rows


def missing_rows(missing: Sequence[MissingInstance]) -> list[tuple[str, ...]]:
    """Rows under COLUMNS for instances the stack has and RDS has not, under their logical ids."""
    return [
        (
            one.logical_id,
            "-",
            "-",
            f"{one.identifier} is not there: " + (f"renamed to {one.renamed_to}" if one.renamed_to else "deleted"),
            "-",
            "-",
            "-",
        )
        for one in missing
    ]


def _lag(told: InstanceStatus) -> str:
    if told.instance.role == "primary":
        return "-"
    if told.replica is None:
        return "?"
    lag = "none yet" if told.replica.lag_s is None else f"{told.replica.lag_s:.1f} s"
    return lag if told.replica.streaming else f"{lag}, not streaming"


def _bytes(count: int | None) -> str:
    if count is None:
        return "-"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def version(output: Output) -> None:
    """Print versions, for bug reports."""
    found = {
        "multiaz": metadata.version("multiaz"),
        "python": platform.python_version(),
        "boto3": metadata.version("boto3"),
        "psycopg": metadata.version("psycopg"),
        "platform": platform.platform(),
    }

    def show() -> None:
        for name, value in found.items():
            output.line(f"{name} {value}")

    output.result(found, show)
