"""`multiaz capacity`, as people and scripts see it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from multiaz.blueprint.assumptions import ASSUMPTIONS
from multiaz.cli import main as cli
from multiaz.errors import ExitCode

SEED = {
    "db_instance_class": "db.m5.large",
    "read_replica_instance_class": "db.m5.large",
    "read_replicas": 2,
    "allocated_storage": 100,
    "max_allocated_storage": 1000,
}


@pytest.fixture(autouse=True)
def empty_home(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIAZ_HOME", str(home_folder / "home"))


def last_part(text: str) -> str:
    return text.rstrip().split("\n\n")[-1]


def test_its_last_lines_can_be_pasted_into_the_settings_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["capacity"]) == ExitCode.OK
    told = capsys.readouterr()
    assert tomllib.loads(last_part(told.out)) == SEED
    assert told.err == ""


def test_the_arithmetic_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["capacity"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["STEP", "ARITHMETIC", "RESULT"]
    assert lines[1].split() == ["orders", "50,000", "/", "86,400", "0.579", "/s"]
    assert max(len(line) for line in lines) <= 120


def test_explained_it_says_words_and_assumptions_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["capacity", "--explain"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert "orders a day / seconds a day" in told
    assert [a.name for a in ASSUMPTIONS if a.name not in told or a.source not in told] == []


def test_every_option_reaches_the_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--orders-per-day", "100000", "--reads-per-write", "9", "--peak-factor", "2", "--family", "m8g"]
    assert cli.main(["capacity", *options, "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["load"] == {"orders_per_day": 100_000, "reads_per_write": 9, "peak_factor": 2}
    assert found["family"] == "m8g"
    assert found["settings"]["db_instance_class"].split(".")[1] in ("m8g", "r8g")


def test_json_holds_the_steps_and_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["capacity", "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert found["settings"] == SEED
    assert found["steps"][0].keys() == {"name", "formula", "numbers", "value", "unit"}
    assert found["thresholds"]["primary"]["DatabaseConnections"] == 729
    assert len(found["assumptions"]) == len(ASSUMPTIONS)


def test_operations_to_provision_are_among_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["capacity", "--orders-per-day", "1000000"]) == ExitCode.OK
    assert tomllib.loads(last_part(capsys.readouterr().out))["storage_iops"] == 16_000


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--orders-per-day", "0"], ExitCode.BAD_INPUT, "orders_per_day=0"),
        (["--orders-per-day", "many"], ExitCode.USAGE, "--orders-per-day"),
        (["--peak-factor", "nan"], ExitCode.BAD_INPUT, "peak_factor=nan"),
        (["--family", "t3"], ExitCode.BAD_INPUT, "burstable"),
        (["--orders-per-day", "2000000"], ExitCode.BAD_INPUT, "vCPU of 32"),
    ],
)
def test_bad_input_is_refused_by_name(
    options: list[str], code: ExitCode, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["capacity", *options]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert "Traceback" not in told.err
