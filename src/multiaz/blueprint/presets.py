"""The two presets, and every row in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Preset(StrEnum):
    """Which kind of environment the stack is for."""

    PROD = "prod"
    """Survives a careless `delete-stack`: protected, with a final snapshot and its bucket kept."""
    TEST = "test"
    """Leaves nothing behind when it is deleted."""


PRESET_ROWS: Mapping[Preset, Mapping[str, bool]] = MappingProxyType(
    {
        Preset.PROD: MappingProxyType(
            {
                "deletion_protection": True,
                "final_snapshot": True,
                "keep_bucket": True,
                "apply_immediately": False,
            }
        ),
        Preset.TEST: MappingProxyType(
            {
                "deletion_protection": False,
                "final_snapshot": False,
                "keep_bucket": False,
                "apply_immediately": True,
            }
        ),
    }
)
"""Setting to value, per preset. The presets differ in these settings and in nothing else."""
