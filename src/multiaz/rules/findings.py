"""What a check says of a template: findings, suppressions, and the report that holds both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

Path = tuple[str | int, ...]
"""Where in a template: `("Resources", "DB", "Properties", "Engine")`."""


class Severity(StrEnum):
    """How bad a finding is.

    `error`: the stack fails, is open to others, loses data, or does not do what it says.
    `warning`: what an auditor's rule asks for is missing. `info`: a choice worth knowing, often of cost.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """3 for an error, 1 for an info."""
        return {Severity.ERROR: 3, Severity.WARNING: 2, Severity.INFO: 1}[self]


@dataclass(frozen=True)
class Position:
    """A place in the text. Line and column start at 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Suppression:
    """A finding somebody decided to live with, as it stands in the template's metadata."""

    id: str
    reason: str
    """Empty if none is given."""
    origin: str
    """Whose notation it is: multiaz, checkov, cdk_nag, cfn_nag, guard or cfn-lint."""
    resource: str | None
    """Logical id; None: the whole template."""
    path: Path
    position: Position

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "id": self.id,
            "reason": self.reason,
            "origin": self.origin,
            "resource": self.resource,
            "line": self.position.line,
        }


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a template. Lines and columns start at 1."""

    rule: str
    severity: Severity
    message: str
    line: int
    column: int
    path: Path
    """Where in the template; empty if it could not be read."""
    part: str = ""
    """What cdk-nag calls this one finding among those of its check (`Resource::*`), for its `applies_to`."""
    suppressed: Suppression | None = None

    @property
    def resource(self) -> str | None:
        """Logical id of the resource the finding is about, if it is about one."""
        return str(self.path[1]) if len(self.path) > 1 and self.path[0] == "Resources" else None

    @property
    def place(self) -> str:
        """The path as text: `Resources/PrimaryDB/Properties/Engine`."""
        return path_text(self.path)

    def as_text(self) -> str:
        """One line, in the form of a compiler's message."""
        where = f"{self.line}:{self.column}"
        return f"{where}: {self.severity} {self.rule}: {self.message}" + (f" ({self.place})" if self.path else "")

    def as_dict(self) -> dict[str, object]:
        """The JSON form; `suppressed` is null or the suppression."""
        return {
            "rule": self.rule,
            "severity": str(self.severity),
            "message": self.message,
            "line": self.line,
            "column": self.column,
            "path": self.place,
            "suppressed": self.suppressed.as_dict() if self.suppressed else None,
        }


@dataclass(frozen=True)
class Report:
    """All that is said of one template."""

    name: str
    """The file as it was named, or what stands for it."""
    findings: tuple[Finding, ...]
    """In the order of the lines, suppressed ones included."""
    suppressions: tuple[Suppression, ...]
    """Every suppression the template holds, whoever's notation it is in."""

    @property
    def open(self) -> tuple[Finding, ...]:
        """Findings nobody suppressed."""
        return tuple(finding for finding in self.findings if finding.suppressed is None)

    def at_least(self, threshold: Severity) -> Iterator[Finding]:
        """Findings nobody suppressed, of this severity or a worse one."""
        return (finding for finding in self.open if finding.severity.rank >= threshold.rank)


def path_text(path: Path) -> str:
    """`Resources/DB/Properties/Engine`."""
    return "/".join(str(part) for part in path)
