"""File, environment and options as commands meet them: who wins, what is refused, which stack is meant."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from multiaz.cli import configuration
from multiaz.cli import main as cli
from multiaz.cli.configuration import NO_SETTINGS, stack_named
from multiaz.cli.synthesising import check_request
from multiaz.errors import BadInput, ExitCode

SOURCE = Path(configuration.__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own, where multiaz.toml is looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTIAZ_CONFIG")
    monkeypatch.setenv("MULTIAZ_HOME", str(tmp_path / "home"))
    return tmp_path


def port(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    """The default of the template's port."""
    assert cli.main(["synth", "--json", *arguments]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)["Parameters"]["DBPort"]["Default"]
    assert isinstance(found, int)
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 3
    assert "Traceback" not in told.err
    return told.err


def test_options_win_over_the_environment_that_over_the_file_and_that_over_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert port(capsys) == 5432
    (folder / "multiaz.toml").write_text("db_port = 5433\n")
    assert port(capsys) == 5433
    (folder / "multiaz.toml").write_text("db_port = 5433\n[prod]\ndb_port = 5434\n")
    assert port(capsys) == 5434
    assert port(capsys, "--preset", "test") == 5433
    monkeypatch.setenv("MULTIAZ_DB_PORT", "5435")
    assert port(capsys) == 5435
    assert port(capsys, "--set", "db_port=5436") == 5436


def test_another_file_is_named_by_variable_and_that_by_option_and_an_empty_name_reads_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in (("multiaz.toml", 5433), ("a.toml", 5434), ("b.toml", 5435)):
        (folder / name).write_text(f"db_port = {number}\n")
    monkeypatch.setenv("MULTIAZ_CONFIG", "a.toml")
    assert port(capsys) == 5434
    assert port(capsys, "--config", "b.toml") == 5435
    assert port(capsys, "--config", "") == 5432
    monkeypatch.setenv("MULTIAZ_CONFIG", "")
    assert port(capsys) == 5432


def test_the_preset_of_the_file_holds_for_up_and_synth_until_an_option_says_otherwise(folder: Path) -> None:
    def preset(option: str | None, config: str) -> str:
        asked = check_request(preset=option, stack=None, suffix=None, parameters=(), settings=(), config=config)
        return asked.settings.preset

    (folder / "f.toml").write_text('preset = "prod"')
    assert preset(None, "f.toml") == "prod"
    assert preset("test", "f.toml") == "test"
    assert preset(None, "") == "test"
    assert configuration.asked("").layer.settings().preset == "prod"


def test_what_decides_besides_the_options_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "multiaz.toml").write_text("")
    monkeypatch.setenv("MULTIAZ_ZONES", "2")
    assert cli.main(["synth"]) == ExitCode.OK
    assert capsys.readouterr().err == "Settings from multiaz.toml, MULTIAZ_ZONES\n"
    assert cli.main(["check", "--no-cfn-lint"]) == ExitCode.OK
    assert capsys.readouterr().err == "Settings from multiaz.toml, MULTIAZ_ZONES\n"


@pytest.mark.parametrize("told_by", ["file", "variable"])
def test_every_command_means_the_stack_that_up_makes(
    told_by: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack_named(None, None, None) == "ecommerce-dev"
    if told_by == "file":
        (folder / "multiaz.toml").write_text('environment_suffix = "two"\n[test]\nzones = 2')
    else:
        monkeypatch.setenv("MULTIAZ_ENVIRONMENT_SUFFIX", "two")
    asked = check_request(preset=None, stack=None, suffix=None, parameters=(), settings=())
    assert asked.name == stack_named(None, None, None) == "ecommerce-two"
    assert asked.parameters == {"EnvironmentSuffix": "two"}
    assert stack_named(None, "three", None) == "ecommerce-three"
    assert stack_named("mine", None, None) == "mine"


def test_an_option_for_the_suffix_wins_over_the_file_and_two_that_differ_are_refused(folder: Path) -> None:
    (folder / "multiaz.toml").write_text('environment_suffix = "two"')

    def name(suffix: str | None, parameters: tuple[str, ...] = (), settings: tuple[str, ...] = ()) -> str:
        return check_request(preset=None, stack=None, suffix=suffix, parameters=parameters, settings=settings).name

    assert name("three") == "ecommerce-three"
    assert name(None, ("EnvironmentSuffix=four",)) == "ecommerce-four"
    assert name(None, settings=("environment_suffix=five",)) == "ecommerce-five"
    with pytest.raises(BadInput, match="says otherwise"):
        name("three", settings=("environment_suffix=five",))
    with pytest.raises(BadInput, match="says otherwise"):
        name(None, ("EnvironmentSuffix=four",), ("environment_suffix=five",))


def test_a_stack_named_outright_needs_no_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "multiaz.toml").write_text("broken =")
    assert "line 1" in refused(capsys, "down", "--yes")
    assert stack_named("mine", None, None) == "mine"
    assert cli.main(["down", "--yes", "--stack", "mine"]) == ExitCode.NOT_FOUND


def test_a_suffix_no_name_may_end_with_is_refused_where_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIAZ_ENVIRONMENT_SUFFIX", "Two")
    with pytest.raises(BadInput, match="from MULTIAZ_ENVIRONMENT_SUFFIX"):
        stack_named(None, None, None)


def test_a_wrong_value_says_where_it_was_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "multiaz.toml").write_text("\ndb_port = 80\n")
    assert "db_port=80 from multiaz.toml line 2: " in refused(capsys, "synth")
    monkeypatch.setenv("MULTIAZ_DB_PORT", "81")
    assert "db_port='81' from MULTIAZ_DB_PORT: " in refused(capsys, "synth")
    assert "db_port='82' from --set db_port: " in refused(capsys, "synth", "--set", "db_port=82")
    told = refused(capsys, "up", "--set", "db_port=5433", "--parameter", "BackupRetentionDays=1")
    assert "backup_retention_days='1' from --parameter BackupRetentionDays: " in told


def test_a_wrong_name_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--set zonez: there is no such setting; did you mean zones?" in refused(capsys, "synth", "--set", "zonez=2")
    monkeypatch.setenv("MULTIAZ_ZONEZ", "2")
    assert "did you mean MULTIAZ_ZONES?" in refused(capsys, "synth")
    assert "did you mean MULTIAZ_ZONES?" in refused(capsys, "status")


@pytest.mark.parametrize(
    "command", [["synth"], ["up"], ["presets"], ["status"], ["psql"], ["down", "--yes"]], ids=" ".join
)
def test_a_file_that_cannot_be_read_is_refused_by_every_command(
    command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "folder").mkdir()
    (folder / "nul").write_bytes(b"db_name = 'a\0b'")
    (folder / "latin").write_bytes(b"db_name = '\xe9'")
    (folder / "long").write_bytes(b"#" * 1_000_000)
    (folder / "ring").symlink_to("ring")
    for name, told in {
        "folder": "Is a directory",
        "nul": "line 1",
        "latin": "not UTF-8",
        "long": "longer than",
        "none.toml": "No such file",
        "ring": "symbolic links",
        "x" * 300: "too long",
        "a\0b": "null",
        "/dev/zero": "longer than",
    }.items():
        found = refused(capsys, *command, "--config", name)
        assert told in found, name
    assert not (folder / "home").exists()


def test_a_folder_or_a_pipe_in_the_place_of_the_file_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe nobody writes to would be waited for."""
    os.mkfifo(folder / "multiaz.toml")
    assert "no regular file" in refused(capsys, "synth")
    (folder / "multiaz.toml").unlink()
    (folder / "multiaz.toml").symlink_to("nowhere")
    assert "No such file" in refused(capsys, "synth")


def test_errors_of_the_file_are_json_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "multiaz.toml").write_text("db_password = 'hunter2hunter2'")
    assert cli.main(["synth", "--json"]) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert "generates its passwords" in json.loads(told.out)["why"]
    assert "hunter2" not in told.out + told.err


def test_every_variable_the_program_reads_is_known() -> None:
    named = {found for path in SOURCE.rglob("*.py") for found in re.findall(r'"(MULTIAZ_[A-Z_]+)"', path.read_text())}
    assert named <= NO_SETTINGS
    assert {"MULTIAZ_HOME", "MULTIAZ_POSTGRES_BIN"} <= named


def test_capacity_starts_from_the_load_that_is_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "multiaz.toml").write_text("orders_per_day = 70000\npeak_factor = 5\n")
    monkeypatch.setenv("MULTIAZ_READS_PER_WRITE", "9")
    assert cli.main(["capacity", "--peak-factor", "4", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["load"] == {
        "orders_per_day": 70_000,
        "reads_per_write": 9,
        "peak_factor": 4,
    }
    monkeypatch.setenv("MULTIAZ_READS_PER_WRITE", "few")
    assert "reads_per_write='few' from MULTIAZ_READS_PER_WRITE" in refused(capsys, "capacity")
    assert "peak_factor=1000.0 from --peak-factor" in refused(
        capsys, "capacity", "--reads-per-write", "2", "--peak-factor", "1000"
    )


def test_presets_tell_what_the_load_decides(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "multiaz.toml").write_text("orders_per_day = 50000\n")
    assert cli.main(["presets", "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)["set_otherwise"]
    assert found["prod"] == {}
    assert found["test"]["db_instance_class"] == {"value": "db.m5.large", "from": "orders_per_day"}
