"""The streams a command begins with, and what it means when one of them cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

from multiaz.errors import ExitCode, MultiazError

_LACKS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Reasons of the place written to, not of the program."""


class NotWritten(MultiazError):
    """Output did not get where it was sent."""

    exit_code = ExitCode.FAILED


def prepare() -> None:
    """Make the three streams fit for use. Raises NotWritten if stdout is closed: no result could be told.

    A closed number is opened on /dev/null, for else the next file that is opened would get it and be written to.
    A letter the terminal's encoding lacks, or a file name that is no text, is written as an escape.
    """
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for number in closed:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:  # pragma: no cover - numbers are given from the lowest
            os.dup2(opened, number)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the whole run
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    if sys.stdout is None or 1 in closed:
        raise NotWritten("Cannot tell the result", "stdout is closed", "leave it open, or send it to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # somebody put another stream in its place
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def not_written(error: OSError) -> NotWritten | None:
    """What to say of a write that failed for want of space; None if the error is of another kind."""
    if error.errno not in _LACKS:
        return None
    where = f" {error.filename}" if error.filename else ""
    return NotWritten(
        f"Cannot write{where}",
        (error.strerror or str(error)).lower(),
        "make room where stdout goes, and in the folder MULTIAZ_HOME names; then repeat the command",
    )


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
