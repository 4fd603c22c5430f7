"""`faults.json`: the faults in force of one DB instance, or of the AWS endpoint, as a file.

The supervisor of the instance reads it each round (`instance/faults.py` has the same fields); what a fault does
to it is said by `held` and `parameters`, not by its kind.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from multiaz.errors import Conflict, NoProgress
from multiaz.files import ProcessLock, fsync_folder, write_atomically
from multiaz.home import Home
from multiaz.local.processes import stopped_at

VERSION = 1
LOCK = "faults.lock"
CLOUD = "cloud-endpoint"
"""The kind of faults of the AWS endpoint, which are in the home's own `faults.json`."""
LOCK_PATIENCE_S = 30.0
"""How long one change of faults waits for another one."""

Argument = str | int | float | bool | None
Check = Callable[[Any], bool]


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
    follower: bool = False
    """Meant for a read replica: it is over once the instance follows nobody any more (it was promoted)."""


def read_faults(path: Path) -> tuple[Fault, ...]:
    """What the file says; nothing if there is none. Raises Conflict if it cannot be read."""
    try:
        return tuple(_faults(json.loads(path.read_text())))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise Conflict(
            f"Cannot read {path}",
            f"it is no record of faults this multiaz knows ({type(error).__name__}: {error})",
            f"{_advice(stopped_at(path.parent))}remove that file: the faults it may have held end with it",
        ) from error


def _advice(stopped: tuple[int, ...]) -> str:
    """Nobody could heal what a removed record had frozen."""
    if not stopped:
        return ""
    return f"let the stopped processes go on that it may have frozen, `kill -CONT {' '.join(map(str, stopped))}`, and "


def _faults(values: object) -> Iterator[Fault]:
    """What the file says, judged as the supervisor does. Raises ValueError saying what is wrong."""
    file = _checked(values, {"version": _is_count, "faults": _is_list}, required=("version", "faults"))
    if file["version"] != VERSION:
        raise ValueError(f"version {file['version']}")
    for one in file["faults"]:
        fault = _checked(one, _FAULT, required=("kind", "since", "why"))
        fault["held"] = tuple(fault.get("held", ()))
        frozen = [_checked(process, _PROCESS, required=tuple(_PROCESS)) for process in fault.get("frozen", ())]
        fault["frozen"] = tuple(FrozenProcess(**process) for process in frozen)
        for side in ("clients", "servers"):
            network = fault.get(side)
            fault[side] = None if network is None else Network(**_checked(network, _NETWORK))
        yield Fault(**fault)


def _checked(values: object, checks: Mapping[str, Check], required: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{values!r} is no JSON object")
    missing = [name for name in required if name not in values]
    if missing:
        raise ValueError(f"field {missing[0]!r} is missing")
    for name, value in values.items():
        if name not in checks:
            raise ValueError(f"unknown field {name!r}")
        if not checks[name](value):
            raise ValueError(f"{name} {value!r}")
    return dict(values)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_map(value: object, to: tuple[type, ...]) -> bool:
    return isinstance(value, dict) and all(isinstance(one, to) for one in value.values())


_FAULT: Mapping[str, Check] = {
    "kind": _is_text,
    "why": _is_text,
    "since": _is_number,
    "arguments": lambda value: _is_map(value, (str, int, float, bool, type(None))),
    "held": lambda value: isinstance(value, list) and all(one in ("a", "b") for one in value),
    "parameters": lambda value: _is_map(value, (str,)),
    "frozen": _is_list,
    "clients": lambda value: value is None or isinstance(value, dict),
    "servers": lambda value: value is None or isinstance(value, dict),
    "small_wal_room": lambda value: value is None or _is_count(value),
    "allocated_gib": _is_count,
    "follower": lambda value: isinstance(value, bool),
}
_PROCESS: Mapping[str, Check] = {"pid": _is_count, "started": _is_count}
_NETWORK: Mapping[str, Check] = {
    "delay_ms": lambda value: _is_number(value) and value >= 0,
    "bytes_per_s": lambda value: value is None or (_is_number(value) and value > 0),
    "blocked": lambda value: isinstance(value, bool) or value == "cut",
}


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
