"""What every kind of fault shares: the entry in `faults.json`, whether it is in force, and what a command returns."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from multiaz.errors import Conflict
from multiaz.files import lock_holder
from multiaz.home import Home
from multiaz.local.faults_processes import is_frozen
from multiaz.local.faults_record import CLOUD, Fault, changing, read_faults, write_faults
from multiaz.local.faults_targets import Target
from multiaz.local.processes import send


@dataclass(frozen=True)
class Injected:
    """What was broken."""

    kind: str
    instances: tuple[str, ...]
    """Identifiers; empty for the AWS endpoint."""
    why: str
    """What is broken now, in a sentence."""
    processes: tuple[int, ...]
    """Pids that were killed or frozen."""
    lasts: bool
    """It is in force until it is healed."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ActiveFault:
    """One fault in force."""

    instance: str | None
    """Identifier; None: the AWS endpoint."""
    fault: Fault

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        fault = self.fault
        return {
            "instance": self.instance,
            "kind": fault.kind,
            "why": fault.why,
            "since": fault.since,
            "arguments": dict(fault.arguments),
            "heal": self.heal_command,
        }

    @property
    def heal_command(self) -> str:
        """What ends it."""
        return f"multiaz fault heal {self.instance + ' ' if self.instance else ''}{self.fault.kind}"


def in_force(home: Home, fault: Fault, target: Target | None) -> bool:
    """A frozen process may have been killed meanwhile, the endpoint started, the storage of the instance grown, or the
    read replica promoted: then the fault is over by itself. `target` is the instance, None for the AWS endpoint."""
    if target is not None and fault.follower and not target.following:
        return False
    if target is not None and fault.small_wal_room is not None:
        return target.allocated_gib <= fault.allocated_gib
    if fault.frozen:
        return any(is_frozen(process) for process in fault.frozen)
    return fault.kind != CLOUD or lock_holder(home.cloud_lock) is None


def record_of(home: Home, target: Target | None) -> Path:
    """The `faults.json` of the instance; of the AWS endpoint without one."""
    return home.faults if target is None else target.place.faults


def add(home: Home, target: Target | None, fault: Fault) -> None:
    """Enter one more, and drop what is over by itself."""
    path = record_of(home, target)
    write_faults(path, (*(one for one in read_faults(path) if in_force(home, one, target)), fault))


def refuse_twice(home: Home, target: Target | None, kind: str, arguments: object) -> None:
    """Raise Conflict if the very same fault is in force."""
    instance = None if target is None else target.identifier
    for fault in read_faults(record_of(home, target)):
        if fault.kind == kind and fault.arguments == arguments and in_force(home, fault, target):
            raise Conflict(
                f"Cannot inject {kind} into {instance or 'the AWS endpoint'}",
                f"it is in force already: {fault.why}",
                f"end it first: {ActiveFault(instance, fault).heal_command}",
            )


def tell(home: Home, target: Target) -> None:
    """Have the supervisor look at once; else it does so within its round (0.25 s)."""
    pid = target.supervisor
    if pid is not None and pid > 0:
        send(home, pid, signal.SIGHUP)


def enter(home: Home, target: Target, fault: Fault) -> Injected:
    """Record a fault of one instance that its supervisor brings about, and have it do so. Raises Conflict if it is in
    force already."""
    with changing(home):
        for one in read_faults(target.place.faults):
            if one.kind == fault.kind and one.arguments.get("between") == fault.arguments.get("between"):
                refuse_twice(home, target, one.kind, one.arguments)
        add(home, target, fault)
    tell(home, target)
    return Injected(fault.kind, (target.identifier,), fault.why, (), True)


def withdraw(home: Home, target: Target, fault: Fault) -> None:
    """Take back this very fault, which was not brought about, if it is still there."""
    with changing(home):
        faults = read_faults(target.place.faults)
        if fault in faults:
            write_faults(target.place.faults, tuple(one for one in faults if one != fault))
    tell(home, target)


def replace_fault(home: Home, target: Target, fault: Fault) -> None:
    """Put `fault` in the place of the one of its kind and arguments, if nobody has healed that meanwhile."""
    with changing(home):
        faults = read_faults(target.place.faults)
        same = [one for one in faults if (one.kind, one.arguments) == (fault.kind, fault.arguments)]
        if same:
            kept = tuple(replace(fault, since=one.since) if one in same else one for one in faults)
            write_faults(target.place.faults, kept)
    tell(home, target)
