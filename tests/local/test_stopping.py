"""Everything of a home ends, whoever is still alive, and only a home is ever removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from multiaz.errors import NoProgress, NotFound
from multiaz.files import lock_holder
from multiaz.home import Home
from multiaz.local import processes, remove, status, stop
from multiaz.local.marker import plan_marker, prepare_folder, record_marker
from multiaz.local.status import ServerStatus
from multiaz.postgres.config import ServerSettings
from multiaz.postgres.installations import find_installation
from multiaz.postgres.os_user import server_user
from multiaz.postgres.server import Server

Eventually = Callable[..., object]

SUPERVISOR = """
import signal, sys, time
from pathlib import Path
from multiaz.files import ProcessLock
lock = ProcessLock(Path("instance.lock"))
assert lock.acquire()
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1) if sys.argv[1] == "good" else None)
while not ended:
    time.sleep(0.01)
"""


@pytest.fixture
def home(home_folder: Path) -> Home:
    home = Home(home_folder)
    prepare_folder(home, port=None, port_base=None)
    record_marker(home, plan_marker(home, port=None, port_base=None))
    home.instances.mkdir(mode=0o711)
    return home


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for child in started:
        child.kill()
        child.wait()


def supervise(home: Home, name: str, behaviour: str = "good") -> subprocess.Popen[bytes]:
    instance = home.instance(name)
    instance.folder.mkdir(mode=0o711)
    return subprocess.Popen([sys.executable, "-c", SUPERVISOR, behaviour], cwd=instance.folder, start_new_session=True)


@pytest.fixture
def server(home: Home) -> Iterator[Server]:
    """A real server nobody supervises, as after kill -9 of everything of ours."""
    instance = home.instance("db-ORPHAN")
    instance.folder.mkdir(mode=0o711)
    bin_folder = find_installation(home.postgres, 17).bin_folder
    made = Server("a", bin_folder, instance.member("a"), instance.socket_folder("a"), server_user())
    home.run_folder.mkdir(exist_ok=True, mode=0o711)
    instance.run.mkdir(exist_ok=True, mode=0o711)
    made.make_folders()
    made.initialise()
    made.configure(ServerSettings("a", made.socket_folder, made.log_folder, {"shared_buffers": "16MB"}))
    process = made.start()
    made.wait_until_ready(process)
    yield made
    made.stop(immediate=True)
    process.wait()


def test_supervisors_are_told_and_waited_for(
    home: Home, children: list[subprocess.Popen[bytes]], eventually: Eventually
) -> None:
    for name in ("db-A", "db-B"):
        children.append(supervise(home, name))
    eventually(lambda: all(lock_holder(home.instance(name).lock) for name in ("db-A", "db-B")), "both supervise")
    assert [instance.supervisor for instance in status(home).instances] == [child.pid for child in children]
    stopped = stop(home)
    assert stopped.instances == ("db-A", "db-B")
    assert [child.wait(5) for child in children] == [0, 0]
    assert (home.instances / "db-A").exists(), "stopping keeps everything"
    assert stop(home).instances == ()


def test_databases_may_go_on(home: Home, children: list[subprocess.Popen[bytes]], eventually: Eventually) -> None:
    children.append(supervise(home, "db-A"))
    eventually(lambda: lock_holder(home.instance("db-A").lock), "it supervises")
    assert stop(home, databases=False).running == ("db-A",)
    assert children[0].poll() is None


def test_who_does_not_end_is_named(
    home: Home, children: list[subprocess.Popen[bytes]], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiaz.local.stopping.STOPPING_WITHOUT_PROGRESS_S", 0.3)
    children.append(supervise(home, "db-A", "stubborn"))
    pid = eventually(lambda: lock_holder(home.instance("db-A").lock), "it supervises")
    with pytest.raises(NoProgress, match=str(pid)):
        stop(home)
    with pytest.raises(NoProgress):
        remove(home)
    assert home.marker.exists()
    assert (home.instances / "db-A").exists(), "nothing is deleted under a living process"


def test_an_orphaned_server_is_shut_down_cleanly(home: Home, server: Server) -> None:
    """After kill -9 of supervisor and relay nobody else would stop it."""
    with server.connect("postgres") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    found, pid = status(home), server.pid()
    assert pid is not None
    told = {"identifier": "shop", "zones": {"a": "eu-north-1a", "b": "eu-north-1b"}}
    assert [instance.servers for instance in found.instances] == [(ServerStatus(pid, "a", None, None),)]
    orphan = home.instance("db-ORPHAN")
    orphan.desired.write_text(json.dumps(told))
    for primary, following, role in (("a", False, "primary"), ("b", False, "standby"), ("a", True, "replica")):
        orphan.role.write_text(json.dumps({"primary": primary, "following": following}))
        assert status(home).instances[0].servers == (ServerStatus(pid, "a", role, "eu-north-1a"),)
    for damaged in ("[", "[]", '{"zones": 1}'):
        orphan.desired.write_text(damaged)
        orphan.role.write_text(damaged)
        assert status(home).instances[0].servers == (ServerStatus(pid, "a", None, None),)
    assert {process.role for process in found.processes.ours} == {"postgres"}
    assert stop(home).instances == ("db-ORPHAN",)
    assert server.pid() is None
    assert server.control()["Database cluster state"] == "shut down", "not killed: nothing to recover"
    process = server.start()
    server.wait_until_ready(process)
    with server.connect("postgres") as connection:
        assert connection.execute("SELECT x FROM kept").fetchone() == (1,)
    server.stop()
    process.wait()


def test_removal_leaves_no_process_and_no_data(home: Home, server: Server) -> None:
    connection = server.connect("postgres")
    home.credentials.write_text("{}")
    for folder in (home.pki, home.s3, home.moto, home.snapshots):
        folder.mkdir()
        (folder / "something").write_text("data")
    home.database.write_text("data")
    removed = remove(home)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    assert processes(home).found == ()
    assert sorted(path.name for path in home.root.iterdir()) == ["home.json", "postgres"]
    assert [kept.path.name for kept in removed.kept] == ["home.json", "postgres"]
    assert not home.run_folder.exists()
    remove(home, everything=True)
    assert not home.root.exists()
    home.root.mkdir()  # for the fixture


def test_a_home_whose_folder_cannot_go_is_emptied_and_said_to_stay(home: Home, home_folder: Path) -> None:
    """A link or a mount point: what is in it goes, it stays itself."""
    link = home_folder.with_name(f"{home_folder.name}-link")
    link.symlink_to(home_folder)
    try:
        removed = remove(Home(link), everything=True)
    finally:
        link.unlink()
    assert [kept.path for kept in removed.kept] == [link]
    assert "cannot be removed" in removed.kept[0].why
    assert list(home_folder.iterdir()) == []


def test_only_a_home_is_removed(home_folder: Path) -> None:
    (home_folder / "thesis.txt").write_text("years of work")
    with pytest.raises(NotFound):
        remove(Home(home_folder))
    assert (home_folder / "thesis.txt").read_text() == "years of work"


def test_a_persons_shell_in_the_home_is_reported_and_left_alone(
    home: Home, children: list[subprocess.Popen[bytes]]
) -> None:
    children.append(subprocess.Popen(["sleep", "60"], cwd=home.instances))
    stopped = stop(home)
    assert [other.pid for other in stopped.others] == [children[0].pid]
    removed = remove(home)
    assert removed.stopped.others[0].command == "sleep 60"
    assert children[0].poll() is None
    children[0].kill()
    children[0].wait()


def test_a_stale_pid_file_ends_nobody(home: Home, children: list[subprocess.Popen[bytes]]) -> None:
    """The pid in it may be anybody's after a reboot."""
    bystander = subprocess.Popen(["sleep", "60"])
    children.append(bystander)
    data = home.instances / "db-A" / "a" / "data"
    data.mkdir(parents=True)
    (data / "postmaster.pid").write_text(f"{bystander.pid}\n{data}\n")
    stop(home)
    assert bystander.poll() is None


def test_a_relay_without_supervisor_is_ended_before_it_starts_one(
    home: Home, children: list[subprocess.Popen[bytes]], eventually: Eventually
) -> None:
    instance = home.instance("db-A")
    instance.folder.mkdir(mode=0o711)
    instance.relay.write_text("{")  # it waits for a better one
    relay = subprocess.Popen(
        [sys.executable, "-m", "multiaz.relay", str(instance.folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children.append(relay)
    eventually(lambda: (instance.folder / "relay.failed").exists(), "it says why it does not listen")
    assert "not JSON" in str(status(home).instances[0].problem)
    assert stop(home).instances == ("db-A",)
    assert relay.wait(5) == 0


def test_a_removed_folder_still_counts_as_a_working_directory(
    home: Home, children: list[subprocess.Popen[bytes]]
) -> None:
    folder = home.instances / "db-GONE"
    folder.mkdir()
    children.append(subprocess.Popen(["sleep", "60"], cwd=folder))
    folder.rmdir()
    assert [process.pid for process in processes(home).found] == [children[0].pid]
    os.kill(children[0].pid, signal.SIGKILL)
    children[0].wait()
