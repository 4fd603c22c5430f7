"""The first server of an instance that is restored: from the backups of another one, up to a moment."""

from __future__ import annotations

from collections.abc import Callable

from multiaz.errors import NoProgress
from multiaz.files import shared_lock
from multiaz.home import BackupHome
from multiaz.instance.records import Restore
from multiaz.postgres.base_backup import copy_to, recovery_options
from multiaz.postgres.server import Server, ServerFailed


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
    with shared_lock(backups.lock) as ours:
        if not ours:
            raise NoProgress("Cannot restore", "the backups are being cleared at this moment", "it is tried again")
        base = backups.base(wanted.base)
        if not base.is_dir():
            raise ServerFailed("Cannot restore", f"the base backup {base} is gone", "restore to a later time")
        copy_to(server, base)
        go_on()
        configure()
        server.wait_until_ready(server.start(recovery_options(backups.wal, wanted.until)), go_on=go_on)
    with server.connect() as connection:
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    if row is None or row[0]:
        raise ServerFailed(
            "Cannot restore", "the server did not leave recovery", f"read the log in {server.log_folder}"
        )
    server.stop()
