"""Suppressions in a template's metadata, ours and those written for other checkers, and what they suppress.

Ours: `Metadata: {multiaz: {suppress: [{id: MAZ105, reason: "…"}]}}` on a resource, or on the template, there with
`resources: [LogicalId, …]` if it is not meant for all of it. Others are read in their own notation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from multiaz.rules.findings import Finding, Path, Suppression
from multiaz.rules.rule import MALFORMED_SUPPRESSION, NO_REASON, SUPPRESSES_NOTHING, UNKNOWN_ID, Rule
from multiaz.rules.template import Template

OURS = "multiaz"
WITHOUT_REASON = frozenset({"guard", "cfn-lint"})
"""Their notation has no place for a reason."""
_ON_THE_TEMPLATE = "cdk_nag"
"""The one checker that reads suppressions in the template's own metadata (those of a CDK stack)."""
_LINT_ID = re.compile(r"[EWI][0-9]{4}")
_FOREIGN: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("checkov", "skip", ("comment", "suppress_comment")),
    ("cfn_nag", "rules_to_suppress", ("reason",)),
    ("cdk_nag", "rules_to_suppress", ("reason",)),
)
"""Key of the metadata, key of its list, keys of the reason. Source: the documentation of each."""


@dataclass(frozen=True)
class _Entry:
    suppression: Suppression
    resources: tuple[str, ...] | None = None
    """Of an entry on the template: the resources it is for; None for all."""
    parts: frozenset[str] | None = None
    """Of an entry for cdk-nag: the findings in its `applies_to`; None for all of the check."""

    def takes(self, finding: Finding) -> bool:
        if self.suppression.resource is not None:
            return finding.resource == self.suppression.resource
        return self.resources is None or finding.resource in self.resources


def applied(
    template: Template, findings: Iterable[Finding], rules: Mapping[str, Rule], was_linted: bool
) -> tuple[list[Finding], list[Suppression]]:
    """The findings, each with the suppression that takes it, and findings about the suppressions; and these.

    An entry of ours takes the rule it names, one of ours or of cfn-lint. One for another checker takes the rules of
    ours that cover its id if it has a reason: on its resource, of cdk-nag also in the whole template, where that one
    reads it. Without cfn-lint (`was_linted`) no entry for one of its rules is called idle.
    """
    entries, about = _entries(template)
    used: set[int] = set()
    judged: list[Finding] = []
    for finding in findings:
        taker = next((i for i, entry in enumerate(entries) if _takes(entry, finding, rules)), None)
        if taker is not None:
            used.add(taker)
            finding = replace(finding, suppressed=entries[taker].suppression)
        judged.append(finding)
    for index, entry in enumerate(entries):
        about += _faults(template, entry, index in used, rules, was_linted)
    return judged + about, [entry.suppression for entry in entries]


def _takes(entry: _Entry, finding: Finding, rules: Mapping[str, Rule]) -> bool:
    suppression = entry.suppression
    if not suppression.reason or not entry.takes(finding):
        return False
    if suppression.origin == OURS:
        return suppression.id == finding.rule
    if suppression.resource is None and suppression.origin != _ON_THE_TEMPLATE:
        return False
    if entry.parts is not None and finding.part not in entry.parts:
        return False
    rule = rules.get(finding.rule)
    return rule is not None and suppression.id in rule.covers


def _faults(
    template: Template, entry: _Entry, is_used: bool, rules: Mapping[str, Rule], was_linted: bool
) -> Iterator[Finding]:
    suppression = entry.suppression
    if not suppression.reason:
        if suppression.origin not in WITHOUT_REASON:
            yield _about(template, NO_REASON, suppression.path, f"{suppression.id} is suppressed without a reason")
        return
    if suppression.origin != OURS:
        return
    missing = [name for name in entry.resources or () if name not in template.resources]
    for name in missing:
        yield _about(template, SUPPRESSES_NOTHING, suppression.path, f"there is no resource {name[:80]}")
    if missing and not is_used:
        return
    is_lint = bool(_LINT_ID.fullmatch(suppression.id))
    if not is_lint and suppression.id not in rules:
        yield _about(template, UNKNOWN_ID, suppression.path, f"there is no rule {suppression.id[:40]}")
    elif not is_used and (was_linted or not is_lint):
        yield _about(template, SUPPRESSES_NOTHING, suppression.path, f"nothing here breaks {suppression.id}")


def _about(template: Template, rule: Rule, path: Path, message: str) -> Finding:
    place = template.position(path)
    return Finding(rule.id, rule.severity, message, place.line, place.column, path)


def _entries(template: Template) -> tuple[list[_Entry], list[Finding]]:
    entries: list[_Entry] = []
    faults: list[Finding] = []
    places: list[tuple[str | None, Any, Path]] = [(None, template.body.get("Metadata"), ("Metadata",))]
    places += [
        (resource.name, resource.attribute("Metadata"), (*resource.path, "Metadata"))
        for resource in template.resources.values()
    ]
    for name, metadata, path in places:
        if isinstance(metadata, dict):
            _read_ours(template, name, metadata, path, entries, faults)
            entries += _read_foreign(template, name, metadata, path)
    return entries, faults


def _read_ours(
    template: Template,
    name: str | None,
    metadata: Mapping[str, Any],
    path: Path,
    entries: list[_Entry],
    faults: list[Finding],
) -> None:
    if OURS not in metadata:
        return
    path = (*path, OURS)
    ours = metadata[OURS]
    listed = ours.get("suppress", []) if isinstance(ours, dict) else ours
    if not isinstance(ours, dict) or not isinstance(listed, list):
        faults.append(_about(template, MALFORMED_SUPPRESSION, path, "suppress must be a list of {id, reason}"))
        return
    for index, item in enumerate(listed):
        at = (*path, "suppress", index)
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            faults.append(_about(template, MALFORMED_SUPPRESSION, at, "a suppression must have the form {id, reason}"))
            continue
        resources = item.get("resources")
        if resources is not None and (
            name is not None or not isinstance(resources, list) or not all(isinstance(r, str) for r in resources)
        ):
            text = "resources must be a list of logical ids, and only the template's own metadata has it"
            faults.append(_about(template, MALFORMED_SUPPRESSION, at, text))
            continue
        suppression = Suppression(item["id"], _reason(item, ("reason",)), OURS, name, at, template.position(at))
        entries.append(_Entry(suppression, None if resources is None else tuple(resources)))


def _reason(item: Mapping[str, Any], keys: Iterable[str]) -> str:
    return next((item[key].strip() for key in keys if isinstance(item.get(key), str)), "")


def _read_foreign(template: Template, name: str | None, metadata: Mapping[str, Any], path: Path) -> Iterator[_Entry]:
    for origin, list_key, reason_keys in _FOREIGN:
        section = metadata.get(origin)
        listed = section.get(list_key) if isinstance(section, dict) else None
        for index, item in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(item, dict) and isinstance(item.get("id"), str):
                at = (*path, origin, list_key, index)
                reason = _reason(item, reason_keys)
                yield _Entry(
                    Suppression(item["id"], reason, origin, name, at, template.position(at)), parts=_parts(item)
                )
    yield from _names_only(template, name, metadata, path, "guard", ("SuppressedRules",))
    yield from _names_only(template, name, metadata, path, "cfn-lint", ("config", "ignore_checks"))


def _parts(item: Mapping[str, Any]) -> frozenset[str] | None:
    """Regular expressions are left out: one from a template could take hours, and text in it would be a guess."""
    listed = item.get("applies_to", item.get("appliesTo"))
    if listed is None:
        return None
    return frozenset(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else frozenset()


def _names_only(
    template: Template, name: str | None, metadata: Mapping[str, Any], path: Path, origin: str, keys: tuple[str, ...]
) -> Iterator[_Entry]:
    node: Any = metadata.get(origin)
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    for index, item in enumerate(node if isinstance(node, list) else ()):
        if isinstance(item, str):
            at = (*path, origin, *keys, index)
            yield _Entry(Suppression(item, "", origin, name, at, template.position(at)))
