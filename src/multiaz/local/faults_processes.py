"""Kills, freezes and thaws processes, each by pidfd and only while it still is the one that was meant. Linux only."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from multiaz.errors import Conflict, Missing, NoProgress
from multiaz.home import Home
from multiaz.local.faults_record import FrozenProcess, read_faults
from multiaz.local.processes import processes

_PROC = Path("/proc")
KILL_PATIENCE_S = 30.0
"""How long a process may survive SIGKILL: longer, and it is stuck in the kernel."""


def require_linux() -> None:
    """Raise Missing where processes cannot be told from each other."""
    if not (_PROC / "self" / "stat").exists() or not hasattr(os, "pidfd_open"):
        raise Missing("Cannot inject faults", "this system has neither /proc nor pidfds", "do so on Linux")


def started_at(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if it is gone or a zombie. Source: proc(5)."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def is_frozen(process: FrozenProcess) -> bool:
    """It is still the same process, and still stopped."""
    fields = _stat(process.pid)
    return fields is not None and fields[0] == "T" and int(fields[19]) == process.started


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on (state); the name before them may hold anything."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def servers_below(home: Home, folders: Iterable[Path]) -> list[int]:
    """Pids of PostgreSQL's processes of this home that work in one of the folders or below: no shell of a person."""
    roots = [Path(os.path.realpath(folder)) for folder in folders]
    return [
        process.pid
        for process in processes(home).ours
        if process.role not in ("cloud", "instance", "relay")
        and any(Path(process.working_directory).is_relative_to(root) for root in roots)
    ]


def kill(pid: int) -> bool:
    """SIGKILL to one process, and wait for its end; False if it was gone."""
    handle = _signal(pid, started_at(pid), signal.SIGKILL, keep=True)
    if handle is None:
        return False
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(KILL_PATIENCE_S * 1000):
            raise _stuck([pid])
    finally:
        os.close(handle)
    return True


def kill_all(living: Callable[[], list[int]]) -> tuple[int, ...]:
    """SIGKILL whatever `living` finds, again and again until it finds nothing; the pids."""
    killed: set[int] = set()
    deadline = time.monotonic() + KILL_PATIENCE_S
    while pids := living():
        for pid in pids:
            _signal(pid, started_at(pid), signal.SIGKILL)
        killed.update(pids)
        if time.monotonic() > deadline:
            raise _stuck(pids)
        time.sleep(0.002)
    return tuple(sorted(killed))


def freeze(first: int, living: Callable[[], list[int]] = list) -> tuple[FrozenProcess, ...]:
    """SIGSTOP to `first`, so that it starts no more, then to what else `living` finds, until all that is stopped."""
    frozen: dict[int, FrozenProcess] = {}
    pending = [first]
    while pending:
        for pid in pending:
            started = started_at(pid)
            if started is not None and _signal(pid, started, signal.SIGSTOP) is not None:
                frozen[pid] = FrozenProcess(pid, started)
        pending = [pid for pid in living() if pid not in frozen and started_at(pid) is not None]
    return tuple(frozen.values())


def thaw(frozen: Iterable[FrozenProcess]) -> tuple[int, ...]:
    """SIGCONT to those that still are the same processes; their pids."""
    return tuple(p.pid for p in frozen if _signal(p.pid, p.started, signal.SIGCONT) is not None)


def thaw_everything(home: Home, *, endpoint_only: bool = False) -> tuple[int, ...]:
    """Let every frozen process of the home (or only the AWS endpoint) go on, so that it can be stopped; their pids."""
    paths = [home.faults, *([] if endpoint_only else sorted(home.instances.glob("*/faults.json")))]
    frozen: list[FrozenProcess] = []
    for path in paths:
        with contextlib.suppress(Conflict):  # what cannot be read freezes nothing we know of
            frozen += [process for fault in read_faults(path) for process in fault.frozen]
    return thaw(frozen)


def unmount_everything(home: Home) -> None:
    """Take away what is still mounted below the home, whose servers are gone: nothing could be deleted else."""
    for path in home.instances.glob("*/*/small-wal"):
        if path.is_mount():
            subprocess.run(["umount", str(path)], check=False, capture_output=True)


def _signal(pid: int, started: int | None, number: signal.Signals, *, keep: bool = False) -> int | None:
    """Signal the process that began at `started`; its pidfd (closed unless `keep`), or None if it is gone."""
    if started is None:
        return None
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    sent = False
    try:
        if started_at(pid) == started:
            signal.pidfd_send_signal(handle, number)
            sent = True
    except ProcessLookupError:
        pass
    finally:
        if not (sent and keep):
            os.close(handle)
    return handle if sent else None


def _stuck(pids: list[int]) -> NoProgress:
    return NoProgress(
        "Cannot kill what was to die", f"processes {pids} survive SIGKILL: they are stuck in the kernel",
        "look at the storage they work on",
    )  # fmt: skip
