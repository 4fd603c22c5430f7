"""Processes of a folder: found by where they work, killed, frozen; nothing of a bench outlives it. Linux only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

PREFIX = "mazha-"
OWNER = "bench.pid"


def working_in(folders: Iterable[Path]) -> list[int]:
    """Pids of live processes whose working directory is one of the folders or below it."""
    roots = [os.path.realpath(folder) for folder in folders]
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            where = os.readlink(f"/proc/{entry.name}/cwd").removesuffix(" (deleted)")  # noqa: PTH115
        except OSError:
            continue
        if any(where == root or where.startswith(root + "/") for root in roots):
            found.append(int(entry.name))
    return found


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def postmaster(data: Path) -> int | None:
    """Pid of the live postmaster of a data directory; None if it has none."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        where = os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115
    except (OSError, ValueError):
        return None
    return pid if where == os.path.realpath(data) else None


def server_processes(data: Path) -> list[int]:
    """Pids of one server, its postmaster first: frozen first, it notices nothing of the others' fate."""
    first = postmaster(data)
    return sorted(working_in([data]), key=lambda pid: pid != first)


class KeptDown:
    """Kills whatever server starts in the given data directories, until it is healed."""

    def __init__(self, datas: Iterable[Path]) -> None:
        self._datas = list(datas)
        self._healed = threading.Event()
        pids = [pid for data in self._datas for pid in server_processes(data)]
        signal_all(pids, signal.SIGSTOP)  # all at once: none sees another die
        signal_all(pids, signal.SIGKILL)
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._healed.wait(0.005):
            for data in self._datas:
                if (pid := postmaster(data)) is not None:
                    signal_all([pid], signal.SIGKILL)

    def heal(self) -> None:
        """Let servers start again."""
        self._healed.set()
        self._thread.join()


def make_base() -> Path:
    """A folder every user can enter, named after us; what a killed run left is removed first."""
    remove_leftovers()
    base = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    base.chmod(0o755)
    (base / OWNER).write_text(str(os.getpid()))
    return base


def remove_base(base: Path) -> list[int]:
    """End every process that works below `base`, remove it, and return the pids: there should be none."""
    ended: set[int] = set()
    deadline = time.monotonic() + 20
    while (pids := working_in([base])) and time.monotonic() < deadline:
        ended.update(pids)
        signal_all(pids, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(base, ignore_errors=True)
    return sorted(ended)


def remove_leftovers() -> None:
    """Remove the folders, and the processes in them, of runs that were killed."""
    for base in Path("/tmp").glob(f"{PREFIX}*"):
        try:
            owner = int((base / OWNER).read_text())
        except (OSError, ValueError):
            continue
        if not Path(f"/proc/{owner}").exists():
            print(f"removing {base}, left by a run that was killed", flush=True)
            remove_base(base)
