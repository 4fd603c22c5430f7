"""cfn-lint in a process of its own says the same, and does not outlive its limits."""

from __future__ import annotations

import subprocess
import sys

import pytest

from multiaz.rules import cfn_lint, lint, lint_apart

TYPO = "Resources:\n  A:\n    Type: AWS::SNS::Topic\n    Properties: {Nope: 1}\n"


def test_apart_it_says_the_same() -> None:
    assert lint_apart(TYPO) == lint(TYPO) != []


def test_a_rule_of_cfn_lint_that_fails_says_nothing_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    from cfnlint import api

    class Match:
        class rule:  # noqa: N801
            id = "E0002"

        message, linenumber, columnnumber = "Unknown exception while processing rule E3012: KeyError", 1, 1

    monkeypatch.setattr(api, "lint", lambda *_, **__: [Match()])
    (finding,) = lint(TYPO)
    assert finding.rule == "MAZ007"
    assert "E3012" in finding.message


def test_one_that_takes_too_long_is_a_finding() -> None:
    (finding,) = lint_apart(TYPO, time_limit_s=0.01)
    assert (finding.rule, finding.severity) == ("MAZ007", "error")
    assert "0.01 s" in finding.message


@pytest.mark.parametrize(
    ("code", "reason"),
    [("raise SystemExit('out of memory')", "out of memory"), ("import os; os.abort()", "-6"), ("print('[1]')", "0")],
)
def test_one_that_dies_is_a_finding(code: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run

    def other(_: list[str], **options: object) -> object:
        return run([sys.executable, "-c", code], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(cfn_lint.subprocess, "run", other)
    (finding,) = lint_apart(TYPO)
    assert finding.rule == "MAZ007"
    assert reason in finding.message
