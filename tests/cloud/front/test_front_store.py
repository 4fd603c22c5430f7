"""The records of one version of multiaz are not touched by another."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from multiaz.cloud.store import RECORDS_VERSION, Store
from multiaz.errors import Conflict


def _version(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_records_carry_their_version_and_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "cloud.sqlite"
    for _ in range(2):
        Store(path).close()
        assert _version(path) == RECORDS_VERSION


@pytest.mark.parametrize("other", [RECORDS_VERSION + 1, 1000])
def test_records_of_another_version_are_refused_and_left_as_they_are(tmp_path: Path, other: int) -> None:
    path = tmp_path / "cloud.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (word TEXT)")
        connection.execute(f"PRAGMA user_version={other}")
    before = path.read_bytes()
    with pytest.raises(Conflict, match=f"version {other}.*version {RECORDS_VERSION}"):
        Store(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_records_made_before_versions_were_kept_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "cloud.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ours (word TEXT)")
        connection.execute("INSERT INTO ours VALUES ('kept')")
    store = Store(path)
    assert store.rows("SELECT word FROM ours")[0]["word"] == "kept"
    store.close()
    assert _version(path) == RECORDS_VERSION
