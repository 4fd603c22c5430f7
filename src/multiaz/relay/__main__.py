"""`python -m multiaz.relay <instance folder>`: the endpoint process of one DB instance."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop

from multiaz.relay import locks
from multiaz.relay.logs import log_to_stdout
from multiaz.relay.server import Relay

USAGE = 2
MANY = 65_536


def main(arguments: list[str]) -> int:
    """Serve the DB instance whose folder is the one argument; 0 also if another process does."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m multiaz.relay <instance folder>\n")
        return USAGE
    folder = Path(arguments[0]).absolute()
    log_to_stdout()
    log = logging.getLogger("multiaz.relay")
    try:
        os.chdir(folder)
    except OSError as error:
        log.error("cannot serve %s: %s", folder, error.strerror)
        return 1
    if not (folder / "relay.json").exists():
        log.info("there is no relay.json: nothing to serve")
        return 0
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # whoever sees the lock may send it before the loop handles it
    lock = locks.hold(folder / "relay.lock")
    if lock is None:
        log.info("another process serves this DB instance")
        return 0
    _allow_many_descriptors()
    uvloop.run(Relay(folder).run())
    return 0


def _allow_many_descriptors() -> None:
    """Each session takes two descriptors; the usual soft limit of 1024 is too low for a pool."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY if hard == resource.RLIM_INFINITY else min(hard, MANY)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
