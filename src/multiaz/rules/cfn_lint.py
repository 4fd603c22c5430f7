"""What cfn-lint says of a template. Loaded lazily: it takes half a second, and a run one or two more.

`lint` runs here; `lint_apart` in a process of its own (`python -m multiaz.rules.cfn_lint`), with limits of time and
memory: for templates somebody else wrote.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

from multiaz.rules.findings import Finding, Severity
from multiaz.rules.rule import LINT_STOPPED

_SEVERITIES = {"E": Severity.ERROR, "W": Severity.WARNING, "I": Severity.INFO}
_CRASHED = "E0002"
"""The id cfn-lint gives an exception inside of one of its rules: nothing about the template."""
DEFAULT_REGIONS = ("us-east-1",)
TIME_LIMIT_S = 120.0
"""Fifty times what cfn-lint takes for a template of 70 resources."""
MEMORY_LIMIT_BYTES = 2 * 1024**3


def lint(text: str, regions: tuple[str, ...] = DEFAULT_REGIONS) -> list[Finding]:
    """Findings of cfn-lint in the order of the lines; a text that is no template is a finding too."""
    from cfnlint import api
    from cfnlint.config import ManualArgs

    matches = api.lint(text, config=ManualArgs(regions=list(regions)))
    found = [
        Finding(
            rule=match.rule.id,
            severity=_SEVERITIES.get(match.rule.id[0], Severity.ERROR),
            message=match.message,
            line=match.linenumber,
            column=match.columnnumber,
            path=tuple(part if isinstance(part, int) else str(part) for part in getattr(match, "path", None) or ()),
        )
        if match.rule.id != _CRASHED
        else _stopped(f"one of its rules failed: {match.message[:200]}")
        for match in matches
    ]
    return sorted(found, key=lambda finding: (finding.line, finding.column, finding.rule))


def lint_apart(
    text: str, regions: tuple[str, ...] = DEFAULT_REGIONS, time_limit_s: float = TIME_LIMIT_S
) -> list[Finding]:
    """The same from a process of its own; one that does not come to an end is a finding (MAZ007)."""
    command = [sys.executable, "-m", "multiaz.rules.cfn_lint", *regions]
    try:
        done = subprocess.run(
            command, input=text.encode(errors="replace"), capture_output=True, timeout=time_limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return [_stopped(f"cfn-lint had not finished after {time_limit_s:g} s")]
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return [_from_plain(item) for item in json.loads(done.stdout)]
    words = done.stderr.decode(errors="replace").strip().splitlines()
    reason = words[-1][:200] if words else f"exit code {done.returncode}"
    return [_stopped(f"cfn-lint ended without a result: {reason}")]


def _stopped(message: str) -> Finding:
    return Finding(LINT_STOPPED.id, LINT_STOPPED.severity, message, 1, 1, ())


def _from_plain(item: dict[str, Any]) -> Finding:
    return Finding(
        rule=item["rule"],
        severity=Severity(item["severity"]),
        message=item["message"],
        line=item["line"],
        column=item["column"],
        path=tuple(item["path"]),
    )


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_LIMIT_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _main() -> None:
    _limit_memory()
    text = sys.stdin.buffer.read().decode(errors="replace")
    found = lint(text, tuple(sys.argv[1:]) or DEFAULT_REGIONS)
    json.dump([{**finding.as_dict(), "path": finding.path} for finding in found], sys.stdout)


if __name__ == "__main__":
    _main()
