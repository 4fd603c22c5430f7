"""`multiaz presets` shows the rows, what each preset leaves, and what is set otherwise; `synth --explain` the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multiaz.blueprint import settings_from
from multiaz.blueprint.explanation import explain, tables
from multiaz.blueprint.presets import ROWS
from multiaz.cli import main as cli
from multiaz.errors import ExitCode


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == ExitCode.OK
    return capsys.readouterr().out


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(shown(capsys, *arguments, "--json"))


def test_every_row_is_shown_with_both_values_and_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "presets").splitlines()
    assert all(any(line.startswith(row.setting) and row.reason in line for line in lines) for row in ROWS)
    found = document(capsys, "presets")["rows"]
    assert [(row["setting"], row["prod"], row["test"], row["reason"]) for row in found] == [
        (row.setting, row.prod, row.test, row.reason) for row in ROWS
    ]


def test_what_outlives_the_stack_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "presets")
    assert "test: deleting the stack leaves nothing\n" in text
    assert "prod: deletion is refused until" in text
    assert "PrimaryDB (a final snapshot)" in text
    assert document(capsys, "presets")["left_behind"]["test"] == []


def test_a_row_the_file_decides_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.toml"
    path.write_text("zones = 2\n[test]\nkeep_bucket = true\n")
    found = document(capsys, "presets", "--config", str(path))
    assert found["set_otherwise"] == {"prod": {}, "test": {"keep_bucket": {"value": True, "from": f"{path} line 3"}}}
    assert any("BackupBucket (kept)" in thing for thing in found["left_behind"]["test"])
    assert f"test: keep_bucket is true here, from {path} line 3" in shown(capsys, "presets", "--config", str(path))


def test_explain_prints_the_reasons_of_the_settings_given(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = settings_from({"preset": "test", "db_port": 5433})
    options = ("synth", "--explain", "--preset", "test", "--set", "db_port=5433")
    assert shown(capsys, *options) == explain(wanted).rstrip("\n") + "\n"
    found = document(capsys, *options)["tables"]
    assert [table["title"] for table in found] == [table.title for table in tables(wanted)]
