"""Base backups: taken of a running server, checked, and recovered to a moment from the archive."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from multiaz.files import fsync_folder, write_atomically
from multiaz.postgres.config import REPLICATION_USER, SOCKET_PORT, conninfo_value
from multiaz.postgres.os_user import ServerUser
from multiaz.postgres.processes import end_programs
from multiaz.postgres.programs import ServerFailed, run
from multiaz.postgres.server import CONNECT_PATIENCE_S, Server
from multiaz.postgres.timelines import position_of

_START = re.compile(r"^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)$", re.MULTILINE)
BUILDING = "building"
"""Folder of a base backup that is not whole yet."""


@dataclass(frozen=True)
class Taken:
    """A base backup on disk."""

    start_segment: str
    """The first WAL file its recovery reads."""
    timeline: int
    end: int
    """Timeline and WAL position (bytes) at which it is consistent."""
    size_bytes: int


def take(bin_folder: Path, upstream: Path, bases: Path, name: str, user: ServerUser, sync: list[str]) -> Taken:
    """Copy the server whose socket is in `upstream` to `bases`/`name`; the folder appears whole or not at all.

    It holds the WAL it needs to be consistent, and a manifest with a checksum of each file. Raises ServerFailed.
    """
    building = bases / BUILDING
    end_programs(bases, bin_folder)
    shutil.rmtree(building, ignore_errors=True)
    conninfo = (
        f"host={conninfo_value(str(upstream))} port={SOCKET_PORT} user={REPLICATION_USER} "
        f"connect_timeout={CONNECT_PATIENCE_S}"
    )
    run(
        bin_folder / "pg_basebackup", "-D", str(building), "-d", conninfo, "--wal-method=stream", "--checkpoint=fast",
        "--no-password", *sync, folder=bases, user=user, name="backup",
    )  # fmt: skip
    found = _START.search((building / "backup_label").read_text())
    if found is None:
        raise ServerFailed("The base backup cannot be used", "its backup_label names no WAL file", "it is taken again")
    manifest = json.loads((building / "backup_manifest").read_bytes())
    size = sum(int(file["Size"]) for file in manifest["Files"])
    building.rename(bases / name)
    fsync_folder(bases)
    last = manifest["WAL-Ranges"][-1]
    return Taken(found[1], int(last["Timeline"]), position_of(last["End-LSN"]), size)


def copy_to(server: Server, base: Path, go_on: Callable[[], None]) -> None:
    """Make the data directory of a server that has none a copy of the base backup, and check it by its manifest.

    The copying is done in this process and ends with it; `go_on`, asked before each file, may raise.
    Raises ServerFailed if a byte is not as it was when the backup was taken.
    """

    def copy(source: str, target: str) -> None:
        go_on()
        shutil.copy2(source, target)
        server.user.own(Path(target))

    building = server.folder / BUILDING
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(base, building, symlinks=True, copy_function=copy)
    for folder in (building, *(path for path in building.rglob("*") if path.is_dir())):
        server.user.own(folder)
    run(
        server.bin_folder / "pg_verifybackup", "--exit-on-error", "--quiet", str(building),
        folder=server.folder, user=server.user, name=server.name,
    )  # fmt: skip
    go_on()
    building.rename(server.data)
    fsync_folder(server.folder)
    write_atomically(server.data / "recovery.signal", "")
    server.user.own(server.data / "recovery.signal")


def recovery_options(archive: Path, *, until: float, at: str = "") -> dict[str, str]:
    """Settings with which a copy recovers to a moment (Unix time), or to the WAL position `at`, and becomes a primary.

    It stops at the first commit that is later than the moment, and fails if there is none. Until then it takes nobody,
    so that its max_connections and the like may be smaller than they were in the WAL.
    Source: PostgreSQL manual, "Recovery Target" and "Hot Standby", Administrator's Overview.
    """
    moment = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
    quoted = "'" + str(archive).replace("'", "'\\''") + "'"
    return {
        "restore_command": f"cp {quoted.replace('%', '%%')}/%f %p",
        **({"recovery_target_lsn": at} if at else {"recovery_target_time": moment}),
        "recovery_target_inclusive": "on",
        "recovery_target_action": "promote",
        "hot_standby": "off",
        "archive_mode": "off",
    }
