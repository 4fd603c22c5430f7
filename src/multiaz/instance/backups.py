"""Automated backups of one DB instance: WAL archived as it is written, a base backup a day, and what both can restore.

The servers archive (`basic_archive`); this thread beside the loop has segments switched, takes base backups of the
primary, and proves by the archive itself up to when everything is there. Nothing here holds a failover up: a primary
that dies meanwhile costs an attempt.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from multiaz.errors import MultiazError, NoProgress
from multiaz.files import ProcessLock, write_atomically
from multiaz.home import BackupHome
from multiaz.instance.backing_up import Due, Snapshot, due, kept, quiet, restorable_until
from multiaz.instance.bootstrap import QUIET_OPTIONS
from multiaz.instance.records import BackupPlan, BackupRecord, BaseBackup, MemberName, RoleRecord, RunState
from multiaz.instance.restoring import read_backups
from multiaz.instance.servers import Servers
from multiaz.postgres import archive, base_backup
from multiaz.postgres.processes import end_programs
from multiaz.postgres.timelines import History

log = logging.getLogger("multiaz.instance")

ARCHIVER_PATIENCE_S = 30.0
"""How long the archiver may archive nothing while a segment waits for it."""
TOLD_AFTER = 3
"""So many attempts in a row must fail before it is said that backups cannot be made: a failover costs one or two."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 60.0
"""Pause before the next attempt after a failure, doubled each time."""
MESSAGES = {
    "RDS-EVENT-0001": "Backing up DB instance",
    "RDS-EVENT-0002": "Finished DB Instance backup",
}


@dataclass(frozen=True)
class _Mark:
    """Where the archive ends: all that had ended in `before` is in it."""

    epoch: int
    before: Snapshot
    transaction: int
    at: float
    position: str
    last: str
    """The last segment of it."""
    history: History


class BackupKeeper:
    """Makes and removes the backups of one instance, one thing at a time, in a thread of its own."""

    def __init__(
        self,
        place: BackupHome,
        servers: Servers,
        beats: Callable[[MemberName], frozenset[int]],
        wake: Callable[[], None],
    ) -> None:
        self.record = read_backups(place, servers.desired.resource_id)
        self.problem = ""
        """Why backups cannot be made now."""
        self.backing_up = False
        self._place = place
        self._servers = servers
        self._beats = beats
        """Transactions of ours on a member, beside the marks of archive points."""
        self._wake = wake
        self._thread: threading.Thread | None = None
        self._ending = False
        self._failures = 0
        self._not_before = 0.0
        """time.monotonic() of the next attempt."""
        self._pointed_at = self.record.restorable_until or 0.0
        """Unix time at which the last archive point was begun."""
        self._mark: _Mark | None = None
        """The last archive point; None until this supervisor has made one."""
        self._trimmed: set[str] = set()
        self._events: list[str] = []

    def look(self, memory: RoleRecord, *, answering: bool) -> None:
        """Begin what is due, if nothing is being done; `answering` says that the primary is."""
        desired = self._servers.desired
        if self._ending or (self._thread is not None and self._thread.is_alive()):
            return
        if desired.run is not RunState.RUNNING or memory.primary is None or memory.following:
            return
        if time.monotonic() < self._not_before:
            return
        plan, primary = desired.backups, memory.primary
        if plan is None:
            if self._place.folder.exists():
                self._begin(self._remove)
        elif answering:
            match due(plan, self.record, time.time(), self._pointed_at):
                case Due.BASE:
                    self._begin(lambda: self._take_base(plan, primary, memory.epoch))
                case Due.POINT:
                    self._begin(lambda: self._point_unless_quiet(primary, memory.epoch))
                case None:
                    pass

    def published(self) -> dict[str, Any]:
        """The fields of `ObservedInstance` that are of backups."""
        return {
            "backing_up": self.backing_up,
            "restorable_from": self.record.restorable_from,
            "restorable_until": self.record.restorable_until,
            "backup_problem": self.problem,
        }

    def events(self) -> list[str]:
        """Ids of what happened and was not told yet."""
        told, self._events = self._events, []
        return told

    def end(self) -> None:
        """Do nothing more; what is being done fails, at the latest with the server."""
        self._ending = True
        if self._thread is not None and self._thread.is_alive():
            end_programs(self._place.bases, Path(self._servers.desired.bin_folder))

    # -- in the thread ---------------------------------------------------------------------------

    def _begin(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except (MultiazError, OSError, psycopg.Error, ValueError) as error:
                self._failed(str(error))
            except Exception as error:
                log.exception("a bug of ours, in the backups")
                self._failed(str(error))
            else:
                self._failures, self.problem = 0, ""
            self.backing_up = False
            self._wake()

        self._thread = threading.Thread(target=run, name="backups", daemon=True)
        self._thread.start()

    def _failed(self, why: str) -> None:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures, 20))
        self._failures += 1
        self._not_before = time.monotonic() + pause_s
        log.warning("no backup now, again in %.1f s: %s", pause_s, why)
        if self._failures >= TOLD_AFTER:
            self.problem = why

    def _take_base(self, plan: BackupPlan, primary: MemberName, epoch: int) -> None:
        self.backing_up = True
        self._wake()
        self._check_archiving(primary)
        if not self._failures:
            self._events.append("RDS-EVENT-0001")
        server, began_at = self._servers[primary], time.time()
        name = f"{began_at * 1000:.0f}"
        taken = base_backup.take(
            server.bin_folder, self._servers.home.socket_folder(primary), self._place.bases, name, server.user,
            server.sync_method(),
        )  # fmt: skip
        base = BaseBackup(
            name=name,
            began_at=began_at,
            ended_at=time.time(),
            start_segment=taken.start_segment,
            size_bytes=taken.size_bytes,
            server_version=self._version(primary),
        )
        self._point(primary, epoch, (*self.record.bases, base))
        log.info("base backup %s: %d bytes in %.2f s", name, base.size_bytes, base.ended_at - began_at)
        self._events.append("RDS-EVENT-0002")
        self._expire(plan)

    def _version(self, primary: MemberName) -> str:
        with self._connect(primary) as connection:
            return _text(connection, "SHOW server_version")

    def _check_archiving(self, primary: MemberName) -> None:
        """Raises NoProgress unless the primary archives its WAL."""
        with self._connect(primary) as connection:
            if _text(connection, "SHOW archive_mode") == "off":
                raise NoProgress(
                    "WAL cannot be archived", "the server runs with archive_mode off", "reboot the instance"
                )
            if _text(connection, "SHOW archive_library") != "basic_archive":
                raise NoProgress("WAL is not archived yet", "the server has not read its configuration", "read its log")

    def _point_unless_quiet(self, primary: MemberName, epoch: int) -> None:
        """An archive point; where nothing was committed since the last one that is as good, and costs no segment."""
        mark, begun_at = self._mark, time.time()
        if mark is not None and mark.epoch == epoch:
            ours = self._beats(primary) | {mark.transaction}
            with self._connect(primary) as connection:
                now = Snapshot.parse(_text(connection, "SELECT pg_current_snapshot()::text"))
            if quiet(mark.before, now, ours) and self._whole(self.record.bases, mark) == self.record.bases:
                self._write(self.record.bases, begun_at)
                return
        self._point(primary, epoch, self.record.bases)

    def _point(self, primary: MemberName, epoch: int, bases: tuple[BaseBackup, ...]) -> None:
        """Have all WAL of by now archived, see that none is missing since each of `bases`, and record that.

        The commit of ours that goes before the switch is later than any moment that can be restored to: where recovery
        is to stop at a time, it must find a later commit. Base backups whose WAL is not whole are given up.
        Raises NoProgress.
        """
        begun_at = time.time()
        with self._connect(primary) as connection:
            before = Snapshot.parse(_text(connection, "SELECT pg_current_snapshot()::text"))
            at = float(_text(connection, "SELECT extract(epoch FROM clock_timestamp())"))
            transaction = int(_text(connection, "SELECT pg_current_xact_id()::text"))
            position = _text(connection, "SELECT pg_current_wal_insert_lsn()::text")
            last = _text(connection, "SELECT pg_walfile_name(pg_switch_wal() - 1)")
            self._wait_until_archived(connection, last)
        history = self._servers[primary].history_of(self._servers.home.socket_folder(primary))
        self._mark = mark = _Mark(epoch, before, transaction, at, position, last, history)
        whole = self._whole(bases, mark)
        self._write(whole, begun_at)
        self._clear(archive.superseded(self._archived(), history))
        self._trim()
        if bases and bases[-1] not in whole:
            raise NoProgress(
                "The base backup cannot be used", "WAL since then is not in the archive", "it is taken again"
            )

    def _whole(self, bases: tuple[BaseBackup, ...], mark: _Mark) -> tuple[BaseBackup, ...]:
        """Those of `bases` from which a recovery gets to the mark; why not the others is in the log."""
        names, whole = self._archived(), []
        for base in bases:
            missing = archive.first_missing(names, base.start_segment, mark.last, mark.history)
            if missing is None:
                whole.append(base)
            else:
                log.error("base backup %s is given up: %s is not in the archive", base.name, missing)
        return tuple(whole)

    def _archived(self) -> set[str]:
        return {path.name for path in self._place.wal.iterdir()}

    def _write(self, bases: tuple[BaseBackup, ...], begun_at: float) -> None:
        mark = self._mark
        assert mark is not None
        self.record = BackupRecord(
            resource_id=self.record.resource_id,
            bases=bases,
            restorable_until=restorable_until(begun_at, bases),
            marker_at=mark.at,
            marker=mark.position,
        )
        write_atomically(self._place.record, self.record.model_dump_json(indent=1))
        self._pointed_at = begun_at

    def _clear(self, names: Collection[str]) -> None:
        """Remove files from the archive that nobody reads; while somebody restores, the next time."""
        if not names:
            return
        with self._nobody_restores() as nobody:
            if nobody:
                for name in names:
                    (self._place.wal / name).unlink(missing_ok=True)

    @contextmanager
    def _nobody_restores(self) -> Iterator[bool]:
        lock = ProcessLock(self._place.lock)
        if not lock.acquire():
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _wait_until_archived(self, connection: psycopg.Connection[tuple[object, ...]], last: str) -> None:
        """Progress is what the archiver has archived; what it says when it fails is in the server's log."""
        archived, failed = self._archiver(connection)
        deadline = time.monotonic() + ARCHIVER_PATIENCE_S
        while not (self._place.wal / last).exists():
            now, failures = self._archiver(connection)
            if now != archived:
                archived, failed, deadline = now, failures, time.monotonic() + ARCHIVER_PATIENCE_S
            if failures > failed or time.monotonic() > deadline or self._ending:
                why = "it fails" if failures > failed else "it does nothing"
                raise NoProgress(
                    f"{last} is not archived", f"the archiver does not get on: {why}", "read the server's log"
                )
            time.sleep(0.01)

    @staticmethod
    def _archiver(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[int, int]:
        """How many files it has archived, and how often it failed."""
        row = connection.execute("SELECT archived_count, failed_count FROM pg_stat_archiver").fetchone()
        assert row is not None
        return int(str(row[0])), int(str(row[1]))

    def _trim(self) -> None:
        """What a switch left of a segment takes no room."""
        archive.remove_unfinished(self._place.wal)
        names = self._archived()
        for name in names - self._trimmed:
            if len(name) == archive.NAME_LENGTH:
                archive.trim(self._place.wal / name)
        self._trimmed = names

    def _expire(self, plan: BackupPlan) -> None:
        """Remove what the retention no longer needs, unless somebody restores at this moment: then the next time."""
        bases = kept(self.record.bases, plan.retention_days, time.time())
        with self._nobody_restores() as nobody:
            if not nobody:
                return
            if bases != self.record.bases:
                self._write(bases, self._pointed_at)
            folders = {base.name for base in bases}
            for folder in self._place.bases.iterdir():
                if folder.name not in folders:
                    shutil.rmtree(folder)
        self._clear(archive.outdated(self._archived(), bases[0].start_segment))

    def _remove(self) -> None:
        """No backups are wanted any more. The lock goes last, with its folder, while it is held."""
        with self._nobody_restores() as nobody:
            if not nobody:
                raise NoProgress("The backups cannot be removed", "somebody restores from them", "it is tried again")
            self.record = BackupRecord(resource_id=self.record.resource_id)
            self._place.record.unlink(missing_ok=True)
            shutil.rmtree(self._place.folder)
        log.info("automated backups are off: those there were are removed")

    def _connect(self, primary: MemberName) -> psycopg.Connection[tuple[object, ...]]:
        return self._servers[primary].connect(options=f"{QUIET_OPTIONS} -c statement_timeout=30s")


def _text(connection: psycopg.Connection[tuple[object, ...]], query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])
