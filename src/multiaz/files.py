"""Files that survive a crash, and locks that do not: atomic writes and `flock`."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (fsync of the directory itself)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` in one step: a reader sees the old content or the new, never a part.

    With `durable` the content and the name are on disk when this returns.
    """
    put_in_place(prepare(path, content, mode=mode, durable=durable), path, durable=durable)


def prepare(path: Path, content: str | bytes, *, mode: int = 0o600, durable: bool = True) -> Path:
    """Write, beside `path`, what is to replace it; the file it is in, for `put_in_place`.

    With `durable` the content is on disk when this returns: what is left to do needs no room.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(fd, mode)
        with os.fdopen(fd, "wb", closefd=False) as stream:
            stream.write(data)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    return temporary


def put_in_place(temporary: Path, path: Path, *, durable: bool = True) -> None:
    """Replace `path` by what was prepared for it; with `durable` the name is on disk when this returns."""
    temporary.replace(path)
    if durable:
        fsync_folder(path.parent)


def switch_link(link: Path, target: str) -> None:
    """Point the symbolic link `link` at `target` in one step."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


class ProcessLock:
    """An exclusive `flock` on a file, held until `release` or the death of the process.

    The file holds the pid of the holder, for people; the lock itself is the truth.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self) -> bool:
        """True if this process now holds the lock, False if another one does.

        Asks again for 0.1 s: `lock_holder`, with which others look, itself holds the lock for an instant.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + 0.1
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    return False
                time.sleep(0.005)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock up; does nothing if it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextmanager
def shared_lock(path: Path) -> Iterator[bool]:
    """A shared `flock` while the block runs; yields False, without one, if somebody holds it exclusively."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def lock_holder(path: Path) -> int | None:
    """The pid of the process that holds the lock at `path`, or None if nobody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(fd, 32, 0).decode().strip()
            return int(text) if text.isdigit() else -1
        return None
    finally:
        os.close(fd)
