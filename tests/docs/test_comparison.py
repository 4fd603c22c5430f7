"""docs/comparison.md says what is so, and the apps beside which ours is timed are one app."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from multiaz.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "scripts" / "peers" / "cdk"
DOCUMENT = (ROOT / "docs" / "comparison.md").read_text()
REFUSED = "(refused)"


class Row(NamedTuple):
    feature: str
    ours: str
    command: str
    shows: str
    peers: str


def rows() -> list[Row]:
    """The rows of all tables; a pipe inside a cell is written with a backslash."""
    found = []
    for line in DOCUMENT.splitlines():
        if line.startswith("| ") and not line.startswith("| feature"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            found.append(Row(*(cell.strip().replace("\\|", "|") for cell in cells)))
    return found


ROWS = rows()


def requirements() -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", (PEERS / "requirements.txt").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("row", ROWS, ids=[row.feature for row in ROWS])
def test_each_command_shows_what_the_table_says(row: Row, tmp_path: Path) -> None:
    """In an empty folder, with no settings of whoever runs the tests."""
    command, shows = row.command.strip("`"), row.shows.removesuffix(REFUSED).strip().strip("`")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MULTIAZ_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=tmp_path, env=kept | {"PATH": path}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if row.shows.endswith(REFUSED):
        assert done.returncode == ExitCode.BAD_INPUT, done.stderr
        assert shows in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert shows == done.stdout.strip() if shows.isdecimal() and "-c" in command else shows in done.stdout


@pytest.mark.parametrize("row", ROWS, ids=[row.feature for row in ROWS])
def test_each_row_says_yes_partly_or_no(row: Row) -> None:
    assert re.match(r"(yes|\*\*partly\*\*|\*\*no\*\*)\b|\*\*(partly|no)\*\*", row.ours)
    assert row.peers


def test_the_python_app_runs_the_cdk_of_the_javascript_app_and_of_the_document() -> None:
    javascript = json.loads((PEERS / "package.json").read_text())["dependencies"]
    python = requirements()
    assert {name: python[name] for name in javascript} == javascript
    assert f"`aws-cdk-lib` {javascript['aws-cdk-lib']}" in DOCUMENT


def test_peers_are_locked_without_the_name_of_a_registry() -> None:
    lock = json.loads((PEERS / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert all("resolved" not in entry for entry in packages.values())
    assert all(entry.get("integrity") or entry.get("inBundle") for entry in packages.values())


def test_both_apps_watch_the_same_figures() -> None:
    """Name, metric, statistic, comparison and threshold of every alarm, as either language writes them."""
    row = re.compile(r'[\[(]"(\w+)", "([\w%]+)", "(\w+)", (ABOVE|BELOW), ([^,]+), (\d+), (\w+)[\])]')
    javascript = row.findall((PEERS / "app.js").read_text())
    python = row.findall((PEERS / "app.py").read_text().replace("//", "/"))
    assert javascript
    assert javascript == python
