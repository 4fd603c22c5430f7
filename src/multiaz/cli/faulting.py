"""`multiaz fault …`: what each command takes. The work is in `local.faults`, imported when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from multiaz.cli import options
from multiaz.cli.output import Output
from multiaz.errors import Conflict

if TYPE_CHECKING:
    from multiaz.home import Home
    from multiaz.local.faults import ActiveFault, Injected

fault_app = typer.Typer(help="Break the local cloud on purpose, say what is broken, and heal it. Never on AWS.")

Instance = Annotated[
    str | None,
    typer.Argument(
        metavar="[INSTANCE]",
        help="Identifier of a DB instance, or a part of it only one has, as primary; by default the only writer.",
    ),
]
NoRegion = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="Refused: faults are for the local cloud only.")
]
Freeze = Annotated[bool, typer.Option("--freeze", help="SIGSTOP instead of kill -9; `heal` lets it go on.")]


class Member(StrEnum):
    """Servers of a Multi-AZ instance."""

    PRIMARY = "primary"
    STANDBY = "standby"


class Side(StrEnum):
    """Who is on the two sides of a network."""

    CLIENTS = "clients"
    SERVERS = "servers"


MemberOption = Annotated[Member, typer.Option("--member", help="Which of its servers; by default the primary.")]


@fault_app.command("list")
def list_(region: NoRegion = None, json: options.Json = False) -> None:
    """List the faults in force: since when, what is broken, what heals it."""
    from multiaz.cli import localcloud
    from multiaz.local import faults

    faults.refuse_region(region)
    output = Output(json)
    found = faults.active(localcloud.home())

    def show() -> None:
        if not found:
            output.line("No fault is in force.")
            return
        output.table(
            ("SINCE", "INSTANCE", "KIND", "WHAT", "HEAL"),
            [
                (_ago(one.fault.since), one.instance or "-", one.fault.kind, one.fault.why, one.heal_command)
                for one in found
            ],
        )

    output.result({"faults": [one.as_dict() for one in found]}, show)


@fault_app.command()
def kinds(region: NoRegion = None, json: options.Json = False) -> None:
    """Say of each kind of fault what breaks, what must be seen, and how it ends."""
    from multiaz.local import faults
    from multiaz.local.faults_kinds import KINDS

    faults.refuse_region(region)
    output = Output(json)

    def show() -> None:
        for kind in KINDS:
            output.line(kind.name)
            for label, text in (("what", kind.what), ("expect", kind.expect), ("heal", kind.heal)):
                output.line(f"  {label + ':':<8}{text}")

    output.result({"kinds": [kind.as_dict() for kind in KINDS]}, show)


@fault_app.command()
def heal(
    instance: Annotated[
        str | None, typer.Argument(metavar="[INSTANCE]", help="As above; a KIND alone heals it everywhere.")
    ] = None,
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Only faults of this kind.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every fault of this local cloud.")] = False,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """End faults: of an instance, of a kind, or all of them."""
    from multiaz.cli import localcloud
    from multiaz.cli.requests import UsageRefused
    from multiaz.local import faults
    from multiaz.local.faults_kinds import NAMES

    faults.refuse_region(region)
    if everything is (instance is not None):
        raise UsageRefused(
            "Cannot tell what is to be healed",
            "give an INSTANCE, a KIND, or both, or else --all",
            "see what is in force with `multiaz fault list`",
        )
    if kind is None and instance in NAMES:
        instance, kind = None, instance
    output = Output(json)
    healed = faults.heal(localcloud.home(), instance, kind)

    def show() -> None:
        for one in healed:
            goes_on = f" ({len(one.thawed)} processes go on)" if one.thawed else ""
            output.line(f"Healed: {one.why}{goes_on}")
        if not healed:
            output.line("No such fault is in force.")

    output.result({"healed": [one.as_dict() for one in healed]}, show)


@fault_app.command()
def kill(
    instance: Instance = None,
    member: MemberOption = Member.PRIMARY,
    backend: Annotated[
        int | None, typer.Option("--backend", metavar="PID", min=1, help="Kill this process of the server instead.")
    ] = None,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """kill -9 of the primary's or the standby's postmaster, or of one backend."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.kill(home, instance, member=member.value, backend=backend))


@fault_app.command()
def hang(
    instance: Instance = None,
    member: MemberOption = Member.PRIMARY,
    all_processes: Annotated[
        bool, typer.Option("--all-processes", help="Every process of the server, not the postmaster alone.")
    ] = False,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """SIGSTOP to a postmaster, or to all processes of its server."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.hang(home, instance, member=member.value, all_processes=all_processes))


@fault_app.command()
def zone_loss(
    zone: Annotated[str, typer.Argument(metavar="ZONE", help="Availability Zone, as us-west-2a.")],
    instance: Annotated[
        str | None, typer.Argument(metavar="[INSTANCE]", help="Only of this one; by default of all there are.")
    ] = None,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """Every server in ZONE dies at once, and none starts there until healed."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.lose_zone(home, zone, instance))


@fault_app.command()
def standby_loss(instance: Instance = None, region: NoRegion = None, json: options.Json = False) -> None:
    """The standby dies and stays down until healed."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.lose_standby(home, instance))


@fault_app.command()
def replica_lag(
    seconds: Annotated[float, typer.Argument(metavar="SECONDS", help="How late each commit is replayed.")],
    instance: Annotated[
        str | None, typer.Argument(metavar="[INSTANCE]", help="A read replica; by default the only one.")
    ] = None,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """A read replica replays each commit SECONDS after it was made."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.replica_lag(home, seconds, instance))


@fault_app.command()
def slow_disk(
    milliseconds: Annotated[
        float, typer.Argument(metavar="MILLISECONDS", help="Added to each flush of the WAL; at most 100.")
    ],
    instance: Instance = None,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """Each flush of the WAL by a commit takes MILLISECONDS longer."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.slow_disk(home, milliseconds, instance))


@fault_app.command()
def disk_full(
    instance: Instance = None,
    free: Annotated[int, typer.Option("--free", metavar="MIB", min=0, help="Room that is left; by default none.")] = 0,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """The WAL of an instance lies on a small file system, and runs out of room."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.fill_disk(home, instance, free_mib=free))


@fault_app.command()
def slow_network(
    instance: Instance = None,
    delay: Annotated[
        float | None, typer.Option("--delay", metavar="MILLISECONDS", help="Added to each direction.")
    ] = None,
    bandwidth: Annotated[
        float | None,
        typer.Option("--bandwidth", metavar="KIB", help="KiB a second for each direction, shared by all connections."),
    ] = None,
    between: Annotated[
        Side, typer.Option("--between", help="Clients and the endpoint, or the servers; by default clients.")
    ] = Side.CLIENTS,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """Delay, or bound the bandwidth, between clients and endpoint or between servers."""
    from multiaz.local import faults

    _inject(
        json,
        region,
        lambda home: faults.slow_network(
            home, instance, delay_ms=delay, bandwidth_kib=bandwidth, between=between.value
        ),
    )


@fault_app.command()
def partition(
    instance: Instance = None,
    cut: Annotated[bool, typer.Option("--cut", help="Break connections, instead of letting bytes vanish.")] = False,
    region: NoRegion = None,
    json: options.Json = False,
) -> None:
    """Nothing passes between primary and standby, or between a read replica and its source."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.partition(home, instance, cut=cut))


@fault_app.command()
def supervisor(
    instance: Instance = None, freeze: Freeze = False, region: NoRegion = None, json: options.Json = False
) -> None:
    """kill -9 of the supervisor of a DB instance."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.break_supervisor(home, instance, freeze=freeze))


@fault_app.command()
def relay(
    instance: Instance = None, freeze: Freeze = False, region: NoRegion = None, json: options.Json = False
) -> None:
    """kill -9 of the endpoint process of a DB instance."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.break_relay(home, instance, freeze=freeze))


@fault_app.command()
def cloud_endpoint(freeze: Freeze = False, region: NoRegion = None, json: options.Json = False) -> None:
    """kill -9 of the AWS endpoint; nobody starts it before `heal` or `local start`."""
    from multiaz.local import faults

    _inject(json, region, lambda home: faults.break_cloud(home, freeze=freeze))


def _inject(json: bool, region: str | None, fault: Callable[..., Injected]) -> None:
    from multiaz.cli import localcloud
    from multiaz.local import faults

    faults.refuse_region(region)
    output = Output(json)
    done = fault(localcloud.home())

    def show() -> None:
        output.line(done.why[0].upper() + done.why[1:] + ".")
        if done.processes:
            output.line(f"Processes: {', '.join(map(str, done.processes))}")
        if done.lasts:
            output.line("In force until healed: `multiaz fault list`")

    output.result(done.as_dict(), show)


def look_at_faults(home: Home) -> tuple[Sequence[ActiveFault], str]:
    """The faults in force, and why they cannot be told; empty: they can. A record that cannot be read hides nothing
    else of the local cloud."""
    from multiaz.local import faults

    try:
        return faults.active(home), ""
    except Conflict as error:
        return (), f"{error} ({error.next_step})"


def show_active(output: Output, found: Sequence[ActiveFault], unknown: str = "") -> None:
    """One line for each fault in force, for commands that look at the local cloud; and why they are `unknown`."""
    if unknown:
        output.line(f"The faults in force are unknown: {unknown}")
    for one in found:
        output.line(f"Fault in force: {one.fault.why} (heal: {one.heal_command})")


def _ago(since: float) -> str:
    seconds = max(0, round(time.time() - since))
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} min ago"
