"""`multiaz check`: cfn-lint and our own rules over any CloudFormation template, ours or not.

Our rules take milliseconds; cfn-lint is loaded by the first `lint` and takes seconds.
"""

from __future__ import annotations

from multiaz.rules.cfn_lint import lint, lint_apart
from multiaz.rules.checking import check
from multiaz.rules.findings import Finding, Report, Severity, Suppression
from multiaz.rules.rule import Rule, rules

__all__ = ["Finding", "Report", "Rule", "Severity", "Suppression", "check", "lint", "lint_apart", "rules"]
