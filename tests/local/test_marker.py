"""Which folder may be a home, and that a refused one is left as it was."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from multiaz.errors import BadInput, Conflict, ExitCode, Missing, NotFound
from multiaz.home import Home
from multiaz.local.endpoint import start
from multiaz.local.marker import (
    DEFAULT_PORT,
    LAYOUT,
    Marker,
    closed_folder,
    plan_marker,
    prepare_folder,
    read_marker,
    record_marker,
    require_marker,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")


def make_home(home: Home, *, port: int | None, port_base: int | None) -> Marker:
    """As a start does it."""
    prepare_folder(home, port=port, port_base=port_base)
    marker = plan_marker(home, port=port, port_base=port_base)
    record_marker(home, marker)
    return marker


def test_a_new_home_gets_the_default_port_and_modes(home_folder: Path) -> None:
    home = Home(home_folder / "new")
    marker = make_home(home, port=None, port_base=None)
    assert (marker.port, marker.port_base, marker.layout) == (DEFAULT_PORT, None, LAYOUT)
    assert json.loads(home.marker.read_text())["port"] == DEFAULT_PORT
    assert home.root.stat().st_mode & 0o777 == (0o711 if os.geteuid() == 0 else 0o700)
    assert home.logs.stat().st_mode & 0o777 == 0o700


def test_ports_are_remembered_and_may_move_while_nothing_runs(home_folder: Path) -> None:
    home = Home(home_folder)
    made = make_home(home, port=4600, port_base=21000)
    assert make_home(home, port=None, port_base=None) == made
    assert make_home(home, port=4700, port_base=None).port == 4700
    assert require_marker(home).created == made.created


def test_the_port_base_stays_while_there_are_instances(home_folder: Path) -> None:
    home = Home(home_folder)
    make_home(home, port=None, port_base=None)
    (home.instances / "db-1").mkdir(parents=True)
    with pytest.raises(Conflict, match="have addresses already"):
        make_home(home, port=None, port_base=21000)
    assert require_marker(home).port_base is None


@pytest.mark.parametrize(("port", "base"), [(0, None), (65536, None), (-1, None), (None, 80), (None, 70000)])
def test_impossible_ports_are_refused_before_anything_is_made(
    home_folder: Path, port: int | None, base: int | None
) -> None:
    home = Home(home_folder / "new")
    with pytest.raises(BadInput):
        make_home(home, port=port, port_base=base)
    assert not home.root.exists()


def test_another_version_is_left_as_it_is(home_folder: Path) -> None:
    home = Home(home_folder)
    text = json.dumps({"layout": 99, "something": "else"})
    home.marker.write_text(text)
    with pytest.raises(Conflict, match="layout version 99, this multiaz reads version 1"):
        make_home(home, port=None, port_base=None)
    assert home.marker.read_text() == text
    assert list(home_folder.iterdir()) == [home.marker]


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"layout": 1}', '{"layout": 1, "port": "x"}'])
def test_a_damaged_marker_is_left_as_it_is(home_folder: Path, text: str) -> None:
    home = Home(home_folder)
    home.marker.write_text(text)
    with pytest.raises(Conflict, match="nothing was changed"):
        read_marker(home)
    assert home.marker.read_text() == text


def test_a_folder_with_something_else_is_refused(home_folder: Path) -> None:
    (home_folder / "thesis.txt").write_text("years of work")
    with pytest.raises(Conflict, match=r"it holds thesis\.txt, but no home\.json"):
        make_home(Home(home_folder), port=None, port_base=None)
    assert [path.name for path in home_folder.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_home(home_folder: Path) -> None:
    (home_folder / "file").write_text("")
    with pytest.raises(Conflict, match="it is a file"):
        make_home(Home(home_folder / "file"), port=None, port_base=None)


def test_no_marker_is_no_local_cloud(home_folder: Path) -> None:
    with pytest.raises(NotFound) as caught:
        require_marker(Home(home_folder / "nowhere"))
    assert caught.value.exit_code is ExitCode.NOT_FOUND


@as_root
@pytest.mark.parametrize("inside", [".", "deeper/home"])
def test_a_folder_the_servers_cannot_enter_is_refused_by_name(home_folder: Path, inside: str) -> None:
    """mktemp -d as root makes such a folder; initdb would fail in it with words nobody understands."""
    home_folder.chmod(0o700)
    with pytest.raises(Missing, match=f"may not enter {home_folder} \\(mode 0700\\)"):
        make_home(Home((home_folder / inside).resolve()), port=None, port_base=None)
    assert list(home_folder.iterdir()) == []


def test_the_way_to_a_folder_is_judged_by_owner_group_and_others(home_folder: Path) -> None:
    here = home_folder / "a"
    here.mkdir()
    me = pwd.getpwuid(os.geteuid())
    other = pwd.struct_passwd(("x", "x", 54321, 54321, "", "", ""))
    for mode, mine, theirs in ((0o700, None, here), (0o711, None, None), (0o611, here, None)):
        here.chmod(mode)
        assert closed_folder(here, me) == mine
        assert closed_folder(here, other) == theirs
    here.chmod(0o700)


@pytest.mark.parametrize(
    ("folder", "error"),
    [("file", Conflict), ("file/below", Conflict), ("/proc/multiaz", BadInput), ("/sys/multiaz", BadInput)],
)
def test_a_place_no_folder_can_be_made_in_is_refused_in_words(
    folder: str, error: type[Exception], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(error, match="Cannot use"):
        start(Home(tmp_path / folder), 1)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_another_start_makes_a_home_meanwhile_is_no_foreign_one(
    home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other start records its marker between our two looks: when we found none, and when we list the folder."""
    home = Home(home_folder)
    listed = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path == home.root and not home.marker.exists():
            record_marker(home, Marker(LAYOUT, 4600, None, "2026-11-26T00:00:00Z"))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    prepare_folder(home, port=None, port_base=None)
    assert require_marker(home).port == 4600
