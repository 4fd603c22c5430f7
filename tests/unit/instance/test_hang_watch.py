"""A server that starts is looked into by its processes: real ones, that have a server's titles and do nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from multiaz.instance import hangs
from multiaz.instance.hangs import HangWatch
from multiaz.instance.progress import ANSWERS, HANG_AFTER_S, STUCK_IO_AFTER_S, Question, Verdict, Watch, judge_start
from multiaz.postgres.pulse import Pulse

MADE = """
for title in startup checkpointer "background writer"; do
    (exec -a "postgres: multiaz_a: $title recovering 000000010000000000000001" sleep 600) &
    echo $!
done
wait
"""


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[HangWatch, int, dict[str, int]]]:
    """A watch, the postmaster's pid, and those of its children by their first word."""
    path = SimpleNamespace(pending=None, poke=lambda: None, stop=lambda: None, unheard="", answered_at=0.0)
    monkeypatch.setattr(hangs, "PathProbe", lambda _: path)
    process = subprocess.Popen(["bash", "-c", MADE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    children = {name: int(process.stdout.readline()) for name in ("startup", "checkpointer", "background")}
    for pid in children.values():
        while not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"postgres: "):
            os.sched_yield()  # it has not yet become what it is to be
    server: Any = SimpleNamespace(data=Path("/nowhere"))
    probe: Any = SimpleNamespace(asked=None)
    yield HangWatch(server, probe), process.pid, children
    for pid in children.values():
        os.kill(pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def verdict_after(watch: HangWatch, postmaster: int, seconds: float) -> Verdict:
    """Of looks five times a second (attended time, so that nobody waits)."""
    verdict = ANSWERS
    for number in range(int(seconds * 5) + 1):
        verdict = watch.look(number / 5, postmaster, None, starting=True)
    return verdict


@pytest.mark.parametrize(
    ("stopped", "hung"), [("startup", True), ("checkpointer", True), ("background", False), (None, False)]
)
def test_server_that_starts_hangs_if_one_its_start_waits_on_is_stopped(
    starting: tuple[HangWatch, int, dict[str, int]], stopped: str | None, hung: bool
) -> None:
    watch, postmaster, children = starting
    if stopped is not None:
        os.kill(children[stopped], signal.SIGSTOP)
        _until_stopped(children[stopped])
    verdict = verdict_after(watch, postmaster, 2 * HANG_AFTER_S)
    assert verdict.hung is hung
    if hung:
        assert f"its {stopped}" in verdict.why
        assert verdict.culprit == children[str(stopped)]


def _until_stopped(pid: int) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()


def test_server_that_starts_hangs_if_one_request_to_the_disk_does_not_end() -> None:
    stuck, ends = Watch(Question(0, 1), 0.0), Watch(Question(0, 1), 0.0)
    for second in range(int(STUCK_IO_AFTER_S) + 2):
        stuck = stuck.after(second, {2: Pulse("D", 5)}, None)
        ends = ends.after(second, {2: Pulse("D", second)}, None)
    now = STUCK_IO_AFTER_S + 1
    assert judge_start(stuck, [2], now).culprit == 2
    assert not judge_start(ends, [2], now).hung
    assert not judge_start(stuck, [], now).hung, "the start does not wait on it"


def test_server_that_starts_and_sleeps_is_not_judged() -> None:
    """A standby's startup process sleeps until there is WAL; recovery may take any time."""
    watch = Watch(Question(0, 1), 0.0)
    for second in range(100):
        watch = watch.after(second, {2: Pulse("S", 5)}, None)
    assert not judge_start(watch, [2], 100).hung


def test_server_that_was_told_to_stop_by_somebody_else_is_given_a_second(
    starting: tuple[HangWatch, int, dict[str, int]],
) -> None:
    watch, postmaster, _ = starting
    assert not watch.look(0.0, postmaster, None, stopping_unasked=True).hung
    assert not watch.look(HANG_AFTER_S / 2, postmaster, None, stopping_unasked=True).hung
    assert watch.look(HANG_AFTER_S, postmaster, None, stopping_unasked=True).hung
    assert not watch.look(HANG_AFTER_S, postmaster, None).hung
