"""The text of a template: its size, its order, and that YAML and JSON say the same."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from multiaz.blueprint import settings_from, synthesize, to_json, to_yaml
from multiaz.blueprint.yaml_text import lines, scalar

URL_LIMIT = 1_048_576
"""CloudFormation's limit of a template named by its URL; `fleet` sends those above 51,200 bytes that way."""
PRESETS = ["prod", "test"]


def normal(value: Any) -> Any:
    """Fn::GetAtt in one form: parsers give a string or a list."""
    if isinstance(value, dict):
        if list(value) == ["Fn::GetAtt"]:
            target = value["Fn::GetAtt"]
            return {"Fn::GetAtt": target if isinstance(target, str) else ".".join(target)}
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    return value


@pytest.mark.parametrize("preset", PRESETS)
def test_yaml_reads_back_as_the_same_template(preset: str, decode: Callable[[str], Any]) -> None:
    s = settings_from({"preset": preset})
    assert normal(decode(to_yaml(s))) == normal(synthesize(s).to_dict()) == normal(json.loads(to_json(s)))


@pytest.mark.parametrize("preset", PRESETS)
def test_yaml_stays_below_the_limit_of_a_template_in_s3(preset: str) -> None:
    longest = {
        "preset": preset,
        "environment_suffix": "x" * 24,
        "db_name": "d" * 63,
        "db_master_username": "u" * 16,
        "writer_username": "i" * 63,
        "kms_key_arn": f"arn:aws-us-gov:kms:us-gov-east-1:123456789012:key/mrk-{'0' * 32}",
        "alarm_email": f"{'o' * 64}@{'e' * 60}.example.com",
        "read_replicas": 15,
        "database_insights_mode": "advanced",
    }
    assert len(to_yaml(settings_from(longest)).encode()) < URL_LIMIT
    assert len(to_yaml(settings_from({"preset": preset})).encode()) < URL_LIMIT


@pytest.mark.parametrize("preset", PRESETS)
def test_synthesis_is_deterministic(preset: str) -> None:
    first, second = (to_yaml(settings_from({"preset": preset})) for _ in range(2))
    assert first == second
    assert to_json(settings_from({"preset": preset})) == to_json(settings_from({"preset": preset}))


def test_sections_are_marked_by_comments() -> None:
    text = to_yaml(settings_from({}))
    for heading in ("Network", "Keys", "Credentials", "Database", "Backups", "Monitoring", "Runbook"):
        assert f"\n  # {heading}\n" in text


def test_no_line_ends_in_a_blank_and_no_tab() -> None:
    text = to_yaml(settings_from({}))
    assert "\t" not in text
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_a_colon_in_flow_style_is_quoted(preset: str) -> None:
    """Older YAML 1.1 parsers stop at `[a:b]`."""
    depth = 0
    for token in yaml.scan(to_yaml(settings_from({"preset": preset}))):
        match token:
            case yaml.FlowSequenceStartToken() | yaml.FlowMappingStartToken():
                depth += 1
            case yaml.FlowSequenceEndToken() | yaml.FlowMappingEndToken():
                depth -= 1
            case yaml.ScalarToken(plain=True) if depth:
                assert ":" not in token.value


@given(st.text(alphabet=string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", ""), max_size=30))
@settings(max_examples=300)
def test_any_string_survives(text: str) -> None:
    if "\n" in text or "\t" in text:
        return
    assert yaml.safe_load(f"key: {scalar(text)}") == {"key": text}


_STRINGS = st.text(alphabet=string.ascii_letters + string.digits + " :#-'\"{}[],*&!|>%@`/.$()", max_size=12)
_VALUES = st.recursive(
    st.one_of(_STRINGS, st.integers(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_STRINGS.filter(lambda key: key not in ("Condition", "Ref")), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(st.dictionaries(_STRINGS, _VALUES, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_data_survives(value: dict[str, Any]) -> None:
    assert yaml.safe_load("\n".join(lines(value))) == value


def test_a_value_yaml_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        scalar(None)


@pytest.mark.parametrize(("count", "words"), [(0, "0 read replicas"), (1, "1 read replica ("), (2, "2 read replicas")])
def test_the_description_counts_as_people_do(count: int, words: str) -> None:
    assert words in to_yaml(settings_from({"read_replicas": count})).split("Resources:")[0]
