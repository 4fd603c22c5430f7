"""Keeps the endpoint process of the instance alive, and tells it what it must know."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from multiaz.files import lock_holder, write_atomically
from multiaz.home import Home, InstanceHome
from multiaz.instance.records import DesiredInstance
from multiaz.postgres.config import REPLICATION_USER, SUPERUSER

LOOK_EVERY_S = 0.25
CONNECT_WAIT_S = 30
"""How long a new connection waits for a primary during a failover."""


class RelayKeeper:
    """Starts the relay whenever its lock is free; the relay does the same for the supervisor."""

    def __init__(self, top: Home, home: InstanceHome) -> None:
        self._top = top
        self._home = home
        self._looked = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = False

    def write(self, desired: DesiredInstance) -> None:
        """Write `relay.json` if it changed; the relay reads it again by itself."""
        iam = None
        if desired.endpoint.iam_authentication and desired.endpoint.authorize_url:
            iam = {
                "authorize_url": desired.endpoint.authorize_url,
                "resource_id": desired.resource_id,
                "region": desired.endpoint.region,
            }
        text = json.dumps(
            {
                "address": desired.endpoint.address,
                "port": desired.endpoint.port,
                "certificate": str(self._home.tls / "server.pem"),
                "key": str(self._home.tls / "server.key"),
                "primary": str(self._home.primary_link),
                "force_ssl": desired.endpoint.force_ssl,
                "iam": iam,
                "connect_wait_s": CONNECT_WAIT_S,
                "supervisor": supervisor_command(self._top, self._home),
                "supervisor_lock": str(self._home.lock),
                "reserved_users": [SUPERUSER, REPLICATION_USER],
            },
            indent=1,
        )
        if not self._home.relay.exists() or self._home.relay.read_text() != text:
            write_atomically(self._home.relay, text)

    def keep(self) -> None:
        """Start the relay if nobody holds its lock (looked at a few times a second)."""
        if self._child is not None:
            self._child.poll()
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        holder = lock_holder(self._home.relay_lock)
        self._ready = holder is not None and self._listening(holder)
        if holder is None and (self._child is None or self._child.returncode is not None):
            with (self._home.logs / "relay.log").open("ab") as output:
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "multiaz.relay", str(self._home.folder)],
                    cwd=self._home.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True,
                )  # fmt: skip

    def ready(self) -> bool:
        """The relay runs and listens."""
        return self._ready

    def end(self) -> None:
        """End the relay and wait until its lock is free; `relay.json` is removed so that nobody starts it again."""
        self._home.relay.unlink(missing_ok=True)
        deadline = time.monotonic() + 10
        while (holder := lock_holder(self._home.relay_lock)) is not None and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                if holder > 0:
                    os.kill(holder, signal.SIGTERM)
            if self._child is not None:
                self._child.poll()
            time.sleep(0.01)

    def _listening(self, holder: int) -> bool:
        try:
            said = json.loads((self._home.folder / "relay.ready").read_text())
        except (OSError, ValueError):
            return False
        return bool(said.get("pid") == holder)


def supervisor_command(top: Home, home: InstanceHome) -> list[str]:
    """How a supervisor of this instance is started."""
    return [sys.executable, "-m", "multiaz.instance", str(home.folder), "--home", str(top.root)]
