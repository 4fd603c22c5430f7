"""What of a home runs now, seen from its locks; no request is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multiaz.files import lock_holder
from multiaz.home import Home, InstanceHome
from multiaz.local.endpoint import running_cloud
from multiaz.local.marker import DEFAULT_PORT, read_marker
from multiaz.local.processes import HomeProcesses, postmasters, processes
from multiaz.local.stopping import instance_homes


@dataclass(frozen=True)
class EndpointStatus:
    """The AWS endpoint."""

    pid: int
    url: str | None
    """None while it starts."""
    since: float | None
    """Unix time at which it began to accept requests."""


@dataclass(frozen=True)
class ServerStatus:
    """One PostgreSQL server of a DB instance."""

    pid: int
    """Its postmaster's."""
    member: str
    """"a" or "b", as its folder is called."""
    role: str | None
    """primary, standby or replica, as the instance's record says; None until there is one."""
    zone: str | None

    def as_text(self) -> str:
        """For people."""
        return f"{self.pid} {self.role or self.member}" + (f" ({self.zone})" if self.zone else "")


@dataclass(frozen=True)
class InstanceStatus:
    """The processes of one DB instance."""

    resource_id: str
    identifier: str | None
    supervisor: int | None
    """Pid of who holds its lock."""
    relay: int | None
    address: str | None
    """Where clients connect, as host:port; None if the relay does not listen."""
    problem: str | None
    """Why the relay does not listen."""
    servers: tuple[ServerStatus, ...]
    """Those that run."""


@dataclass(frozen=True)
class LocalStatus:
    """Everything of a home that runs."""

    home: Home
    exists: bool
    """False: there is no local cloud in this folder; everything else is empty."""
    port: int
    port_base: int | None
    endpoint: EndpointStatus | None
    instances: tuple[InstanceStatus, ...]
    processes: HomeProcesses

    @property
    def running(self) -> bool:
        """The AWS endpoint accepts requests."""
        return self.endpoint is not None and self.endpoint.url is not None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "home": str(self.home.root),
            "exists": self.exists,
            "running": self.running,
            "port": self.port,
            "port_base": self.port_base,
            "endpoint": None if self.endpoint is None else asdict(self.endpoint),
            "instances": [asdict(instance) for instance in self.instances],
            "processes": [process.as_dict() for process in self.processes.found],
            "processes_complete": self.processes.complete,
        }


def status(home: Home) -> LocalStatus:
    """What runs. Raises Conflict if the home is another version's."""
    marker = read_marker(home)
    if marker is None:
        return LocalStatus(home, False, DEFAULT_PORT, None, None, (), processes(home))
    pids: dict[str, dict[str, int]] = {}
    for pid, data in postmasters(home).items():
        pids.setdefault(data.parent.parent.name, {})[data.parent.name] = pid
    instances = tuple(_instance(instance, pids.get(instance.folder.name, {})) for instance in instance_homes(home))
    return LocalStatus(home, True, marker.port, marker.port_base, _endpoint(home), instances, processes(home))


def _endpoint(home: Home) -> EndpointStatus | None:
    pid = lock_holder(home.cloud_lock)
    if pid is None:
        return None
    running = running_cloud(home)
    if running is None:
        return EndpointStatus(pid, None, None)
    return EndpointStatus(pid, running.url, home.cloud_ready.stat().st_mtime)


def _instance(instance: InstanceHome, pids: Mapping[str, int]) -> InstanceStatus:
    relay = lock_holder(instance.relay_lock)
    ready = _read(instance.folder / "relay.ready")
    listens = relay is not None and ready.get("pid") == relay
    failed = _read(instance.folder / "relay.failed").get("reason") if relay is not None else None
    desired, record = _read(instance.desired), _read(instance.role)
    identifier, zones = desired.get("identifier"), desired.get("zones")
    zones = zones if isinstance(zones, dict) else {}
    return InstanceStatus(
        resource_id=instance.folder.name,
        identifier=None if identifier is None else str(identifier),
        supervisor=lock_holder(instance.lock),
        relay=relay,
        address=f"{ready.get('address')}:{ready.get('port')}" if listens else None,
        problem=None if failed is None else str(failed),
        servers=tuple(
            ServerStatus(pid, member, _role(member, record), None if member not in zones else str(zones[member]))
            for member, pid in sorted(pids.items())
        ),
    )


def _role(member: str, record: Mapping[str, Any]) -> str | None:
    """What the instance's record (`role.json`) makes of a member."""
    if record.get("primary") is None:
        return None
    if member != record["primary"]:
        return "standby"
    return "replica" if record.get("following") else "primary"


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
