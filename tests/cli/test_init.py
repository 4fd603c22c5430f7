"""`multiaz init` writes a file that is read, and harms none that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multiaz.blueprint import Preset
from multiaz.blueprint.settings_file import settings_file
from multiaz.cli import main as cli
from multiaz.errors import ExitCode


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTIAZ_CONFIG")
    return tmp_path


def test_the_file_is_written_where_commands_read_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init"]) == ExitCode.OK
    assert "multiaz.toml" in capsys.readouterr().out
    assert (folder / "multiaz.toml").read_text() == settings_file(Preset.TEST)
    assert list(folder.iterdir()) == [folder / "multiaz.toml"]
    assert cli.main(["synth"]) == ExitCode.OK
    told = capsys.readouterr()
    assert "(preset test)" in told.out
    assert told.err == "Settings from multiaz.toml\n"


def test_the_preset_is_the_one_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "other.toml", "--preset", "prod", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"file": str(folder / "other.toml"), "preset": "prod"}
    assert (folder / "other.toml").read_text() == settings_file(Preset.PROD)


def test_a_file_that_is_there_is_replaced_only_with_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "multiaz.toml"
    path.write_text("zones = 2\n")
    path.chmod(0o600)
    assert cli.main(["init"]) == ExitCode.CONFLICT
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "zones = 2\n"
    assert cli.main(["init", "--force"]) == ExitCode.OK
    assert path.read_text() == settings_file(Preset.TEST)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_one_and_its_file_is_written(folder: Path) -> None:
    (folder / "real.toml").write_text("")
    (folder / "multiaz.toml").symlink_to("real.toml")
    assert cli.main(["init", "--force"]) == ExitCode.OK
    assert (folder / "multiaz.toml").is_symlink()
    assert (folder / "real.toml").read_text() == settings_file(Preset.TEST)


def test_a_dash_prints_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "-"]) == ExitCode.OK
    assert capsys.readouterr().out == settings_file(Preset.TEST)
    assert cli.main(["init", "-", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["text"] == settings_file(Preset.TEST)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", [".", "none/f.toml", "x" * 300, "a\0b", "/dev/null", ""])
def test_what_cannot_be_written_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", name, "--force"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 3
