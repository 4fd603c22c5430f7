"""A full disk, a real one: what RDS says is said, no acknowledged row is lost, and healing gives the storage back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from harness import Instance, eventually
from ledger import Ledger

from multiaz.errors import Conflict, Missing
from multiaz.home import Home
from multiaz.instance.records import InstanceEvent, MemberName
from multiaz.local import faults, faults_disk
from multiaz.local.faults_record import Fault, FrozenProcess, read_faults, write_faults
from multiaz.local.faults_targets import find

MEMBERS: tuple[MemberName, ...] = ("a", "b")


def may_mount() -> bool:
    """This machine lets us mount: containers often do not."""
    if os.geteuid() != 0:
        return False
    return (
        subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode == 0
    )


def events(instance: Instance) -> list[str]:
    lines = instance.home.events.read_text().splitlines() if instance.home.events.exists() else []
    return [InstanceEvent.model_validate_json(line).code[-4:] for line in lines]


def wal(instance: Instance, member: MemberName) -> Path:
    return instance.home.data(member) / "pg_wal"


def write_until_it_fails(instance: Instance) -> None:
    with pytest.raises(psycopg.OperationalError), instance.connect() as connection:
        while True:
            connection.execute("SELECT pg_logical_emit_message(true, 'fill', repeat('x', 1000000))")


@pytest.mark.long
@pytest.mark.skipif(not may_mount(), reason="file systems cannot be mounted here")
def test_a_full_disk_ends_the_servers_and_healing_it_loses_nothing(shop: Instance, home: Home) -> None:
    shop.wait_well()
    with Ledger(shop) as ledger:
        ledger.wait_for(20)
        faults.fill_disk(home)
        eventually("both start on it", lambda: all(wal(shop, member).is_symlink() for member in MEMBERS))
        shop.wait_well()
        with pytest.raises(Conflict, match="already"):
            faults.fill_disk(home, free_mib=5)
        ledger.wait_for(20)
        write_until_it_fails(shop)
        shop.wait("says that it is full", lambda seen: seen.storage_full and not seen.writable, within_s=60)
        eventually("the events are told", lambda: {"0007", "0221"} <= set(events(shop)))
        assert [one.fault.kind for one in faults.active(home)] == ["disk-full"]
        faults.heal(home, kind="disk-full")
        eventually("both start with their data", lambda: not any(wal(shop, member).is_symlink() for member in MEMBERS))
        after = shop.wait("well", lambda seen: seen.writable and seen.redundant, within_s=60)
        ledger.wait_for(20)
    ledger.check()
    assert not after.storage_full
    assert not any(shop.home.small_wal(member).exists() for member in MEMBERS)


@pytest.fixture
def nothing(home: Home) -> Iterator[Path]:
    """The folder of an instance that only is wanted."""
    place = home.instance("db-NONE")
    place.folder.mkdir(parents=True)
    place.desired.write_text(
        '{"identifier": "none", "multi_az": false, "zones": {"a": "us-west-2a"}, "source": null, "allocated_gib": 20}'
    )
    yield place.folder
    shutil.rmtree(place.folder)


@pytest.mark.skipif(not may_mount(), reason="file systems cannot be mounted here")
def test_trying_whether_one_may_mount_leaves_nothing_however_it_ends(
    home: Home, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_and_be_interrupted(*command: Any, run: Any = subprocess.run, **options: Any) -> None:
        run(*command, **options)
        raise KeyboardInterrupt

    before = Path("/proc/self/mounts").read_text()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(faults_disk.subprocess, "run", run_and_be_interrupted)
        faults.fill_disk(home, "none")
    assert Path("/proc/self/mounts").read_text() == before
    assert [path.name for path in nothing.iterdir()] == ["desired.json"]


@pytest.mark.skipif(not may_mount(), reason="file systems cannot be mounted here")
def test_a_home_with_something_mounted_fails_its_test_and_is_removed(pytestconfig: pytest.Config) -> None:
    fixtures = pytestconfig.pluginmanager.get_plugin(str(pytestconfig.rootpath / "tests" / "conftest.py"))
    assert fixtures is not None
    folder = fixtures.make_home()
    small = folder / "instances" / "small-wal"
    small.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "x", str(small)], check=True)
    with pytest.raises(pytest.fail.Exception, match=f"left mounted: {small}"):
        fixtures.remove_home(folder)
    assert not folder.exists()


def test_room_that_would_not_fit_into_memory_is_refused(
    home: Home, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults_disk, "_require_mount", lambda _: None)
    with pytest.raises(Missing, match="2000000 MiB when full"):
        faults.fill_disk(home, "none", free_mib=1_000_000)
    assert [path.name for path in nothing.iterdir()] == ["desired.json"]


def test_a_disk_that_was_full_until_it_grew_can_be_filled_again(
    home: Home, nothing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults_disk, "_require_mount", lambda _: None)
    faults.fill_disk(home, "none")
    with pytest.raises(Conflict, match="in force already"):
        faults.fill_disk(home, "none")
    desired = nothing / "desired.json"
    desired.write_text(desired.read_text().replace('"allocated_gib": 20', '"allocated_gib": 30'))
    assert faults.active(home) == ()
    faults.fill_disk(home, "none")
    (full,) = read_faults(nothing / "faults.json")
    assert full.allocated_gib == 30, "the one that is over is gone"
    assert [one.fault for one in faults.active(home)] == [full]


def test_healing_tells_what_was_in_force_and_drops_the_rest(home: Home, nothing: Path) -> None:
    over = Fault("hang", "was killed meanwhile", frozen=(FrozenProcess(1, 0),))
    grown = Fault("disk-full", "the storage was grown", small_wal_room=0, allocated_gib=19)
    lost = Fault("standby-loss", "the standby is lost", held=("b",))
    write_faults(nothing / "faults.json", (over, grown, lost))
    assert [one.fault.kind for one in faults.active(home)] == ["standby-loss"]
    assert [one.kind for one in faults.heal(home, "none")] == ["standby-loss"]
    assert not (nothing / "faults.json").exists()


def test_without_the_right_to_mount_it_is_refused_by_name_and_nothing_is_recorded(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = home.instance("db-NONE")
    place.folder.mkdir(parents=True)
    place.desired.write_text('{"identifier": "none", "multi_az": false, "zones": {"a": "us-west-2a"}, "source": null}')
    try:
        monkeypatch.setattr(faults_disk.os, "geteuid", lambda: 1000)
        with pytest.raises(Missing, match="user 1000 may not mount"):
            faults.fill_disk(home, "none")
        monkeypatch.setattr(faults_disk.os, "geteuid", lambda: 0)
        refused = subprocess.CompletedProcess([], 32, "", "mount: permission denied")
        monkeypatch.setattr(faults_disk.subprocess, "run", lambda *_, **__: refused)
        with pytest.raises(Missing, match="permission denied"):
            faults.fill_disk(home, "none")
        assert find(home, "none").place.folder.joinpath("faults.json").exists() is False
        assert [path.name for path in place.folder.iterdir()] == ["desired.json"]
    finally:
        place.desired.unlink()
        place.folder.rmdir()
