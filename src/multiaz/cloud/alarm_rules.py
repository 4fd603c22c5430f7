"""The rule of a composite alarm, read: which alarms it names, or what is wrong with it. Pure.

Source: CloudWatch API reference, PutCompositeAlarm, AlarmRule: the functions ALARM, OK and INSUFFICIENT_DATA over
the name or ARN of an alarm, TRUE, FALSE, AND, OR, NOT and parentheses; at most 100 alarms and 500 elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_ALARMS = 100
MOST_ELEMENTS = 500
"""Elements are functions, TRUE, FALSE and parentheses."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<function>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:"(?P<quoted>[^"]+)"|(?P<bare>[^\s"()]+))\s*\)
        | (?P<word>TRUE|FALSE|AND|OR|NOT)(?![\w-])
        | (?P<parenthesis>[()])
    )""",
    re.VERBOSE | re.IGNORECASE,
)


class BadRule(Exception):
    """`str()` of it is CloudWatch's message."""


def alarms_of(rule: str) -> tuple[str, ...]:
    """Names and ARNs of the alarms a rule names, each once, in order. Raises BadRule."""
    depth = elements = 0
    wants_value = True
    named: list[str] = []
    for token, position in _tokens(rule):
        kind = (token["word"] or token["parenthesis"] or "function").upper()
        opens = kind in ("(", "NOT")
        if (opens or kind in ("FUNCTION", "TRUE", "FALSE")) is not wants_value:
            raise _unsupported(token[0].strip(), position)
        match kind:
            case "(":
                depth += 1
            case ")":
                depth -= 1
                if depth < 0:
                    raise _unsupported(")", position)
            case "FUNCTION":
                named.append(token["quoted"] or token["bare"])
        wants_value = opens or kind in ("AND", "OR")
        elements += kind not in ("AND", "OR", "NOT")
    if wants_value or depth:
        raise BadRule(f"Error in AlarmRule [Unexpected end of the expression at char {len(rule)}]")
    children = tuple(dict.fromkeys(named))
    if len(children) > MOST_ALARMS:
        raise BadRule(f"Error in AlarmRule [It names {len(children)} alarms, and at most {MOST_ALARMS} are allowed]")
    if elements > MOST_ELEMENTS:
        raise BadRule(f"Error in AlarmRule [It has {elements} elements, and at most {MOST_ELEMENTS} are allowed]")
    return children


def _tokens(rule: str) -> Iterator[tuple[re.Match[str], int]]:
    position, end = 0, len(rule.rstrip())
    while position < end:
        found = _TOKEN.match(rule, position)
        if found is None:
            rest = rule[position:].lstrip()
            raise _unsupported(re.split(r"[\s()]", rest, maxsplit=1)[0] or rest[0], len(rule) - len(rest))
        yield found, found.end() - len(found[0].lstrip())
        position = found.end()


def _unsupported(token: str, position: int) -> BadRule:
    return BadRule(f"Error in AlarmRule [Unsupported token '{token[:80]}' at char {position}]")
