"""The check of one template: read, judged by our rules and cfn-lint, suppressions applied. No text makes it raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from multiaz.rules.findings import Finding, Path, Report
from multiaz.rules.reading import INLINE_LIMIT_BYTES, Document, read
from multiaz.rules.rule import HAS_ALIASES, NEEDS_BUCKET, TOO_MANY_RESOURCES, Rule, rules
from multiaz.rules.suppressions import applied
from multiaz.rules.template import RESOURCE_LIMIT, Template
from multiaz.rules.unreadable import Unreadable

Linter = Callable[[str], list[Finding]]


def check(source: bytes | str, *, name: str = "template", linter: Linter | None = None) -> Report:
    """All there is to say of the template: our rules, and what `linter` (cfn-lint) says.

    A text that cannot be read is a report of that alone.
    """
    document, unreadable = read(source)
    if document is None:
        return Report(name, tuple(_unread(fault) for fault in unreadable), ())
    template = Template(document)
    text = source if isinstance(source, str) else source.decode("utf-8-sig")
    found = [*judge(template), *(linter(text) if linter else ())]
    found, suppressions = applied(template, found, rules(), was_linted=linter is not None)
    found.sort(key=lambda finding: (finding.line, finding.column, finding.rule, finding.place))
    return Report(name, tuple(found), tuple(suppressions))


def judge(template: Template) -> Iterator[Finding]:
    """Findings of our own rules, suppressed or not. One rule says one thing about one place."""
    yield from _size(template.document)
    yield from _aliases(template.document)
    resources = template.body["Resources"]
    if len(resources) > RESOURCE_LIMIT:
        text = f"the template has {len(resources)} resources"
        yield _finding(template, TOO_MANY_RESOURCES, ("Resources",), text)
    for rule in rules().values():
        if rule.check is None:
            continue
        told: set[tuple[Path, str]] = set()
        for problem in rule.check(template):
            if (problem.path, problem.message) not in told:
                told.add((problem.path, problem.message))
                yield _finding(template, rule, problem.path, problem.message, problem.part)


def _finding(template: Template, rule: Rule, path: Path, message: str, part: str = "") -> Finding:
    place = template.position(path)
    return Finding(rule.id, rule.severity, message, place.line, place.column, path, part)


def _size(document: Document) -> Iterator[Finding]:
    if document.size_bytes > INLINE_LIMIT_BYTES:
        text = f"the template has {document.size_bytes} bytes: give CloudFormation the address of a copy in S3"
        yield Finding(NEEDS_BUCKET.id, NEEDS_BUCKET.severity, text, 1, 1, ())


def _aliases(document: Document) -> Iterator[Finding]:
    """One finding, however many there are."""
    if document.aliases:
        first = document.aliases[0]
        text = f"CloudFormation refuses aliases and merge keys; here are {len(document.aliases)}, this is the first"
        yield Finding(HAS_ALIASES.id, HAS_ALIASES.severity, text, first.line, first.column, ())


def _unread(fault: Unreadable) -> Finding:
    return Finding(
        fault.rule, rules()[fault.rule].severity, fault.message, fault.position.line, fault.position.column, ()
    )
