"""Pure: `Settings` in, CloudFormation template out.

Importing this package is cheap: troposphere is loaded by the first synthesis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multiaz.blueprint.presets import PRESET_ROWS, Preset
from multiaz.blueprint.settings import Settings, settings_from

if TYPE_CHECKING:
    from multiaz.blueprint.synthesis import Blueprint

__all__ = [
    "CAPABILITIES",
    "PRESET_ROWS",
    "Preset",
    "Settings",
    "settings_from",
    "synthesize",
    "to_json",
    "to_yaml",
]

CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
"""What CreateStack must acknowledge: roles without names of ours, and the rotation transform."""


def synthesize(settings: Settings) -> Blueprint:
    """The whole stack: `.to_dict()`, `.to_yaml()`, `.to_json()`, and troposphere's `.template`."""
    from multiaz.blueprint.synthesis import synthesize as build

    return build(settings)


def to_yaml(settings: Settings) -> str:
    """The template as YAML."""
    return synthesize(settings).to_yaml()


def to_json(settings: Settings) -> str:
    """The template as JSON."""
    return synthesize(settings).to_json()
