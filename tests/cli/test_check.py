"""`multiaz check` as people, scripts and code hosts see it."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from multiaz.cli import main as cli
from multiaz.errors import ExitCode

OPEN = """\
Resources:
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties:
      GroupDescription: web
      SecurityGroupIngress:
        - {IpProtocol: tcp, FromPort: 22, ToPort: 22, CidrIp: 0.0.0.0/0, Description: anybody}
"""
SUPPRESSED = (
    OPEN
    + """\
    Metadata:
      multiaz: {suppress: [{id: MAZ702, reason: a honeypot}]}
"""
)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "open.yaml"
    path.write_text(OPEN)
    return path


@pytest.fixture
def suppressed(tmp_path: Path) -> Path:
    path = tmp_path / "suppressed.yaml"
    path.write_text(SUPPRESSED)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["check", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_finding_has_file_line_rule_and_path_and_fails(template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, str(template), "--no-cfn-lint")
    assert code == ExitCode.FAILED
    assert out.splitlines()[0] == (
        f"{template}:7:55: error MAZ702: the whole internet is let in"
        " (Resources/Group/Properties/SecurityGroupIngress/0/CidrIp)"
    )
    assert out.splitlines()[-1] == f"{template}: 1 error, 0 warning, 0 info, 0 suppressed"


def test_a_suppressed_finding_is_listed_with_its_reason_and_does_not_fail(
    suppressed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, str(suppressed), "--no-cfn-lint", "--fail-on", "info")
    assert code == ExitCode.OK
    assert "suppressed MAZ702: a honeypot (multiaz" in out


def test_cfn_lint_speaks_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "typo.json"
    path.write_text('{"Resources": {"A": {"Type": "AWS::Nope::Nothing"}}}')
    code, out, _ = run(capsys, str(path), "--region", "eu-central-1")
    assert code == ExitCode.FAILED
    assert "error E3006: " in out
    assert "eu-central-1" in out


def test_json_is_one_document(suppressed: Path, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, str(suppressed), str(template), "--no-cfn-lint", "--json")
    found = json.loads(out)
    assert (code, err) == (ExitCode.FAILED, "")
    assert (found["failed"], found["fail_on"]) == (True, "error")
    first, second = found["templates"]
    assert first["counts"] == {"error": 0, "warning": 0, "info": 0, "suppressed": 1}
    assert first["findings"][0]["suppressed"]["reason"] == "a honeypot"
    assert first["suppressions"][0]["resource"] == "Group"
    assert second["findings"][0]["suppressed"] is None


@pytest.mark.parametrize(("threshold", "code"), [("error", 0), ("warning", 0), ("info", 1)])
def test_the_threshold_decides(threshold: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("Resources: {}\n" + "#" * 52_000)
    assert run(capsys, str(path), "--no-cfn-lint", "--fail-on", threshold)[0] == code


def test_stdin_is_a_template_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(OPEN.encode())))
    code, out, _ = run(capsys, "-", "--no-cfn-lint")
    assert code == ExitCode.FAILED
    assert out.startswith("stdin:7:55: error MAZ702")


def test_a_named_pipe_without_a_writer_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    code, _, err = run(capsys, str(tmp_path / "pipe"), "--no-cfn-lint")
    assert code == ExitCode.BAD_INPUT
    assert "named pipe" in err


@pytest.mark.parametrize("prefix", ["/dev/fd/", "/proc/self/fd/"])
def test_what_the_shell_has_opened_is_read(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As `<(…)` gives it: a pipe whose writer may be done already."""
    reader, writer = os.pipe()
    os.write(writer, OPEN.encode())
    os.close(writer)
    try:
        code, out, _ = run(capsys, f"{prefix}{reader}", "--no-cfn-lint")
    finally:
        os.close(reader)
    assert code == ExitCode.FAILED
    assert f"{prefix}{reader}:7:55: error MAZ702" in out


@pytest.mark.parametrize("other", ["-", "/dev/stdin", "/dev/fd/0"])
def test_stdin_is_read_once(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "-", other, "--no-cfn-lint")
    assert code == ExitCode.BAD_INPUT
    assert "stdin" in err


def test_a_name_cannot_command_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(capsys, f"{tmp_path}/\x1b[2J", "--no-cfn-lint")
    assert "\\x1b[2J" in err
    assert "\x1b" not in err


def test_without_a_file_our_own_template_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--preset", "test", "--no-cfn-lint", "--set", "zones=2")
    assert out.splitlines()[-1].startswith("synth-test: ")


@pytest.mark.parametrize("name", ["", "missing.yaml", ".", "null\0byte"])
def test_what_cannot_be_opened_is_bad_input(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, str(tmp_path) + "/" + name)
    assert code == ExitCode.BAD_INPUT
    assert err.startswith("Cannot read ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "content",
    [b"", b"\x7fELF\0\0", b"Resources: [", b"caf\xe9: 1", b"Resources: " + b"[" * 10_000, b"x" * 1_100_000],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_template_is_a_finding(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    code, out, err = run(capsys, str(path))
    assert (code, err) == (ExitCode.FAILED, "")
    assert re.match(rf"{re.escape(str(path))}:\d+:\d+: error MAZ00\d: ", out)


def test_a_template_cannot_command_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps({"Resources": {"\x1b[2J\nA\u202e": {"Type": "AWS::S3::Bucket"}}}))
    _, out, _ = run(capsys, str(path), "--no-cfn-lint")
    assert all(character.isprintable() or character == "\n" for character in out)
    assert "\\x1b[2J\\nA" in out


def sarif(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    _, out, _ = run(capsys, *arguments, "--format", "sarif")
    document: dict[str, Any] = json.loads(out)
    return document


def test_sarif_has_what_the_standard_requires(suppressed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SARIF 2.1.0: 3.13 (version, runs), 3.14 (tool), 3.19 (name), 3.27 (message), 3.49 (rule id), 3.35 (kind)."""
    document = sarif(capsys, str(suppressed), "--no-cfn-lint")
    assert document["version"] == "2.1.0"
    (run_,) = document["runs"]
    rules = run_["tool"]["driver"]["rules"]
    assert run_["tool"]["driver"]["name"] == "multiaz"
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
        assert rule.get("helpUri", "https://").startswith("https://")
    (result,) = run_["results"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "MAZ702"
    assert result["level"] == "error"
    (location,) = result["locations"]
    assert location["physicalLocation"]["region"] == {"startLine": 7, "startColumn": 55}
    assert location["physicalLocation"]["artifactLocation"]["uri"].endswith("/suppressed.yaml")
    assert result["suppressions"] == [{"kind": "inSource", "justification": "a honeypot"}]


def test_sarif_describes_rules_of_cfn_lint_that_were_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "typo yaml"
    path.write_text("Resources: {A: {Type: 'AWS::Nope::Nothing'}}")
    (run_,) = sarif(capsys, str(path))["runs"]
    (result,) = run_["results"]
    rule = run_["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert rule["id"] == result["ruleId"] == "E3006"
    assert rule["helpUri"].endswith("#E3006")
    assert " " not in result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
