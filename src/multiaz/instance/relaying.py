"""Keeps the endpoint process of the instance alive, and tells it what it must know."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from multiaz.files import lock_holder, write_atomically
from multiaz.home import Home, InstanceHome
from multiaz.instance.endpoint_watch import EndpointWatch
from multiaz.instance.progress import STOPPED
from multiaz.instance.records import DesiredInstance
from multiaz.postgres.config import REPLICATION_USER, SOCKET_PORT, SUPERUSER
from multiaz.postgres.os_user import server_user
from multiaz.postgres.processes import open_pidfd
from multiaz.postgres.pulse import Pulse, pulse_of

LOOK_EVERY_S = 0.25
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0
"""Between two starts; doubled each time, until one has listened. A start takes half a second of a core."""
END_PATIENCE_S = 10.0
"""How long a relay that is told to end may take before it is killed."""
KILL_PATIENCE_S = 1.0
"""How long is waited for one that was killed: longer, and it is stuck in the kernel."""
CONNECT_WAIT_S = 30
"""How long a new connection waits for a primary during a failover."""

log = logging.getLogger("multiaz.instance")


@dataclass(frozen=True)
class Shaping:
    """What a network does to traffic, in each direction."""

    delay_ms: float = 0
    bytes_per_s: float | None = None
    """Shared by all connections; None: no bound."""
    blocked: bool | Literal["cut"] = False
    """True: nothing passes and nobody is told, until healed. "cut": connections break, new ones end at once."""


@dataclass(frozen=True)
class Wire:
    """A Unix socket in `InstanceHome.wire_folder(name)` that leads to the one in the folder `target`."""

    name: str
    """At most five characters."""
    target: Path
    """A socket folder or a link to one, followed anew for each connection."""
    shaping: Shaping


class RelayKeeper:
    """Starts the relay whenever its lock is free, as the relay does the supervisor, and ends a relay that hangs."""

    def __init__(self, top: Home, home: InstanceHome) -> None:
        self._top = top
        self._home = home
        self._looked = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._where: tuple[str, int] | None = None
        self._shaped = False
        self._wait_s = FIRST_WAIT_S
        self._not_before = 0.0
        self._watch = EndpointWatch()
        self._killed: int | None = None
        """The relay that was ended because it hangs; its lock is held until the kernel lets it go."""

    def write(self, desired: DesiredInstance, network: Shaping | None = None, wires: Sequence[Wire] = ()) -> None:
        """Write `relay.json` if it changed, and have the relay read it at once.

        `network` lies between clients and the endpoint. The folders of `wires` are made here.
        """
        self._shaped = network is not None and network != Shaping()
        where = (desired.endpoint.address, desired.endpoint.port)
        if where != self._where:  # renamed: what was seen of the relay speaks of another address
            self._where, self._ready, self._looked = where, False, 0.0
        for wire in wires:
            folder = self._home.wire_folder(wire.name)
            folder.mkdir(mode=0o700, exist_ok=True)
            server_user().own(folder)
        text = json.dumps(relay_config(self._top, self._home, desired, network, wires), indent=1)
        if not self._home.relay.exists() or self._home.relay.read_text() != text:
            write_atomically(self._home.relay, text)
            self.poke()

    def poke(self) -> None:
        """Have the relay look now: it cuts the sessions of a former primary and reads its configuration again."""
        holder = lock_holder(self._home.relay_lock)
        if holder is not None and holder > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGHUP)

    def in_force(self) -> bool:
        """The relay that runs follows the whole of `relay.json` as it is now."""
        try:
            wanted = hashlib.sha256(self._home.relay.read_bytes()).hexdigest()
        except FileNotFoundError:
            return False
        said = self._said()
        return said.get("config") == wanted and said.get("pid") == lock_holder(self._home.relay_lock)

    def keep(self) -> None:
        """Start the relay if nobody holds its lock, and end one that hangs (looked at a few times a second)."""
        self._watch.tick(time.monotonic())
        if self._child is not None:
            self._child.poll()
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        holder = lock_holder(self._home.relay_lock)
        if holder != self._killed:
            self._killed = None
        self._ready = holder is not None and holder != self._killed and self._listening(holder)
        if self._ready:
            self._wait_s = FIRST_WAIT_S
        if holder is None and (self._child is None or self._child.returncode is not None):
            self._start()
        starting = self._child.pid if self._child is not None and self._child.returncode is None else None
        self._end_hung(starting if holder is None else holder)

    def _start(self) -> None:
        """Start a relay, unless the last start is too short a time ago."""
        if self._looked < self._not_before:
            return
        self._not_before = self._looked + self._wait_s
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)
        try:
            with (self._home.logs / "relay.log").open("ab") as output:
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "multiaz.relay", str(self._home.folder)],
                    cwd=self._home.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            log.error("the endpoint cannot be started: %s", error)

    def ready(self) -> bool:
        """The relay runs and listens."""
        return self._ready

    def end(self) -> bool:
        """End the relay and wait until its lock is free; `relay.json` is removed so that nobody starts it again.

        One that does not end by itself is killed. False: that one too holds its lock yet, stuck in the kernel.
        """
        self._watch.forget()
        self._home.relay.unlink(missing_ok=True)
        kill_at = time.monotonic() + END_PATIENCE_S
        while (holder := lock_holder(self._home.relay_lock)) is not None:
            late_s = time.monotonic() - kill_at
            if late_s > KILL_PATIENCE_S:
                log.error("the endpoint (%d) was killed and does not end: it is stuck in the kernel", holder)
                return False
            with contextlib.suppress(ProcessLookupError):
                pulse = pulse_of(holder) if holder > 0 else None
                if pulse is not None and (pulse.state in STOPPED or late_s > 0):
                    self._kill(holder, pulse)  # one that is stopped would obey SIGTERM when it goes on
                elif holder > 0:
                    os.kill(holder, signal.SIGTERM)
            if self._child is not None:
                self._child.poll()
            time.sleep(0.01)
        if self._child is not None:
            try:
                self._child.wait(1)  # its lock is free, so all that is left is its exit code
            except subprocess.TimeoutExpired:
                self._child.kill()  # it was stopped before it held its lock
                self._child.poll()
        return True

    def _end_hung(self, relay: int | None) -> None:
        """SIGKILL a relay that hangs; a later look finds its lock free. A shaped network is late on purpose."""
        verdict = self._watch.look(relay, self._where if self._ready and not self._shaped else None)
        seen = self._watch.seen
        if not verdict.hung or relay is None or seen is None or relay == self._killed:
            return
        if self._kill(relay, seen.pulse):
            log.warning("the endpoint (%d) hangs: %s; it is ended and started again", relay, verdict.why)
            self._killed, self._ready, self._looked = relay, False, 0.0

    def _kill(self, pid: int, seen: Pulse) -> bool:
        """SIGKILL the relay of this instance that was `seen`; False if this pid is another process by now."""
        handle = open_pidfd(pid)
        if handle is None:
            return False
        try:
            now = pulse_of(pid)
            if now is None or now.began_s != seen.began_s or not self._is_relay(pid):
                return False
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def _is_relay(self, pid: int) -> bool:
        """It is an endpoint process, of this instance: the pid in the lock's file may be that of the one before."""
        try:
            words = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
            return b"multiaz.relay" in words and (Path("/proc") / str(pid) / "cwd").samefile(self._home.folder)
        except OSError:
            return False

    def _listening(self, holder: int) -> bool:
        said = self._said()
        return said.get("pid") == holder and (said.get("address"), said.get("port")) == self._where

    def _said(self) -> dict[str, Any]:
        try:
            said = json.loads((self._home.folder / "relay.ready").read_text())
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}


def supervisor_command(top: Home, home: InstanceHome) -> list[str]:
    """How a supervisor of this instance is started."""
    return [sys.executable, "-m", "multiaz.instance", str(home.folder), "--home", str(top.root)]


def relay_config(
    top: Home, home: InstanceHome, desired: DesiredInstance, network: Shaping | None, wires: Sequence[Wire]
) -> dict[str, Any]:
    """What `relay.json` says."""
    iam = None
    if desired.endpoint.iam_authentication and desired.endpoint.authorize_url:
        iam = {
            "authorize_url": desired.endpoint.authorize_url,
            "resource_id": desired.resource_id,
            "region": desired.endpoint.region,
        }
    socket_name = f".s.PGSQL.{SOCKET_PORT}"
    return {
        "address": desired.endpoint.address,
        "port": desired.endpoint.port,
        "certificate": str(home.tls / "server.pem"),
        "key": str(home.tls / "server.key"),
        "primary": str(home.primary_link),
        "force_ssl": desired.endpoint.force_ssl,
        "iam": iam,
        "connect_wait_s": CONNECT_WAIT_S,
        "supervisor": supervisor_command(top, home),
        "supervisor_lock": str(home.lock),
        "reserved_users": [SUPERUSER, REPLICATION_USER],
        "network": None if network is None else asdict(network),
        "wires": [
            {
                "name": wire.name,
                "listen": str(home.wire_folder(wire.name) / socket_name),
                "target": str(wire.target / socket_name),
                **asdict(wire.shaping),
            }
            for wire in wires
        ],
    }
