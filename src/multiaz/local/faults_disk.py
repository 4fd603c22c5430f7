"""The fault disk-full: the WAL of an instance lies on a small file system, and its writes meet a real ENOSPC.

The file system is a tmpfs, laid by the supervisor (`instance/storage.py`), which kills the servers for that, when the
fault comes and when it goes.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from multiaz.errors import Missing
from multiaz.home import Home
from multiaz.local.faults_entries import Injected, enter
from multiaz.local.faults_processes import require_linux
from multiaz.local.faults_record import Fault
from multiaz.local.faults_targets import MEMBERS, Target, find

MIB = 1024 * 1024
KIND = "disk-full"


def fill_disk(home: Home, instance: str | None = None, *, free_mib: int = 0) -> Injected:
    """Put the WAL of every member on a file system with `free_mib` MiB left; its supervisor kills the servers and
    starts them on it.

    Without room nothing fails at once: segments PostgreSQL has prepared are used up first. Raises Missing where nothing
    may be mounted, and where the WAL, with that room
    filled, would take more than half of the memory that is free.
    """
    require_linux()
    target = find(home, instance)
    _require_mount(target)
    _require_memory(target, free_mib * MIB)
    why = f"the storage of {target.identifier} has {free_mib} MiB left"
    room, allocated = free_mib * MIB, target.allocated_gib
    fault = Fault(KIND, why, arguments={"free_mib": free_mib}, small_wal_room=room, allocated_gib=allocated)
    return enter(home, target, fault)


def _require_mount(target: Target) -> None:
    """Raise Missing unless a file system can be mounted, which only root may; containers often may not either."""
    what, advice = f"Cannot fill the disk of {target.identifier}", "run as root, where mounting is allowed"
    if os.geteuid() != 0:
        raise Missing(what, f"it takes a file system of its own, and user {os.geteuid()} may not mount one", advice)
    # In a mount namespace of its own, which ends with the command: nothing stays mounted whatever interrupts this.
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "multiaz-disk-full", str(target.place.folder)]
    try:
        done = subprocess.run(["unshare", "--mount", *mount], check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Missing(what, f"there is no program {error.filename}", "install util-linux") from error
    if done.returncode != 0:
        raise Missing(what, f"a file system of its own cannot be mounted: {done.stderr.strip()}", advice)


def _require_memory(target: Target, room: int) -> None:
    """Raise Missing if the WAL, which lies in memory while the fault is in force, may grow too large for that.

    Each of two members has `room` bytes beside what it holds: an instance may become Multi-AZ meanwhile.
    """
    held = sum(_size(path) for member in MEMBERS for path in (target.place.data(member) / "pg_wal").rglob("*"))
    free = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    most = held + len(MEMBERS) * room
    if most > free / 2:
        raise Missing(
            f"Cannot fill the disk of {target.identifier}",
            f"its WAL ({held // MIB} MiB now, {most // MIB} MiB when full) would lie in memory, of which {free // MIB} "
            "MiB are free, and may take half",
            "leave less room (--free), let a CHECKPOINT recycle WAL, or use an instance that has written less",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
