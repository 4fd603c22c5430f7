"""Automated backups of a promoted read replica, and restores from them: real servers, a cloud of its own process."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from live_cloud import PASSWORD, Watch, goes_through

from multiaz.local import change_behaviour

if TYPE_CHECKING:
    from live_cloud import LiveCloud

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def reader(live: LiveCloud) -> LiveCloud:
    """The cloud, with an instance `shop` that has no backups left and `reader`, which was its replica."""
    change_behaviour(live.home, archive_every_s=1)
    live.make("shop", BackupRetentionPeriod=1)
    with live.connect("shop") as owner:
        owner.execute("CREATE TABLE notes (id int PRIMARY KEY, note text)")
        owner.execute("CREATE ROLE clerk LOGIN")
    live.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="shop")
    live.until_status("reader", "available")
    with live.as_admin("reader") as session:
        live.until(
            lambda: session.execute("SELECT to_regrole('clerk') IS NOT NULL").fetchone() == (True,), what="it follows"
        )
    assert "LatestRestorableTime" not in live.instance("reader")
    with Watch(live, "reader") as watch:
        live.call("PromoteReadReplica", DBInstanceIdentifier="reader", BackupRetentionPeriod=3)
        live.until_status("reader", "available")
    assert goes_through(watch.statuses(), ["available", "modifying", "backing-up", "available"])
    return live


def backups_of(cloud: LiveCloud, name: str) -> list[dict[str, Any]]:
    found = cloud.call("DescribeDBInstanceAutomatedBackups")["DBInstanceAutomatedBackups"]
    return [one for one in found if one["DBInstanceIdentifier"] == name]


def add_note(session: psycopg.Connection[Any], number: int) -> datetime:
    """Commit a note; the time right after, on the clock the server has too."""
    session.execute("INSERT INTO notes VALUES (%s, %s)", (number, f"note {number}"))
    return datetime.now(UTC)


def notes(cloud: LiveCloud, name: str) -> list[int]:
    with cloud.connect(name) as session:
        return [row[0] for row in session.execute("SELECT id FROM notes ORDER BY id")]


def until_restorable(cloud: LiveCloud, name: str, moment: datetime) -> None:
    cloud.until(lambda: cloud.instance(name)["LatestRestorableTime"] >= moment, what=f"{moment} can be restored")


def restore(cloud: LiveCloud, name: str, **params: Any) -> dict[str, Any]:
    cloud.call("RestoreDBInstanceToPointInTime", TargetDBInstanceIdentifier=name, **params)
    return cloud.until_status(name, "available")


def remove(cloud: LiveCloud, name: str, **more: Any) -> None:
    cloud.call("DeleteDBInstance", DBInstanceIdentifier=name, SkipFinalSnapshot=True, **more)
    cloud.until(lambda: name not in cloud.names(), what=f"{name} is gone")


def test_a_promoted_replica_has_backups_of_its_own(reader: LiveCloud) -> None:
    cloud = reader
    (backup,) = backups_of(cloud, "reader")
    assert (backup["Status"], backup["BackupRetentionPeriod"]) == ("active", 3)
    assert backup["DbiResourceId"] != backups_of(cloud, "shop")[0]["DbiResourceId"]
    told = [number for number, _ in cloud.events("reader", backups=True)]
    assert (told.count("0001"), told[-1]) == (1, "0002")
    assert told.index("0001") < told.index("0002")
    assert "0057" in told
    before = cloud.instance("reader")["LatestRestorableTime"]
    until_restorable(cloud, "reader", before + timedelta(seconds=1))


def test_a_restore_has_what_was_committed_until_that_moment_and_nothing_of_later(reader: LiveCloud) -> None:
    cloud = reader
    with cloud.connect("reader") as session:
        add_note(session, 1)
        time.sleep(0.05)
        moment = add_note(session, 2) + timedelta(milliseconds=20)
        time.sleep(0.1)
        add_note(session, 3)
        later = datetime.now(UTC)
        until_restorable(cloud, "reader", later)
        with Watch(cloud, "then", "then") as watch:
            made = restore(cloud, "then", SourceDBInstanceIdentifier="reader", RestoreTime=moment)
        # the source goes on, in the same session
        add_note(session, 4)
    assert notes(cloud, "then") == [1, 2]
    assert notes(cloud, "reader") == [1, 2, 3, 4]
    assert goes_through(watch.statuses(), ["creating", "backing-up", "available"])
    assert (made["BackupRetentionPeriod"], made["MultiAZ"]) == (3, False)
    told = cloud.events("then", backups=True)
    assert ("0019", "Restored from DB instance reader to then") in told
    assert {"0005", "0002"} <= {number for number, _ in told}
    with cloud.connect("then", PASSWORD) as session:
        add_note(session, 5)
        assert session.execute("SELECT to_regrole('clerk') IS NOT NULL").fetchone() == (True,)
    assert notes(cloud, "reader") == [1, 2, 3, 4]
    assert backups_of(cloud, "then")[0]["Status"] == "active"
    # its user can be given another password, as anywhere
    cloud.modify("then", MasterUserPassword="another-battery-horse")
    cloud.until_status("then", "available")
    with cloud.connect("then", "another-battery-horse") as session:
        assert session.execute("SELECT count(*) FROM notes").fetchone() == (3,)
    folder = cloud.home.backup(made["DbiResourceId"]).folder
    assert folder.exists()
    remove(cloud, "then")
    assert not folder.exists()


def test_the_latest_restorable_time_of_a_stopped_source_is_restored_multi_az(reader: LiveCloud) -> None:
    cloud = reader
    with cloud.connect("reader") as session:
        last = add_note(session, 10)
    until_restorable(cloud, "reader", last)
    cloud.call("StopDBInstance", DBInstanceIdentifier="reader")
    cloud.until_status("reader", "stopped")
    made = restore(
        cloud, "then", SourceDBInstanceIdentifier="reader", UseLatestRestorableTime=True, MultiAZ=True,
        BackupRetentionPeriod=0,
    )  # fmt: skip
    assert made["MultiAZ"]
    assert "LatestRestorableTime" not in made
    assert 10 in notes(cloud, "then")
    cloud.until_redundant("then")
    remove(cloud, "then")
    cloud.call("StartDBInstance", DBInstanceIdentifier="reader")
    cloud.until_status("reader", "available")


def test_what_was_deleted_and_retained_is_restored_under_its_own_name(reader: LiveCloud) -> None:
    cloud = reader
    with cloud.connect("reader") as session:
        last = add_note(session, 20)
    until_restorable(cloud, "reader", last)
    before = cloud.instance("reader")
    remove(cloud, "reader", DeleteAutomatedBackups=False)
    (kept,) = backups_of(cloud, "reader")
    assert kept["Status"] == "retained"
    assert kept["RestoreWindow"]["LatestTime"] >= last
    made = restore(cloud, "reader", SourceDbiResourceId=kept["DbiResourceId"], UseLatestRestorableTime=True)
    assert made["DbiResourceId"] != before["DbiResourceId"]
    assert made["Endpoint"] == before["Endpoint"]  # endpoints go with the name
    assert notes(cloud, "reader")[-1] == 20
    cloud.call("DeleteDBInstanceAutomatedBackup", DbiResourceId=kept["DbiResourceId"])
    assert not cloud.home.backup(kept["DbiResourceId"]).folder.exists()
    assert [one["Status"] for one in backups_of(cloud, "reader")] == ["active"]


def test_a_restore_that_fails_says_so_and_can_be_deleted(reader: LiveCloud) -> None:
    cloud = reader
    place = cloud.home.backup(cloud.instance("shop")["DbiResourceId"])
    versions = list(place.bases.glob("*/PG_VERSION"))
    assert versions
    texts = [path.read_text() for path in versions]
    for path in versions:
        path.write_text("1\n")
    asked = {"SourceDBInstanceIdentifier": "shop", "UseLatestRestorableTime": True}
    cloud.call("RestoreDBInstanceToPointInTime", TargetDBInstanceIdentifier="then", **asked)
    there = cloud.until_status("then", "restore-error")
    assert "Endpoint" not in there
    remove(cloud, "then")
    for path, text in zip(versions, texts, strict=True):
        path.write_text(text)
    restore(cloud, "then", **asked)
    remove(cloud, "then")


def test_backups_that_are_turned_off_are_removed_and_turned_on_begin_anew(reader: LiveCloud) -> None:
    cloud = reader
    folder = cloud.home.backup(cloud.instance("shop")["DbiResourceId"]).folder
    assert folder.exists()
    cloud.modify("shop", BackupRetentionPeriod=0, ApplyImmediately=True)
    cloud.until_status("shop", "available")
    cloud.until(lambda: not folder.exists(), what="they are removed")
    assert backups_of(cloud, "shop") == []
    begun = datetime.now(UTC)
    with Watch(cloud, "shop") as watch:
        cloud.modify("shop", BackupRetentionPeriod=1, ApplyImmediately=True)
        there = cloud.until_status("shop", "available")
    assert there["LatestRestorableTime"] >= begun - timedelta(seconds=1)
    assert goes_through(watch.statuses(), ["available", "modifying", "backing-up", "available"])
    assert backups_of(cloud, "shop")[0]["RestoreWindow"]["EarliestTime"] >= begun
