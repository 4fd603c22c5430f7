"""An older `role.json` is told from the newest by what was done since."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from multiaz.instance.evidence import doubt_of, next_revision, note_revision, noted_revision, read_record
from multiaz.instance.records import RoleRecord

RECORD = RoleRecord(revision=7, epoch=2, primary="a")


def test_record_behind_what_a_member_acted_on_is_doubted_and_the_member_is_named() -> None:
    assert doubt_of(RECORD, {"a": 7, "b": 0}) is None
    doubt = doubt_of(RECORD, {"a": 7, "b": 8})
    assert doubt is not None
    assert "b has acted on revision 8" in doubt


def test_note_only_rises(tmp_path: Path) -> None:
    assert noted_revision(tmp_path) == 0
    note_revision(tmp_path, 7)
    note_revision(tmp_path, 5)  # a job carries the record it was begun with
    assert noted_revision(tmp_path) == 7


def test_full_disk_holds_no_failover_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    note_revision(tmp_path / "gone", 7)
    assert "cannot be noted" in caplog.text


def test_member_whose_storage_is_broken_tells_no_revision_and_ends_no_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_text", fails)
    assert noted_revision(tmp_path) == 0


def test_revision_rises_though_the_clock_is_set_back() -> None:
    ahead = RECORD.model_copy(update={"revision": 10**18})
    assert next_revision(ahead) == ahead.revision + 1
    assert next_revision(RECORD) > 10**12, "milliseconds, so that what is written later is never taken for older"


def test_record_that_cannot_be_read_is_no_empty_record(tmp_path: Path) -> None:
    assert read_record(tmp_path / "role.json") == (RoleRecord(), None)
    (tmp_path / "role.json").write_text("{")
    record, why = read_record(tmp_path / "role.json")
    assert record == RoleRecord()
    assert why is not None
