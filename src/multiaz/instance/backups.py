"""Automated backups of one DB instance: WAL archived as it is written, a base backup a day, and what both can restore.

A thread beside the loop does one thing at a time, on whoever is primary. Nothing here holds a failover up: a primary
that dies meanwhile costs an attempt.
"""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from multiaz.errors import MultiazError, NoProgress
from multiaz.files import write_atomically
from multiaz.home import BackupHome
from multiaz.instance.archiving import Archive, Mark, text
from multiaz.instance.backing_up import Due, due, kept, restorable_until
from multiaz.instance.records import BackupPlan, BackupRecord, BaseBackup, MemberName, RoleRecord, RunState
from multiaz.instance.restoring import read_backups
from multiaz.instance.servers import JobEnded, Servers
from multiaz.postgres import base_backup
from multiaz.postgres.processes import end_programs

log = logging.getLogger("multiaz.instance")

TOLD_AFTER = 3
"""So many attempts in a row must fail before it is said that backups cannot be made: a failover costs one or two."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 60.0
"""Pause before the next attempt after a failure, doubled each time."""
RESERVE_BYTES = 512 * 1024 * 1024
"""What a base backup must leave free: it may lie on the disk the servers write on."""
END_PATIENCE_S = 0.5
"""How long is waited for pg_basebackup to be gone once it is killed."""
MESSAGES = {
    "RDS-EVENT-0001": "Backing up DB instance",
    "RDS-EVENT-0002": "Finished DB Instance backup",
}


class BackupKeeper:
    """Makes and removes the backups of one instance."""

    def __init__(
        self,
        place: BackupHome,
        servers: Servers,
        beats: Callable[[MemberName], frozenset[int]],
        wake: Callable[[], None],
    ) -> None:
        self.record = BackupRecord(resource_id=servers.desired.resource_id)
        self.problem = ""
        """Why backups cannot be made now."""
        self.backing_up = False
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Ids of what happened and was not told yet."""
        self._known = False
        """`record` is what the file says."""
        self._place = place
        self._servers = servers
        self._archive = Archive(place, servers, beats, self._go_on)
        self._wake = wake
        self._thread: threading.Thread | None = None
        self._ending = False
        self._failures = 0
        self._not_before = 0.0
        """time.monotonic() of the next attempt."""
        self._pointed_at = 0.0
        """Unix time at which the last archive point was begun."""
        self._begin_told = False

    def look(self, memory: RoleRecord, *, answering: bool) -> None:
        """Begin what is due, if nothing is being done; `answering` says that the primary is."""
        desired = self._servers.desired
        if self._ending or (self._thread is not None and self._thread.is_alive()):
            return
        if time.monotonic() < self._not_before or not (self._known or self._read()):
            return
        if desired.run is not RunState.RUNNING or memory.primary is None or memory.following:
            return
        plan, primary, epoch = desired.backups, memory.primary, memory.epoch
        if plan is None:
            self._none_wanted()
        elif answering:
            match due(plan, self.record, time.time(), self._pointed_at):
                case Due.BASE:
                    self._begin(lambda: self._take_base(plan, primary, epoch))
                case Due.POINT:
                    self._begin(lambda: self._point(plan, primary, epoch))
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

    def end(self) -> None:
        """Do nothing more; what is being done fails, at the latest with the server. May be called again."""
        self._ending = True
        if self._thread is not None and self._thread.is_alive():
            try:
                end_programs(self._place.bases, Path(self._servers.desired.bin_folder), patience_s=END_PATIENCE_S)
            except NoProgress as error:
                log.warning("%s", error)

    def _read(self) -> bool:
        """Know what there is. While that cannot be read nothing is done: what is there might be taken for rubbish."""
        try:
            self.record = read_backups(self._place, self.record.resource_id)
        except MultiazError as error:
            self._failed(str(error))
            self.problem = str(error)
            return False
        self._pointed_at = self.record.restorable_until or 0.0
        self._failures, self.problem, self._known = 0, "", True
        return True

    def _none_wanted(self) -> None:
        self.record, self.problem = BackupRecord(resource_id=self.record.resource_id), ""
        if self._place.folder.exists() or self._place.gone.exists():
            self._begin(self._remove)

    # -- in the thread ---------------------------------------------------------------------------

    def _begin(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except JobEnded:
                log.info("the backup was ended")
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

    def _go_on(self) -> None:
        if self._ending:
            raise JobEnded("The backup was ended", "the supervisor ends", "the next one makes it")

    def _failed(self, why: str) -> None:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures, 20))
        self._failures += 1
        self._not_before = time.monotonic() + pause_s
        log.warning("no backup now, again in %.1f s: %s", pause_s, why)
        if self._failures >= TOLD_AFTER:
            self.problem = why

    def _point(self, plan: BackupPlan, primary: MemberName, epoch: int) -> None:
        """An archive point; where nothing was committed since the last one that is as good, and costs no segment."""
        self._servers.make_backup_folders()
        begun_at, mark, bases = time.time(), self._archive.mark, self.record.bases
        if self._archive.is_quiet(primary, epoch) and mark is not None and self._archive.whole(bases, mark) == bases:
            self._write(bases, mark, begun_at)
        else:
            mark = self._archive.reach(primary, epoch)
            self._write(self._archive.whole(bases, mark), mark, mark.begun_at)
        self._expire(plan)

    def _take_base(self, plan: BackupPlan, primary: MemberName, epoch: int) -> None:
        """A base backup, which counts once the WAL since its beginning is seen in the archive."""
        self.backing_up = True
        self._wake()
        self._servers.make_backup_folders()
        self._remove_unrecorded()
        if self._failures:  # does the archive take anything? Else each attempt would cost a copy of everything
            self._point(plan, primary, epoch)
        self._check_room(primary)
        if not self._begin_told:
            self._begin_told = True
            self.events.put("RDS-EVENT-0001")
        self._go_on()
        server, began_at = self._servers[primary], time.time()
        name = f"{began_at * 1000:.0f}"
        taken = base_backup.take(
            server.bin_folder, self._servers.home.socket_folder(primary), self._place.bases, name, server.user,
            server.sync_method(),
        )  # fmt: skip
        with self._archive.connect(primary) as connection:
            version = text(connection, "SHOW server_version")
        base = BaseBackup(
            name=name,
            began_at=began_at,
            ended_at=time.time(),
            start_segment=taken.start_segment,
            timeline=taken.timeline,
            end=taken.end,
            size_bytes=taken.size_bytes,
            server_version=version,
        )
        mark = self._archive.reach(primary, epoch)
        earlier = tuple(one for one in self.record.bases if one.ended_at <= began_at)  # others: the clock was put back
        whole = self._archive.whole((*earlier, base), mark)
        self._write(whole, mark, mark.begun_at)
        if base not in whole:
            raise NoProgress(
                "The base backup cannot be used", "WAL since then is not in the archive", "it is taken again"
            )
        log.info("base backup %s: %d bytes in %.2f s", name, base.size_bytes, base.ended_at - began_at)
        self._begin_told = False
        self.events.put("RDS-EVENT-0002")
        self._expire(plan)

    def _check_room(self, primary: MemberName) -> None:
        with self._archive.connect(primary) as connection:
            size = int(text(connection, "SELECT sum(pg_database_size(oid)) FROM pg_database"))
        free = shutil.disk_usage(self._place.bases).free
        if free < size + RESERVE_BYTES:
            raise NoProgress(
                "There is no room for a base backup",
                f"the databases have {size} bytes, {RESERVE_BYTES} are to stay free, and {free} are",
                "make room, or shorten the backup retention period",
            )

    def _write(self, bases: tuple[BaseBackup, ...], mark: Mark, begun_at: float) -> None:
        self.record = BackupRecord(
            resource_id=self.record.resource_id,
            bases=bases,
            restorable_until=restorable_until(begun_at, bases),
            marker_at=mark.at,
            marker=mark.position,
        )
        write_atomically(self._place.record, self.record.model_dump_json(indent=1))
        self._pointed_at = begun_at

    def _expire(self, plan: BackupPlan) -> None:
        """Remove what the retention no longer needs, unless somebody restores at this moment: then the next time."""
        mark, bases = self._archive.mark, kept(self.record.bases, plan.retention_days, time.time())
        if bases != self.record.bases and mark is not None:
            with self._archive.nobody_restores() as nobody:
                if nobody:
                    self._write(bases, mark, self._pointed_at)
        self._remove_unrecorded()
        self._archive.tidy(self.record.bases[0] if self.record.bases else None)

    def _remove_unrecorded(self) -> None:
        """Remove base backups that were not finished, are given up, or are too old."""
        recorded = {base.name for base in self.record.bases}
        others = [folder for folder in self._place.bases.iterdir() if folder.name not in recorded]
        if not others:
            return
        with self._archive.nobody_restores() as nobody:
            if nobody:
                for folder in others:
                    shutil.rmtree(folder)

    def _remove(self) -> None:
        """No backups are wanted any more. They are set aside first: new ones may be wanted while they are removed."""
        shutil.rmtree(self._place.gone, ignore_errors=True)
        if self._place.folder.exists():
            with self._archive.nobody_restores() as nobody:
                if not nobody:
                    raise NoProgress(
                        "The backups cannot be removed", "somebody restores from them", "it is tried again"
                    )
                self._place.record.unlink(missing_ok=True)
                self._place.folder.rename(self._place.gone)
        shutil.rmtree(self._place.gone)
        log.info("automated backups are off: those there were are removed")
