"""Streams that are full, closed, or cannot say every letter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from multiaz.errors import ExitCode

MULTIAZ = [sys.executable, "-m", "multiaz.cli"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "MULTIAZ_HOME": str(tmp_path / "home"), "MULTIAZ_CONFIG": ""}


def shell(line: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What sh makes of `line`, in which "$@" is multiaz with the arguments."""
    command = ["sh", "-c", line, "sh", *MULTIAZ, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["synth"], ExitCode.FAILED),
        (["synth", "--explain"], ExitCode.FAILED),
        (["--help"], ExitCode.FAILED),
        (["check", "--json", "--no-cfn-lint"], ExitCode.FAILED),
        (["status", "--json"], ExitCode.NOT_FOUND),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_full_disk_is_told_in_words(command: list[str], code: int, environment: dict[str, str]) -> None:
    done = shell('"$@" >/dev/full', environment, *command)
    words = done.stderr.decode()
    assert done.returncode == code, words
    assert words.count("\n") == 3
    assert "cause: " in words
    assert ("no space left" in words) == (code == ExitCode.FAILED)


def test_a_command_whose_result_nobody_can_get_does_nothing(environment: dict[str, str]) -> None:
    done = shell('"$@" >&-', environment, "synth")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert done.stderr.decode().splitlines()[1] == "  cause: stdout is closed"


@pytest.mark.parametrize("line", ['"$@" 2>&-', '"$@" <&-', '"$@" <&- 2>&-', '"$@" 2>/dev/full'])
def test_the_other_streams_may_be_closed_or_full(line: str, environment: dict[str, str]) -> None:
    done = shell(line, environment, "synth", "--json")
    assert (done.returncode, done.stderr) == (ExitCode.OK, b"")
    assert "Resources" in json.loads(done.stdout)
    assert shell(line, environment, "status").returncode == ExitCode.NOT_FOUND


def test_a_letter_the_encoding_lacks_is_written_as_an_escape(environment: dict[str, str]) -> None:
    done = shell('"$@"', {**environment, "PYTHONIOENCODING": "ascii"}, "synth", "--explain")
    assert done.returncode == ExitCode.OK, done.stderr
    assert b"gp3 MiB/s" in done.stdout
    assert done.stdout.isascii()


def test_a_file_name_that_is_no_text_can_be_told(environment: dict[str, str], tmp_path: Path) -> None:
    done = shell('"$@"', environment, "init", os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml"))
    assert done.returncode == ExitCode.OK, done.stderr
    assert b"ff.toml: preset test" in done.stdout


@pytest.mark.parametrize("preset", ["prod", "test"])
def test_a_template_is_ascii_so_that_no_encoding_changes_it(preset: str, environment: dict[str, str]) -> None:
    assert shell('"$@"', environment, "synth", "--preset", preset).stdout.isascii()


def test_a_pipe_nobody_writes_to_is_not_waited_for_and_a_shells_own_is_read(
    environment: dict[str, str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = shell('"$@"', environment, "synth", "--config", str(tmp_path / "pipe"))
    assert done.returncode == ExitCode.BAD_INPUT
    assert b"no regular file" in done.stderr
    done = shell("""echo 'db_port = 5433' | "$@" """, environment, "synth", "--json", "--config", "/dev/stdin")
    assert json.loads(done.stdout)["Parameters"]["DBPort"]["Default"] == 5433
