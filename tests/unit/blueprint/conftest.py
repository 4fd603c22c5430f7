from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cfnlint.decode.decode import decode_str

from multiaz.blueprint import Preset, settings_from, synthesize

PRESETS = [preset.value for preset in Preset]


@pytest.fixture(scope="session")
def documents() -> dict[str, dict[str, Any]]:
    """The template of each preset as plain data."""
    return {preset: synthesize(settings_from({"preset": preset})).to_dict() for preset in PRESETS}


@pytest.fixture(params=PRESETS)
def document(request: pytest.FixtureRequest, documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The template of one preset: the test runs for each."""
    return documents[request.param]


@pytest.fixture
def prod(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return documents["prod"]


@pytest.fixture
def test_stack(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return documents["test"]


@pytest.fixture
def decode() -> Callable[[str], Any]:
    """Reads YAML or JSON as cfn-lint does, short-form functions included, into plain data."""

    def read(text: str) -> Any:
        template, errors = decode_str(text)
        assert not errors
        return json.loads(json.dumps(template))

    return read
