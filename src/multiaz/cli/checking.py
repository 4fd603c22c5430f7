"""`check`: templates from files, from stdin or from the blueprint; findings as text, JSON or SARIF."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import BinaryIO

from multiaz.cli.output import Output
from multiaz.cli.regions import check_region
from multiaz.cli.requests import UsageRefused
from multiaz.errors import BadInput, ExitCode
from multiaz.rules import Finding, Report, Severity, check, lint_apart
from multiaz.rules.reading import URL_LIMIT_BYTES
from multiaz.rules.sarif import as_sarif
from multiaz.rules.suppressions import OURS

STDIN = "-"
_INHERITED = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/([0-9]{1,6})")
"""Names of what is open already when the program starts."""


def run(
    output: Output,
    *,
    files: Sequence[str],
    preset: str | None,
    settings: Sequence[str],
    config: str | None,
    format_: str,
    fail_on: str,
    regions: Sequence[str],
    with_cfn_lint: bool,
) -> int:
    """Print what there is to say of each template; FAILED if any finding reaches `fail_on`.

    Every source is read before anything is judged. Raises BadInput for one that cannot be read, and for a region
    there is not; UsageRefused for options that a FILE leaves without effect.
    """
    given = [name for name, value in (("--preset", preset), ("--set", settings), ("--config", config)) if value]
    if files and given:
        raise UsageRefused(
            f"Cannot use {given[0]} with a FILE", "it is for the template of the settings", "leave one of the two away"
        )
    for region in regions:
        check_region(region)
    _only_once(files)
    sources = [(_shown(name), _read(name)) for name in files] if files else [_own(output, preset, settings, config)]
    linter = partial(lint_apart, regions=tuple(regions)) if regions else lint_apart
    chosen: Callable[[str], list[Finding]] | None = linter if with_cfn_lint else None
    reports = [check(source, name=name, linter=chosen) for name, source in sources]
    threshold = Severity(fail_on)
    failed = any(True for report in reports for _ in report.at_least(threshold))
    if format_ == "sarif":
        output.line(json.dumps(as_sarif(reports, version("multiaz")), indent=2))
    elif format_ == "json":
        output.line(json.dumps(_document(reports, threshold, failed), indent=2))
    else:
        _show(output, reports)
    return int(ExitCode.FAILED if failed else ExitCode.OK)


def _shown(name: str) -> str:
    return "stdin" if name == STDIN else name


def _read(name: str) -> bytes:
    """At most one byte more than a template may have: enough to see that it has too many."""
    try:
        if name == STDIN:
            return sys.stdin.buffer.read(URL_LIMIT_BYTES + 1)
        with _opened(name) as file:
            return file.read(URL_LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInput(
            f"Cannot read {_printable(name)}", reason, "name a file that holds a template, or - for stdin"
        ) from error


def _opened(name: str) -> BinaryIO:
    """The file, or what the shell has opened already (`/dev/stdin`, and `/dev/fd/63` for `<(…)`).

    A pipe with a name is refused: opening it waits for a writer, for ever if there is none. O_NONBLOCK does not wait.
    """
    inherited = _inherited(name)
    if inherited is not None:
        return os.fdopen(os.dup(inherited), "rb")
    number = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISFIFO(os.fstat(number).st_mode):
            raise ValueError("it is a named pipe, which may never have a writer")
        os.set_blocking(number, True)
        return os.fdopen(number, "rb")
    except (OSError, ValueError):
        os.close(number)
        raise


def _only_once(names: Sequence[str]) -> None:
    """Raises BadInput if stdin is to be read twice: the second time there is nothing left."""
    found = [0 if name == STDIN else _inherited(name) for name in names]
    if found.count(0) > 1:
        raise BadInput("Cannot read stdin twice", f"it is named {found.count(0)} times", "name it once")


def _inherited(name: str) -> int | None:
    """The number of the file that is open already under this name; None if the name is another's."""
    match = _INHERITED.fullmatch(name)
    return int(match[1] or 0) if match else None


def _own(output: Output, preset: str | None, settings: Sequence[str], config: str | None) -> tuple[str, bytes]:
    from multiaz.blueprint import to_yaml
    from multiaz.cli import configuration

    asked = configuration.asked(config, preset=preset, settings=settings)
    wanted = asked.layer.settings()
    configuration.tell_places(output, asked.places)
    return f"synth-{wanted.preset}", to_yaml(wanted).encode()


def _document(reports: Sequence[Report], threshold: Severity, failed: bool) -> dict[str, object]:
    return {
        "fail_on": str(threshold),
        "failed": failed,
        "templates": [
            {
                "template": report.name,
                "counts": _counts(report),
                "findings": [finding.as_dict() for finding in report.findings],
                "suppressions": [suppression.as_dict() for suppression in report.suppressions],
            }
            for report in reports
        ],
    }


def _counts(report: Report) -> dict[str, int]:
    counted = Counter(finding.severity for finding in report.open)
    suppressed = len(report.findings) - len(report.open)
    return {**{str(severity): counted[severity] for severity in Severity}, "suppressed": suppressed}


def _show(output: Output, reports: Sequence[Report]) -> None:
    for report in reports:
        for finding in report.open:
            _line(output, f"{report.name}:{finding.as_text()}")
        for finding in report.findings:
            taker = finding.suppressed
            if taker:
                where = f"{report.name}:{finding.line}:{finding.column}"
                _line(output, f"{where}: suppressed {finding.rule}: {taker.reason} ({taker.origin}; {finding.place})")
        taking = {finding.suppressed for finding in report.findings if finding.suppressed}
        others: dict[tuple[str, str, str], list[str]] = {}
        for entry in report.suppressions:
            if entry not in taking and entry.origin != OURS:
                told = others.setdefault((entry.origin, entry.id, entry.reason or "no reason given"), [])
                told.append(entry.resource or "the template")
        for (origin, id_, reason), resources in others.items():
            _line(output, f"{report.name}: {origin} suppresses {id_}: {reason} ({', '.join(resources)})")
        counts = ", ".join(f"{number} {word}" for word, number in _counts(report).items())
        _line(output, f"{report.name}: {counts}")


def _line(output: Output, text: str) -> None:
    output.line(_printable(text))


def _printable(text: str) -> str:
    """One line, whatever the template or its name says: words must neither break the line nor command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
