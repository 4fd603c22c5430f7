"""A template as YAML people like to read: short-form functions, comments, one stable order.

Ours instead of a library's because synthesis must be fast (PyYAML takes ten times as long), because no
library writes comments, and because short lists on one line keep the text short. Tests read the text back
with cfn-lint's parser and compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

LONGEST_LINE = 120
INDENT = 2
_PLAIN = re.compile(r"[A-Za-z/$](?:[A-Za-z0-9_./$()=+-]|:(?=[^ ,])| (?=[A-Za-z0-9_./$(]))*")
"""Strings that mean themselves without quotes; with a colon only outside `[…]` and `{…}`, where parsers differ."""
_PLAIN_IN_FLOW = re.compile(_PLAIN.pattern.replace("|:(?=[^ ,])", ""))
_NOT_STRINGS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_SHORT = {
    "Ref": "!Ref",
    "Condition": "!Condition",
    **{
        f"Fn::{name}": f"!{name}"
        for name in (
            *("And", "Base64", "Cidr", "Equals", "FindInMap", "GetAtt", "GetAZs", "If", "ImportValue"),
            *("Join", "Not", "Or", "Select", "Split", "Sub"),
        )
    },
}


def scalar(value: object, plain: re.Pattern[str] = _PLAIN) -> str:
    """One string, number or boolean, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            if plain.fullmatch(value) and value.lower() not in _NOT_STRINGS:
                return value
            return "'" + value.replace("'", "''") + "'"
        case _:
            raise TypeError(f"a template cannot hold {type(value).__name__}")


def lines(value: dict[str, Any] | list[Any], indent: int = 0) -> Iterator[str]:
    """The lines of a mapping or sequence in block style; what is short goes on one line."""
    pad = " " * indent
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _entry(pad + scalar(key) + ":", item, indent, foldable=indent >= 2 * INDENT)
    else:
        for item in value:
            yield from _item(pad, item, indent)


def _entry(head: str, item: Any, indent: int, *, foldable: bool) -> Iterator[str]:
    """`key: value`, on one line where it fits."""
    if isinstance(item, str) and "\n" in item:
        yield from _literal(head, item, indent + INDENT)
    elif (text := _one_line(item, foldable, LONGEST_LINE - len(head))) is not None:
        yield f"{head} {text}"
    elif (function := _function(item)) is not None:
        yield from _block(head, *function, indent + INDENT)
    else:
        yield head
        yield from lines(item, indent if isinstance(item, list) else indent + INDENT)


def _item(pad: str, item: Any, indent: int) -> Iterator[str]:
    """One entry of a sequence; a mapping starts on the line of its dash."""
    if isinstance(item, str) and "\n" in item:
        yield from _literal(f"{pad}-", item, indent + 2)
    elif (text := _one_line(item, True, LONGEST_LINE - indent)) is not None:
        yield f"{pad}- {text}"
    elif (function := _function(item)) is not None:
        yield from _block(f"{pad}-", *function, indent + 2)
    else:
        for number, line in enumerate(lines(item, indent + 2)):
            yield f"{pad}- {line[indent + 2 :]}" if number == 0 else line


def _block(head: str, tag: str, argument: Any, indent: int) -> Iterator[str]:
    """A function whose argument takes lines of its own."""
    if isinstance(argument, str):
        yield from _literal(f"{head} {tag}", argument, indent)
    else:
        yield f"{head} {tag}"
        yield from lines(argument, indent)


def _one_line(value: Any, foldable: bool, room: int) -> str | None:
    """The value on one line, or None: scalars always, functions of one and collections if they fit."""
    if not isinstance(value, dict | list):
        return scalar(value)
    function = _function(value)
    if function is None and value and not foldable:
        return None
    text = flow(value)
    if text is None:
        return None
    short_by_nature = function is not None and not isinstance(function[1], list)
    return text if short_by_nature or len(text) < room else None


def flow(value: Any) -> str | None:
    """The value in flow style, or None if it has none that CloudFormation reads."""
    if isinstance(value, str):
        return None if "\n" in value else scalar(value, _PLAIN_IN_FLOW)
    if not isinstance(value, dict | list):
        return scalar(value)
    function = _function(value)
    if function is not None:
        return _flow_function(*function)
    if isinstance(value, list):
        parts = [flow(item) for item in value]
        return None if None in parts else f"[{', '.join(part for part in parts if part is not None)}]"
    pairs = [(scalar(key, _PLAIN_IN_FLOW), flow(item)) for key, item in value.items()]
    if any(text is None for _, text in pairs):
        return None
    return "{" + ", ".join(f"{key}: {text}" for key, text in pairs) + "}"


def _flow_function(tag: str, argument: Any) -> str | None:
    """`!Tag argument`; a function directly inside a function has no short form on one line."""
    if tag == "!GetAtt" and isinstance(argument, list):
        return f"!GetAtt {'.'.join(argument)}"
    text = flow(argument)
    return None if text is None or text.startswith("!") else f"{tag} {text}"


def _function(value: Any) -> tuple[str, Any] | None:
    """Tag and argument of an intrinsic function; None for anything else."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, argument),) = value.items()
        if key in _SHORT and (key != "Condition" or isinstance(argument, str)):
            return _SHORT[key], argument
    return None


def _literal(head: str, text: str, indent: int) -> Iterator[str]:
    """A block of lines kept as they are."""
    yield f"{head} |" if text.endswith("\n") else f"{head} |-"
    for line in text.removesuffix("\n").split("\n"):
        yield f"{' ' * indent}{line}" if line else ""
