"""The supervising loop of one DB instance: observe, decide, perform, publish, wait.

It holds the instance's lock for life. Servers and the relay outlive it; a new supervisor finds
everything in the files and in the processes themselves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
import time
from pathlib import Path

import psycopg
from pydantic import ValidationError

from multiaz.errors import MultiazError, NoProgress
from multiaz.files import ProcessLock, fsync_folder, prepare, put_in_place, switch_link
from multiaz.home import Home
from multiaz.instance import costs
from multiaz.instance.actions import (
    Action,
    Announce,
    Begin,
    Configure,
    EndJob,
    Fence,
    JobKind,
    PointPrimary,
    PointUpstream,
    Promote,
    Record,
    Start,
    Step,
    StopAll,
    TakeSnapshot,
)
from multiaz.instance.backups import MESSAGES as BACKUP_MESSAGES
from multiaz.instance.backups import BackupKeeper
from multiaz.instance.decide import decide
from multiaz.instance.events import EventLog
from multiaz.instance.evidence import doubt_of, next_revision, note_revision, noted_revision, read_record
from multiaz.instance.faults import FaultFile
from multiaz.instance.observe import Observer
from multiaz.instance.publishing import Publisher
from multiaz.instance.records import DesiredInstance, Failover, MemberName, Phase, RoleRecord
from multiaz.instance.relaying import RelayKeeper
from multiaz.instance.servers import MEMBERS, Servers, other_member
from multiaz.instance.storage import MESSAGES, StorageWatch, release
from multiaz.postgres.processes import fence, open_pidfd, resume
from multiaz.postgres.promotion import wait_until_primary
from multiaz.postgres.server import Server

log = logging.getLogger("multiaz.instance")

CALM_S = 0.25
"""Longest time between two rounds; a death, a signal or a changed sight ends the wait at once."""


LAST_WAL_PATIENCE_S = 5.0
"""How long a primary that shuts down may take to have its last WAL confirmed; it would wait a minute."""
FENCE_PATIENCE_S = 1.0
"""How long the loop waits for killed processes to be gone. What is stuck in the kernel and doomed keeps its own server
from being started again, not the other one from taking over."""
JOBS_PATIENCE_S = 60.0
"""How long a supervisor that is to end waits for its jobs, whose programs it has killed; its threads end with it."""


class Supervisor:
    """One DB instance's supervisor."""

    def __init__(self, home: Home, resource_id: str) -> None:
        self.top = home
        self.home = home.instance(resource_id)
        self.lock = ProcessLock(self.home.lock)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ending = False
        self._backoff_s = 0.0

    # -- life ------------------------------------------------------------------------------------

    def run(self) -> int:
        """Supervise until the instance is deleted or SIGTERM comes; returns the exit code."""
        if not self.lock.acquire():
            return 0
        self.home.observed.unlink(missing_ok=True)  # what a dead supervisor saw must not pass for ours
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        self._load()
        while not self._ending:
            try:
                step = self._round()
            except OSError as error:  # no descriptor to look with: nobody is judged by what could not be seen
                self._try_later()
                log.warning("cannot look at the servers now: %s", error)
                self._wait()
                continue
            if step.phase is Phase.DELETED and self._is_deleted(step):
                break
            self._wait()
        if self._ending:
            self._shut_down()
        self.observer.stop()
        return 0

    def _is_deleted(self, step: Step) -> bool:
        """End what is left beside the servers, and say that all is gone; False: the relay is not, and a later round
        tries again. Whoever is told removes the folder, and with it all that is known of a relay that lives on."""
        self.backups.end()
        if not self.relay.end():
            return False
        self._release_storage()
        self.publisher.publish(step, self.memory)
        return True

    def _end(self, *_: object) -> None:
        self._ending = True

    def _load(self) -> None:
        self._desired_key = self._key_of_desired()  # first: what is written while it is read is then seen to be new
        self.desired = DesiredInstance.model_validate_json(self.home.desired.read_bytes())
        _make_run_folders(self.top, self.home.run)
        self.home.logs.mkdir(mode=0o700, exist_ok=True)
        self.servers = Servers(self.home, self.desired)
        self.events = EventLog(self.home.events)
        self.relay = RelayKeeper(self.top, self.home)
        self.storage = StorageWatch()
        self.faults = FaultFile(self.home.faults)
        self.servers.faults = self.faults.read().of(following=read_record(self.home.role)[0].following)
        for member in MEMBERS:
            self.servers.note_stuck(member)
        self._write_relay()
        self.observer = Observer(self.home, self.servers, self.wake)
        self.backups = BackupKeeper(self.home.backups, self.servers, self.observer.beats, self.wake)
        self.publisher = Publisher(self.home, self.servers, self.observer, self.backups)
        self._load_memory()
        log.info("supervising %s (%s), epoch %d, primary %s", self.desired.identifier, self.desired.resource_id,
                 self.memory.epoch, self.memory.primary)  # fmt: skip

    def _load_memory(self) -> None:
        record, unreadable = read_record(self.home.role)
        noted = {member: noted_revision(self.servers[member].folder) for member in MEMBERS}
        self.memory = record
        self.observer.doubt = unreadable or (doubt_of(record, noted) if record.primary is not None else None)
        if record.primary is not None and not self.observer.doubt:
            try:
                self._remember(record)  # as a new revision: what is done by it is told apart from what was done before
            except OSError as error:
                log.warning("role.json cannot be written: %s", error)

    def _round(self) -> Step:
        self._read_desired()
        self._read_faults()
        if self.observer.doubt or self.memory.primary is None:
            self._load_memory()  # it may have been put back
        seen = self.observer.observe(self.memory)
        step = decide(self.desired, seen, self.memory)
        self.publisher.say(step)
        self._tell(step)
        try:
            self._perform(step)
            self._backoff_s = 0.0
        except (MultiazError, OSError, psycopg.Error) as error:
            # what failed is decided anew next round, with what is seen then
            self._try_later()
            log.warning("%s: %s: %s", step.rule, type(error).__name__, error)
        return step

    def _try_later(self) -> None:
        """A round failed: the next one comes after a pause, doubled each time."""
        self._backoff_s = min(2.0, max(0.05, self._backoff_s * 2))

    def _tell(self, step: Step) -> None:
        """Keep the relay alive and publish; a full disk must not end the supervision."""
        if step.phase is Phase.DELETED:
            return  # told once it is true of the relay as well
        try:
            self.relay.keep()
            self._watch_storage()
            self._look_after_backups()
            self.publisher.publish(step, self.memory, relay_ready=self.relay.ready(), storage_full=self.storage.full)
        except OSError as error:
            log.warning("cannot publish: %s", error)

    def _look_after_backups(self) -> None:
        while not self.backups.events.empty():
            code = self.backups.events.get()
            self._announce(code, BACKUP_MESSAGES[code])
        primary = self.memory.primary
        answering = primary is not None and self.observer.sight(primary) is not None
        self.backups.look(self.memory, answering=answering)

    def _watch_storage(self) -> None:
        if self.memory.primary is not None:
            for code in self.storage.look(self.servers[self.memory.primary]):
                self.events.append(code, MESSAGES[code])

    def _read_desired(self) -> None:
        try:
            key = self._key_of_desired()
            if key == self._desired_key:
                return
            wanted = DesiredInstance.model_validate_json(self.home.desired.read_bytes())
        except (OSError, ValidationError) as error:
            log.error("desired.json cannot be read, the last one stays in force: %s", error)
            return
        self.desired = self.servers.desired = wanted
        try:
            self._write_relay()
        except OSError as error:  # a full disk: tried again next round
            log.warning("relay.json cannot be written: %s", error)
        else:
            self._desired_key = key

    def _key_of_desired(self) -> tuple[int, int]:
        """Another one is another file: two may be written within one tick of the clock."""
        told = self.home.desired.stat()
        return told.st_ino, told.st_mtime_ns

    def _read_faults(self) -> None:
        faults = self.faults.read().of(following=self.memory.following)
        if faults != self.servers.faults:
            before, self.servers.faults = self.servers.faults, faults
            try:
                self._write_relay()
            except OSError as error:  # a full disk, perhaps a fault itself: tried again next round
                self.servers.faults = before
                log.warning("relay.json cannot be written: %s", error)

    def _write_relay(self) -> None:
        faults = self.servers.faults
        self.relay.write(self.desired, faults.clients(), faults.wires(self.home, self.desired))

    def wake(self) -> None:
        """End the wait between two rounds; may be called from any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"w")

    def _wait(self) -> None:
        """Wait for a death, a signal, a change, or the end of the calm."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        handles = []
        pause = self._backoff_s or (0.0 if self.observer.acted else min(CALM_S, self.observer.next_look_s()))
        if pause:
            for pid in self.observer.pids():
                try:
                    handle = open_pidfd(pid)
                except OSError:  # too many open files: the next look tells, a little later
                    continue
                if handle is None:
                    pause = 0.0  # it died since it was looked at, and nothing else would tell
                    continue
                handles.append(handle)
                poll.register(handle, select.POLLIN)
        self.observer.acted = False
        try:
            poll.poll(pause * 1000)
        finally:
            for handle in handles:
                os.close(handle)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass

    def _shut_down(self) -> None:
        """SIGTERM: end the jobs, stop the servers cleanly, end the relay, keep everything."""
        log.info("stopping %s", self.desired.identifier)
        self.relay.end()
        give_up_at = time.monotonic() + JOBS_PATIENCE_S
        while True:
            self.backups.end()
            at_work = self.observer.at_work()
            for member in at_work:
                self.servers.end_job(member)
            self._stop_all()  # a job that waits for a server's answer ends with the server
            if self.observer.wait_for_jobs(0.1) and not at_work:
                break
            if time.monotonic() > give_up_at:
                log.error("a job on %s does not end and is left", " and ".join(at_work))
                break
        step = Step("shut_down", Phase.STOPPED, "the local cloud was stopped")
        self.observer.observe(self.memory)
        self.publisher.publish(step, self.memory)

    # -- acting ----------------------------------------------------------------------------------

    def _perform(self, step: Step) -> None:
        failover = costs.begun(step, self.memory, time.time(), self.observer.last_heard(self.memory.primary))
        prepared = self._prepare_failover(step, failover) if failover is not None else None
        for action in step.actions:
            self.observer.acted = True
            if prepared is not None and isinstance(action, Record):
                record, written = prepared
                self._take(record.model_copy(update={"last_failover": failover}), written)
            else:
                self._do(action)
            if failover is not None and self.memory.epoch < failover.epoch:
                failover = costs.after(failover, action, time.time())
            else:
                self._count(action)

    def _prepare_failover(self, step: Step, failover: Failover) -> tuple[RoleRecord, Path]:
        """The record of a failover, written and fsynced before the fence: a disk that is full must not cost a primary.

        The moments known so far are in it; those that follow are written with the next record.
        """
        (record,) = (action.memory for action in step.actions if isinstance(action, Record))
        return self._prepare(record.model_copy(update={"last_failover": failover}))

    def _count(self, action: Action) -> None:
        """Keep when a step of the latest failover was done; written with the next record."""
        before = self.memory.last_failover
        now = costs.after(before, action, time.time())
        if now is not before:
            self.memory = self.memory.model_copy(update={"last_failover": now})

    def _do(self, action: Action) -> None:
        """Perform one action."""
        match action:
            case Record(memory):
                self._remember(memory)
            case Fence(member):
                self._fence(member)
            case Start(member, standby):
                self._start(member, standby=standby)
            case StopAll():
                self._stop_all()
            case Promote(member):
                self._promote(member)
            case PointPrimary(member):
                self._lead_clients(member)
            case PointUpstream(member):
                self.servers.point_upstream(member)
            case Configure(member, synchronous):
                self.servers.configure(member, self.memory, synchronous=synchronous)
                self.observer.poke(member)
            case TakeSnapshot():
                self._take_snapshot()
            case Begin(kind, member):
                self._begin(kind, member)
            case EndJob(member):
                self.servers.end_job(member)
            case Announce(code, message):
                self._announce(code, message)

    def _announce(self, code: str, message: str) -> None:
        try:
            self.events.append(code, message)
        except OSError as error:  # a full disk must not hold a failover back
            log.error("the event %s cannot be kept: %s", code, error)

    def _fence(self, member: MemberName) -> None:
        count = fence(self.servers[member].data, patience_s=FENCE_PATIENCE_S, doomed_will_do=True)
        self._note_stuck(member)
        try:
            self.servers[member].remove_stale_pid()
        except OSError as error:  # storage that is broken must not hold a failover back
            log.error("the lock file of %s stays: %s", member, error)
        log.info("fenced %s: %d processes killed", member, count)

    def _note_stuck(self, member: MemberName) -> None:
        self.servers.note_stuck(member)
        if why := self.servers.stuck(member):
            self.observer.stopped(member)
            log.warning("%s: %s", member, why)

    def _promote(self, member: MemberName) -> None:
        """A server whose promotion stands still is ended; as the recorded primary it is started, and promoted again."""
        note_revision(self.servers[member].folder, self.memory.revision)
        resume(self.servers[member].data)
        self.servers[member].promote()
        try:
            wait_until_primary(self.servers[member])
        except NoProgress:
            self._fence(member)
            raise
        self.observer.forget(member)

    def _lead_clients(self, member: MemberName | None) -> None:
        if member is None:
            self.home.primary_link.unlink(missing_ok=True)
        else:
            switch_link(self.home.primary_link, member)
        self.relay.poke()

    def _remember(self, memory: RoleRecord) -> None:
        self._take(*self._prepare(memory))

    def _prepare(self, memory: RoleRecord) -> tuple[RoleRecord, Path]:
        """The record as the next revision, and the file in which it waits to become `role.json`."""
        if memory.epoch < self.memory.epoch:
            raise AssertionError("the epoch never falls")
        memory = memory.model_copy(update={"revision": next_revision(self.memory)})
        return memory, prepare(self.home.role, memory.model_dump_json(indent=1))

    def _take(self, memory: RoleRecord, prepared: Path) -> None:
        put_in_place(prepared, self.home.role)
        self.memory = memory
        self.home.creating.unlink(missing_ok=True)
        self.observer.remembered(memory)

    def _start(self, member: MemberName, *, standby: bool) -> None:
        server = self.servers[member]
        if server.pid() is not None:
            raise NoProgress(f"Cannot start {member}", "it runs already", "it is looked at again")
        self._clear(member)
        server.make_folders()
        self.servers.settle(member)
        if standby:
            server.mark_standby(True)
        self.servers.configure(member, self.memory, synchronous=self._synchronous(member))
        self.observer.started(member, server.start())

    def _clear(self, member: MemberName) -> None:
        """End what is left of the member's server: backends that outlive their postmaster hold its shared memory."""
        try:
            fence(self.servers[member].data, patience_s=FENCE_PATIENCE_S)
        except NoProgress:
            self._note_stuck(member)
            raise

    def _synchronous(self, member: MemberName) -> bool:
        return member == self.memory.primary and self.memory.in_sync

    def _stop_all(self) -> None:
        """The primary first: a clean shutdown sends the standby its last WAL. The record stays as it is.

        It waits for a standby that streams and confirms nothing; that one is ended after a while. What is stuck in the
        kernel is left there: it does nothing any more.
        """
        first = self.memory.primary or "a"
        standby = self.servers[other_member(first)]
        impatient = threading.Timer(LAST_WAL_PATIENCE_S, self._end_silent, (standby,))
        impatient.daemon = True
        impatient.start()
        try:
            for member in (first, other_member(first)):
                if self.servers[member].exists():
                    self.servers[member].stop(doomed_will_do=True)
                    self.observer.stopped(member)
                    self._note_stuck(member)
                impatient.cancel()
        finally:
            impatient.cancel()

    @staticmethod
    def _end_silent(standby: Server) -> None:
        try:
            fence(standby.data, doomed_will_do=True)
        except MultiazError as error:
            log.warning("%s", error)

    def _release_storage(self) -> None:
        """A mounted file system would keep the instance's folder from being removed."""
        for member in MEMBERS:
            try:
                release(self.home.small_wal(member))
            except (MultiazError, OSError) as error:
                log.error("%s stays mounted: %s", self.home.small_wal(member), error)

    def _take_snapshot(self) -> None:
        assert self.desired.final_snapshot is not None and self.memory.primary is not None
        target = Path(self.desired.final_snapshot)
        target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        fence(self.servers[self.memory.primary].data)
        self.servers.settle(self.memory.primary, home=True)
        self.servers[self.memory.primary].data.rename(target)
        fsync_folder(target.parent)

    def _begin(self, kind: JobKind, member: MemberName) -> None:
        servers, memory, other = self.servers, self.memory, other_member(member)

        def work() -> None:
            servers.job_begins(member)
            try:
                do()
            except (MultiazError, OSError, psycopg.Error):
                servers.note_stuck(member)
                servers.go_on(member)  # what failed because it was ended did not fail
                raise

        def do() -> None:
            match kind:
                case JobKind.CREATE:
                    servers.create(member)
                case JobKind.CLONE:
                    servers.clone(member, other)
                case JobKind.REJOIN if memory.following:
                    servers.recopy(member)
                case JobKind.REJOIN:
                    log.info("%s %s", member, servers.rejoin(member, other))
                case JobKind.JOIN:
                    servers.see_it_move(member, other)
                    servers.join(member, other, memory)
                case JobKind.RESTART:
                    servers.restart(member, memory, synchronous=self._synchronous(member))
                case JobKind.MASTER:
                    self.observer.master_was_set(servers.set_master(member))
                case JobKind.REMOVE:
                    servers[member].stop(immediate=True)
                    servers[member].remove_data()

        self.observer.begin(kind, member, memory.epoch, work)


def _make_run_folders(home: Home, run: Path) -> None:
    for folder in (home.run_folder, run):
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        info = folder.stat()
        if info.st_uid != os.geteuid() or info.st_mode & 0o022:
            raise MultiazError(
                f"Cannot use {folder}", "others own it or may write to it", "remove it, or use a shorter MULTIAZ_HOME"
            )
