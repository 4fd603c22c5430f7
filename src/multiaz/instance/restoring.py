"""The first server of an instance that is restored: from the backups of another one, up to a moment."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from multiaz.errors import NoProgress
from multiaz.files import shared_lock
from multiaz.home import BackupHome
from multiaz.instance.records import BackupRecord, Restore
from multiaz.postgres.base_backup import copy_to, recovery_options
from multiaz.postgres.server import Server, ServerFailed


def read_backups(place: BackupHome, resource_id: str) -> BackupRecord:
    """What there is to restore; nothing if there is no record. Raises ServerFailed if it cannot be read."""
    try:
        return BackupRecord.model_validate_json(place.record.read_bytes())
    except FileNotFoundError:
        return BackupRecord(resource_id=resource_id)
    except (OSError, ValidationError) as error:
        raise ServerFailed(f"{place.record} cannot be read", str(error), "put it back, or remove it") from error


def restore(
    server: Server,
    backups: BackupHome,
    wanted: Restore,
    configure: Callable[[], None],
    go_on: Callable[[], None],
) -> None:
    """Make the server's data directory what the other instance was at `wanted.until`, a primary, stopped.

    `configure` writes its configuration, `go_on` raises when the work is to end. Nothing is removed from the backups
    meanwhile. How long the recovery takes is for it to say: it is waited for as long as the server lives.
    Raises ServerFailed, NoProgress.
    """
    if not backups.folder.is_dir():
        raise ServerFailed("Cannot restore", f"there are no backups in {backups.folder}", "restore from others")
    with shared_lock(backups.lock) as ours:
        if not ours:
            raise NoProgress("Cannot restore", "the backups are being cleared at this moment", "it is tried again")
        record = read_backups(backups, wanted.resource_id)
        base = backups.base(wanted.base)
        if wanted.base not in {one.name for one in record.bases}:
            raise ServerFailed("Cannot restore", f"the base backup {base} is gone", "restore to a later time")
        if record.restorable_until is None or wanted.until > record.restorable_until:
            raise ServerFailed("Cannot restore", "that moment is not archived", "restore to an earlier time")
        copy_to(server, base, go_on)
        go_on()
        configure()
        at = record.marker if wanted.until >= record.marker_at else ""
        server.wait_until_ready(server.start(recovery_options(backups.wal, until=wanted.until, at=at)), go_on=go_on)
    with server.connect() as connection:
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    if row is None or row[0]:
        raise ServerFailed(
            "Cannot restore", "the server did not leave recovery", f"read the log in {server.log_folder}"
        )
    server.stop()
