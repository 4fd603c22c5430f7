"""The fault disk-full: the WAL of an instance lies on a small file system, and its writes meet a real ENOSPC.

The file system is a tmpfs, laid by the supervisor while the servers are down (`instance/storage.py`), so both are
killed for an instant when the fault comes and when it goes.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from multiaz.errors import Missing, NoProgress
from multiaz.home import Home
from multiaz.local.faults_entries import Injected, add, refuse_twice, replace_fault, tell
from multiaz.local.faults_processes import kill_all, require_linux, servers_below
from multiaz.local.faults_record import Fault, changing, read_faults
from multiaz.local.faults_targets import MEMBERS, Target, find

MIB = 1024 * 1024
HELD_WITHIN_S = 15.0
"""How long is waited for the supervisor to say that it holds the servers down."""
KIND = "disk-full"


def fill_disk(home: Home, instance: str | None = None, *, free_mib: int = 0) -> Injected:
    """Put the WAL of every member on a file system with `free_mib` MiB left; the servers are killed and start on it.

    Without room nothing fails at once: segments PostgreSQL has prepared are used up first. Raises Missing where nothing
    may be mounted, and where the WAL would take more than half of the memory that is free.
    """
    require_linux()
    target = find(home, instance)
    _require_mount(target)
    _require_memory(target)
    why = f"the storage of {target.identifier} has {free_mib} MiB left"
    fault = Fault(KIND, why, arguments={"free_mib": free_mib}, held=MEMBERS)
    with changing(home):
        for one in read_faults(target.place.faults):
            if one.kind == KIND:
                refuse_twice(home, target.place.faults, target.identifier, KIND, one.arguments)
        add(home, target.place.faults, fault)
    killed = _hold_down(home, target, why)
    replace_fault(home, target, replace(fault, held=(), small_wal_room=free_mib * MIB))
    return Injected(KIND, (target.identifier,), why, killed, True)


def give_storage_back(home: Home, target: Target) -> None:
    """Hold the servers down where the fault is in force, so that they start on the storage of their data once its
    entry is gone."""
    for fault in read_faults(target.place.faults):
        if fault.kind == KIND:
            replace_fault(home, target, replace(fault, held=MEMBERS, small_wal_room=None))
            _hold_down(home, target, fault.why)


def _hold_down(home: Home, target: Target, why: str) -> tuple[int, ...]:
    """Kill the servers, and return once the supervisor, if one runs, says that it starts none."""
    folders = [target.place.member(member) for member in MEMBERS]
    tell(home, target)
    killed = set(kill_all(lambda: servers_below(home, folders)))
    deadline = time.monotonic() + HELD_WITHIN_S
    while target.supervisor is not None and not _says(target, why):
        if time.monotonic() > deadline:
            raise NoProgress(
                f"The supervisor of {target.identifier} does not follow",
                f"for {HELD_WITHIN_S:g} s it has not said that it holds the servers down",
                "see `multiaz fault list` for what holds it up, then heal disk-full",
            )
        time.sleep(0.01)
    killed.update(kill_all(lambda: servers_below(home, folders)))
    return tuple(sorted(killed))


def _says(target: Target, why: str) -> bool:
    try:
        return why in str(json.loads(target.place.observed.read_text())["reason"])
    except (OSError, ValueError, KeyError):
        return False


def _require_mount(target: Target) -> None:
    """Raise Missing unless a file system can be mounted, which only root may; containers often may not either."""
    what, advice = f"Cannot fill the disk of {target.identifier}", "run as root, where mounting is allowed"
    if os.geteuid() != 0:
        raise Missing(what, f"it takes a file system of its own, and user {os.geteuid()} may not mount one", advice)
    tried = target.place.folder / "small-wal.try"
    tried.mkdir(exist_ok=True)
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "multiaz-disk-full", str(tried)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise Missing(what, f"a file system of its own cannot be mounted: {done.stderr.strip()}", advice)
        subprocess.run(["umount", str(tried)], check=True, capture_output=True)
    except FileNotFoundError as error:
        raise Missing(what, f"there is no program {error.filename}", "install util-linux") from error
    finally:
        tried.rmdir()


def _require_memory(target: Target) -> None:
    """Raise Missing if the WAL, which lies in memory while the fault is in force, is too large for that."""
    held = sum(_size(path) for member in MEMBERS for path in (target.place.data(member) / "pg_wal").rglob("*"))
    free = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    if held > free / 2:
        raise Missing(
            f"Cannot fill the disk of {target.identifier}",
            f"its WAL ({held // MIB} MiB) would lie in memory, of which {free // MIB} MiB are free",
            "let a CHECKPOINT recycle WAL, or use an instance that has written less",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
