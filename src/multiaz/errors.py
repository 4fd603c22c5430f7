"""The one base class of every error a person may meet, and every exit code.

An error says what could not be done, why, and what to do next. Anything else that reaches the
top of a command is a bug of ours and leaves with `ExitCode.BUG`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `multiaz`, documented in the README; a number never changes its meaning."""

    OK = 0
    FAILED = 1
    """What was asked could not be done; the message says why."""
    USAGE = 2
    """The command line is wrong (typer's own code)."""
    BAD_INPUT = 3
    """A setting, parameter or template is refused before anything was changed."""
    CONFIRM = 4
    """The command destroys something and was neither confirmed nor given --yes."""
    NOT_FOUND = 5
    """The stack, instance or local cloud that was named is not there."""
    CONFLICT = 6
    """A port, lock or data folder is held by something else; nothing was touched."""
    MISSING = 7
    """Something this machine must have (PostgreSQL, a library, a permission) is missing."""
    TIMEOUT = 8
    """No progress was seen for the stated time; the operation may still finish."""
    BUG = 70
    """Not your fault: an error multiaz did not foresee. The message names the log."""


class MultiazError(Exception):
    """Base of all foreseen errors: `what` failed, `why`, and the `next_step` a person can take.

    `exit_code` is what the command leaves with; `retryable` says whether the same call may
    succeed later without anything being changed first.
    """

    exit_code: ExitCode = ExitCode.FAILED
    retryable: bool = False

    def __init__(self, what: str, why: str, next_step: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why
        self.next_step = next_step

    def as_dict(self) -> dict[str, object]:
        """The JSON form of the error, the same for every command with --json."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "why": self.why,
            "next": self.next_step,
            "exit_code": int(self.exit_code),
            "retryable": self.retryable,
        }

    def as_text(self) -> str:
        """The three lines a person reads."""
        return f"{self.what}\n  cause: {self.why}\n  next:  {self.next_step}"


class BadInput(MultiazError):
    """A value is refused before anything was changed."""

    exit_code = ExitCode.BAD_INPUT


class NotConfirmed(MultiazError):
    """Something would be destroyed and nobody said yes."""

    exit_code = ExitCode.CONFIRM


class NotFound(MultiazError):
    """What was named does not exist."""

    exit_code = ExitCode.NOT_FOUND


class Conflict(MultiazError):
    """Something else holds what is needed."""

    exit_code = ExitCode.CONFLICT


class Missing(MultiazError):
    """This machine lacks something."""

    exit_code = ExitCode.MISSING


class NoProgress(MultiazError):
    """Nothing moved for as long as we were willing to wait."""

    exit_code = ExitCode.TIMEOUT
    retryable = True
