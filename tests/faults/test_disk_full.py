"""A full disk, a real one: what RDS says is said, no acknowledged row is lost, and healing gives the storage back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from harness import Instance, eventually
from ledger import Ledger

from multiaz.errors import Conflict, Missing
from multiaz.home import Home
from multiaz.instance.records import InstanceEvent, MemberName
from multiaz.local import faults, faults_disk
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
