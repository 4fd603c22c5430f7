"""A supervisor without servers: it writes `observed.json` as the real one does, from `desired.json` alone.

It has no test of its own: the contract cases in test_instances.py run against it and against the real one.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from multiaz.files import ProcessLock, write_atomically
from multiaz.home import Home
from multiaz.instance.events import EventLog
from multiaz.instance.records import (
    Answer,
    BackupRecord,
    BaseBackup,
    DesiredInstance,
    ObservedInstance,
    ObservedMember,
    Phase,
    RequestKind,
    RoleRecord,
    RunState,
)

TOO_LARGE = 10**9
"""shared_buffers with which a pretended standby does not start."""


class Fake:
    """One instance's pretended servers."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.place = home.instance(folder.name)
        self.kept = home.backup(folder.name)
        self.lock = ProcessLock(self.place.lock)

    def run(self) -> None:
        if not self.lock.acquire():
            return
        # Waited for, not handled: a handler that sets an Event waits for ever if it interrupts that Event's wait.
        bells = {signal.SIGHUP, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, bells)
        self.events = EventLog(self.place.events)
        self.role = RoleRecord()
        if self.place.role.exists():
            self.role = RoleRecord.model_validate_json(self.place.role.read_bytes())
        self.backups = BackupRecord(resource_id=self.place.folder.name)
        if self.kept.record.exists():
            self.backups = BackupRecord.model_validate_json(self.kept.record.read_bytes())
        while True:
            desired = DesiredInstance.model_validate_json(self.place.desired.read_bytes())
            phase = self.step(desired)
            self.publish(desired, phase)
            if phase is Phase.DELETED:
                return
            rung = signal.sigtimedwait(bells, 0.05)
            if rung is not None and rung.si_signo == signal.SIGTERM:
                return

    def pretends(self, what: str) -> bool:
        """A test has asked for it: a file of that name is in the instance's folder."""
        return (self.place.folder / what).exists()

    def remember(self, **changes: object) -> None:
        self.role = self.role.model_copy(update=changes)
        write_atomically(self.place.role, self.role.model_dump_json())

    def step(self, desired: DesiredInstance) -> Phase:
        if desired.run is RunState.DELETED:
            if desired.final_snapshot and self.place.data("a").exists():
                target = Path(desired.final_snapshot)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.place.data("a").rename(target)
            return Phase.DELETED
        if desired.run is RunState.STOPPED:
            return Phase.STOPPED
        if self.role.primary is None:
            self.publish(desired, Phase.CREATING)
            if desired.restore is not None:
                source = self.home.backup(desired.restore.resource_id).base(desired.restore.base)
                shutil.copytree(source, self.place.data("a"))
            self.place.data("a").mkdir(parents=True, exist_ok=True)
            self.place.server_logs("a").mkdir()
            (self.place.server_logs("a") / "postgresql.log.2026-01-01-00").write_text("one\ntwo\nthree\n")
            number = desired.master.number if desired.master else 0
            self.remember(
                primary="a", epoch=1, initialised=True, following=desired.source is not None, master_number=number
            )
        self.remember(in_sync=desired.multi_az and not self.pretends("out-of-sync"))
        if desired.master and desired.master.number > self.role.master_number:
            self.remember(master_number=desired.master.number)
        self.back_up(desired)
        request = desired.request
        if request and all(answer.number < request.number for answer in self.role.answers):
            outcome = "stale" if request.epoch < self.role.epoch else "done"
            if outcome == "done" and self.pretends("failed-over"):
                self.remember(primary="b", epoch=self.role.epoch + 1)
                outcome = "stale"
            if request.kind is RequestKind.RESTART_STANDBY and int(desired.parameters["shared_buffers"]) > TOO_LARGE:
                outcome = "refused"
            if self.pretends(f"no-{request.kind}"):
                outcome = "refused"
            if outcome == "done" and request.kind is RequestKind.FAILOVER:
                self.remember(primary="b" if self.role.primary == "a" else "a", epoch=self.role.epoch + 1)
                self.events.append("RDS-EVENT-0013", "Multi-AZ instance failover started.")
                self.events.append("RDS-EVENT-0049", "Multi-AZ instance failover completed")
            elif outcome == "done" and request.kind is RequestKind.PROMOTE:
                self.remember(following=False, epoch=self.role.epoch + 1)
            elif outcome == "done" and request.kind is RequestKind.REBOOT:
                self.events.append("RDS-EVENT-0004", "DB instance shutdown")
                self.events.append("RDS-EVENT-0006", "DB instance restarted")
            answer = Answer(number=request.number, outcome=outcome, reason=outcome)  # type: ignore[arg-type]
            self.remember(answers=(*self.role.answers, answer)[-16:])
        return Phase.RUNNING

    def back_up(self, desired: DesiredInstance) -> None:
        if desired.backups is None and self.kept.folder.exists():
            shutil.rmtree(self.kept.folder)
            self.backups = BackupRecord(resource_id=desired.resource_id)
        if desired.backups is None or self.role.following:
            return
        now = time.time()
        if not self.backups.bases:
            self.events.append("RDS-EVENT-0001", "Backing up DB instance")
            self.kept.base("one").mkdir(parents=True)
            (self.kept.base("one") / "made-by").write_text(desired.identifier)
            base = BaseBackup(
                name="one",
                began_at=now,
                ended_at=now,
                start_segment="0" * 24,
                timeline=1,
                end=0,
                size_bytes=1,
                server_version="17",
            )
            self.backups = self.backups.model_copy(update={"bases": (base,)})
            self.events.append("RDS-EVENT-0002", "Finished DB Instance backup")
        if now >= (self.backups.restorable_until or 0) + desired.backups.archive_every_s:
            self.backups = self.backups.model_copy(update={"restorable_until": now})
        write_atomically(self.kept.record, self.backups.model_dump_json(), durable=False)

    def publish(self, desired: DesiredInstance, phase: Phase) -> None:
        starts = not self.pretends("unstartable")
        if phase is Phase.RUNNING and not starts:
            phase = Phase.FAILED
        running = phase is Phase.RUNNING
        observed = ObservedInstance(
            resource_id=desired.resource_id,
            written_at=time.time(),
            pid=os.getpid(),
            phase=phase,
            reason="pretended" if starts else "could not map anonymous shared memory",
            epoch=self.role.epoch,
            primary=self.role.primary,
            in_sync=self.role.in_sync,
            writable=running,
            redundant=self.role.in_sync or not desired.multi_az,
            members=tuple(
                ObservedMember(
                    name=name,
                    zone=zone,
                    state="primary" if name == self.role.primary else "absent",  # type: ignore[arg-type]
                    streaming=self.role.following and running and name == self.role.primary,
                )
                for name, zone in desired.zones.items()
            ),
            answers=self.role.answers,
            master_number=self.role.master_number,
            applied=desired.parameters if phase in (Phase.RUNNING, Phase.FAILED) else {},
            relay_ready=running,
            storage_full=self.pretends("full"),
            restorable_from=self.backups.restorable_from,
            restorable_until=self.backups.restorable_until,
        )
        write_atomically(self.place.observed, observed.model_dump_json(), durable=False)


if __name__ == "__main__":
    Fake(Home(Path(sys.argv[3])), Path(sys.argv[1])).run()
