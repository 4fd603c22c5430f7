"""The file of settings that is written says what is so, and reads back as what it says."""

from __future__ import annotations

import re

import pytest

from multiaz.blueprint import Preset, Settings, settings_from
from multiaz.blueprint.presets import ROWS
from multiaz.blueprint.settings_file import bounds, settings_file
from multiaz.blueprint.sources import FILE_LIMIT, from_toml

ASSIGNMENT = re.compile(r"^#?(\w+) = ", re.MULTILINE)


@pytest.mark.parametrize("preset", list(Preset))
def test_as_written_it_chooses_the_preset_and_nothing_else(preset: Preset) -> None:
    found = from_toml(settings_file(preset).encode(), "f")
    assert found.common.values == {"preset": preset}
    assert found.tables == {}


@pytest.mark.parametrize("preset", list(Preset))
def test_with_every_line_taken_in_the_settings_are_the_same(preset: Preset) -> None:
    text = re.sub(r"^#(?! )", "", settings_file(preset), flags=re.MULTILINE)
    found = from_toml(text.encode(), "f").common
    assert set(found.values) == set(Settings.model_fields)
    assert found.settings() == settings_from({"preset": preset})


def test_every_setting_stands_there_once_with_its_description_and_source() -> None:
    text = settings_file(Preset.PROD)
    assert ASSIGNMENT.findall(text) == list(Settings.model_fields)
    paragraphs = {found[1]: part for part in text.split("\n\n") if (found := ASSIGNMENT.search(part))}
    for name, field in Settings.model_fields.items():
        words = " ".join(paragraphs[name].replace("\n# ", " ").split())
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        assert str(field.description) in words
        assert f"Source: {extra['source']}." in words
    assert "1150 to 65535" in paragraphs["db_port"]
    assert "none, single, per-zone" in paragraphs["nat_gateways"]


def test_a_row_of_the_presets_says_both_values() -> None:
    text = " ".join(settings_file(Preset.TEST).replace("\n# ", " ").split())
    assert all(row.reason in text for row in ROWS)


def test_lines_are_short_and_the_file_is_far_below_the_limit() -> None:
    text = settings_file(Preset.PROD)
    assert max(map(len, text.splitlines())) <= 130
    assert len(text.encode()) < FILE_LIMIT / 3


def test_bounds_are_told_in_one_way_and_without_patterns() -> None:
    told = {name: bounds(field) for name, field in Settings.model_fields.items()}
    assert told["db_port"] == "1150 to 65535"
    assert told["preset"] == "prod, test"
    assert told["nat_gateways"] == "none, single, per-zone"
    assert told["db_name"] == "at most 63 characters, letters and digits, a letter first"
    assert not any("^" in words for words in told.values())
