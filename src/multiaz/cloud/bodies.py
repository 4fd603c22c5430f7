"""S3 bodies as files: written once, fsynced before the metadata that names them, swept when unnamed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from multiaz.files import fsync_folder


class Bodies:
    """The folder of bodies. Used under the lock of moto's tail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._names = {entry.name for entry in os.scandir(folder)}
        self._unsynced: set[str] = set()

    def new(self) -> Body:
        """An empty body; no file is made before something is written."""
        return Body(self, None)

    def open(self, name: str) -> Body:
        """The body with that file name."""
        return Body(self, name)

    def path(self, name: str) -> Path:
        """Where a body lies."""
        return self.folder / name

    def write(self, content: bytes) -> str:
        """Write a new file; returns its name. It is durable after the next `sync`."""
        name = uuid.uuid4().hex
        fd = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as stream:
            stream.write(content)
        self._names.add(name)
        self._unsynced.add(name)
        return name

    def sync(self, named: Iterable[str]) -> None:
        """Make the files in `named` durable that are not yet; done before metadata names them."""
        waiting = self._unsynced.intersection(named)
        for name in waiting:
            fd = os.open(self.path(name), os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        if waiting:
            fsync_folder(self.folder)
        self._unsynced -= waiting

    def sweep(self, named: set[str]) -> None:
        """Remove every file not in `named`; done after the metadata that names them is durable."""
        for name in self._names - named:
            self.path(name).unlink(missing_ok=True)
        self._unsynced &= named
        self._names &= named


class Body:
    """One body, with the few methods of a file that moto uses. Its content never changes: writing
    again makes another file."""

    def __init__(self, bodies: Bodies, name: str | None) -> None:
        self._bodies = bodies
        self.name = name
        self._position = 0

    def __deepcopy__(self, _: dict[int, object]) -> Body:
        return Body(self._bodies, self.name)

    def seek(self, position: int) -> int:
        """Move to `position` bytes from the start."""
        self._position = position
        return position

    def truncate(self) -> None:
        """Forget the content; the file stays until metadata no longer names it."""
        self.name = None
        self._position = 0

    def write(self, content: bytes) -> int:
        """Write the whole content; may be called once after `truncate`."""
        if self.name is not None or self._position:
            raise ValueError("a body is written in one piece")
        self.name = self._bodies.write(content)
        self._position = len(content)
        return len(content)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes from the position on; all that is left if it is negative."""
        if self.name is None:
            return b""
        with self._bodies.path(self.name).open("rb") as stream:
            stream.seek(self._position)
            piece = stream.read(size)
        self._position += len(piece)
        return piece

    def close(self) -> None:
        """Nothing is held open."""
