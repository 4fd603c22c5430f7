"""The log of the endpoint process: its standard output, bounded in speed."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

LINES_A_SECOND = 20
"""Above this, lines about single clients are counted instead of written: no client can fill the disk."""


class Brake(logging.Filter):
    """Lets at most `LINES_A_SECOND` lines pass in each second; warnings and errors always pass."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._second = 0
        self._written = 0
        self._held_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """True if the line may be written; the first of a new second tells how many were not."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._written = second, 0
        if record.levelno < logging.WARNING:
            if self._written >= LINES_A_SECOND:
                self._held_back += 1
                return False
            self._written += 1
        if self._held_back:
            record.msg = f"{record.getMessage()} [{self._held_back} lines before this one were not written]"
            record.args = None
            self._held_back = 0
        return True


def log_to_stdout() -> None:
    """Write the log to standard output, which whoever started this process sends to logs/relay.log."""
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ [%(process)d] %(levelname)s %(message)s")
    formatter.converter = time.gmtime
    formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
    handler.setFormatter(formatter)
    handler.addFilter(Brake())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
