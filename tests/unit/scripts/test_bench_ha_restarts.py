"""A primary that is started again in place has steps of its own."""

from __future__ import annotations

import os
from pathlib import Path

from ha.figures import split
from ha.restarts import decision, latest

LOG = """\
2026-11-26T12:35:07.900Z INFO recovering [recover] the primary is down and is being started
2026-11-26T12:35:10.015Z INFO failing-over [take_over] the primary died
2026-11-26T12:35:10.316Z INFO recovering [recover] the primary is down and is being started
2026-11-26T12:35:10.404Z INFO recovering [awaken] the primary is starting
2026-11-26T12:35:10.493Z WARNING rejoin of b failed after 0.30 s: the primary is being started
2026-11-26T12:35:11.000Z INFO recovering [recover] the primary waits: its disk is full
"""
DECIDED = 1795696510.316


def told(folder: Path, status: str, written: float, log: str = LOG) -> dict[str, object] | None:
    (folder / "instance.log").write_text(log)
    pid_file = folder / "postmaster.pid"
    pid_file.write_text("\n".join(["4711", "/data", "1795696510", "5432", "/run", "", "  1  2", f"{status:8}"]) + "\n")
    os.utime(pid_file, (written, written))
    return latest(folder / "instance.log", folder)


def test_a_restart_is_from_its_latest_decision_until_the_server_takes_clients(tmp_path: Path) -> None:
    assert told(tmp_path, "ready", DECIDED + 0.2) == {
        "cause": "the primary is down and is being started", "detected": DECIDED, "restarted": DECIDED + 0.2,
    }  # fmt: skip


def test_a_restart_that_is_not_over_tells_nothing(tmp_path: Path) -> None:
    assert told(tmp_path, "starting", DECIDED + 0.2) is None
    assert told(tmp_path, "ready", DECIDED - 1) is None, "of the start before"


def test_without_a_restart_or_a_server_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert told(tmp_path, "ready", DECIDED, LOG.splitlines()[1]) is None
    assert latest(tmp_path / "instance.log", tmp_path / "gone") is None
    assert latest(tmp_path / "gone.log", tmp_path) is None
    assert decision("") is None


def test_its_steps_are_detect_restart_and_first_commit() -> None:
    steps = split(10.0, {"detected": 10.1, "restarted": 10.25}, 10.35)
    assert steps is not None
    assert {step: round(seconds, 3) for step, seconds in steps.items()} == {
        "detect": 0.1, "restart": 0.15, "first commit": 0.1,
    }  # fmt: skip
