"""The WAL archive of one DB instance: how far it reaches, and from which base backups on it is whole.

The servers archive; here a segment is switched, waited for, and looked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from multiaz.errors import NoProgress
from multiaz.files import ProcessLock
from multiaz.home import BackupHome
from multiaz.instance.backing_up import Snapshot, quiet
from multiaz.instance.bootstrap import QUIET_OPTIONS
from multiaz.instance.records import BaseBackup, MemberName
from multiaz.instance.servers import Servers
from multiaz.postgres import archive
from multiaz.postgres.timelines import History

log = logging.getLogger("multiaz.instance")

ARCHIVER_PATIENCE_S = 30.0
"""How long the archiver may archive nothing while a segment waits for it."""
_PREPARED = "SELECT coalesce(string_agg(gid || ' ' || prepared, ',' ORDER BY gid), '') FROM pg_prepared_xacts"
Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class Mark:
    """A commit of ours, after which the segment was switched: all that had ended in `before` lies before it."""

    epoch: int
    postmaster: int | None
    begun_at: float
    """Unix time before anything of it was done."""
    before: Snapshot
    prepared: str
    """Which transactions were prepared then."""
    transaction: int
    at: float
    """Unix time before its commit."""
    position: str
    """WAL position after its commit."""
    last: str
    """The segment it is in."""
    history: History


class Archive:
    """The archive of one instance. One thread at a time."""

    def __init__(
        self,
        place: BackupHome,
        servers: Servers,
        beats: Callable[[MemberName], frozenset[int]],
        go_on: Callable[[], None],
    ) -> None:
        self.mark: Mark | None = None
        """The last one that is archived; None until this supervisor has seen one."""
        self._begun: Mark | None = None
        """One whose segment is waited for. While the archive takes nothing no other is begun: each costs a segment."""
        self._place = place
        self._servers = servers
        self._beats = beats
        """Transactions of ours on a member, beside the marks."""
        self._go_on = go_on
        self._trimmed: set[str] = set()

    def is_quiet(self, primary: MemberName, epoch: int) -> bool:
        """Nothing worth archiving has happened since the last mark."""
        mark = self.mark
        if mark is None or (mark.epoch, mark.postmaster) != (epoch, self._servers[primary].pid()):
            return False
        ours = self._beats(primary) | {mark.transaction}
        with self.connect(primary) as connection:
            prepared = text(connection, _PREPARED)
            now = Snapshot.parse(text(connection, "SELECT pg_current_snapshot()::text"))
        return prepared == mark.prepared and quiet(mark.before, now, ours)

    def reach(self, primary: MemberName, epoch: int) -> Mark:
        """Have all WAL of by now archived, and return up to where. Raises NoProgress, psycopg.Error.

        The commit of the mark is later than any moment that can be restored to because of it: where recovery is to stop
        at a time, it must find a later commit.
        """
        self._check(primary)
        begun = self._begun
        if begun is None or (begun.epoch, begun.postmaster) != (epoch, self._servers[primary].pid()):
            begun = self._begun = self._begin(primary, epoch)
        # first: what a member that follows ends the timeline with could not be told from it, and would not be archived
        self.clear(archive.superseded(self.names(), begun.history))
        with self.connect(primary) as connection:
            self._wait(connection, primary, begun.last)
        self.mark, self._begun = begun, None
        return begun

    def _begin(self, primary: MemberName, epoch: int) -> Mark:
        begun_at, server = time.time(), self._servers[primary]
        postmaster = server.pid()
        history = server.history_of(self._servers.home.socket_folder(primary))
        with self.connect(primary) as connection:
            prepared = text(connection, _PREPARED)
            before = Snapshot.parse(text(connection, "SELECT pg_current_snapshot()::text"))
            at = float(text(connection, "SELECT extract(epoch FROM clock_timestamp())"))
            transaction = int(text(connection, "SELECT pg_current_xact_id()::text"))
            position = text(connection, "SELECT pg_current_wal_insert_lsn()::text")
            last = text(connection, "SELECT pg_walfile_name(pg_switch_wal() - 1)")
        return Mark(epoch, postmaster, begun_at, before, prepared, transaction, at, position, last, history)

    def whole(self, bases: tuple[BaseBackup, ...], mark: Mark) -> tuple[BaseBackup, ...]:
        """Those of `bases` from which a recovery gets to the mark; why not the others is in the log."""
        names, found = self.names(), []
        for base in bases:
            why = archive.beyond(base.timeline, base.end, mark.history)
            if not why:
                missing = archive.first_missing(names, base.start_segment, mark.last, mark.history)
                why = f"{missing} is not in the archive" if missing else ""
            if why:
                log.error("base backup %s is given up: %s", base.name, why)
            else:
                found.append(base)
        return tuple(found)

    def names(self) -> set[str]:
        """What is in the archive."""
        return {path.name for path in self._place.wal.iterdir()}

    def tidy(self, oldest: BaseBackup | None) -> None:
        """Remove what only older base backups needed, and let what a switch left of a segment take no room."""
        archive.remove_unfinished(self._place.wal, time.time())
        if oldest is not None:
            self.clear(archive.outdated(self.names(), oldest.start_segment))
        names = self.names()
        for name in names - self._trimmed:
            if len(name) == archive.NAME_LENGTH:
                archive.trim(self._place.wal / name)
        self._trimmed = names

    def clear(self, names: Collection[str]) -> None:
        """Remove files from the archive that nobody reads; while somebody restores, the next time."""
        if not names:
            return
        with self.nobody_restores() as nobody:
            if nobody:
                for name in names:
                    (self._place.wal / name).unlink(missing_ok=True)

    @contextmanager
    def nobody_restores(self) -> Iterator[bool]:
        """While the block runs nobody begins to restore; yields False if somebody does."""
        lock = ProcessLock(self._place.lock)
        if not lock.acquire():
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def connect(self, primary: MemberName) -> Connection:
        """A connection that logs nothing and waits for no standby."""
        options = f"{QUIET_OPTIONS} -c statement_timeout=30s -c synchronous_commit=local"
        return self._servers[primary].connect(options=options)

    def _check(self, primary: MemberName) -> None:
        """Raises NoProgress unless the primary archives its WAL."""
        with self.connect(primary) as connection:
            if text(connection, "SHOW archive_mode") == "off":
                raise NoProgress(
                    "WAL cannot be archived", "the server runs with archive_mode off", "reboot the instance"
                )
            if text(connection, "SHOW archive_library") != "basic_archive":
                raise NoProgress("WAL is not archived yet", "the server has not read its configuration", "read its log")

    def _wait(self, connection: Connection, primary: MemberName, last: str) -> None:
        """Until the primary's own archiver says that it is done: a file of that name may be another one.

        Progress is what it has archived; what it says when it fails is in the server's log.
        """
        done = self._servers[primary].data / "pg_wal" / "archive_status" / f"{last}.done"
        archived, failed, _ = _archiver(connection)
        deadline = time.monotonic() + ARCHIVER_PATIENCE_S
        while True:
            now, failures, latest = _archiver(connection)
            if (done.exists() or latest >= last) and (self._place.wal / last).exists():
                return
            self._go_on()
            if now != archived:
                archived, failed, deadline = now, failures, time.monotonic() + ARCHIVER_PATIENCE_S
            if failures > failed or time.monotonic() > deadline:
                why = "it fails" if failures > failed else "it does nothing"
                raise NoProgress(
                    f"{last} is not archived", f"the archiver does not get on: {why}", "read the server's log"
                )
            time.sleep(0.01)


def text(connection: Connection, query: str) -> str:
    """The one value a query returns."""
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def _archiver(connection: Connection) -> tuple[int, int, str]:
    """How many files it has archived, how often it failed, and the segment it archived last (empty: another file)."""
    row = connection.execute(
        "SELECT archived_count, failed_count, coalesce(last_archived_wal, '') FROM pg_stat_archiver"
    ).fetchone()
    assert row is not None
    latest = str(row[2])
    return int(str(row[0])), int(str(row[1])), latest if len(latest) == archive.NAME_LENGTH else ""
