"""Values of intrinsic functions: what is known, what is not known yet, and the text of scalars. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from multiaz.cloud.stacks.faults import TemplateError

_SUB = re.compile(r"\$\{(!?)([^${}]*)\}")
_SUB_NAME = re.compile(r"[A-Za-z0-9_.:]+\Z")


class _NoValue:
    """The type of NO_VALUE."""

    def __repr__(self) -> str:
        return "NO_VALUE"


VALUE_LIMIT = 1_048_576
"""Characters of the value of one function: as many as the largest template has."""
NO_VALUE: Final = _NoValue()
"""AWS::NoValue: the property or list item it stands in is left out."""


@dataclass(frozen=True)
class Unknown:
    """A value known only once a resource exists."""

    expression: tuple[Any, ...]
    """Equal expressions give equal values."""
    weight: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse, as `within_limit` does, what nested functions have made too large."""
        object.__setattr__(self, "weight", within_limit(sum(weight(part) for part in self.expression)))


def weight(value: Any) -> int:
    """How large an evaluated value is, in characters."""
    match value:
        case str():
            return len(value)
        case Unknown():
            return value.weight
        case list() | tuple():
            return sum(weight(item) for item in value) + len(value)
        case _:
            return 1


def within_limit(size: int) -> int:
    """`size` itself. Raises TemplateError for a value that is larger than a template could be."""
    if size > VALUE_LIMIT:
        raise TemplateError(f"Template error: a function's value is larger than {VALUE_LIMIT} characters")
    return size


def as_text(value: Any) -> str:
    """A scalar as CloudFormation writes it into a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def is_scalar(value: Any) -> bool:
    """True for text, numbers and booleans."""
    return isinstance(value, str | int | float | bool)


def freeze(value: Any) -> Any:
    """A hashable, comparable form of an evaluated value."""
    if isinstance(value, Mapping):
        return ("map", tuple(sorted((key, freeze(item)) for key, item in value.items())))
    if isinstance(value, list):
        return ("list", tuple(freeze(item) for item in value))
    return value


def has_unknown(value: Any) -> bool:
    """True if any part of `value` is Unknown."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return isinstance(value, Unknown)


def cidr_blocks(values: Sequence[Any]) -> list[str]:
    """Fn::Cidr of [ipBlock, count, cidrBits]. Raises TemplateError."""
    try:
        network = ipaddress.ip_network(as_text(values[0]))
        count = int(as_text(values[1]))
        bits = int(as_text(values[2])) if len(values) == 3 else 8
        prefix = network.max_prefixlen - bits
        if not 1 <= count <= 256 or bits < 1 or prefix < network.prefixlen:
            raise ValueError
        blocks = [str(block) for block in islice(network.subnets(new_prefix=prefix), count)]
        if len(blocks) < count:
            raise ValueError
    except ValueError as error:
        shown = ", ".join(as_text(value) for value in values)
        raise TemplateError(
            f"Template error: Fn::Cidr cannot split [{shown}]: ipBlock must be a CIDR block that holds count "
            "(1 to 256) blocks of cidrBits host bits"
        ) from error
    return blocks


def sub_arguments(argument: Any) -> tuple[str | None, dict[str, Any]]:
    """Text and variables of a Fn::Sub; text None if the argument is malformed."""
    text, variables = argument, {}
    if isinstance(argument, list) and len(argument) == 2:
        text, variables = argument
    if not isinstance(text, str) or not isinstance(variables, dict):
        return None, {}
    return text, variables


def sub_parts(text: str) -> list[tuple[str, str]]:
    """A Fn::Sub string as ("text", literal) and ("name", variable) pieces; `${!x}` is the text `${x}`."""
    parts: list[tuple[str, str]] = []
    position = 0
    for found in _SUB.finditer(text):
        if found.start() > position:
            parts.append(("text", text[position : found.start()]))
        literal, name = found.groups()
        if literal:
            parts.append(("text", f"${{{name}}}"))
        elif not _SUB_NAME.match(name.strip()):
            raise TemplateError(
                "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, "
                "underscores, periods, and colons"
            )
        else:
            parts.append(("name", name.strip()))
        position = found.end()
    if position < len(text):
        parts.append(("text", text[position:]))
    return parts
