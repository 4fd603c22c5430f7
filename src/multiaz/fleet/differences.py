"""In what two templates differ, by the names of what differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

DEPTH = 4
"""As far as Resources/PrimaryDB/Properties/MultiAZ; what lies below is named by its property."""
FIRST = ("Parameters", "Conditions", "Resources", "Outputs")
"""Sections people look for first."""


def differences(there: str, asked: str) -> list[str] | None:
    """Paths at which the template of the stack and the one asked for differ; None if either cannot be read.

    Empty: both say the same, in YAML or JSON, whatever their comments and spacing. Values are not told.
    """
    try:
        return list(_differing(_read(there), _read(asked), ()))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None


def _differing(there: Any, asked: Any, path: tuple[str, ...]) -> Iterator[str]:
    if not (isinstance(there, dict) and isinstance(asked, dict)) or len(path) == DEPTH:
        if there != asked:
            yield "/".join(path) or "its form"
        return
    for key in sorted({*there, *asked}, key=lambda name: _rank(name, path)):
        below = (*path, str(key))
        if key not in there:
            yield f"{'/'.join(below)} (not in it)"
        elif key not in asked:
            yield f"{'/'.join(below)} (only in it)"
        else:
            yield from _differing(there[key], asked[key], below)


def _rank(name: object, path: tuple[str, ...]) -> tuple[int, str]:
    section = FIRST.index(name) if not path and name in FIRST else len(FIRST)
    return section, str(name)


def _function(loader: Any, name: str, node: yaml.Node) -> dict[str, Any]:
    """`!Name value` in its long form."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOADER: Any = type("_Loader", (_BASE,), {})
_LOADER.add_multi_constructor("!", _function)


def _read(text: str) -> Any:
    """The template as data. Raises YAMLError, ValueError; aliases, with which little text says much, are refused."""
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_BASE)):
        raise ValueError("it has aliases")
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader with functions of CloudFormation
