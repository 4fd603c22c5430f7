"""Start, second start, death while starting, taken ports, stop: against a process that behaves as told."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from multiaz.errors import BadInput, Conflict, ExitCode, MultiazError, NoProgress, NotFound
from multiaz.files import lock_holder
from multiaz.home import Home
from multiaz.local import LocalCloud, environment, faults, running_cloud, shell_lines, start, status, stop

PortOf = Callable[[], int]

STAND_IN = """
import json, os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from multiaz.files import ProcessLock, write_atomically
from multiaz.home import Home
behaviour, home, port = sys.argv[1], Home(Path(sys.argv[2])), int(sys.argv[3])
lock = ProcessLock(home.cloud_lock)
if behaviour == "dies":
    print("looking for moto"); print("ImportError: no moto"); sys.exit(70)
if behaviour == "refuses":
    print("Cannot listen\\n  cause: the port is taken\\n  next:  choose another", file=sys.stderr); sys.exit(6)
assert lock.acquire()
if behaviour == "slow":
    time.sleep(0.5)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/_multiaz/health" else 404); self.end_headers()
    def log_message(self, *_): pass
server = HTTPServer(("127.0.0.1", port), Handler)
write_atomically(home.cloud_ready, json.dumps({"pid": os.getpid(), "host": "127.0.0.1", "port": port}))
write_atomically(home.root / "environment", json.dumps(dict(os.environ)))
server.serve_forever()
"""


def stand_in(behaviour: str = "good") -> Callable[[Home, int], Sequence[str]]:
    return lambda home, port: [sys.executable, "-c", STAND_IN, behaviour, str(home.root), str(port)]


@pytest.fixture
def port(free_port: PortOf) -> int:
    return free_port()


@pytest.fixture
def home(home_folder: Path) -> Home:
    return Home(home_folder)


@pytest.fixture
def cloud(home: Home, port: int) -> LocalCloud:
    return start(home, port, command=stand_in())


@pytest.fixture(autouse=True)
def nothing_stays(home: Home) -> object:
    yield
    pid = lock_holder(home.cloud_lock)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def test_start_returns_when_requests_are_answered(cloud: LocalCloud, home: Home, port: int) -> None:
    assert cloud.started
    assert (cloud.port, cloud.url) == (port, f"http://127.0.0.1:{port}")
    assert lock_holder(home.cloud_lock) == cloud.pid
    assert os.getsid(cloud.pid) == cloud.pid, "a session of its own: closing the terminal does not end it"
    assert Path(f"/proc/{cloud.pid}/cwd").resolve() == home.root.resolve()


def test_progress_is_told_once_for_each_step(home: Home, port: int) -> None:
    told: list[str] = []
    start(home, port, command=stand_in("slow"), progress=told.append)
    assert told == [f"starting the AWS endpoint on port {port}", "waiting for the AWS endpoint"]


def test_settings_of_the_caller_do_not_reach_the_endpoint(
    home: Home, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    monkeypatch.setenv("PGHOST", "elsewhere")
    start(home, port, command=stand_in())
    seen = json.loads((home.root / "environment").read_text())
    assert not [name for name in seen if name.startswith(("AWS_", "PG"))]
    assert "PATH" in seen


def test_a_second_start_finds_the_first(cloud: LocalCloud, home: Home) -> None:
    again = start(home, command=stand_in("dies"))
    assert (again.started, again.pid, again.port) == (False, cloud.pid, cloud.port)
    assert not start(home, cloud.port, command=stand_in("dies")).started


def test_a_second_start_on_another_port_is_refused_by_name(cloud: LocalCloud, home: Home) -> None:
    with pytest.raises(Conflict, match=f"it runs already, on port {cloud.port} \\(process {cloud.pid}\\)"):
        start(home, cloud.port + 1)
    with pytest.raises(Conflict, match="runs already with loopback addresses"):
        start(home, port_base=21000)
    assert start(home).port == cloud.port


def test_two_starts_at_once_make_one_endpoint(home: Home, port: int) -> None:
    results: list[LocalCloud] = []
    threads = [
        threading.Thread(target=lambda: results.append(start(home, port, command=stand_in("slow")))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cloud.started for cloud in results) == [False, False, True]
    assert len({cloud.pid for cloud in results}) == 1


def test_the_last_words_of_a_dying_endpoint_are_shown(home: Home, port: int) -> None:
    with pytest.raises(MultiazError, match="ended with 70; its last words: ImportError: no moto"):
        start(home, port, command=stand_in("dies"))
    assert running_cloud(home) is None


def test_an_error_the_endpoint_words_itself_is_passed_on(home: Home, port: int) -> None:
    with pytest.raises(MultiazError) as caught:
        start(home, port, command=stand_in("refuses"))
    error = caught.value
    assert (error.what, error.why, error.next_step, error.exit_code) == (
        "Cannot listen",
        "the port is taken",
        "choose another",
        ExitCode.CONFLICT,
    )


def test_a_taken_port_names_its_holder(home: Home, port: int) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        with pytest.raises(Conflict, match=f"127.0.0.1:{port} is taken by pid {os.getpid()} \\("):
            start(home, port, command=stand_in())
    assert not home.marker.exists(), "a refused port is not remembered"
    assert start(home, port, command=stand_in()).started


def test_stale_files_of_a_killed_endpoint_are_no_endpoint(cloud: LocalCloud, home: Home) -> None:
    """The lock is the truth: the pid in the files may be anybody's by now."""
    os.kill(cloud.pid, signal.SIGKILL)
    os.waitpid(cloud.pid, 0)
    home.cloud_ready.write_text(json.dumps({"pid": os.getpid(), "host": "127.0.0.1", "port": cloud.port}))
    home.cloud_lock.write_text(f"{os.getpid()}\n")
    assert running_cloud(home) is None
    assert not status(home).running
    again = start(home, command=stand_in())
    assert again.started
    assert (again.port, again.pid != cloud.pid) == (cloud.port, True)


def test_stop_ends_the_endpoint_and_can_be_repeated(cloud: LocalCloud, home: Home) -> None:
    stopped = stop(home)
    assert stopped.endpoint == cloud.pid
    assert lock_holder(home.cloud_lock) is None
    assert stop(home).endpoint is None


def test_a_stubborn_endpoint_is_killed(home: Home, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiaz.local.endpoint.STOPPING_S", 0.3)
    cloud = start(home, port, command=stand_in("stubborn"))
    assert stop(home).endpoint == cloud.pid
    assert lock_holder(home.cloud_lock) is None


def test_without_a_local_cloud_stop_says_so(home: Home) -> None:
    with pytest.raises(NotFound, match="There is no local cloud in"):
        stop(home)
    assert not status(home).exists


def test_a_port_base_from_the_environment(home: Home, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIAZ_PORT_BASE", "21000")
    start(home, port, command=stand_in())
    assert status(home).port_base == 21000
    monkeypatch.setenv("MULTIAZ_PORT_BASE", "many")
    with pytest.raises(BadInput, match="MULTIAZ_PORT_BASE is 'many'"):
        start(home, port, command=stand_in())


def test_status_tells_the_endpoint(cloud: LocalCloud, home: Home) -> None:
    now = status(home)
    assert now.running
    assert now.endpoint is not None
    assert (now.endpoint.pid, now.endpoint.url) == (cloud.pid, cloud.url)
    assert now.endpoint.since is not None
    assert abs(now.endpoint.since - time.time()) < 60
    assert json.loads(json.dumps(now.as_dict()))["endpoint"]["pid"] == cloud.pid


def test_the_environment_points_at_this_cloud(cloud: LocalCloud, home: Home) -> None:
    with pytest.raises(NotFound, match="has never run"):
        environment(home)
    home.credentials.write_text(json.dumps({"access_key_id": "AKIA1", "secret_access_key": "it's $ecret"}))
    found = environment(home, base={})
    assert found["AWS_ENDPOINT_URL"] == cloud.url
    assert found["PGSSLROOTCERT"] == str(home.pki / "ca.pem")
    assert "NO_PROXY" not in found


def test_a_proxy_does_not_swallow_the_endpoint(cloud: LocalCloud, home: Home) -> None:
    home.credentials.write_text(json.dumps({"access_key_id": "AKIA1", "secret_access_key": "s"}))
    base = {"https_proxy": "http://p", "http_proxy": "http://p", "no_proxy": "example.com"}
    assert environment(home, base=base)["NO_PROXY"] == "example.com,127.0.0.1"


def test_shell_lines_survive_the_shell(cloud: LocalCloud, home: Home) -> None:
    import subprocess

    secret = 'it\'s $HOME `id` "quoted" \\ !'
    home.credentials.write_text(json.dumps({"access_key_id": "AKIA1", "secret_access_key": secret}))
    lines = shell_lines(environment(home))
    said = subprocess.run(
        ["sh", "-c", lines + 'printf %s "$AWS_SECRET_ACCESS_KEY"; printf %s "${AWS_PROFILE-unset}"'],
        env={"AWS_PROFILE": "work", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == secret + "unset"


def test_an_endpoint_that_was_killed_and_started_again_is_not_killed_once_it_is_stopped(
    cloud: LocalCloud, home: Home
) -> None:
    """Healing everything would start what was stopped on purpose."""
    faults.break_cloud(home)
    assert [one.fault.kind for one in faults.active(home)] == ["cloud-endpoint"]
    start(home, command=stand_in())
    stop(home)
    assert faults.active(home) == ()
    assert not home.faults.exists()


def test_an_endpoint_that_was_frozen_and_is_stopped_is_not_to_be_healed(cloud: LocalCloud, home: Home) -> None:
    faults.break_cloud(home, freeze=True)
    with pytest.raises(NoProgress):
        start(home, command=stand_in())
    assert len(faults.active(home)) == 1
    stop(home)
    assert not home.faults.exists()


def test_an_endpoint_that_was_killed_stays_recorded_until_somebody_starts_it(cloud: LocalCloud, home: Home) -> None:
    faults.break_cloud(home)
    stop(home)
    assert len(faults.active(home)) == 1, "nobody has started it"
