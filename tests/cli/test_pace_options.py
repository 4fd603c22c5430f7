"""`--pace` of `local start` and `up`: refused before anything starts, kept by the home, shown by `local status`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multiaz import local
from multiaz.cli import main as cli
from multiaz.errors import ExitCode
from multiaz.home import Home
from multiaz.local.marker import plan_marker, record_marker


@pytest.fixture
def home(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose cloud "runs": starting it is what other tests are for."""
    home = Home(home_folder)
    record_marker(home, plan_marker(home, port=None, port_base=None))
    home.credentials.write_text("{}")
    monkeypatch.setenv("MULTIAZ_HOME", str(home.root))
    running = local.LocalCloud(home, 1, "127.0.0.1", 4566, started=False, seconds=0.0)
    monkeypatch.setattr(local, "start", lambda *_, **__: running)
    return home


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = ExitCode.OK) -> Any:
    got = cli.main([*arguments, "--json"])
    told = capsys.readouterr()
    assert got == code, told.out + told.err
    return json.loads(told.out)


@pytest.mark.parametrize("command", [["up"], ["local", "start"]], ids=" ".join)
@pytest.mark.parametrize(
    "options",
    [["--pace-seconds", "70"], ["--pace", "instant", "--pace-seconds", "70"], ["--pace", "rds", "--pace-seconds", "0"],
     ["--pace", "rds", "--pace-seconds", "121"], ["--pace", "slow"], ["--standby-loss", "never"],
     ["--archive-seconds", "0.5"], ["--archive-seconds", "301"]],
    ids=" ".join,
)  # fmt: skip
def test_a_pace_there_cannot_be_is_refused_and_nothing_is_kept(
    home: Home, capsys: pytest.CaptureFixture[str], command: list[str], options: list[str]
) -> None:
    ask(capsys, *command, *options, code=ExitCode.USAGE)
    assert not home.behaviour.exists()


def test_the_pace_is_kept_until_another_is_given(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, "local", "start")["behaviour"]["pace"] == "instant"
    assert ask(capsys, "local", "start", "--pace", "rds")["behaviour"]["endpoint_down_s"] == 60.0
    assert ask(capsys, "local", "start")["behaviour"]["endpoint_down_s"] == 60.0
    ask(capsys, "local", "start", "--pace", "rds", "--pace-seconds", "90")
    assert ask(capsys, "local", "status")["behaviour"]["endpoint_down_s"] == 90.0
    ask(capsys, "local", "start", "--standby-loss", "wait")
    ask(capsys, "local", "start", "--archive-seconds", "5")
    held = {"pace": "rds", "endpoint_down_s": 90.0, "standby_loss": "wait", "archive_every_s": 5.0}
    assert ask(capsys, "local", "status")["behaviour"] == held
    assert ask(capsys, "local", "start", "--pace", "instant")["behaviour"]["pace"] == "instant"
    assert ask(capsys, "local", "start", "--standby-loss", "continue")["behaviour"]["standby_loss"] == "continue"


def test_people_are_told_what_changed_and_what_holds(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["local", "start"]) == ExitCode.OK
    assert "runs already; nothing was changed" in capsys.readouterr().out
    assert cli.main(["local", "start", "--pace", "rds"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert "nothing was changed" not in told
    assert "endpoints stay down for 60 s in a failover" in told
    assert cli.main(["local", "status"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert "Pace: rds" in told
    assert "restorable" not in told
    assert cli.main(["local", "start", "--archive-seconds", "2"]) == ExitCode.OK
    assert "the latest restorable time is at most 2 s behind" in capsys.readouterr().out
