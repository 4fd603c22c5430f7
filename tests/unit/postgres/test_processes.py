"""Whose process is whose: a fence reaches every process of a server, and no other."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from multiaz.errors import NoProgress
from multiaz.postgres import processes as module
from multiaz.postgres.processes import fence, is_doomed, postmaster_pid, processes_in

Working = Callable[[Path], subprocess.Popen[bytes]]


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Working]:
    """Starts a process called postgres that works in a folder and has the postmaster.pid there."""
    begun: list[subprocess.Popen[bytes]] = []
    program = tmp_path / "postgres"
    shutil.copy(shutil.which("sleep") or "sleep", program)

    def begin(folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        begun.append(subprocess.Popen([program, "60"], cwd=folder))
        (folder / "postmaster.pid").write_text(f"{begun[-1].pid}\n{folder}\n")
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.wait()


def move(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))


def remove(data: Path) -> None:
    shutil.rmtree(data)


def replace(data: Path) -> None:
    """Another directory is in its place."""
    move(data)
    data.mkdir()


def leave(_: Path) -> None:
    """It is where it was."""


@pytest.mark.parametrize("what", [leave, move, remove, replace])
def test_fence_reaches_a_server_wherever_its_data_directory_has_gone(
    what: Callable[[Path], None], working: Working, tmp_path: Path
) -> None:
    """A session on it would go on reading after the standby was promoted."""
    data = tmp_path / "data"
    process, other = working(data), working(tmp_path / "other")
    what(data)
    assert postmaster_pid(data) == (process.pid if what is leave else None)
    assert fence(data) == 1
    assert process.wait(5) == -9
    assert processes_in(data) == []
    assert other.poll() is None


def test_program_of_another_name_beside_a_copied_lock_file_is_left_alone(tmp_path: Path) -> None:
    """Somebody looks at a copy of the data directory: a shell, an editor."""
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "postmaster.pid").write_text(f"1\n{tmp_path / 'data'}\n")
    with subprocess.Popen(["sleep", "60"], cwd=copy) as looking:
        try:
            assert processes_in(tmp_path / "data") == []
            assert processes_in(copy) == [looking.pid]
        finally:
            looking.kill()


KILLED, TERMINATED, NOTHING = "0000000000000100", "0000000000004000", "0000000000000000"
RUNS, ENDS = 0x400100, 0x400104
"""Flags of a process; the second has PF_EXITING."""


@pytest.mark.parametrize(
    ("state", "flags", "thread", "process", "doomed"),
    [
        ("D (disk sleep)", RUNS, KILLED, NOTHING, True),
        ("D (disk sleep)", RUNS, NOTHING, KILLED, True),
        ("D (disk sleep)", RUNS, NOTHING, NOTHING, False),
        ("D (disk sleep)", RUNS, NOTHING, TERMINATED, False),
        ("R (running)", RUNS, NOTHING, KILLED, False),
        ("S (sleeping)", RUNS, NOTHING, KILLED, False),
        ("T (stopped)", RUNS, NOTHING, KILLED, False),
        ("D (disk sleep)", ENDS, NOTHING, NOTHING, True),
        ("S (sleeping)", ENDS, NOTHING, KILLED, True),
    ],
)
def test_only_what_ends_or_was_killed_while_it_waits_in_the_kernel_is_doomed(
    state: str, flags: int, thread: str, process: str, doomed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything else with SIGKILL pending may still run for an instant, and without it may go on at any moment."""
    (tmp_path / "7").mkdir()
    told = f"Name:\tpostgres: x\nState:\t{state}\nSigPnd:\t{thread}\nShdPnd:\t{process}\n"
    (tmp_path / "7" / "status").write_text(told)
    (tmp_path / "7" / "stat").write_text(f"7 (a ) b) {state[0]} 1 7 7 0 -1 {flags} 0 0 0 0\n")
    monkeypatch.setattr(module, "_PROC", tmp_path)
    assert is_doomed(7) is doomed
    assert not is_doomed(8)


def test_a_living_process_is_not_doomed_and_a_dead_one_neither(working: Working, tmp_path: Path) -> None:
    """As the kernel of this machine tells it: the field that says so is where we read it."""
    process = working(tmp_path / "data")
    assert not is_doomed(process.pid)
    process.kill()
    process.wait()
    assert not is_doomed(process.pid)


@dataclass
class Stuck:
    """Processes of one server that survive SIGKILL, told by pid; those of `doomed` are doomed."""

    pids: list[int]
    doomed: set[int]
    killed: list[int] = field(default_factory=list)


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Stuck:
    made = Stuck([11, 12], {11, 12})

    def kill(pid: int, _: Path, number: int, *, keep: bool = False) -> None:
        if number == signal.SIGKILL:
            made.killed.append(pid)

    monkeypatch.setattr(module, "postmaster_pid", lambda _: None)
    monkeypatch.setattr(module, "processes_in", lambda _: list(made.pids))
    monkeypatch.setattr(module, "is_doomed", lambda pid: pid in made.doomed)
    monkeypatch.setattr(module, "_signal", kill)
    monkeypatch.setattr(module, "DOOMED_PATIENCE_S", 0.0)
    return made


def test_what_is_doomed_is_fenced_for_those_who_take_over(stuck: Stuck, tmp_path: Path) -> None:
    assert fence(tmp_path, doomed_will_do=True) == 2
    assert stuck.killed == [11, 12]


def test_what_is_doomed_is_not_gone_for_those_who_would_touch_its_files(stuck: Stuck, tmp_path: Path) -> None:
    """And nobody waits the whole patience for it: its disk may never answer."""
    with pytest.raises(NoProgress, match="stuck in the kernel"):
        fence(tmp_path, patience_s=3600.0)


def test_one_that_is_not_doomed_is_not_fenced(stuck: Stuck, tmp_path: Path) -> None:
    stuck.doomed = {11}
    with pytest.raises(NoProgress, match="survive SIGKILL"):
        fence(tmp_path, patience_s=0.0, doomed_will_do=True)


def test_one_that_came_while_others_were_killed_is_killed_too(
    stuck: Stuck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def born(_: list[int], __: float) -> None:
        if 13 not in stuck.killed:
            stuck.pids = [11, 12, 13]
        else:
            stuck.doomed = {11, 12, 13}

    monkeypatch.setattr(module, "_wait_for_exit", born)
    assert fence(tmp_path, doomed_will_do=True) == 3


@pytest.mark.parametrize(("number", "broken"), [(errno.EIO, True), (errno.ESTALE, True), (errno.EMFILE, False)])
def test_storage_that_gives_errors_has_no_server_and_our_own_trouble_proves_nothing(
    number: int, broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor ended at the first, and so did the next one: nobody was promoted."""

    def fails(*_: object, **__: object) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_text", fails)
    if broken:
        assert postmaster_pid(tmp_path) is None
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            postmaster_pid(tmp_path)
