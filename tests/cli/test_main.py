"""Every way a command may end, as people and scripts see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.stub import Stubber

from multiaz.cli import main as cli
from multiaz.cli.regions import check_region
from multiaz.errors import ExitCode, MultiazError, NotFound
from multiaz.fleet.access import Access
from multiaz.fleet.fleet import Fleet

COMMANDS = ["up", "down", "synth", "check", "capacity", "status", "psql", "failover", "env", "version"]
COMMANDS += ["presets", "init"]
LOCAL_COMMANDS = ["start", "stop", "status"]
EVERY_COMMAND = [[name] for name in COMMANDS] + [["local", name] for name in LOCAL_COMMANDS]


@pytest.fixture(autouse=True)
def empty_home(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MULTIAZ_HOME", str(home_folder / "home"))
    return home_folder / "home"


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_every_command_has_help_and_takes_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command, "--help"]) == ExitCode.OK
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_a_wrong_option_is_a_usage_error_of_the_one_json_shape(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, "--json", "--no-such-option"]) == ExitCode.USAGE
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found.keys() == {"error", "what", "why", "next", "exit_code", "retryable"}
    assert found["exit_code"] == ExitCode.USAGE
    assert found["next"] == f"multiaz {' '.join(command)} --help"
    assert told.err == ""


def test_without_arguments_it_tells_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == ExitCode.OK
    assert "failover" in capsys.readouterr().out


def test_an_unknown_command_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deploy"]) == ExitCode.USAGE
    assert "deploy" in capsys.readouterr().err


def test_only_psql_passes_arguments_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--", "-c"]) == ExitCode.USAGE
    assert "psql" in capsys.readouterr().err


def test_a_foreseen_error_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotFound("There is no stack", "none of this name", "name another")

    monkeypatch.setattr("multiaz.cli.looking.status", refuse)
    assert cli.main(["status"]) == ExitCode.NOT_FOUND
    assert capsys.readouterr().err == "There is no stack\n  cause: none of this name\n  next:  name another\n"


def test_an_unforeseen_error_is_called_our_bug_and_its_traceback_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("multiaz.cli.looking.status", stumble)
    (empty_home / "logs").mkdir(parents=True)
    assert cli.main(["status", "--json"]) == ExitCode.BUG
    found = json.loads(capsys.readouterr().out)
    log = empty_home / "logs" / "cli.log"
    assert str(log) in found["next"]
    assert "KeyError: 'surprise'" in log.read_text()
    assert "stumble" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_without_a_home_the_log_is_elsewhere_and_no_home_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_home: Path, tmp_path: Path
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("multiaz.cli.bugs.tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("multiaz.cli.looking.status", stumble)
    assert cli.main(["status"]) == ExitCode.BUG
    assert str(tmp_path) in capsys.readouterr().err
    assert not empty_home.exists()


def test_an_interrupt_is_told_in_the_same_shape(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("multiaz.cli.looking.status", stop)
    assert cli.main(["status", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"] == "Interrupted"


@pytest.mark.parametrize("command", [["status"], ["psql"], ["failover"], ["env"], ["down", "--yes"]], ids=" ".join)
def test_with_nothing_up_every_command_says_so_and_makes_nothing(
    command: list[str], capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    assert cli.main([*command, "--json"]) == ExitCode.NOT_FOUND
    assert json.loads(capsys.readouterr().out)["error"] == "NotFound"
    assert not empty_home.exists()


def test_wrong_parameters_are_refused_before_anything_is_started(
    capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    assert cli.main(["up", "--parameter", "BackupRetentionDays=1"]) == ExitCode.BAD_INPUT
    assert "backup_retention_days" in capsys.readouterr().err
    assert not empty_home.exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["down", "--all", "--stack", "mine"], "Cannot use --all with --stack"),
        (["down", "--all", "--suffix", "two", "--yes"], "Cannot use --all with --suffix"),
        (["status", "--stack", "mine", "--suffix", "two"], "Cannot use --stack and --suffix together"),
        (["down", "--stack", "mine", "--suffix", "two"], "Cannot use --stack and --suffix together"),
        (["check", "--format", "sarif", "--json"], "Cannot use --json here"),
        (["synth", "--format", "yaml", "--json"], "Cannot use --json here"),
        (["check", "x.yaml", "--preset", "test"], "Cannot use --preset with a FILE"),
        (["check", "x.yaml", "--set", "zones=2"], "Cannot use --set with a FILE"),
        (["check", "-", "--config", "my.toml"], "Cannot use --config with a FILE"),
        (["check", "--", "-x.yaml"], "write ./-x.yaml"),
        (["synth", "--preset", "x"], "'--preset': 'x' is not one of 'prod', 'test'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_options_that_contradict_each_other_are_refused_before_anything_is_done(
    command: list[str], told: str, capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    assert cli.main(command) == ExitCode.USAGE
    seen = capsys.readouterr()
    assert told in seen.out + seen.err
    assert not empty_home.exists()


@pytest.mark.parametrize("option", [["--json"], ["--format", "json"], ["--format=json"]], ids=" ".join)
@pytest.mark.parametrize("command", ["check", "synth"])
def test_errors_are_json_however_json_was_asked_for(
    command: str, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, *option, "--set", "db_port=80"]) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert json.loads(told.out)["error"] == "BadInput"
    assert told.err == ""


@pytest.mark.parametrize(
    ("command", "near"),
    [
        (["check", "--region", "us-nowhere-1"], "us-west-1"),
        (["status", "--region", "x y"], "eu-central-1"),
        (["status", "--region", "eu-centrl-1"], "eu-central-1"),
        (["psql", "--region", "EU-CENTRAL-1"], "eu-central-1"),
        (["bootstrap", "--region", "us-east-1.x"], "us-east-1"),
        (["failover", "--region", ""], "eu-central-1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_region_there_is_not_is_refused_with_the_nearest(
    command: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command) == ExitCode.BAD_INPUT
    assert near in capsys.readouterr().err.splitlines()[2]


def test_nobody_is_told_of_a_failover_of_a_stack_there_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(Access("eu-central-1", "http://127.0.0.1:1", "key", "secret"), "nope")
    cloudformation = Stubber(fleet.clients.client("cloudformation"))
    cloudformation.add_client_error("describe_stacks", "ValidationError", "Stack with id nope does not exist")
    monkeypatch.setattr("multiaz.cli.failing.fleet_of", lambda *_, **__: fleet)
    with cloudformation:
        assert cli.main(["failover", "--stack", "nope"]) == ExitCode.NOT_FOUND
    assert capsys.readouterr().err.startswith("There is no stack nope\n")


def test_regions_of_closed_partitions_are_known() -> None:
    for name in ("eu-central-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1"):
        check_region(name)


def test_before_everything_goes_the_question_says_that_protected_stacks_go_too(
    capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    assert cli.main(["down", "--all"]) == ExitCode.CONFIRM
    assert "every stack, protected ones too" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pg_catalog", "information_schema", "pg_toast", "", "x" * 64, "é" * 32])
def test_a_schema_no_application_works_in_is_refused(
    name: str, capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    assert cli.main(["bootstrap", "--schema", "shop", "--schema", name]) == ExitCode.BAD_INPUT
    assert "Cannot use --schema" in capsys.readouterr().err


def test_a_bucket_no_bucket_can_be_called_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], empty_home: Path
) -> None:
    for name in ("Bad_Bucket", "ab", "a..b", "-abc", "x" * 64):
        assert cli.main(["up", "--template-bucket", name]) == ExitCode.BAD_INPUT
        assert "Cannot use --template-bucket" in capsys.readouterr().err
    assert not empty_home.exists()


@pytest.mark.parametrize(
    "given", [["db_password:hunter2"], ["db_password hunter2"], ["db_password=hunter2", "db_password=hunter2"]]
)
def test_what_was_given_is_not_repeated(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    options = [part for text in given for part in ("--set", text)]
    assert cli.main(["synth", *options]) == ExitCode.BAD_INPUT
    told = capsys.readouterr().err
    assert "db_password" in told
    assert "hunter2" not in told


def test_a_setting_without_a_value_is_told_how_to_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synth", "--set", "db_port"]) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err.splitlines() == [
        "Cannot read --set db_port",
        "  cause: it is not of the form NAME=VALUE",
        "  next:  write --set NAME=VALUE",
    ]


def test_synth_prints_a_template_in_both_notations(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["synth"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("AWSTemplateFormatVersion")
    for option in (["--json"], ["--format", "json"]):
        assert cli.main(["synth", "--preset", "test", *option]) == ExitCode.OK
        assert "Resources" in json.loads(capsys.readouterr().out)


def test_version_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["multiaz"]


def test_help_loads_none_of_the_heavy_libraries() -> None:
    heavy = ["boto3", "botocore", "psycopg", "troposphere", "pydantic", "cfnlint", "rich"]
    program = (
        "import sys; from multiaz.cli.main import main; main(['--help']); "
        f"print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ.copy()
    )
    assert done.stderr.strip() == "[]"


def test_exit_codes_of_errors_are_the_documented_ones() -> None:
    def below(error: type[MultiazError]) -> set[type[MultiazError]]:
        return {error}.union(*(below(child) for child in error.__subclasses__()))

    assert all(isinstance(error.exit_code, ExitCode) for error in below(MultiazError))
