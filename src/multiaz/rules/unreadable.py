"""Why a text is no template, and the limits both readers, of YAML and of JSON, keep."""

from __future__ import annotations

from dataclasses import dataclass

from multiaz.rules.findings import Position

DEPTH_LIMIT = 100
"""Levels of nesting; far above any real template, far below where recursion hurts."""
START = Position()


@dataclass(frozen=True)
class Unreadable:
    """Why a text is no template: the rule it breaks, what is wrong, and where."""

    rule: str
    message: str
    position: Position = START


class Refused(Exception):
    """Ends the reading; `found` says why."""

    def __init__(self, *found: Unreadable) -> None:
        super().__init__(found[0].message)
        self.found = found


def short(text: str) -> str:
    """At most 200 characters of it."""
    return text if len(text) <= 200 else text[:197] + "..."


def too_deep(place: Position) -> Refused:
    """Nested deeper than DEPTH_LIMIT."""
    return Refused(Unreadable("MAZ003", f"the template is nested deeper than {DEPTH_LIMIT} levels", place))


def key_twice(key: str, first: Position, second: Position) -> Unreadable:
    """A key that is written a second time."""
    text = f"the key {short(key)!r} is here twice; the first is on line {first.line}"
    return Unreadable("MAZ002", text, second)
