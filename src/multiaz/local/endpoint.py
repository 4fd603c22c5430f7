"""Starts and stops the AWS endpoint of a home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiaz.errors import BadInput, Conflict, ExitCode, MultiazError, NoProgress
from multiaz.files import lock_holder
from multiaz.home import Home
from multiaz.local import ports
from multiaz.local.faults_cloud import forget_faults
from multiaz.local.marker import plan_marker, prepare_folder, read_marker, record_marker, starting
from multiaz.local.processes import is_stopped, processor_ticks, send

STARTING_WITHOUT_PROGRESS_S = 30.0
"""An endpoint that starts but uses no processor time and logs nothing for so long is stuck."""
STOPPING_S = 20.0
"""How long the endpoint may take to stop cleanly; its state survives a kill at any moment."""

Progress = Callable[[str], None]
"""Told what is waited for, for people."""


class EndpointFailed(MultiazError):
    """The endpoint's process ended before it accepted requests; `why` carries its last words."""


@dataclass(frozen=True)
class LocalCloud:
    """A running AWS endpoint."""

    home: Home
    pid: int
    host: str
    port: int
    started: bool
    """This call started it; False: it was already there."""
    seconds: float
    """How long this call took."""

    @property
    def url(self) -> str:
        """What AWS_ENDPOINT_URL is set to."""
        return f"http://{self.host}:{self.port}"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "home": str(self.home.root),
            "pid": self.pid,
            "url": self.url,
            "port": self.port,
            "started": self.started,
            "seconds": round(self.seconds, 3),
        }


def endpoint_command(home: Home, port: int) -> list[str]:
    """How the endpoint's process is started."""
    return [sys.executable, "-m", "multiaz.cloud", "--home", str(home.root), "--port", str(port)]


def start(
    home: Home,
    port: int | None = None,
    *,
    port_base: int | None = None,
    progress: Progress = lambda _: None,
    command: Callable[[Home, int], Sequence[str]] = endpoint_command,
) -> LocalCloud:
    """Start the local cloud of `home`, or find it running; it answers requests when this returns.

    `port_base` (or MULTIAZ_PORT_BASE) puts DB instances on 127.0.0.1 at ports from there on.
    Raises Conflict if the port is taken or another one was asked for than the running cloud has,
    EndpointFailed if its process ends, NoProgress if it does nothing for half a minute or is stopped, and what
    `prepare_folder` and `plan_marker` raise.
    """
    began = time.monotonic()
    port_base = _port_base_from_environment() if port_base is None else port_base
    prepare_folder(home, port=port, port_base=port_base)
    with starting(home):
        pid = lock_holder(home.cloud_lock)
        if pid is not None:
            progress(f"process {pid} serves this home already")
            refuse_stopped(pid)
            _wait_until_ready(home, pid, None, progress)
            running = running_cloud(home)
            if running is None:
                raise Conflict(
                    f"Cannot find the local cloud of {home.root}",
                    f"process {pid} served it a moment ago and is gone",
                    "start it again",
                )
            _refuse_other_ports(running, port, port_base)
            forget_faults(home, started=True)
            return LocalCloud(home, running.pid, running.host, running.port, False, time.monotonic() - began)
        marker = plan_marker(home, port=port, port_base=port_base)
        _refuse_taken_port(marker.port)
        record_marker(home, marker)
        progress(f"starting the AWS endpoint on port {marker.port}")
        process = _spawn(home, command(home, marker.port))
        _wait_until_ready(home, process.pid, process, progress)
        # It outlives us: it is not ours to wait for any more.
        process.returncode = 0
        forget_faults(home, started=True)
        return LocalCloud(home, process.pid, ports.HOST, marker.port, True, time.monotonic() - began)


def running_cloud(home: Home) -> LocalCloud | None:
    """The endpoint that serves `home` and accepts requests, or None. The lock is the truth, not `cloud.json`."""
    pid = lock_holder(home.cloud_lock)
    ready = _read_ready(home)
    if pid is None or ready is None or ready["pid"] != pid:
        return None
    return LocalCloud(home, pid, str(ready["host"]), int(ready["port"]), started=False, seconds=0.0)


def refuse_stopped(pid: int) -> None:
    """Raise NoProgress if that process, which serves a home, is stopped.

    Every request would wait a minute, several times, and say nothing.
    """
    if is_stopped(pid):
        raise NoProgress(
            "The AWS endpoint does not answer",
            f"its process {pid} is stopped, as `multiaz fault cloud-endpoint --freeze` does it; databases go on",
            f"`multiaz fault heal cloud-endpoint`, or `kill -CONT {pid}` if no fault did that",
        )


def stop_endpoint(home: Home, progress: Progress = lambda _: None) -> int | None:
    """Stop the AWS endpoint; databases go on. The pid that was stopped, or None if none ran.

    One that does not stop by itself is killed: what it acknowledged is on disk.
    """
    stopped = pid = lock_holder(home.cloud_lock)
    if pid is None:
        return None
    progress(f"stopping the AWS endpoint (process {pid})")
    deadline = time.monotonic() + STOPPING_S
    told: set[tuple[int, signal.Signals]] = set()
    while (pid := lock_holder(home.cloud_lock)) is not None:
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        if pid > 0 and (pid, number) not in told:
            told.add((pid, number))
            send(home, pid, number)
        if time.monotonic() > deadline + STOPPING_S:
            raise NoProgress(
                "Cannot stop the AWS endpoint",
                f"process {pid} survives SIGKILL: it is stuck in the kernel",
                f"look at the storage below {home.root}",
            )
        time.sleep(0.01)
    forget_faults(home, started=False)
    return stopped


def last_words(home: Home) -> str:
    """The last line the endpoint's process wrote, to its output or its log."""
    for path in (home.logs / "cloud.out", home.logs / "cloud.log"):
        lines = _tail(path)
        if lines:
            return lines[-1]
    return "it said nothing"


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 8192))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _port_base_from_environment() -> int | None:
    text = os.environ.get("MULTIAZ_PORT_BASE", "")
    if not text:
        return None
    if not text.isdigit():
        raise BadInput("Cannot start the local cloud", f"MULTIAZ_PORT_BASE is {text!r}", "set it to a port number")
    return int(text)


def _refuse_other_ports(running: LocalCloud, port: int | None, port_base: int | None) -> None:
    if port is not None and port != running.port:
        raise Conflict(
            f"Cannot start the local cloud on port {port}",
            f"it runs already, on port {running.port} (process {running.pid})",
            "leave --port out, or stop it first with `multiaz local stop`",
        )
    marker = read_marker(running.home)
    known = None if marker is None else marker.port_base
    if port_base is not None and port_base != known:
        raise Conflict(
            f"Cannot set the port base to {port_base}",
            f"the local cloud runs already with {known or 'loopback addresses'} (process {running.pid})",
            "leave --port-base out, or stop it first with `multiaz local stop`",
        )


def _refuse_taken_port(port: int) -> None:
    try:
        if ports.is_free(port):
            return
        why = f"{ports.HOST}:{port} is taken by {ports.holder(port) or 'another process'}"
    except PermissionError:
        why = f"user {os.geteuid()} may not listen on port {port} (ports below 1024 need root)"
    raise Conflict("Cannot start the local cloud", why, "stop that process, or choose another port with --port")


def _spawn(home: Home, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the endpoint in a session of its own; what it says before it has a log goes to logs/cloud.out."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG", "MULTIAZ_PORT_BASE"))
    }
    output = os.open(home.logs / "cloud.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            command,
            cwd=home.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.close(output)


def _wait_until_ready(home: Home, pid: int, process: subprocess.Popen[bytes] | None, progress: Progress) -> None:
    """Wait until process `pid` accepts requests, as long as it gets on. Raises EndpointFailed, NoProgress."""
    seen: object = None
    deadline = 0.0
    progress("waiting for the AWS endpoint")
    while True:
        ready = _read_ready(home)
        if (
            ready is not None
            and ready["pid"] == pid == lock_holder(home.cloud_lock)
            and _is_healthy(str(ready["host"]), int(ready["port"]))
        ):
            return
        if process is not None and process.poll() is not None:
            raise _failed(home, process.returncode)
        if process is None and lock_holder(home.cloud_lock) != pid:
            raise _failed(home, None)
        now = (processor_ticks(pid), *(_size(home.logs / name) for name in ("cloud.out", "cloud.log")))
        if now != seen:
            seen, deadline = now, time.monotonic() + STARTING_WITHOUT_PROGRESS_S
        elif time.monotonic() > deadline:
            if process is not None:
                process.returncode = 0  # it may still come up; it is not ended here
            raise NoProgress(
                "The local cloud does not come up",
                f"process {pid} has done nothing for {STARTING_WITHOUT_PROGRESS_S:g} s; its last words: "
                f"{last_words(home)}",
                f"read {home.logs / 'cloud.log'}, then `multiaz local stop` and start again",
            )
        time.sleep(0.01)


def _failed(home: Home, code: int | None) -> EndpointFailed:
    """The error of an endpoint that ended; its own three lines are passed on if it left them."""
    lines = _tail(home.logs / "cloud.out")
    words = {line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
    if "cause" in words and "next" in words:
        error = EndpointFailed(lines[-3].strip() if len(lines) >= 3 else lines[0], words["cause"], words["next"])
    else:
        ended = "ended" if code is None else f"ended with {code}"
        error = EndpointFailed(
            "The local cloud did not start",
            f"its process {ended}; its last words: {last_words(home)}",
            f"read {home.logs / 'cloud.log'} and {home.logs / 'cloud.out'}",
        )
    if code in set(ExitCode) and code:
        error.exit_code = ExitCode(code)
    return error


def _read_ready(home: Home) -> dict[str, Any] | None:
    try:
        values = json.loads(home.cloud_ready.read_text())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and {"pid", "host", "port"} <= set(values) else None


def regions_in_use(cloud: LocalCloud) -> dict[str, frozenset[str]]:
    """The regions of a running cloud that may hold something, and in each the services that were asked
    beside those every region has (CloudFormation, RDS). Raises Conflict if it does not answer."""
    import http.client

    connection = http.client.HTTPConnection(cloud.host, cloud.port, timeout=60)
    try:
        connection.request("GET", "/_multiaz/regions")
        answer = connection.getresponse()
        told = json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, ValueError, http.client.HTTPException):
        told = None
    finally:
        connection.close()
    if told is None:
        raise Conflict(
            f"Cannot ask {cloud.url} what it holds",
            "it does not answer, or another version of multiaz serves it",
            "restart it: `multiaz local stop --endpoint-only`, then `multiaz local start`; then repeat the command",
        )
    return {region: frozenset(services) for region, services in told.items()}


def _is_healthy(host: str, port: int) -> bool:
    import http.client  # 20 ms that `multiaz --help` need not pay

    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/_multiaz/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
