"""What a power cut would leave of a folder's files; a SIGKILL, which tests send, loses nothing that was written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

Content = bytes | None
"""What a file may have after the cut; None: anything, or nothing."""


class Disk:
    """The folder as the system calls of this process leave it on the disk.

    A file's content is certain as it was at its latest fsync; until the folder is fsynced, a name may be what it was
    then or what it has become since. It asks more than a given file system might.
    Source: fsync(2), which says that a file's name needs an fsync of its folder.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.moments: list[dict[str, set[Content]]] = []
        """After each call what each name might be left with, oldest first; a name that is not there was never there."""
        self._synced: dict[int, bytes] = {}
        self._certain: dict[str, Content] = {}
        self._since: dict[str, set[Content]] = {}
        fsync, replace = os.fsync, os.replace

        def fsync_and_note(fd: int) -> None:
            fsync(fd)
            told = os.fstat(fd)
            if not stat.S_ISDIR(told.st_mode):
                self._file_synced(told.st_ino)
            elif told.st_ino == folder.stat().st_ino:
                self._folder_synced()
            self._moment()

        def replace_and_note(old: Path, new: Path) -> None:
            gone = new.stat().st_ino if new.exists() else None
            replace(old, new)
            if gone is not None:
                self._synced.pop(gone, None)  # the number is another file's next
            self._moment()

        monkeypatch.setattr(os, "fsync", fsync_and_note)
        monkeypatch.setattr(os, "replace", replace_and_note)

    def left(self, name: str) -> set[Content]:
        """What the file of that name may have after a power cut now; empty: there never was one."""
        found = set(self._since.get(name, set()))
        if name in self._certain:
            found.add(self._certain[name])
        if (self.folder / name).exists():
            found.add(self._content(self.folder / name))
        return found

    def _content(self, path: Path) -> Content:
        now = path.read_bytes()
        return now if self._synced.get(path.stat().st_ino) == now else None

    def _file_synced(self, number: int) -> None:
        for path in self.folder.iterdir():
            if path.stat().st_ino == number:
                self._synced[number] = path.read_bytes()

    def _folder_synced(self) -> None:
        self._certain = {path.name: self._content(path) for path in self.folder.iterdir() if path.is_file()}
        self._since.clear()

    def _moment(self) -> None:
        self.moments.append({path.name: self.left(path.name) for path in self.folder.iterdir() if path.is_file()})
        for path in self.folder.iterdir():
            if path.is_file():
                self._since.setdefault(path.name, set()).add(self._content(path))
