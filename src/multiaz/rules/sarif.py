"""Reports as SARIF 2.1.0, the form code hosts show beside the lines. Source: OASIS, SARIF 2.1.0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from multiaz.rules.findings import Finding, Report, Severity
from multiaz.rules.rule import Rule, rules

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_HUB_PAGES = {
    "CloudWatch": "cloudwatch",
    "EC2": "ec2",
    "IAM": "iam",
    "KMS": "kms",
    "RDS": "rds",
    "S3": "s3",
    "SNS": "sns",
    "SecretsManager": "secretsmanager",
}
_HUB_ID = re.compile(r"([A-Za-z0-9]+)\.([0-9]+)")


def as_sarif(reports: Iterable[Report], version: str) -> dict[str, Any]:
    """One run over all reports. Findings of cfn-lint name its rules, which are described by a link."""
    reports = list(reports)
    seen = {finding.rule for report in reports for finding in report.findings}
    described = [_rule(rule) for rule in rules().values()]
    described += [_lint_rule(id_) for id_ in sorted(seen - rules().keys())]
    index = {rule["id"]: place for place, rule in enumerate(described)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "multiaz", "semanticVersion": version, "rules": described}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(r, f, index[f.rule]) for r in reports for f in r.findings],
            }
        ],
    }


def help_uri(rule: Rule) -> str | None:
    """The page of the first control of Security Hub the rule covers or is related to; None if there is none."""
    for covered in (*rule.covers, *rule.related):
        match = _HUB_ID.fullmatch(covered)
        if match and match[1] in _HUB_PAGES:
            page = _HUB_PAGES[match[1]]
            return f"https://docs.aws.amazon.com/securityhub/latest/userguide/{page}-controls.html#{page}-{match[2]}"
    return None


def _rule(rule: Rule) -> dict[str, Any]:
    link = help_uri(rule)
    text = " ".join(part for part in (f"{rule.title}.", rule.why) if part)
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": text},
        "help": {"text": " ".join(_help(rule))},
        **({"helpUri": link} if link else {}),
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _help(rule: Rule) -> Iterator[str]:
    yield f"Source: {rule.source}."
    if rule.covers:
        yield f"Covers: {', '.join(rule.covers)}."
    if rule.related:
        yield f"Related: {', '.join(rule.related)}."


def _lint_rule(id_: str) -> dict[str, Any]:
    return {
        "id": id_,
        "shortDescription": {"text": f"cfn-lint {id_}"},
        "fullDescription": {"text": f"Rule {id_} of cfn-lint"},
        "helpUri": f"https://github.com/aws-cloudformation/cfn-lint/blob/main/docs/rules.md#{id_}",
    }


def _result(report: Report, finding: Finding, rule_index: int) -> dict[str, Any]:
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(report.name)},
            "region": {"startLine": max(finding.line, 1), "startColumn": max(finding.column, 1)},
        }
    }
    if finding.path:
        place["logicalLocations"] = [{"fullyQualifiedName": finding.place}]
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [place],
        "suppressions": [],
    }
    if finding.suppressed:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.suppressed.reason}]
    return result
