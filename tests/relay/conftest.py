"""Fixtures of the relay's tests."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from relay_harness import PORT, Authority, Database, RunningRelay, free_address

from multiaz.postgres.installations import Installation, find_installation
from multiaz.postgres.os_user import server_user
from multiaz.postgres.server import Server


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mz-relay-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def installation(base: Path) -> Installation:
    return find_installation(base / "postgres", 17)


@pytest.fixture(scope="session")
def psql(installation: Installation) -> str:
    program = installation.bin_folder / "psql"
    return str(program) if program.exists() else (shutil.which("psql") or pytest.skip("no psql"))


@pytest.fixture(scope="session")
def authority(base: Path) -> Authority:
    return Authority(base / "pki")


@pytest.fixture(scope="session")
def make_database(base: Path, installation: Installation) -> Iterator[Callable[[str], Database]]:
    made: list[Database] = []

    def make(name: str) -> Database:
        server = Server(name, installation.bin_folder, base / name, base / "run" / name, server_user())
        database = Database(server)
        (base / "run").mkdir(exist_ok=True)
        made.append(database)
        database.make()
        return database

    yield make
    for database in made:
        database.stop(immediate=True)


@pytest.fixture(scope="session")
def database(make_database: Callable[[str], Database]) -> Database:
    """The server most tests share; nobody stops it."""
    return make_database("a")


@pytest.fixture
def new_relay(base: Path, authority: Authority) -> Iterator[Callable[..., RunningRelay]]:
    """Makes the folder and configuration of a relay that points at `target`; start it yourself."""
    made: list[RunningRelay] = []

    def make(target: Path | None, **changes: Any) -> RunningRelay:
        folder = Path(tempfile.mkdtemp(prefix="i-", dir=base))
        address = free_address()
        certificate, key = authority.issue(folder, address)
        config: dict[str, Any] = {
            "address": address,
            "port": PORT,
            "certificate": str(certificate),
            "key": str(key),
            "primary": str(folder / "primary"),
            "force_ssl": False,
            "iam": None,
            "connect_wait_s": 30,
            "supervisor": [],
            "supervisor_lock": str(folder / "instance.lock"),
            "reserved_users": ["rdsadmin", "rdsrepladmin"],
        }
        relay = RunningRelay(folder, address, PORT, authority.pem, config)
        if target is not None:
            (folder / "primary").symlink_to(target)
        relay.write_config(**changes)
        made.append(relay)
        return relay

    yield make
    for relay in made:
        if relay.process is not None:
            code = relay.stop()
            sys.stdout.write(relay.log)
            assert code in (0, -signal.SIGKILL)
            assert "Traceback" not in relay.log


@pytest.fixture
def relay(new_relay: Callable[..., RunningRelay], database: Database) -> RunningRelay:
    """A running relay before the shared server."""
    made = new_relay(database.socket_folder)
    made.start()
    return made
