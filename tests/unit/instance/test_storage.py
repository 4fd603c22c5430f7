"""Storage of the WAL: what is told when it is full, and what a supervisor that died while moving it has left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from multiaz.instance import storage
from multiaz.instance.storage import StorageFailed, StorageWatch, settle
from multiaz.postgres.os_user import ServerUser
from multiaz.postgres.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A stopped server as folders: one segment of WAL."""
    user = ServerUser("me", tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    found = Server("multiaz_a", Path("/bin"), tmp_path / "a", tmp_path / "run", user)
    (found.data / "pg_wal").mkdir(parents=True)
    (found.data / "PG_VERSION").write_text("17")
    (found.data / "pg_wal" / "000000010000000000000001").write_bytes(b"wal")
    return found


def content(server: Server) -> list[str]:
    return [path.name for path in (server.data / "pg_wal").iterdir()]


def test_wal_that_lies_with_its_data_is_left_alone(server: Server) -> None:
    settle(server, server.folder / "small-wal", None)
    assert content(server) == ["000000010000000000000001"]
    assert [path.name for path in server.folder.iterdir()] == ["data"]


@pytest.mark.parametrize("left", ["pg_wal.kept", "pg_wal.copy"])
def test_wal_that_was_being_moved_when_the_supervisor_died_is_put_back(server: Server, left: str) -> None:
    (server.data / "pg_wal").rename(server.folder / left)
    settle(server, server.folder / "small-wal", None)
    assert content(server) == ["000000010000000000000001"]


def test_an_unfinished_copy_never_replaces_the_wal(server: Server) -> None:
    (server.folder / "pg_wal.copy").mkdir()
    settle(server, server.folder / "small-wal", None)
    assert content(server) == ["000000010000000000000001"]


def test_a_copy_of_an_earlier_move_is_never_taken_for_the_wal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have survived a new clone of the data; then the move to the small file system is cut short."""
    (server.folder / "pg_wal.copy").mkdir()
    (server.folder / "pg_wal.copy" / "00000001000000000000000A").write_bytes(b"old")
    monkeypatch.setattr(storage, "_run", lambda *_: None)
    small = server.folder / "small-wal"

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "symlink_to", die)
        settle(server, small, 1024)
    assert not (server.data / "pg_wal").exists()
    storage.shutil.rmtree(small)
    settle(server, small, None)
    assert content(server) == ["000000010000000000000001"]


def test_wal_that_a_reboot_took_away_is_named_and_nothing_is_made_up(server: Server) -> None:
    small = server.folder / "small-wal"
    small.mkdir()
    (server.data / "pg_wal").rename(server.folder / "lost")
    (server.data / "pg_wal").symlink_to(small)
    with pytest.raises(StorageFailed, match="machine was restarted"):
        settle(server, small, None)
    assert (server.data / "pg_wal").is_symlink()


def test_each_event_is_told_once_while_the_storage_is_full(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    full, pid = [False], [7]
    monkeypatch.setattr(storage, "is_full", lambda _: full[0])
    monkeypatch.setattr(Server, "pid", lambda _: pid[0])
    watch = StorageWatch()
    assert watch.look(server) == []
    full[0] = True
    assert watch.look(server) == ["RDS-EVENT-0007"]
    assert watch.look(server) == []
    pid[0] = None  # type: ignore[call-overload]
    assert watch.look(server) == ["RDS-EVENT-0221"]
    assert (watch.look(server), watch.full) == ([], True)
    full[0] = False
    assert (watch.look(server), watch.full) == ([], False)
    full[0] = True
    assert watch.look(server) == ["RDS-EVENT-0007", "RDS-EVENT-0221"]


def test_a_full_storage_is_told_in_the_words_of_the_user_guide() -> None:
    assert storage.MESSAGES == {
        "RDS-EVENT-0007": "Allocated storage has been exhausted. Allocate additional storage to resolve.",
        "RDS-EVENT-0221": "DB instance has reached the storage-full threshold, and the database has been shut down. "
        "You can increase the allocated storage to address this issue.",
    }


def test_a_folder_that_is_not_there_is_not_full(tmp_path: Path) -> None:
    assert storage.room_bytes(tmp_path / "none") is None
    assert not storage.is_full(tmp_path / "none")
