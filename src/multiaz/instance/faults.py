"""`faults.json` as the supervisor reads it: what somebody breaks on purpose, by `multiaz fault`.

It is written by `local`, which imports nothing of ours: the two meet in this file, as cloud and supervisor meet in
`desired.json`. What cannot be read is told in the log, and what was read last stays in force.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from multiaz.instance.records import MemberName, Record

log = logging.getLogger("multiaz.instance")


class FrozenProcess(Record):
    """A process that was stopped (SIGSTOP); for whoever heals."""

    pid: int
    started: int
    """Its start time in clock ticks since the machine's boot: another process of this pid has another one."""


class Fault(Record):
    """One active fault. What it does to the supervisor is said by the fields, not by its kind."""

    kind: str
    since: float
    """Unix time in seconds."""
    why: str
    """What is broken, in a sentence for people."""
    arguments: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """What was asked for; for people."""
    held: tuple[MemberName, ...] = ()
    """Members that must not run."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Laid over the parameters of every member."""
    frozen: tuple[FrozenProcess, ...] = ()


class Faults(Record):
    """The content of `faults.json`."""

    version: int = Field(default=1, ge=1, le=1)
    faults: tuple[Fault, ...] = ()

    def held(self, member: MemberName) -> str | None:
        """Why this member must not run; None if nothing holds it down."""
        return next((fault.why for fault in self.faults if member in fault.held), None)

    def parameters(self) -> Mapping[str, str]:
        """What is laid over the wanted parameters; a later fault wins."""
        return {name: value for fault in self.faults for name, value in fault.parameters.items()}


class FaultFile:
    """Reads `faults.json`, and again only when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key: tuple[int, int] | None = None
        self._faults = Faults()

    def read(self) -> Faults:
        """The faults in force: none without the file, the last ones read while it cannot be read."""
        try:
            info = self._path.stat()
            key = (info.st_ino, info.st_mtime_ns)
            if key == self._key:
                return self._faults
            self._key = key
            self._faults = Faults.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            self._key, self._faults = None, Faults()
        except (OSError, ValidationError) as error:
            log.error("faults.json cannot be read, what it said before stays in force: %s", error)
        else:
            log.warning("faults in force: %s", "; ".join(fault.why for fault in self._faults.faults) or "none")
        return self._faults
