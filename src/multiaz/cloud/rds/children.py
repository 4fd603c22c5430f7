"""Processes of a DB instance that the cloud starts and that outlive it: its supervisor, and where that does not, its
relay."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from multiaz.files import lock_holder
from multiaz.home import InstanceHome

RELAY_AFTER_S = 3.0
"""How long a relay's lock is free before the cloud starts one: its supervisor does so within a second."""
LONGEST_RELAY_WAIT_S = 60.0
"""Between two starts of a relay; doubled each time, until one has held the lock."""

_log = logging.getLogger("multiaz.cloud.rds")


class Child:
    """A process this one started. It is to outlive us, so nothing waits for it when we end."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path) -> None:
        with log.open("ab") as output:
            started = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = started.pid
        started.returncode = 0  # from here on we reap it ourselves, if it ends first

    def ended(self) -> bool:
        """True if it has ended; it is reaped then."""
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True


class RelayWatch:
    """Starts the relay of an instance whose supervisor does not, being frozen or unable to start: else nobody reached
    servers that are well. Each look is cheap and never waits."""

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "multiaz.relay")) -> None:
        self._command = command
        self._child: Child | None = None
        self._not_before: float | None = None
        self._wait_s = RELAY_AFTER_S

    def alive(self) -> bool:
        """One that was started here has not ended; reaps it if it has."""
        if self._child is not None and self._child.ended():
            self._child = None
        return self._child is not None

    def look(self, place: InstanceHome, now: float) -> None:
        """Start a relay at `now` (monotonic, s) if there is to be one (`relay.json`), and its lock has been free."""
        starting = self.alive()
        if lock_holder(place.relay_lock) is not None or not place.relay.exists():
            self._not_before, self._wait_s = None, RELAY_AFTER_S
            return
        if self._not_before is None:
            self._not_before = now + self._wait_s
        if starting or now < self._not_before:
            return
        self._wait_s = min(self._wait_s * 2, LONGEST_RELAY_WAIT_S)
        self._not_before = now + self._wait_s
        _log.warning("nobody holds %s: starting the relay", place.relay_lock)
        self._child = Child([*self._command, str(place.folder)], place.folder, place.logs / "relay.log")
