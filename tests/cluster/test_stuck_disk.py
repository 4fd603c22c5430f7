"""A disk that answers nobody any more, or has no room left: a real file system of its own under a member's WAL."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Instance, MakeInstance, eventually
from ledger import Ledger

from multiaz.instance.records import MemberName, RequestKind, RunState
from multiaz.postgres.processes import doomed_in


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, stdin=subprocess.DEVNULL)


def may_freeze() -> bool:
    """This machine lets us mount a file in a loop device: containers often do not."""
    return (
        os.geteuid() == 0
        and Path("/dev/loop-control").exists()
        and None not in map(shutil.which, ("mkfs.ext4", "fsfreeze", "losetup", "mount"))
    )


class Disk:
    """A file system of its own, which can be frozen: every write to it waits in the kernel until it is thawed."""

    def __init__(self, folder: Path) -> None:
        self.image, self.place = folder / "disk.img", folder / "disk"
        with self.image.open("wb") as image:
            image.truncate(256 << 20)
        run("mkfs.ext4", "-q", "-F", self.image)
        self.place.mkdir()
        run("mount", "-o", "loop", self.image, self.place)

    def mount_at(self, folder: Path) -> None:
        """Be there instead."""
        run("umount", self.place)
        self.place = folder
        run("mount", "-o", "loop", self.image, self.place)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen within the block; thawed whatever happens there, because nothing could be cleaned up otherwise."""
        run("fsfreeze", "--freeze", self.place)
        try:
            yield
        finally:
            run("fsfreeze", "--unfreeze", self.place)

    def remove(self) -> None:
        run("umount", self.place)
        self.image.unlink()


@pytest.fixture
def disk(home_folder: Path) -> Iterator[Disk]:
    """Asked for before the instance that uses it: what is made later ends earlier."""
    made = Disk(home_folder)
    yield made
    made.remove()


def put_on(disk: Disk, instance: Instance, member: MemberName, what: str) -> None:
    """Move the member's WAL, or all of it, to the disk while the instance is stopped."""
    instance.write(run=RunState.STOPPED)
    instance.wait("stopped", lambda seen: seen.phase == "stopped", within_s=60)
    folder = instance.home.member(member)
    if what == "WAL":
        wal, there = folder / "data" / "pg_wal", disk.place / "pg_wal"
        disk.place.chmod(0o755)
        run("cp", "-a", wal, there)
        shutil.rmtree(wal)
        wal.symlink_to(there)
    else:
        run("cp", "-a", f"{folder}/.", disk.place)
        disk.mount_at(folder)
    instance.write(run=RunState.RUNNING)


pytestmark = [pytest.mark.long, pytest.mark.skipif(not may_freeze(), reason="no file system can be frozen here")]


@pytest.mark.parametrize("what", ["WAL", "everything"])
def test_primary_whose_disk_is_stuck_is_replaced_and_comes_back_when_the_disk_does(
    what: str, disk: Disk, make_instance: MakeInstance
) -> None:
    """Its processes survive SIGKILL until the disk answers: they acknowledge nothing, and nobody waits for them."""
    instance = make_instance("stuck")
    first = instance.wait_well().primary
    assert first is not None
    put_on(disk, instance, first, what)
    before = instance.wait_well()
    assert before.primary == first
    with Ledger(instance, instance.connect_by_endpoint) as ledger:
        ledger.wait_for(20)
        with disk.frozen():
            after = instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable, within_s=60)
            assert after.primary != first
            ledger.wait_for(20, within_s=60)
            alone = instance.wait("runs alone", lambda seen: seen.phase == "running", within_s=60)
            assert doomed_in(instance.home.data(first)), "the disk holds nobody"
            assert not alone.in_sync
        instance.wait_well()
    ledger.check()


def test_instance_with_a_stuck_member_is_stopped_and_started_and_its_supervisor_too(
    disk: Disk, make_instance: MakeInstance
) -> None:
    """Nothing is waited for but the healthy member, and nothing is done to the other one."""
    instance = make_instance("rests")
    first = instance.wait_well().primary
    assert first is not None
    put_on(disk, instance, first, "WAL")
    before = instance.wait_well()
    assert before.primary == first
    with Ledger(instance, instance.connect_by_endpoint) as ledger, disk.frozen():
        ledger.wait_for(0)
        after = instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable, within_s=60)
        ledger.wait_for(20, within_s=60)
        ledger.stop()
        instance.write(run=RunState.STOPPED)
        instance.wait("stopped", lambda seen: seen.phase == "stopped", within_s=60)
        instance.write(run=RunState.RUNNING)
        instance.wait("started", lambda seen: seen.writable and seen.phase == "running", within_s=60)
        supervisor = instance.processes[-1]
        supervisor.terminate()
        assert supervisor.wait(60) == 0, instance.log()
        instance.start()
        again = instance.wait("started", lambda seen: seen.writable and seen.phase == "running", within_s=60)
        assert (again.primary, again.epoch) == (after.primary, after.epoch)
        instance.wait("says what it waits for", lambda seen: "its storage does not answer" in seen.reason)
        assert doomed_in(instance.home.data(first)), "the disk holds nobody"
    instance.wait_well()
    ledger.check()


def test_standby_whose_disk_is_stuck_is_struck_off_and_joins_again_when_the_disk_answers(
    disk: Disk, make_instance: MakeInstance
) -> None:
    instance = make_instance("behind")
    before = instance.wait_well()
    standby: MemberName = "b" if before.primary == "a" else "a"
    put_on(disk, instance, standby, "WAL")
    assert instance.wait_well().epoch == before.epoch
    with Ledger(instance) as ledger:
        ledger.wait_for(20)
        with disk.frozen():
            instance.wait("struck off", lambda seen: not seen.in_sync)
            ledger.wait_for(20)
            eventually("it is ended", lambda: doomed_in(instance.home.data(standby)), within_s=60)
            ledger.wait_for(20)
        assert instance.wait_well().epoch == before.epoch
    ledger.check()


def test_lone_primary_whose_disk_is_stuck_is_ended_and_started_again_when_the_disk_answers(
    disk: Disk, make_instance: MakeInstance
) -> None:
    instance = make_instance("lone", multi_az=False)
    instance.wait_well()
    put_on(disk, instance, "a", "WAL")
    instance.wait_well()
    with Ledger(instance, instance.connect_by_endpoint) as ledger:
        ledger.wait_for(20)
        with disk.frozen():
            instance.wait("says so", lambda seen: "its storage does not answer" in seen.reason, within_s=60)
        instance.wait_well()
        ledger.wait_for(20)
    ledger.check()


def test_requested_failover_to_a_standby_whose_storage_is_full_is_refused_because_nobody_could_write(
    disk: Disk, make_instance: MakeInstance
) -> None:
    """Nothing is lost by waiting: the primary is well."""
    instance = make_instance("full")
    standby = instance.standby()
    put_on(disk, instance, standby, "WAL")
    before = instance.wait_well()
    filler = disk.place / "filler"
    room = os.statvfs(disk.place)
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, room.f_bavail * room.f_frsize - (8 << 20))
    number = instance.request(RequestKind.FAILOVER)
    seen = instance.wait("answered", lambda seen: any(one.number == number for one in seen.answers))
    answer = next(one for one in seen.answers if one.number == number)
    assert (answer.outcome, answer.reason) == ("refused", "the standby's storage is full: it could not take writes")
    assert (seen.epoch, seen.primary) == (before.epoch, before.primary)
    filler.unlink()
    instance.wait_well()
    assert instance.fail_over().primary == standby
