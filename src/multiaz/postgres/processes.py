"""The processes of one server, found by their working directory, and the fence that ends them all.

Backends call setsid, so a process group does not hold them; every one of them keeps the data
directory as its working directory, also when that was moved or removed under them. Linux only: it
needs /proc and pidfds.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from multiaz.errors import NoProgress

_PROC = Path("/proc")
_ENDING = 0x4
"""PF_EXITING."""
BROKEN_STORAGE = frozenset({errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.EUCLEAN, errno.ESHUTDOWN})
"""What a read says of storage that is broken or gone, not of us."""
DOOMED_PATIENCE_S = 1.0
"""How long is waited for doomed processes to be gone: longer, and they wait for a disk that may never answer."""


def processes_in(data: Path) -> list[int]:
    """Pids of live processes whose working directory is `data`, or was before it was moved or removed.

    Zombies have none and are not listed.
    """
    wanted = os.path.realpath(data)
    pids = [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()]
    return [pid for pid in pids if _works_in(pid, wanted)]


def postmaster_pid(data: Path) -> int | None:
    """Pid of the live postmaster of `data`, or None.

    The pid in postmaster.pid counts only if that process works in this data directory, and is not doomed. Storage
    that gives errors has no live server.
    """
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in BROKEN_STORAGE:
            return None
        raise
    return pid if _working_directory(pid) == os.path.realpath(data) and not is_doomed(pid) else None


def fence(data: Path, *, patience_s: float = 30.0, doomed_will_do: bool = False) -> int:
    """Kill every process of the server in `data` and return how many; none is left when this returns.

    The postmaster is stopped first so that it starts no more, then all are killed by pidfd, again
    and again until none but zombies remain. With `doomed_will_do` those may remain that are stuck in
    the kernel (`is_doomed`): enough for others to take over, not for anything to be done to this server's files.
    Raises NoProgress if processes survive SIGKILL for `patience_s`, or `DOOMED_PATIENCE_S` if all that do are doomed.
    """
    postmaster = postmaster_pid(data)
    if postmaster is not None:
        _signal(postmaster, data, signal.SIGSTOP)
    killed: set[int] = set()
    began = time.monotonic()
    while pids := processes_in(data):
        handles = [fd for pid in pids if (fd := _signal(pid, data, signal.SIGKILL, keep=True)) is not None]
        killed.update(pids)
        _wait_for_exit(handles, 0.2)
        left = processes_in(data)
        all_doomed = all(is_doomed(pid) for pid in left)
        if all_doomed and doomed_will_do:
            break
        if left and time.monotonic() - began > (min(patience_s, DOOMED_PATIENCE_S) if all_doomed else patience_s):
            raise NoProgress(
                f"Cannot fence the server in {data}",
                f"processes {left} survive SIGKILL; they are stuck in the kernel",
                "look at the storage below that folder; nothing is done there until they are gone",
            )
    return len(killed)


def is_doomed(pid: int) -> bool:
    """The process never runs its program again, and is not gone yet.

    It is ending (the kernel says so), or was killed while it waits in the kernel, mostly for a disk: what waits
    uninterruptibly (state D) takes SIGKILL before it returns from there. So it composes no answer and begins no write;
    the one request it is in may yet be carried out. Source: signal(7), proc(5) (`State`, `SigPnd`, `ShdPnd`, `flags`),
    and PF_EXITING in Linux's include/linux/sched.h.
    """
    try:
        flags = int((_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[6])
        lines = (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
    except (OSError, IndexError, ValueError):
        return False
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    pending = int(told.get("SigPnd", "0"), 16) | int(told.get("ShdPnd", "0"), 16)
    killed = bool(pending >> (signal.SIGKILL - 1) & 1)
    return bool(flags & _ENDING) or (killed and told.get("State", "").strip()[:1] == "D")


def doomed_in(data: Path) -> list[int]:
    """Pids of doomed processes of the server in `data`."""
    return [pid for pid in processes_in(data) if is_doomed(pid)]


def still_in(data: Path, pids: Iterable[int]) -> list[int]:
    """Those of `pids` that still work in `data`."""
    wanted = os.path.realpath(data)
    return [pid for pid in pids if _works_in(pid, wanted)]


def resume(data: Path) -> None:
    """SIGCONT to every process of the server in `data`: one that was stopped would hold its promotion up."""
    for pid in processes_in(data):
        _signal(pid, data, signal.SIGCONT)


def end_programs(folder: Path, bin_folder: Path, *, patience_s: float = 30.0) -> None:
    """End PostgreSQL's programs (not its servers) that work in `folder`: those of a killed supervisor write on.

    Raises NoProgress if one survives SIGKILL for `patience_s`.
    """
    ours = os.path.realpath(bin_folder)
    deadline = time.monotonic() + patience_s
    while pids := [pid for pid in processes_in(folder) if _program_folder(pid) == ours]:
        handles = [fd for pid in pids if (fd := _signal(pid, folder, signal.SIGKILL, keep=True)) is not None]
        _wait_for_exit(handles, 0.2)
        if time.monotonic() > deadline:
            raise NoProgress(f"Cannot end programs in {folder}", f"{pids} survive SIGKILL", "look at the storage there")


def _program_folder(pid: int) -> str | None:
    try:
        return str(Path(os.readlink(_PROC / str(pid) / "exe")).parent)  # noqa: PTH115
    except OSError:
        return None


def open_pidfd(pid: int) -> int | None:
    """A pidfd, readable once the process has ended; None if it is already gone."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _working_directory(pid: int) -> str | None:
    try:
        return os.readlink(_PROC / str(pid) / "cwd")  # noqa: PTH115  (a vanished folder reads "... (deleted)")
    except OSError:
        return None


def _works_in(pid: int, wanted: str) -> bool:
    """The process works in that directory, or is a server's whose directory has been moved from there.

    Then the postmaster.pid beside it still names the place it was started in. (Device and inode would not do: inodes
    of removed directories are given to others.) Only servers are asked, because a file system may hang.
    """
    path = _working_directory(pid)
    if path is None or path == wanted or path == f"{wanted} (deleted)":
        return path is not None
    process = _PROC / str(pid)
    try:
        if (process / "exe").readlink().name.removesuffix(" (deleted)") != "postgres":
            return False
        lines = (process / "cwd" / "postmaster.pid").read_text().split("\n", 2)
    except (OSError, UnicodeDecodeError):
        return False
    return len(lines) > 1 and os.path.realpath(lines[1]) == wanted


def _signal(pid: int, data: Path, number: int, *, keep: bool = False) -> int | None:
    """Signal `pid` if it still works in `data`; with `keep` return its pidfd for waiting."""
    handle = open_pidfd(pid)
    if handle is None:
        return None
    sent = False
    try:
        if _works_in(pid, os.path.realpath(data)):
            signal.pidfd_send_signal(handle, number)
            sent = True
    except ProcessLookupError:
        pass
    finally:
        if not (keep and sent):
            os.close(handle)
    return handle if keep and sent else None


def _wait_for_exit(handles: list[int], seconds: float) -> None:
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    left = set(handles)
    deadline = time.monotonic() + seconds
    while left and (remaining := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(remaining * 1000):
            poll.unregister(handle)
            left.discard(handle)
    for handle in handles:
        os.close(handle)
