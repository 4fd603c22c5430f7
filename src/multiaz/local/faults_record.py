"""`faults.json`: the faults in force of one DB instance, or of the AWS endpoint, as a file.

The supervisor of the instance reads it each round (`instance/faults.py` has the same fields); what a fault does
to it is said by `held` and `parameters`, not by its kind.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from multiaz.errors import Conflict, NoProgress
from multiaz.files import ProcessLock, fsync_folder, write_atomically
from multiaz.home import Home

VERSION = 1
LOCK = "faults.lock"
LOCK_PATIENCE_S = 30.0
"""How long one change of faults waits for another one."""

Argument = str | int | float | bool | None


@dataclass(frozen=True)
class FrozenProcess:
    """A process that was stopped by SIGSTOP."""

    pid: int
    started: int
    """Its start time in clock ticks since boot (proc(5), stat, field 22): with the pid it names one process."""


@dataclass(frozen=True)
class Network:
    """What a network does to traffic, in each direction."""

    delay_ms: float = 0.0
    bytes_per_s: float | None = None
    """Shared by all connections; None: no bound."""
    blocked: bool | str = False
    """True: nothing passes and nobody is told. "cut": connections break, new ones end at once."""


@dataclass(frozen=True)
class Fault:
    """One fault in force."""

    kind: str
    why: str
    """What is broken, in a sentence for people."""
    since: float = field(default_factory=time.time)
    """Unix time in seconds."""
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    """What was asked for."""
    held: tuple[str, ...] = ()
    """Members that must not run."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Laid over the parameters of every member."""
    frozen: tuple[FrozenProcess, ...] = ()
    clients: Network | None = None
    """Between clients and the endpoint."""
    servers: Network | None = None
    """Between primary and standby, or a read replica and its source."""
    small_wal_room: int | None = None
    """The WAL of each member lies on a small file system with so many bytes left."""
    allocated_gib: int = 0
    """AllocatedStorage when the fault came: with more than that it is over."""


def read_faults(path: Path) -> tuple[Fault, ...]:
    """What the file says; nothing if there is none. Raises Conflict if it cannot be read."""
    try:
        values = json.loads(path.read_text())
        if values["version"] != VERSION:
            raise ValueError(f"version {values['version']}")
        return tuple(_fault(one) for one in values["faults"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Conflict(
            f"Cannot read {path}",
            f"it is no record of faults this multiaz knows ({type(error).__name__}: {error})",
            "remove that file: the faults it may have held end with it",
        ) from error


def _fault(values: dict[str, object]) -> Fault:
    known = dict(values)
    known["held"] = tuple(known.get("held", ()))  # type: ignore[arg-type]
    known["frozen"] = tuple(FrozenProcess(**one) for one in known.get("frozen", ()))  # type: ignore[attr-defined]
    for side in ("clients", "servers"):
        known[side] = Network(**known[side]) if known.get(side) else None  # type: ignore[arg-type]
    return Fault(**known)  # type: ignore[arg-type]


def write_faults(path: Path, faults: tuple[Fault, ...]) -> None:
    """Replace the file in one step, durably; without faults it goes."""
    if faults:
        write_atomically(path, json.dumps({"version": VERSION, "faults": [asdict(one) for one in faults]}, indent=1))
    elif path.exists():
        path.unlink()
        fsync_folder(path.parent)


@contextmanager
def changing(home: Home) -> Iterator[None]:
    """Hold the right to change the faults of this home: of two commands at once neither undoes the other."""
    lock = ProcessLock(home.root / LOCK)
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while not lock.acquire():
        if time.monotonic() > deadline:
            raise NoProgress(
                f"Cannot change the faults of {home.root}",
                f"another command has been doing so for {LOCK_PATIENCE_S:g} s",
                "end that command, or wait for it",
            )
        time.sleep(0.02)
    try:
        yield
    finally:
        lock.release()
