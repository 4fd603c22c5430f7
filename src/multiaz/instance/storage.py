"""The storage a server's WAL is on: how much room is left, and the small file system a fault puts it on.

With the fault `disk-full` the WAL of each member lies on a tmpfs of its own (`small_wal`), as large as what it holds
and the room that is to be left; `pg_wal` is a link to it, which initdb and pg_rewind know as well. It is laid, and
taken away, while the server is down, just before its start. Mounting needs root.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

from multiaz.errors import MultiazError
from multiaz.files import fsync_folder
from multiaz.postgres.archive import SEGMENT_BYTES
from multiaz.postgres.server import Server

log = logging.getLogger("multiaz.instance")

ROUNDING_BYTES = 256 * 1024
"""What a tmpfs needs beside the files themselves."""


class StorageFailed(MultiazError):
    """The WAL cannot be moved."""


def room_bytes(data: Path) -> int | None:
    """Bytes left where the WAL of this data directory lies; None if that cannot be told."""
    try:
        told = os.statvfs(data / "pg_wal")
    except OSError:
        return None
    return told.f_bavail * told.f_frsize


def is_full(data: Path) -> bool:
    """There is no room for another WAL segment: the server could not go on."""
    room = room_bytes(data)
    return room is not None and room < SEGMENT_BYTES


def is_on(small: Path, data: Path) -> bool:
    """The WAL of this data directory lies on that small file system."""
    try:
        return (data / "pg_wal").readlink() == small
    except OSError:
        return False


def settle(server: Server, small: Path, room: int | None) -> None:
    """Have the WAL of a stopped server where it belongs: on a file system with `room` bytes left (None: with its data).

    Does nothing if it is there. Raises StorageFailed if that cannot be had; the WAL is whole all the time.
    """
    wal = server.data / "pg_wal"
    _mend(server, wal)
    if room is None:
        if is_on(small, server.data):
            _bring_home(server, wal)
        release(small)
    elif not is_on(small, server.data):
        _put_on_small(server, wal, small, room)


def release(small: Path) -> None:
    """Take the small file system away; does nothing without one."""
    if small.is_mount():
        _run("umount", str(small))
    if small.is_dir():
        small.rmdir()


def _mend(server: Server, wal: Path) -> None:
    """Put back what a supervisor that died between two renames has left: the finished copy, or the folder itself."""
    for name in ("pg_wal.copy", "pg_wal.kept"):
        left = server.folder / name
        if not os.path.lexists(wal) and server.exists() and left.is_dir():
            left.rename(wal)
            fsync_folder(server.data)


def _bring_home(server: Server, wal: Path) -> None:
    """Copy the WAL beside the data, durably, then put the copy in the place of the link."""
    if not wal.resolve().is_mount():
        raise StorageFailed(
            f"The WAL of {server.name} is gone", "it lay in memory (fault disk-full), and the machine was restarted",
            "restore the instance from a snapshot, or delete it",
        )  # fmt: skip
    copy = server.folder / "pg_wal.copy"
    shutil.rmtree(copy, ignore_errors=True)
    _copy(server, wal.resolve(), copy)
    wal.unlink()
    copy.rename(wal)
    fsync_folder(server.data)
    log.info("the WAL of %s is with its data again", server.name)


def _put_on_small(server: Server, wal: Path, small: Path, room: int) -> None:
    release(small)
    # A copy that was not put in place is older than this WAL: it must not be taken for it should this be cut short.
    shutil.rmtree(server.folder / "pg_wal.copy", ignore_errors=True)
    fsync_folder(server.folder)
    small.mkdir(mode=0o700)
    held = sum(path.stat().st_size for path in wal.rglob("*") if path.is_file())
    size = held + room + ROUNDING_BYTES
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700,uid={server.user.uid},gid={server.user.gid}",
         "multiaz-disk-full", str(small))  # fmt: skip
    _copy(server, wal, small)
    kept = server.folder / "pg_wal.kept"
    shutil.rmtree(kept, ignore_errors=True)
    wal.rename(kept)
    wal.symlink_to(small)
    fsync_folder(server.data)
    shutil.rmtree(kept)
    log.warning("the WAL of %s is on a file system of %d bytes, with room for %d more", server.name, size, room)


def _copy(server: Server, source: Path, target: Path) -> None:
    """A durable copy of a folder, owned by the server's user."""
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
        target.chmod(0o700)
        for path in (target, *target.rglob("*")):
            server.user.own(path)
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
    except (OSError, shutil.Error) as error:
        raise StorageFailed(f"Cannot move the WAL of {server.name}", str(error), "free some space") from error


MESSAGES = {
    "RDS-EVENT-0007": "Allocated storage has been exhausted. Allocate additional storage to resolve.",
    "RDS-EVENT-0221": "DB instance has reached the storage-full threshold, and the database has been shut down. "
    "You can increase the allocated storage to address this issue.",
}
"""Source: RDS user guide, "Amazon RDS event categories and event messages", column Message."""


class StorageWatch:
    """Notices that the storage is full, and that the server ends because of it; each is told once while it lasts."""

    def __init__(self) -> None:
        self.full = False
        self._told: set[str] = set()

    def look(self, server: Server) -> list[str]:
        """Look at the primary's storage; the codes of events that are to be told now."""
        self.full = is_full(server.data)
        if not self.full:
            self._told.clear()
            return []
        due = {"RDS-EVENT-0007"} | ({"RDS-EVENT-0221"} if server.pid() is None else set())
        new = sorted(due - self._told)
        self._told |= due
        return new


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise StorageFailed(
            f"{command[0]} failed", done.stderr.strip() or f"exit code {done.returncode}", "heal the fault disk-full"
        )
