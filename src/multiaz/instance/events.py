"""The instance's own list of events: JSON lines, appended also while the cloud is down."""

from __future__ import annotations

import os
import time
from pathlib import Path

from multiaz.instance.records import InstanceEvent


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
            lines = whole.splitlines()
            if lines:
                self._number = InstanceEvent.model_validate_json(lines[-1]).number

    def append(self, code: str, message: str) -> None:
        """Append one event, durably."""
        self._number += 1
        event = InstanceEvent(number=self._number, at=time.time(), code=code, message=message)
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(fd, event.model_dump_json().encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
