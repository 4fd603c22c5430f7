"""The instance's own list of events: JSON lines, appended also while the cloud is down."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from pydantic import ValidationError

from multiaz.instance.records import InstanceEvent


def read_line(line: bytes) -> InstanceEvent | None:
    """The event on a line; None if it is no whole one, as where a disk was full or gave an error."""
    try:
        return InstanceEvent.model_validate_json(line)
    except ValidationError:
        return None


class EventLog:
    """Appends events with rising numbers; a torn last line of a crash is cut off when opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        if path.exists():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) != len(content):
                os.truncate(path, len(whole))
            last = next((event for line in reversed(whole.splitlines()) if (event := read_line(line))), None)
            self._number = last.number if last is not None else 0

    def append(self, code: str, message: str) -> None:
        """Append one event, durably. Raises OSError if there is no room for all of it: then nothing of it stays."""
        event = InstanceEvent(number=self._number + 1, at=time.time(), code=code, message=message)
        line = event.model_dump_json().encode() + b"\n"
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            before = os.fstat(fd).st_size
            if os.write(fd, line) != len(line):
                os.ftruncate(fd, before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            self._number = event.number
            os.fsync(fd)
        finally:
            os.close(fd)
