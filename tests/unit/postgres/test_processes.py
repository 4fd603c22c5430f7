"""Whose process is whose: a fence reaches every process of a server, and no other."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("state", "thread", "process", "doomed"),
    [
        ("D (disk sleep)", KILLED, NOTHING, True),
        ("D (disk sleep)", NOTHING, KILLED, True),
        ("D (disk sleep)", NOTHING, NOTHING, False),
        ("D (disk sleep)", NOTHING, TERMINATED, False),
        ("R (running)", NOTHING, KILLED, False),
        ("S (sleeping)", NOTHING, KILLED, False),
        ("T (stopped)", NOTHING, KILLED, False),
    ],
)
def test_only_what_was_killed_while_it_waits_in_the_kernel_is_doomed(
    state: str, thread: str, process: str, doomed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything else with SIGKILL pending may still run for an instant, and without it may go on at any moment."""
    (tmp_path / "7").mkdir()
    told = f"Name:\tpostgres: x\nState:\t{state}\nSigPnd:\t{thread}\nShdPnd:\t{process}\n"
    (tmp_path / "7" / "status").write_text(told)
    monkeypatch.setattr(module, "_PROC", tmp_path)
    assert is_doomed(7) is doomed
    assert not is_doomed(8)
