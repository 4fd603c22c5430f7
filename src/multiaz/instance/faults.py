"""`faults.json` as the supervisor reads it: what somebody breaks on purpose, by `multiaz fault`.

It is written by `local`, which imports nothing of ours: the two meet in this file, as cloud and supervisor meet in
`desired.json`. What cannot be read is told in the log, and what was read last stays in force.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from multiaz.home import InstanceHome
from multiaz.instance.records import DesiredInstance, MemberName, Record
from multiaz.instance.relaying import Shaping, Wire

log = logging.getLogger("multiaz.instance")


class FrozenProcess(Record):
    """A process that was stopped (SIGSTOP); for whoever heals."""

    pid: int
    started: int
    """Its start time in clock ticks since the machine's boot: another process of this pid has another one."""


class Network(Record):
    """What a network does to traffic, in each direction."""

    delay_ms: float = Field(default=0, ge=0, allow_inf_nan=False)
    bytes_per_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    blocked: bool | Literal["cut"] = False

    def shaping(self) -> Shaping:
        """As the relay is told."""
        return Shaping(self.delay_ms, self.bytes_per_s, self.blocked)


class Fault(Record):
    """One active fault. What it does to the supervisor is said by the fields, not by its kind."""

    kind: str
    since: float = Field(allow_inf_nan=False)
    """Unix time in seconds."""
    why: str
    """What is broken, in a sentence for people."""
    arguments: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """What was asked for; for people."""
    held: tuple[MemberName, ...] = ()
    """Members that must not run."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Laid over the parameters of every member."""
    frozen: tuple[FrozenProcess, ...] = ()
    clients: Network | None = None
    """Between clients and the endpoint."""
    servers: Network | None = None
    """Between primary and standby, or this read replica and its source."""
    small_wal_room: int | None = Field(default=None, ge=0)
    """The WAL of each member lies on a small file system with so many bytes left."""
    allocated_gib: int = 0
    """AllocatedStorage when the fault came: with more than that it is over."""
    follower: bool = Field(default=False, strict=True)
    """Meant for a read replica: it is over once the instance follows nobody any more (it was promoted)."""


class Faults(Record):
    """The content of `faults.json`."""

    version: int = Field(default=1, ge=1, le=1)
    faults: tuple[Fault, ...] = ()

    def of(self, *, following: bool) -> Faults:
        """Those that are in force for an instance that follows a source, or for one that follows nobody."""
        if following or not any(fault.follower for fault in self.faults):
            return self
        return self.model_copy(update={"faults": tuple(fault for fault in self.faults if not fault.follower)})

    def held(self, member: MemberName) -> str | None:
        """Why this member must not run; None if nothing holds it down."""
        return next((fault.why for fault in self.faults if member in fault.held), None)

    def parameters(self) -> Mapping[str, str]:
        """What is laid over the wanted parameters; a later fault wins."""
        return {name: value for fault in self.faults for name, value in fault.parameters.items()}

    def small_wal_room(self, allocated_gib: int) -> int | None:
        """How much room the small file system for the WAL is to have; None: the WAL lies with the data.

        Storage that was grown since (ModifyDBInstance, AllocatedStorage) is no longer full, as on RDS.
        """
        small = [fault for fault in self.faults if fault.small_wal_room is not None]
        return small[-1].small_wal_room if small and allocated_gib <= small[-1].allocated_gib else None

    def clients(self) -> Shaping | None:
        """What lies between clients and the endpoint; the latest fault wins."""
        return next((fault.clients.shaping() for fault in reversed(self.faults) if fault.clients), None)

    def servers(self) -> Shaping | None:
        """What lies between the servers; a partition wins over a slow network, then the latest fault."""
        networks = [fault.servers for fault in self.faults if fault.servers]
        networks.sort(key=lambda network: bool(network.blocked))
        return networks[-1].shaping() if networks else None

    def wires(self, home: InstanceHome, desired: DesiredInstance) -> tuple[Wire, ...]:
        """One wire to each server others stream from, while something lies between them."""
        shaping = self.servers()
        if shaping is None:
            return ()
        targets = {member: home.socket_folder(member) for member in MEMBERS}
        wires = [Wire(wire_name(member), target, shaping) for member, target in targets.items()]
        if desired.source is not None:
            wires.append(Wire(wire_name(None), Path(desired.source.upstream), shaping))
        return tuple(wires)


def wire_name(member: MemberName | None) -> str:
    """The wire that leads to a member, or to a read replica's source."""
    return "src" if member is None else member


MEMBERS: tuple[MemberName, ...] = ("a", "b")


NOTHING = Faults()


class FaultFile:
    """Reads `faults.json`, and again only when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: tuple[int, int] | None = None
        self._faults = NOTHING

    def read(self) -> Faults:
        """The faults in force, the same object while nothing changed: none without the file, the last ones read while
        it cannot be read."""
        try:
            info = self._path.stat()
            key = (info.st_ino, info.st_mtime_ns)
            if key == self._key:
                return self._faults
            content = self._path.read_bytes()
            self._key = key
            self._faults = Faults.model_validate_json(content)
        except FileNotFoundError:
            self._key, self._faults = None, NOTHING
        except (OSError, ValidationError) as error:
            log.error("faults.json cannot be read, what it said before stays in force: %s", error)
        else:
            log.warning("faults in force: %s", "; ".join(fault.why for fault in self._faults.faults) or "none")
        return self._faults
