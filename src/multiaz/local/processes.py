"""The processes of a home: those whose working directory lies below it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from multiaz.home import Home

_PROC = Path("/proc")
_SERVER_PROGRAMS = frozenset({"postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_controldata", "pg_ctl"})
_OUR_MODULES = ("multiaz.cloud", "multiaz.instance", "multiaz.relay")


@dataclass(frozen=True)
class HomeProcess:
    """One live process."""

    pid: int
    working_directory: str
    command: str
    """Program and arguments, as ps shows them."""
    role: str
    """"cloud", "instance", "relay", a PostgreSQL program's name, or "" for somebody else's."""

    @property
    def ours(self) -> bool:
        """We started it, directly or through a server; a shell that stands in the home is not ours."""
        return bool(self.role)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "pid": self.pid,
            "working_directory": self.working_directory,
            "command": self.command,
            "role": self.role or None,
        }

    def as_text(self) -> str:
        """For people."""
        return f"{self.pid} {self.command or '?'}"


@dataclass(frozen=True)
class HomeProcesses:
    """What was found; `complete` is False where this system does not tell working directories."""

    found: tuple[HomeProcess, ...]
    complete: bool

    @property
    def ours(self) -> tuple[HomeProcess, ...]:
        """Those that belong to the local cloud."""
        return tuple(process for process in self.found if process.ours)


def processes(home: Home) -> HomeProcesses:
    """All live processes with a working directory below `home`, but this one. Needs /proc (Linux)."""
    if not (_PROC / "self" / "cwd").exists():
        return HomeProcesses((), complete=False)
    return HomeProcesses(tuple(_below(os.path.realpath(home.root))), complete=True)


def _below(root: str) -> Iterator[HomeProcess]:
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        where = working_directory(int(entry.name))
        if where is not None and (where == root or where.startswith(root + "/")):
            arguments = _arguments(int(entry.name))
            yield HomeProcess(int(entry.name), where, " ".join(arguments), _role(int(entry.name), arguments))


def working_directory(pid: int) -> str | None:
    """Working directory of a live process; None for a zombie, or if it cannot be told."""
    try:
        # A folder that was removed since reads "... (deleted)"; Path would not mind, people would.
        return os.readlink(_PROC / str(pid) / "cwd").removesuffix(" (deleted)")  # noqa: PTH115
    except OSError:
        return None


def _arguments(pid: int) -> list[str]:
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return raw.rstrip(b"\0").decode(errors="replace").split("\0")


def _role(pid: int, arguments: list[str]) -> str:
    for flag, module in pairwise(arguments):
        if flag == "-m" and module in _OUR_MODULES:
            return module.removeprefix("multiaz.")
    try:
        program = (_PROC / str(pid) / "exe").readlink().name.removesuffix(" (deleted)")
    except OSError:
        return ""
    return program if program in _SERVER_PROGRAMS else ""


def send(home: Home, pid: int, number: signal.Signals) -> None:
    """Signal `pid` if it lives and is of `home`: a lock's file holds an old pid for a moment, when it is taken."""
    where = working_directory(pid)
    below = where is not None and Path(where).is_relative_to(home.root.resolve())
    known = below or any("multiaz" in argument for argument in _arguments(pid))
    if not known and (_PROC / "self" / "cwd").exists():
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def postmasters(home: Home) -> dict[int, Path]:
    """Pid and data directory of each live PostgreSQL server of `home`, from their pid files."""
    found: dict[int, Path] = {}
    for file in home.instances.glob("*/*/data/postmaster.pid"):
        try:
            pid = int(file.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            continue
        if _works_in(pid, file.parent):
            found[pid] = file.parent
    return found


def _works_in(pid: int, data: Path) -> bool:
    """A pid file may outlive its server, and the pid may be another's by now."""
    if (_PROC / "self" / "cwd").exists():
        return working_directory(pid) == os.path.realpath(data)
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def written_bytes(pid: int) -> int:
    """Bytes a process has caused to be written; 0 if that cannot be told."""
    try:
        for line in (_PROC / str(pid) / "io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    except OSError:
        return 0
    return 0


def is_stopped(pid: int) -> bool:
    """It got SIGSTOP (or a debugger holds it) and does nothing; False where that cannot be told."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def stopped_at(place: Path) -> tuple[int, ...]:
    """Pids of our stopped processes that work in `place` or below: the folder of a DB instance, or of a whole home,
    there without those of its instances."""
    root = os.path.realpath(place)
    instances = Home(Path(root)).instances
    return tuple(
        process.pid
        for process in _below(root)
        if process.ours and is_stopped(process.pid) and not Path(process.working_directory).is_relative_to(instances)
    )


def processor_ticks(pid: int) -> int:
    """Processor time a process has used, in clock ticks; 0 if that cannot be told."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
