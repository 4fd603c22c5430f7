"""The files of one DB instance that the cloud writes: its folder, certificate and `desired.json`."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from pathlib import Path

from pydantic import ValidationError

from multiaz.cloud.rds import pki
from multiaz.files import fsync_folder, lock_holder, write_atomically
from multiaz.home import Home, InstanceHome
from multiaz.instance.events import read_line
from multiaz.instance.records import DesiredInstance, InstanceEvent, ObservedInstance

_log = logging.getLogger("multiaz.cloud.rds")


def prepare(home: Home, resource_id: str, address: str, identifier: str) -> InstanceHome:
    """Make the folders, and a certificate for the endpoint's address, unless they are there.

    Everything on the way is 0711, because the servers run as another user than root; what is ours is 0600.
    """
    place = home.instance(resource_id)
    for folder in (home.instances, place.folder):
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o777 != 0o711:
            folder.chmod(0o711)
    place.logs.mkdir(mode=0o700, exist_ok=True)
    pki.ensure_server_certificate(home.pki, place.tls, address, identifier)
    return place


def write_desired(place: InstanceHome, desired: DesiredInstance) -> bool:
    """Write `desired.json` and tell the supervisor, if it says something new; True if it did."""
    text = desired.model_dump_json(indent=1)
    try:
        if place.desired.read_text() == text:
            return False
    except FileNotFoundError:
        pass
    write_atomically(place.desired, text)
    holder = lock_holder(place.lock)
    if holder is not None and holder > 0:
        try:
            os.kill(holder, signal.SIGHUP)
        except ProcessLookupError:
            return True
    return True


def read_desired(place: InstanceHome) -> DesiredInstance | None:
    """What `desired.json` says; None if there is none that can be read."""
    try:
        return DesiredInstance.model_validate_json(place.desired.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


class Sight:
    """Reads `observed.json`, and again only when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: tuple[int, int, int] | None = None
        self._observed: ObservedInstance | None = None

    @property
    def last(self) -> ObservedInstance | None:
        """The last observation that was read, also if there is none now: a supervisor that starts removes it."""
        return self._observed

    def look(self) -> ObservedInstance | None:
        """The last observation; None if there is none that can be read."""
        try:
            info = self._path.stat()
        except FileNotFoundError:
            return None
        key = (info.st_ino, info.st_mtime_ns, info.st_size)
        if key != self._key:
            try:
                self._observed = ObservedInstance.model_validate_json(self._path.read_bytes())
            except (FileNotFoundError, ValidationError):
                return None
            self._key = key
        return self._observed


def new_events(place: InstanceHome, seen: int) -> list[InstanceEvent]:
    """Complete lines of `events.jsonl` numbered above `seen`, in order; one that is no event is logged and skipped."""
    try:
        content = place.events.read_bytes()
    except FileNotFoundError:
        return []
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    found: list[InstanceEvent] = []
    for line in reversed(lines):
        event = read_line(line)
        if event is None:
            _log.warning("%s: a line is no event, and is skipped: %.80r", place.events, line)
            continue
        if event.number <= seen:
            break
        found.append(event)
    return found[::-1]


def remove(home: Home, resource_id: str) -> None:
    """Remove everything of an instance, durably."""
    place = home.instance(resource_id)
    for folder in (place.run, place.folder):
        if folder.exists():
            shutil.rmtree(folder)
    if home.instances.is_dir():
        fsync_folder(home.instances)
