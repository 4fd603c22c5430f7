"""`relay.json`: all that the endpoint process is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    @property
    def primary_socket(self) -> str:
        """Path of the primary's Unix socket, through the link."""
        return str(self.primary / SOCKET_NAME)


def read_config(path: Path) -> RelayConfig:
    """The configuration in the file at `path`.

    Raises FileNotFoundError if it is gone, BadConfig if it cannot be understood.
    """
    try:
        loaded = json.loads(path.read_text())
    except ValueError as error:
        raise BadConfig(f"{path.name} is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise BadConfig(f"{path.name} is not a JSON object")
    return parse_config(loaded)


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
    )
    unknown = sorted(set(values) - fields.read)
    if unknown:
        raise BadConfig(f"unknown field {unknown[0]!r}")
    return config


class _Fields:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.read: set[str] = set()

    def _take(self, name: str) -> Any:
        self.read.add(name)
        return self._values.get(name)

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
        if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
            raise BadConfig(f"{name!r} must be a number of seconds above 0")
        return float(value)

    def iam(self, name: str) -> IamConfig | None:
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise BadConfig(f"{name!r} must be an object or null")
        inner = _Fields(value)
        return IamConfig(inner.text("authorize_url"), inner.text("resource_id"), inner.text("region"))
