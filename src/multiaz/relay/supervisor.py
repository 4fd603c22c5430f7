"""Starts the instance's supervisor again when nobody holds its lock."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen

from multiaz.relay import locks
from multiaz.relay.config import RelayConfig

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 5.0
"""Between two starts; doubled each time, until one has held the lock for `HEALTHY_AFTER_S`. Nobody fails the instance
over meanwhile, so that it must not be long; a start takes half a second of a core."""
HEALTHY_AFTER_S = 10.0

log = logging.getLogger("multiaz.relay")


class SupervisorWatch:
    """Looks at the supervisor's lock; each look is cheap and never waits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: Popen[bytes] | None = None
        self._wait_s = FIRST_WAIT_S
        self._not_before = 0.0
        self._held_since = 0.0
        self._blind = False

    def look(self, config: RelayConfig) -> None:
        """Start the supervisor if its lock is free and the last start is long enough ago."""
        if self._child is not None and self._child.poll() is not None:
            log.info("the supervisor started here ended with %d", self._child.returncode)
            self._child = None
        if not config.supervisor or config.supervisor_lock is None:
            return
        now = time.monotonic()
        try:
            held = locks.is_held(config.supervisor_lock)
        except OSError as error:  # no descriptors: nothing is known, and nothing could be started
            if not self._blind:
                log.error("cannot look at the supervisor's lock: %s", error)
            self._blind = True
            return
        self._blind = False
        if held:
            self._held_since = self._held_since or now
            if now - self._held_since > HEALTHY_AFTER_S:
                self._wait_s = FIRST_WAIT_S
            return
        self._held_since = 0.0
        if now < self._not_before:
            return
        self._not_before = now + self._wait_s
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)
        log.warning("nobody holds the supervisor's lock: starting it")
        try:
            self._child = self._start(config.supervisor)
        except OSError as error:
            log.error("cannot start the supervisor: %s", error)

    def _start(self, argv: tuple[str, ...]) -> Popen[bytes]:
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        output = os.open(logs / "instance.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return Popen(argv, cwd=self._folder, stdin=DEVNULL, stdout=output, stderr=STDOUT, start_new_session=True)
        finally:
            os.close(output)
