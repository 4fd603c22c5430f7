"""An error nobody foresaw: written to a log, and told as our fault."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from multiaz.errors import ExitCode, MultiazError
from multiaz.home import Home


class Bug(MultiazError):
    """An error of multiaz itself."""

    exit_code = ExitCode.BUG


class Interrupted(MultiazError):
    """The person stopped the command."""

    exit_code = ExitCode.FAILED
    retryable = True


INTERRUPTED_CODE = 130
"""128 + SIGINT, as shells count."""


def bug(error: BaseException, arguments: Sequence[str]) -> Bug:
    """What to tell about `error`; its traceback is in a log when this returns."""
    text = "".join(traceback.format_exception(error))
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    entry = f"{stamp} multiaz {' '.join(arguments)}\nPython {sys.version}\n{text}\n"
    where = _append(entry)
    return Bug(
        "multiaz failed in a way it did not foresee: this is a bug of ours",
        f"{type(error).__name__}: {error}",
        f"please report it with the log {where}" if where else f"please report it:\n{text}",
    )


def _append(entry: str) -> Path | None:
    """The log the entry was added to: in the home if there is one, else in the temporary folder."""
    candidates = [Path(tempfile.gettempdir()) / f"multiaz-{os.geteuid()}.log"]
    logs = Home.default().logs
    if logs.is_dir():
        candidates.insert(0, logs / "cli.log")
    for path in candidates:
        try:
            # O_NOFOLLOW: in a folder of everybody's the name may be somebody's trap.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w") as log:
                log.write(entry)
        except OSError:
            continue
        return path
    return None
