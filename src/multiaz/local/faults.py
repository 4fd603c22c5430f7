"""Faults, injected on purpose into the local cloud, listed and healed; `multiaz fault` and tests call this.

A fault that lasts is an entry of `faults.json`, which the instance's supervisor obeys; one that does not (a kill) is
done when its function returns. Nothing here reaches beyond the processes and files of one home.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from multiaz.errors import BadInput, Conflict, NotFound
from multiaz.files import lock_holder
from multiaz.home import Home
from multiaz.local import faults_processes as processes
from multiaz.local.endpoint import start
from multiaz.local.faults_degraded import partition, replica_lag, slow_disk, slow_network
from multiaz.local.faults_disk import fill_disk
from multiaz.local.faults_entries import ActiveFault, Injected, add, in_force, record_of, refuse_twice, tell
from multiaz.local.faults_kinds import NAMES
from multiaz.local.faults_record import CLOUD, Fault, changing, read_faults, write_faults
from multiaz.local.faults_targets import Target, find, targets
from multiaz.local.marker import require_marker


@dataclass(frozen=True)
class Healed:
    """One fault that is over."""

    instance: str | None
    kind: str
    why: str
    thawed: tuple[int, ...]
    """Pids that go on."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


# -- seeing and healing ------------------------------------------------------------------------------


def active(home: Home) -> tuple[ActiveFault, ...]:
    """The faults in force, the oldest first; reads only. Raises NotFound without a local cloud, Conflict
    for a `faults.json` that cannot be read."""
    found = [ActiveFault(None, fault) for fault in read_faults(home.faults) if in_force(home, fault, None)]
    found += [
        ActiveFault(target.identifier, fault)
        for target in targets(home)
        for fault in read_faults(target.place.faults)
        if in_force(home, fault, target)
    ]
    return tuple(sorted(found, key=lambda one: one.fault.since))


def heal(home: Home, instance: str | None = None, kind: str | None = None) -> tuple[Healed, ...]:
    """End the faults of an instance (or of all), of one kind (or of all); what was ended, of what was in force.

    Frozen processes go on if they still are the same; an AWS endpoint that was killed is started. Raises BadInput
    for a kind there is not, NotFound for an instance there is not, and Conflict, when all else is healed, for a
    `faults.json` that cannot be read.
    """
    if kind is not None and kind not in NAMES:
        raise BadInput(f"There is no fault {kind}", f"the kinds are {', '.join(NAMES)}", "name one of them")
    chosen = targets(home) if instance is None else [find(home, instance)]
    healed: list[Healed] = []
    unreadable: list[Conflict] = []
    down = False
    with changing(home):
        for target in chosen:
            try:
                healed += _heal_file(home, target, kind)
            except Conflict as error:
                unreadable.append(error)
            tell(home, target)
        if instance is None:
            try:
                # One that was frozen and then killed is no longer in force as a fault, and is to be started as well.
                down = lock_holder(home.cloud_lock) is None and bool(_chosen(read_faults(home.faults), kind))
                healed += _heal_file(home, None, kind)
            except Conflict as error:
                unreadable.append(error)
    if down:
        start(home)
    if unreadable:
        raise _not_all(unreadable, healed) from unreadable[0]
    return tuple(healed)


def _not_all(unreadable: list[Conflict], healed: list[Healed]) -> Conflict:
    """What could not be healed, and what was."""
    done = f"; healed: {', '.join(one.why for one in healed)}" if healed else ""
    return Conflict(
        "; ".join(error.what for error in unreadable),
        "; ".join(error.why for error in unreadable) + done,
        "; ".join(error.next_step for error in unreadable),
    )


def _chosen(faults: tuple[Fault, ...], kind: str | None) -> list[Fault]:
    return [fault for fault in faults if kind is None or fault.kind == kind]


def _heal_file(home: Home, target: Target | None, kind: str | None) -> list[Healed]:
    """End the faults of one file; those that were over by themselves go without a word."""
    path = record_of(home, target)
    faults = read_faults(path)
    ending = _chosen(faults, kind)
    # Before anything is thawed: a process that goes on is no longer frozen.
    in_force_yet = [fault for fault in ending if in_force(home, fault, target)]
    write_faults(path, tuple(fault for fault in faults if fault not in ending))
    instance = None if target is None else target.identifier
    thawed = [(fault, processes.thaw(fault.frozen)) for fault in ending]
    return [Healed(instance, one.kind, one.why, pids) for one, pids in thawed if one in in_force_yet]


# -- servers -----------------------------------------------------------------------------------------


def kill(home: Home, instance: str | None = None, *, member: str = "primary", backend: int | None = None) -> Injected:
    """kill -9 of the postmaster of the "primary" or "standby", or of one of its other processes.

    Returns when it is dead. Raises BadInput for an instance without such a member, NotFound if it does not run.
    """
    processes.require_linux()
    target = find(home, instance)
    name = target.member(member, f"kill the {member}")
    pid = target.postmaster(home, name)
    what = f"the {member}'s postmaster"
    if backend is not None:
        if backend not in processes.servers_below(home, [target.place.data(name)]):
            raise NotFound(
                f"Cannot kill process {backend}",
                f"it is no process of the {member} of {target.identifier}",
                "ask it for its backends: SELECT pid FROM pg_stat_activity",
            )
        pid, what = backend, f"process {backend} of the {member}"
    killed = (pid,) if processes.kill(pid) else ()
    return Injected("kill", (target.identifier,), f"{what} of {target.identifier} was killed", killed, False)


def hang(home: Home, instance: str | None = None, *, member: str = "primary", all_processes: bool = False) -> Injected:
    """SIGSTOP to the postmaster of the "primary" or "standby", or to all processes of that server."""
    processes.require_linux()
    target = find(home, instance)
    name = target.member(member, f"hang the {member}")
    pid = target.postmaster(home, name)
    data = target.place.data(name)
    what, does = ("all processes", "hang") if all_processes else ("the postmaster", "hangs")
    return _freeze(
        home, target, "hang", f"{what} of the {member} ({name}) of {target.identifier} {does}: SIGSTOP",
        {"member": name, "all_processes": all_processes}, pid,
        (lambda: processes.servers_below(home, [data])) if all_processes else list,
    )  # fmt: skip


def lose_zone(home: Home, zone: str, instance: str | None = None) -> Injected:
    """Every server in the Availability Zone dies, and none starts there until healed.

    Of one instance, or of all there are now. Supervisors, endpoint processes and the AWS endpoint live on: they stand
    for RDS's control plane and DNS, which are in no zone. Raises BadInput if nothing is in that zone.
    """
    processes.require_linux()
    known = targets(home) if instance is None else [find(home, instance)]
    hit = [(target, tuple(m for m, name in target.zones.items() if name == zone)) for target in known]
    hit = [(target, members) for target, members in hit if members]
    if not hit:
        zones = sorted({name for target in known for name in target.zones.values()})
        raise BadInput(
            f"Cannot lose the zone {zone}",
            f"no DB instance has a server there; they are in {', '.join(zones) or 'no zone: there are none'}",
            "name one of these zones",
        )
    why = f"Availability Zone {zone} is lost"
    return _hold(home, "zone-loss", why, {"zone": zone}, hit)


def lose_standby(home: Home, instance: str | None = None) -> Injected:
    """The standby dies and stays down until healed. Raises BadInput for an instance without one."""
    processes.require_linux()
    target = find(home, instance)
    name = target.member("standby", "lose the standby")
    why = f"the standby ({name}) of {target.identifier} is lost"
    return _hold(home, "standby-loss", why, {"member": name}, [(target, (name,))])


def _hold(
    home: Home, kind: str, why: str, arguments: dict[str, str], hit: list[tuple[Target, tuple[str, ...]]]
) -> Injected:
    """Forbid first, then kill: so that nobody starts in between what is dead."""
    with changing(home):
        for target, _ in hit:
            refuse_twice(home, target, kind, arguments)
        for target, members in hit:
            add(home, target, Fault(kind, why, arguments=arguments, held=members))
    folders = [target.place.member(member) for target, members in hit for member in members]
    killed = processes.kill_all(lambda: processes.servers_below(home, folders))
    for target, _ in hit:
        tell(home, target)
    return Injected(kind, tuple(target.identifier for target, _ in hit), why, killed, True)


# -- our own processes -------------------------------------------------------------------------------


def break_supervisor(home: Home, instance: str | None = None, *, freeze: bool = False) -> Injected:
    """kill -9 of the instance's supervisor, or with `freeze` SIGSTOP: it holds its lock and does nothing."""
    target = find(home, instance)
    return _break(home, target, "supervisor", "the supervisor", target.supervisor, freeze)


def break_relay(home: Home, instance: str | None = None, *, freeze: bool = False) -> Injected:
    """kill -9 of the instance's endpoint process, or with `freeze` SIGSTOP."""
    target = find(home, instance)
    return _break(home, target, "relay", "the endpoint process", target.relay, freeze)


def break_cloud(home: Home, *, freeze: bool = False) -> Injected:
    """kill -9 of the AWS endpoint, or with `freeze` SIGSTOP. Nobody starts it again but `heal` and the commands that
    start the local cloud."""
    require_marker(home)
    return _break(home, None, CLOUD, "the AWS endpoint", lock_holder(home.cloud_lock), freeze)


def _break(home: Home, target: Target | None, kind: str, what: str, pid: int | None, freeze: bool) -> Injected:
    processes.require_linux()
    whose = what if target is None else f"{what} of {target.identifier}"
    if pid is None or pid <= 0:
        raise NotFound(f"{whose} does not run", "nobody holds its lock", "`multiaz local status` shows what runs")
    if freeze:
        return _freeze(home, target, kind, f"{whose} is frozen: SIGSTOP", {}, pid)
    names = () if target is None else (target.identifier,)
    why = f"{whose} was killed"
    if target is not None:
        return Injected(kind, names, why, (pid,) if processes.kill(pid) else (), False)
    with changing(home):
        killed = (pid,) if processes.kill(pid) else ()
        add(home, None, Fault(kind, why))
    return Injected(kind, names, why, killed, True)


def _freeze(
    home: Home, target: Target | None, kind: str, why: str, arguments: dict[str, str | bool], pid: int,
    living: Callable[[], list[int]] = list,
) -> Injected:  # fmt: skip
    with changing(home):
        refuse_twice(home, target, kind, arguments)
        frozen = processes.freeze(pid, living)
        try:
            add(home, target, Fault(kind, why, arguments=arguments, frozen=frozen))
        except BaseException:
            processes.thaw(frozen)  # nobody could heal what is not recorded
            raise
    names = () if target is None else (target.identifier,)
    return Injected(kind, names, why, tuple(process.pid for process in frozen), True)


def refuse_region(region: str | None) -> None:
    """Raise BadInput for a region: that would be AWS."""
    if region is not None:
        raise BadInput(
            f"Cannot inject a fault in {region}",
            "--region means AWS, and faults are for the local cloud only",
            "leave --region out; on AWS use `multiaz failover`, or AWS Fault Injection Service",
        )


__all__ = [
    "ActiveFault",
    "Healed",
    "Injected",
    "active",
    "break_cloud",
    "break_relay",
    "break_supervisor",
    "fill_disk",
    "hang",
    "heal",
    "kill",
    "lose_standby",
    "lose_zone",
    "partition",
    "refuse_region",
    "replica_lag",
    "slow_disk",
    "slow_network",
]
