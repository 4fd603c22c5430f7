"""Markers, MaxRecords and filters of the Describe actions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from multiaz.cloud.rds.faults import bad_value

T = TypeVar("T")


def page(
    items: Sequence[T], key: Callable[[T], str], params: dict[str, Any], *, least: int = 20, most: int = 100
) -> tuple[list[T], dict[str, str]]:
    """One page of `items`, which are ordered by their unique `key`, and `{"Marker": …}` if more follow.

    A marker names the last key that was given out, so items that come or go between calls shift nothing.
    """
    size = params.get("MaxRecords")
    if size is None:
        size = most
    elif not least <= size <= most:
        raise bad_value(f"Invalid value {size} for MaxRecords. Must be between {least} and {most}")
    rest = items
    if params.get("Marker"):
        last = _decode(params["Marker"])
        rest = [item for item in items if key(item) > last]
    chosen = list(rest[:size])
    if len(rest) > size:
        return chosen, {"Marker": _encode(key(chosen[-1]))}
    return chosen, {}


def filters(params: dict[str, Any], allowed: Collection[str]) -> dict[str, list[str]]:
    """Values by filter name; a filter the action does not have is refused."""
    found: dict[str, list[str]] = {}
    for one in params.get("Filters") or []:
        name = one["Name"]
        if name not in allowed:
            raise bad_value(f"Unrecognized filter name: {name}")
        if not one.get("Values"):
            raise bad_value(f"The filter {name} has no values.")
        found.setdefault(name, []).extend(one["Values"])
    return found


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(marker: str) -> str:
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise bad_value("The request contains an invalid marker.") from error
