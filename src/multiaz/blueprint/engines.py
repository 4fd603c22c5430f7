"""PostgreSQL versions the stack can be synthesised with."""

from __future__ import annotations

ENGINE = "postgres"
DEFAULT_ENGINE_VERSION = "17.10"
CURRENT_ENGINE_VERSIONS: tuple[str, ...] = (
    *(f"16.{minor}" for minor in range(9, 16)),
    *(f"17.{minor}" for minor in range(5, 12)),
    *(f"18.{minor}" for minor in (1, 2, 3, 4, 6)),
)
"""Versions RDS offers and has not deprecated. Source: cfn-lint 1.58 (a test compares)."""
DEPRECATED_ENGINE_VERSIONS: tuple[str, ...] = (
    *(f"16.{minor}" for minor in range(1, 9)),
    *(f"17.{minor}" for minor in range(1, 5)),
)
"""Versions a running stack may still have; cfn-lint warns of them."""
ALL_ENGINE_VERSIONS = (*CURRENT_ENGINE_VERSIONS, *DEPRECATED_ENGINE_VERSIONS)
FAMILIES = (16, 17, 18)
"""Major versions the stack is made for."""
ENGINE_VERSION_PATTERN = rf"({'|'.join(map(str, FAMILIES))})\.[0-9]{{1,2}}"
"""What the deployed template accepts: minor versions appear more often than templates are made."""


def major(engine_version: str) -> int:
    """17 of "17.10"."""
    return int(engine_version.split(".", 1)[0])
