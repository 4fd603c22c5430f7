"""What cfn-lint says of a template. Imported lazily: it takes half a second to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cfnlint import api
from cfnlint.config import ManualArgs

Severity = Literal["error", "warning", "informational"]
_SEVERITIES: dict[str, Severity] = {"E": "error", "W": "warning", "I": "informational"}


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a template. Lines and columns start at 1."""

    rule: str
    severity: Severity
    message: str
    line: int
    column: int
    path: str
    """Where in the template: `Resources/PrimaryDB/Properties/Engine`; empty if it could not be read."""

    def as_text(self) -> str:
        """One line, in the form of a compiler's message."""
        where = f"{self.line}:{self.column}"
        return f"{where}: {self.severity} {self.rule}: {self.message}" + (f" ({self.path})" if self.path else "")


def lint(text: str, regions: tuple[str, ...] = ("us-east-1",)) -> list[Finding]:
    """Findings of cfn-lint in the order of the lines; a text that is no template is a finding too."""
    matches = api.lint(text, config=ManualArgs(regions=list(regions)))
    found = [
        Finding(
            rule=match.rule.id,
            severity=_SEVERITIES.get(match.rule.id[0], "error"),
            message=match.message,
            line=match.linenumber,
            column=match.columnnumber,
            path="/".join(str(part) for part in getattr(match, "path", None) or ()),
        )
        for match in matches
    ]
    return sorted(found, key=lambda finding: (finding.line, finding.column, finding.rule))
