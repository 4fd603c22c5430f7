"""Files that survive a power cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiaz.files import prepare, put_in_place, write_atomically
from power_cut import Disk


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path, monkeypatch)


def test_power_cut_at_any_moment_of_a_write_leaves_the_old_content_or_the_new(disk: Disk) -> None:
    path = disk.folder / "role.json"
    write_atomically(path, "old")
    disk.moments.clear()
    write_atomically(path, "new")
    content_synced, renamed, folder_synced = (moment["role.json"] for moment in disk.moments)
    assert (content_synced, renamed, folder_synced) == ({b"old"}, {b"old", b"new"}, {b"new"})


def test_what_is_written_durably_is_left_by_a_power_cut_once_the_write_returns(disk: Disk) -> None:
    path = disk.folder / "role.json"
    for content in ("first", "second", "third"):
        write_atomically(path, content)
        assert disk.left("role.json") == {content.encode()}


def test_what_is_prepared_is_left_by_a_power_cut_before_it_is_put_in_place(disk: Disk) -> None:
    """So nothing is left to write then that a disk could refuse."""
    path = disk.folder / "role.json"
    write_atomically(path, "old")
    prepared = prepare(path, "new")
    assert disk.left("role.json") == {b"old"}
    assert disk.moments[-1][prepared.name] == {b"new"}
    put_in_place(prepared, path)
    assert disk.left("role.json") == {b"new"}
