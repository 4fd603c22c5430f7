"""JSON to plain data with positions.

Python's own reader judges the text and says what is broken; a second pass, which may then trust it, builds the data and
notes where each key and element stands. YAML's reader would not do: JSON is no subset of YAML 1.1 (long keys, a colon
on the next line, `<<` as a key, U+007F).
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Never

from multiaz.rules.findings import Position
from multiaz.rules.unreadable import DEPTH_LIMIT, START, Refused, Unreadable, key_twice, short, too_deep

_SPACE = re.compile(r"[ \t\n\r]*")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class JsonText:
    """What a text holds."""

    body: Any = None
    positions: dict[tuple[int, str | int], Position] = field(default_factory=dict)
    """By identity of the collection and key or index."""
    duplicates: list[Unreadable] = field(default_factory=list)


def read_json(text: str) -> JsonText:
    """The data and its positions. Raises Refused for what is no JSON; NaN and Infinity are none."""
    try:
        json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _broken(short(error.msg), Position(error.lineno, error.colno)) from error
    except RecursionError as error:
        raise too_deep(START) from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise _broken("number out of range", START) from error
    return _Builder(text).build()


def _no_constant(name: str) -> Never:
    raise _broken(f"{name} is no number of JSON", START)


def _broken(reason: str, place: Position) -> Refused:
    return Refused(Unreadable("MAZ001", f"the JSON is broken: {reason}", place))


def _number(text: str) -> float | str:
    """What is beyond a float stays the text it is."""
    found = float(text)
    return found if math.isfinite(found) else text


class _Builder:
    """Builds what is known to be well-formed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._scalar = json.JSONDecoder(parse_float=_number)
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[tuple[str, Position] | None] = []
        """Of each open collection the key that awaits its value."""
        self._found = JsonText()

    def build(self) -> JsonText:
        text, at = self._text, _after_space(self._text, 0)
        while at < len(text):
            match text[at]:
                case "{" | "[" as bracket:
                    self._begin({} if bracket == "{" else [], self._place(at))
                    at += 1
                case "}" | "]":
                    self._open.pop()
                    self._keys.pop()
                    at += 1
                case "," | ":":
                    at += 1
                case _:
                    value, end = self._scalar.raw_decode(text, at)
                    if isinstance(value, str):
                        value = _LONE_SURROGATE.sub("\ufffd", value)
                    self._take(value, self._place(at))
                    at = end
            at = _after_space(text, at)
        return self._found

    def _place(self, offset: int) -> Position:
        line = bisect_right(self._lines, offset)
        return Position(line, offset - self._lines[line - 1] + 1)

    def _begin(self, value: dict[str, Any] | list[Any], place: Position) -> None:
        if len(self._open) >= DEPTH_LIMIT:
            raise too_deep(place)
        self._take(value, place)
        self._open.append(value)
        self._keys.append(None)

    def _take(self, value: Any, place: Position) -> None:
        if not self._open:
            self._found.body = value
            return
        owner, key = self._open[-1], self._keys[-1]
        positions = self._found.positions
        if isinstance(owner, list):
            positions[id(owner), len(owner)] = place
            owner.append(value)
        elif key is None:
            if value in owner:
                self._found.duplicates.append(key_twice(value, positions[id(owner), value], place))
            self._keys[-1] = (value, place)
        else:
            owner[key[0]] = value
            positions[id(owner), key[0]] = key[1]
            self._keys[-1] = None


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
