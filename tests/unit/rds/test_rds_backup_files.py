"""What can be restored, and what is over: read from `backups.json`, decided purely."""

from __future__ import annotations

import fcntl
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_rds_status import RESTORE, instance, observed

from multiaz.cloud.rds import backups
from multiaz.cloud.rds.automated import Automated, retained_of
from multiaz.cloud.rds.model import Instance
from multiaz.cloud.rds.restoring import restore_of
from multiaz.cloud.rds.status import Seen, first_backup_due
from multiaz.cloud.rds.wanted import desired_of
from multiaz.cloud.service import AwsFault
from multiaz.home import Home
from multiaz.instance.records import BackupRecord, BaseBackup

DAY = 86400.0


def base(ended_at: float) -> BaseBackup:
    return BaseBackup(
        name=f"of-{ended_at:g}", began_at=ended_at - 1, ended_at=ended_at, start_segment="0" * 24, timeline=1, end=0,
        size_bytes=1, server_version="17.10",
    )  # fmt: skip


RECORD = BackupRecord(resource_id="db-ABC", bases=(base(100), base(200), base(300)), restorable_until=350)


@pytest.mark.parametrize(
    ("moment", "name"),
    [(99, None), (100, "of-100"), (199.9, "of-100"), (200, "of-200"), (350, "of-300"), (350.1, None)],
)
def test_a_restore_begins_with_the_newest_base_that_was_complete_at_that_moment(
    moment: float, name: str | None
) -> None:
    found = backups.base_for(RECORD, moment)
    assert (found.name if found else None) == name


def test_without_a_base_nothing_can_be_restored() -> None:
    assert backups.base_for(BackupRecord(resource_id="db-ABC"), 1) is None


def test_the_window_as_it_is_shown_can_be_restored() -> None:
    """Times are shown to the millisecond: the earliest one is shown a little too early."""
    record = BackupRecord(resource_id="db-ABC", bases=(base(100.0006),), restorable_until=100.0009)
    backup = Automated(instance(), "us-east-1a", record, retained=False)
    window = backup.shape()["RestoreWindow"]
    for moment in (window["EarliestTime"], window["LatestTime"]):
        assert restore_of(backup, {"RestoreTime": moment}).until == 100.0006
    assert restore_of(backup, {"UseLatestRestorableTime": True}).until == 100.0009
    with pytest.raises(AwsFault, match=r"earlier than 1970-01-01T00:01:40\.000Z"):
        restore_of(backup, {"RestoreTime": 99.9985})


@pytest.mark.parametrize(
    ("record", "over"),
    [
        (RECORD, False),
        (RECORD.model_copy(update={"restorable_until": 350 - 2 * DAY}), True),
        (BackupRecord(resource_id="db-ABC"), True),
    ],
)
def test_retained_backups_are_over_once_their_newest_moment_is_older_than_the_retention(
    record: BackupRecord, over: bool
) -> None:
    assert backups.is_over(record, 1, 350 + DAY) is over
    assert backups.is_over(RECORD, 1, 350 + DAY + 1)


def test_a_record_that_cannot_be_read_is_told_and_offers_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = Home(tmp_path)
    place = home.backup("db-ABC")
    place.folder.mkdir(parents=True)
    assert backups.read(home, "db-ABC").bases == ()
    assert caplog.records == []
    place.record.write_text(RECORD.model_dump_json())
    assert backups.read(home, "db-ABC") == RECORD
    place.record.write_text("{")
    assert backups.read(home, "db-ABC").bases == ()
    assert ["nothing can be restored" in record.message for record in caplog.records] == [True]


def test_backups_that_are_to_be_retained_are_retained_also_if_they_cannot_be_read(tmp_path: Path) -> None:
    home, keeps = Home(tmp_path), instance(retain_backups=True)
    core = SimpleNamespace(home=home)
    place = home.backup("db-ABC")
    place.folder.mkdir(parents=True)
    empty = BackupRecord(resource_id="db-ABC").model_dump_json()
    for text, stays in ((None, False), (empty, False), (RECORD.model_dump_json(), True), ("{", True)):
        if text is not None:
            place.record.write_text(text)
        kept = retained_of(core, keeps, Seen())  # type: ignore[arg-type]
        assert (kept is not None) is stays, text
        assert retained_of(core, instance(), Seen()) is None  # type: ignore[arg-type]


def test_nothing_is_removed_while_somebody_restores(tmp_path: Path) -> None:
    home = Home(tmp_path)
    place = home.backup("db-ABC")
    assert backups.remove(home, "db-ABC")
    place.base("one").mkdir(parents=True)
    place.record.write_text(RECORD.model_dump_json())
    with place.lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert not backups.remove(home, "db-ABC")
        assert place.record.exists()
    assert backups.remove(home, "db-ABC")
    assert not place.folder.exists()
    assert home.backups.exists()


def test_the_arn_of_an_automated_backup_is_always_the_same_and_no_other_instances() -> None:
    assert backups.backup_id("db-ABC") == backups.backup_id("db-ABC") != backups.backup_id("db-ABD")
    assert len(backups.backup_id("db-ABC")) == 29


@pytest.mark.parametrize(
    ("record", "due"),
    [
        (instance(), True),
        (instance(backup_retention_days=0), False),
        (instance(source="db-SOURCE"), False),
    ],
)
def test_the_first_backup_is_due_where_backups_are_on_but_on_no_read_replica(record: Instance, due: bool) -> None:
    assert first_backup_due(record, observed()) is due
    assert not first_backup_due(record, observed(restorable_until=1.0))


def test_the_supervisor_is_told_what_to_restore() -> None:
    assert desired_of(instance(restore=RESTORE), Home(Path("/h")), "/bin", "http://x").restore == RESTORE
