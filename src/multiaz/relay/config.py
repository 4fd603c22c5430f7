"""`relay.json`: all that the endpoint process is told."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multiaz.relay.shape import CLEAR, Block, Shape

SOCKET_NAME = ".s.PGSQL.5432"
"""Name of a server's Unix socket in its socket folder, whatever port clients use."""


class BadConfig(Exception):
    """`relay.json` cannot be used; the text says why."""


@dataclass(frozen=True)
class IamConfig:
    """Where tokens are judged, and for which resource."""

    authorize_url: str
    resource_id: str
    region: str


@dataclass(frozen=True)
class WireConfig:
    """A Unix socket that leads to another one through a network of its own."""

    name: str
    listen: Path
    """Where the wire listens. Its folder is there already, and only its owner may enter it."""
    target: Path
    """Where it leads; links are followed anew for each connection."""
    shape: Shape


@dataclass(frozen=True)
class RelayConfig:
    """The content of `relay.json`."""

    address: str
    port: int
    certificate: Path
    key: Path
    primary: Path
    """Link to the socket folder of whoever is primary; it is followed anew for each client."""
    force_ssl: bool
    iam: IamConfig | None
    connect_wait_s: float
    supervisor: tuple[str, ...]
    supervisor_lock: Path | None
    reserved_users: frozenset[str]
    startup_timeout_s: float = 60.0
    """How long a client may take to say who it is, and again to hand over a token."""
    gone_after_s: float = 60.0
    """How long a client may leave the kernel's questions unanswered before it counts as gone."""
    most_waiting: int = 5000
    """Clients that may wait for a primary at once; as many as RDS's formula for max_connections grants at most."""
    network: Shape = CLEAR
    """What lies between clients and the endpoint."""
    wires: tuple[WireConfig, ...] = ()
    digest: str = ""
    """SHA-256 of the file this was read from."""

    @property
    def primary_socket(self) -> str:
        """Path of the primary's Unix socket, through the link."""
        return str(self.primary / SOCKET_NAME)


def read_config(path: Path) -> RelayConfig:
    """The configuration in the file at `path`.

    Raises FileNotFoundError if it is gone, BadConfig if it cannot be understood.
    """
    content = path.read_bytes()
    try:
        loaded = json.loads(content)
    except ValueError as error:
        raise BadConfig(f"{path.name} is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise BadConfig(f"{path.name} is not a JSON object")
    return replace(parse_config(loaded), digest=hashlib.sha256(content).hexdigest())


def parse_config(values: Mapping[str, Any]) -> RelayConfig:
    """The configuration in `values`. Raises BadConfig naming the field that is wrong."""
    fields = _Fields(values)
    config = RelayConfig(
        address=fields.text("address"),
        port=fields.port("port"),
        certificate=Path(fields.text("certificate")),
        key=Path(fields.text("key")),
        primary=Path(fields.text("primary")),
        force_ssl=fields.truth("force_ssl"),
        iam=fields.iam("iam"),
        connect_wait_s=fields.seconds("connect_wait_s", 30.0),
        supervisor=fields.texts("supervisor"),
        supervisor_lock=fields.path_or_none("supervisor_lock"),
        reserved_users=frozenset(fields.texts("reserved_users")),
        startup_timeout_s=fields.seconds("startup_timeout_s", 60.0),
        gone_after_s=fields.seconds("gone_after_s", 60.0),
        most_waiting=fields.count("most_waiting", 5000),
        network=fields.network("network"),
        wires=fields.wires("wires"),
    )
    fields.refuse_unknown()
    return config


class _Fields:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.read: set[str] = set()

    def _take(self, name: str) -> Any:
        self.read.add(name)
        return self._values.get(name)

    def refuse_unknown(self) -> None:
        """Raise BadConfig if there is a field nobody read: nothing is ignored."""
        unknown = sorted(set(self._values) - self.read)
        if unknown:
            raise BadConfig(f"unknown field {unknown[0]!r}")

    def text(self, name: str) -> str:
        value = self._take(name)
        if not isinstance(value, str) or not value:
            raise BadConfig(f"{name!r} must be a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._take(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise BadConfig(f"{name!r} must be a list of texts")
        return tuple(value)

    def path_or_none(self, name: str) -> Path | None:
        return None if self._values.get(name) is None and not self._take(name) else Path(self.text(name))

    def truth(self, name: str) -> bool:
        value = self._take(name)
        if not isinstance(value, bool):
            raise BadConfig(f"{name!r} must be true or false")
        return value

    def port(self, name: str) -> int:
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65536:
            raise BadConfig(f"{name!r} must be a TCP port")
        return value

    def seconds(self, name: str, default: float) -> float:
        value = self._take(name)
        if value is None:
            return default
        if not _is_number(value) or value <= 0:
            raise BadConfig(f"{name!r} must be a number of seconds above 0")
        return float(value)

    def count(self, name: str, default: int) -> int:
        value = self._take(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise BadConfig(f"{name!r} must be a number above 0")
        return value

    def iam(self, name: str) -> IamConfig | None:
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise BadConfig(f"{name!r} must be an object or null")
        inner = _Fields(value)
        return IamConfig(inner.text("authorize_url"), inner.text("resource_id"), inner.text("region"))

    def network(self, name: str) -> Shape:
        value = self._take(name)
        if value is None:
            return CLEAR
        if not isinstance(value, dict):
            raise BadConfig(f"{name!r} must be an object or null")
        inner = _Fields(value)
        shape = inner.shape()
        inner.refuse_unknown()
        return shape

    def wires(self, name: str) -> tuple[WireConfig, ...]:
        value = self._take(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise BadConfig(f"{name!r} must be a list of objects")
        found: dict[str, WireConfig] = {}
        for part in value:
            inner = _Fields(part)
            wire = WireConfig(inner.text("name"), Path(inner.text("listen")), Path(inner.text("target")), inner.shape())
            inner.refuse_unknown()
            if wire.name in found:
                raise BadConfig(f"{name!r} has {wire.name!r} twice")
            found[wire.name] = wire
        return tuple(found.values())

    def shape(self) -> Shape:
        delay_ms, rate, blocked = self._take("delay_ms"), self._take("bytes_per_s"), self._take("blocked")
        if delay_ms is not None and (not _is_number(delay_ms) or delay_ms < 0):
            raise BadConfig("'delay_ms' must be a number of milliseconds, 0 or above")
        if rate is not None and (not _is_number(rate) or rate <= 0):
            raise BadConfig("'bytes_per_s' must be a number above 0, or null")
        if blocked is not None and not isinstance(blocked, bool) and blocked != Block.CUT.value:
            raise BadConfig("'blocked' must be true, false or \"cut\"")
        return Shape((delay_ms or 0) / 1000, rate, Block(blocked or False))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
