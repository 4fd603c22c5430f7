"""AllowedPattern: regular expressions of strangers, matched in bounded time.

Python's matcher backtracks and holds the interpreter while it does: `(a+)+$` would freeze the endpoint. So a pattern
is matched here only if the number of ways it can be tried is small for the text at hand, otherwise in a child
process that is ended after a time limit.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

TIME_LIMIT_S = 2.0
_WAYS_LIMIT = 200_000
"""So many ways are tried in milliseconds."""
_ENDLESS = 10**18
_CHILD = (
    "import json, re, sys; pattern, texts = json.load(sys.stdin); "
    "print(json.dumps([bool(re.fullmatch(pattern, text)) for text in texts]))"
)
_ONE_WAY = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"})


class TakesTooLong(Exception):
    """The pattern could not be matched within the time limit."""


def all_match(pattern: str, texts: Sequence[str]) -> bool:
    """Whether every text matches the whole pattern. Raises TakesTooLong."""
    longest = max((len(text) for text in texts), default=0)
    if ways(pattern, longest) <= _WAYS_LIMIT:
        return all(re.fullmatch(pattern, text) for text in texts)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=json.dumps([pattern, list(texts)]).encode(),
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise TakesTooLong from error
    return all(json.loads(done.stdout))


def ways(pattern: str, length: int) -> int:
    """A bound on the ways a matcher that backtracks can try `pattern` on a text of this length, and their steps."""
    try:
        tree: Any = import_module("re._parser").parse(pattern)
        return min(_ENDLESS, _ways_of_all(tree, length) * (length + 1))
    except RecursionError:
        return _ENDLESS


def _ways_of_all(items: Iterable[Any], length: int) -> int:
    product = 1
    for operation, argument in items:
        product = min(_ENDLESS, product * _ways_of(str(operation), argument, length))
    return product


def _ways_of(operation: str, argument: Any, length: int) -> int:
    match operation:
        case _ if operation in _ONE_WAY:
            return 1
        case "SUBPATTERN":
            return _ways_of_all(argument[-1], length)
        case "BRANCH":
            return min(_ENDLESS, sum(_ways_of_all(branch, length) for branch in argument[1]))
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, body = int(argument[0]), int(argument[1]), argument[2]
            return _ways_of_repeat(least, min(most, max(least, length)), _ways_of_all(body, length))
        case _:  # references, looks around: not estimated
            return _ENDLESS


def _ways_of_repeat(least: int, most: int, each: int) -> int:
    if each == 1:
        return min(_ENDLESS, (most - least + 1) * max(1, least))
    if most > 64:
        return _ENDLESS
    total: int = sum(each**times for times in range(least, most + 1))
    return min(_ENDLESS, total * max(1, least))
