"""Formulas in DB parameter values, such as `LEAST({DBInstanceClassMemory/9531392},5000)`.

All arithmetic is on integers: a division truncates, and `log` is the base-2 logarithm, truncated.
Source: RDS user guide, "Specifying DB parameters" (formulas, variables, operators, functions).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

LONGEST = 1000
DEEPEST = 32
LARGEST = 2**63 - 1


class FormulaError(ValueError):
    """The text is no formula, or cannot be computed; the message says where and why."""


@dataclass(frozen=True)
class Variables:
    """What a formula may name."""

    class_memory_bytes: int
    vcpus: int
    allocated_storage_bytes: int
    port: int

    def value(self, name: str) -> int | None:
        """The value of a variable as RDS spells it; None if there is no such variable."""
        return {
            "DBInstanceClassMemory": self.class_memory_bytes,
            "DBInstanceVCPU": self.vcpus,
            "AllocatedStorage": self.allocated_storage_bytes,
            "EndPointPort": self.port,
        }.get(name)


_FORMULA = re.compile(r"\{|^\s*(GREATEST|LEAST|SUM)\s*\(", re.IGNORECASE)
_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z]\w*)|(\$?\{|[(),*/+\-}]))", re.ASCII)


def is_formula(value: str) -> bool:
    """True if RDS would compute this value instead of passing it on."""
    return _FORMULA.search(value) is not None


def evaluate(value: str, variables: Variables) -> int:
    """The number a formula stands for. Raises FormulaError."""
    if len(value) > LONGEST:
        raise FormulaError(f"a formula has at most {LONGEST} characters")
    parser = _Parser(_tokens(value), variables)
    result = parser.sum(0)
    if parser.here is not None:
        parser.refuse("nothing more was expected")
    return result


def _tokens(value: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    end = len(value.rstrip())
    while position < end:
        match = _TOKEN.match(value, position)
        if match is None:
            raise FormulaError(f"unexpected {value[position:].strip()[:1]!r} in {value!r}")
        tokens.append("{" if match[3] == "${" else match[0].strip())
        position = match.end()
    return tokens


def _log2(arguments: Sequence[int]) -> int:
    # Below 1 the logarithm is negative or undefined; RDS's own formula then counts on GREATEST.
    return arguments[0].bit_length() - 1 if arguments[0] >= 1 else 0


_FUNCTIONS: dict[str, tuple[int, int, Callable[[Sequence[int]], int]]] = {
    "GREATEST": (1, 64, max),
    "LEAST": (1, 64, min),
    "SUM": (1, 64, sum),
    "LOG": (1, 1, _log2),
}


class _Parser:
    """Recursive descent that computes as it reads; depth is bounded, so no text can exhaust the stack."""

    def __init__(self, tokens: list[str], variables: Variables) -> None:
        self.tokens = tokens
        self.position = 0
        self.variables = variables

    @property
    def here(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def refuse(self, why: str) -> NoReturn:
        raise FormulaError(f"at {self.here!r}: {why}" if self.here is not None else f"at the end: {why}")

    def take(self, *wanted: str) -> str | None:
        token = self.here
        if token is not None and token in wanted:
            self.position += 1
            return token
        return None

    def expect(self, wanted: str) -> None:
        if self.take(wanted) is None:
            self.refuse(f"{wanted!r} was expected")

    def sum(self, depth: int) -> int:
        if depth > DEEPEST:
            self.refuse(f"nested deeper than {DEEPEST}")
        value = self.product(depth)
        while operator := self.take("+", "-"):
            right = self.product(depth)
            value = self.bounded(value + right if operator == "+" else value - right)
        return value

    def product(self, depth: int) -> int:
        value = self.atom(depth)
        while operator := self.take("*", "/"):
            right = self.atom(depth)
            if operator == "*":
                value = self.bounded(value * right)
            elif right == 0:
                self.refuse("division by zero")
            else:
                quotient = abs(value) // abs(right)
                value = quotient if (value < 0) == (right < 0) else -quotient
        return value

    def atom(self, depth: int) -> int:
        if self.take("-"):
            if depth > DEEPEST:
                self.refuse(f"nested deeper than {DEEPEST}")
            return -self.atom(depth + 1)
        for opening, closing in (("{", "}"), ("(", ")")):
            if self.take(opening):
                value = self.sum(depth + 1)
                self.expect(closing)
                return value
        token = self.here
        if token is None:
            self.refuse("a value was expected")
        self.position += 1
        if token.isdigit():
            return self.bounded(int(token))
        if function := _FUNCTIONS.get(token.upper()):
            return self.call(token, function, depth)
        known = self.variables.value(token)
        if known is None:
            self.position -= 1
            self.refuse("no such variable or function")
        return known

    def call(self, name: str, function: tuple[int, int, Callable[[Sequence[int]], int]], depth: int) -> int:
        least, most, compute = function
        self.expect("(")
        arguments = [self.sum(depth + 1)]
        while self.take(","):
            arguments.append(self.sum(depth + 1))
        self.expect(")")
        if not least <= len(arguments) <= most:
            self.refuse(f"{name} takes {least} to {most} arguments")
        return self.bounded(compute(arguments))

    def bounded(self, value: int) -> int:
        if abs(value) > LARGEST:
            self.refuse("the value exceeds 64 bits")
        return value
