"""Whether a server's processes move: their state and time on the CPU, from /proc. Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from multiaz.postgres.processes import processes_in

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Pulse:
    """One process (or thread) at one moment. Source: proc(5), `stat` and `schedstat`."""

    state: str
    """R runs or could run, S sleeps, D waits in the kernel (mostly for a disk), T and t are stopped by a signal."""
    ran_ns: int
    """Time on a CPU since it began."""
    waited_ns: int = 0
    """Time it could have run and got no CPU; counted when it gets one. 0 where the kernel does not count it."""
    began_s: float = 0.0
    """When it began, in seconds of CLOCK_BOOTTIME; to a hundredth."""


def pulse_of(pid: int, thread: int | None = None) -> Pulse | None:
    """The pulse of a process, or of one of its threads; None if it is gone."""
    folder = _PROC / str(pid) if thread is None else _PROC / str(pid) / "task" / str(thread)
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None
    if len(fields) < 20:
        return None
    ran_ns, waited_ns = int((int(fields[11]) + int(fields[12])) * _TICK_S * 1e9), 0
    try:
        ran, waited, _ = (folder / "schedstat").read_text().split()
        ran_ns, waited_ns = int(ran), int(waited)
    except (OSError, ValueError):
        pass  # a kernel without CONFIG_SCHED_INFO: hundredths of a second must do
    return Pulse(fields[0], ran_ns, waited_ns, int(fields[19]) * _TICK_S)


def pulses_of_server(postmaster: int, data: Path) -> dict[int, Pulse]:
    """The pulses of a server's live processes, the postmaster's among them."""
    try:
        children = (_PROC / str(postmaster) / "task" / str(postmaster) / "children").read_text().split()
        pids = [postmaster, *map(int, children)]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        pids = processes_in(data)
    found = ((pid, pulse_of(pid)) for pid in pids)
    return {pid: pulse for pid, pulse in found if pulse is not None and pulse.state not in "ZX"}


def title_of(pid: int) -> str:
    """What PostgreSQL calls the process ("checkpointer"), for people."""
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace").strip()
    except OSError:
        return "a process"
    if not words.startswith("postgres: "):
        return "the postmaster"
    return f"its {words.removeprefix('postgres: ').rpartition(': ')[2]}"[:60].strip()
