"""Takes the CPU away from processes, and from no others: a control group of the kernel with a limit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import eventually

_ROOT = Path("/sys/fs/cgroup")
_FIRST = _ROOT / "cpu"
"""Of the first version. Source: kernel documentation, "CFS Bandwidth Control"."""
PERIOD_US = 1_000_000
"""The longest there is: what is used up is not had again before the next second."""


class CpuGroup:
    """Its processes, and those they start, have a share of one CPU together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def limit(self, share: float) -> None:
        """`share` of one CPU from now on."""
        quota_us = round(share * PERIOD_US)
        if (self.folder / "cpu.max").exists():
            (self.folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota_us))

    def lift(self) -> None:
        """As much as they can get."""
        if (self.folder / "cpu.max").exists():
            (self.folder / "cpu.max").write_text("max")
        else:
            (self.folder / "cpu.cfs_quota_us").write_text("-1")

    def take(self, pids: Iterable[int]) -> None:
        """These belong to it from now on."""
        _move(pids, self.folder)

    def end(self) -> None:
        """Let its processes go where they were; they go on. One may start another meanwhile, or be about to end."""
        eventually(f"{self.folder} is gone", self._gone)

    def _gone(self) -> bool:
        _move(map(int, (self.folder / "cgroup.procs").read_text().split()), self.folder.parent)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        return not self.folder.exists()


def _move(pids: Iterable[int], folder: Path) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            (folder / "cgroup.procs").write_text(str(pid))


@contextlib.contextmanager
def cpu_group() -> Iterator[CpuGroup | None]:
    """A group without a limit; None where this user may make none."""
    parent = _FIRST if _FIRST.is_dir() else _ROOT
    group = CpuGroup(parent / f"multiaz-{os.getpid()}")
    try:
        group.folder.mkdir()
    except OSError:
        yield None
        return
    try:
        group.limit(1)
        group.lift()
    except OSError:  # the controller is not handed on to groups here
        group.folder.rmdir()
        yield None
        return
    try:
        yield group
    finally:
        group.lift()
        group.end()
