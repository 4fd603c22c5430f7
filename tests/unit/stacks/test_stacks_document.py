from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.stacks.document import DEPTH_LIMIT, parse_document
from multiaz.cloud.stacks.faults import TemplateError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A: !Ref B", {"A": {"Ref": "B"}}),
        ("A: !GetAtt B.C.D", {"A": {"Fn::GetAtt": ["B", "C.D"]}}),
        ("A: !GetAtt [B, C]", {"A": {"Fn::GetAtt": ["B", "C"]}}),
        ("A: !Sub 'x-${B}'", {"A": {"Fn::Sub": "x-${B}"}}),
        ("A: !Sub ['${x}', {x: !Ref B}]", {"A": {"Fn::Sub": ["${x}", {"x": {"Ref": "B"}}]}}),
        ("A: !If [C, !Ref B, !Ref AWS::NoValue]", {"A": {"Fn::If": ["C", {"Ref": "B"}, {"Ref": "AWS::NoValue"}]}}),
        ("A: !Condition C", {"A": {"Condition": "C"}}),
        ("A: !Base64 |\n  x: [1]\n", {"A": {"Fn::Base64": "x: [1]\n"}}),
        ("A:\n  !Equals\n  - a\n  - b", {"A": {"Fn::Equals": ["a", "b"]}}),
        ("A: !Ref 2012", {"A": {"Ref": "2012"}}),
    ],
)
def test_short_forms_are_written_out(text: str, expected: object) -> None:
    assert parse_document(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2012-10-17", "2012-10-17"),
        ("'2012-10-17'", "2012-10-17"),
        ("yes", True),
        ("'yes'", "yes"),
        ("007", 7),
        ("'007'", "007"),
        ("12", 12),
        ("0.05", 0.05),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("~", None),
        ("!!str 12", "12"),
        ("! 12", "12"),
    ],
)
def test_scalars_follow_yaml_1_1_and_dates_stay_text(text: str, value: object) -> None:
    assert parse_document(f"A: {text}") == {"A": value}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse_document("A:\n  123: x\n  true: y\n  2020-01-01: z") == {
        "A": {"123": "x", "true": "y", "2020-01-01": "z"}
    }


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("A: [1, 2", "YAML not well-formed. (line"),
        ("A:\n  - b\n c: d", "line 3, column 2"),
        ('{"A": 1,}', "JSON not well-formed. (line 1, column"),
        ('{"A": 1, "A": 2}', "duplicate key 'A'"),
        ("A: 1\nB: 2\nA: 3", "duplicate key 'A') (line 3, column 1)"),
        ("A: &x [1]\nB: *x", "YAML aliases are not allowed"),
        ("A: {<<: {b: 1}}", "merge keys"),
        ("A: !Foo b", "unknown tag !Foo"),
        ("A: !ForEach b", "AWS::LanguageExtensions"),
        ("A: !!python/object/apply:os.system ['true']", "!!python/object/apply:os.system is not supported"),
        ("A: !!binary aGk=", "!!binary is not supported"),
        ("A: 1\n---\nB: 2", "exactly one document"),
        ("- a", "unsupported structure"),
        ("just words", "unsupported structure"),
        ("? [a]\n: b", "map keys must be strings"),
        ('{"A": NaN}', "NaN"),
        ("A: \x00", "YAML not well-formed"),
        ("[" * 5000, "nesting"),
        ('{"A":' + "[" * 5000 + "]" * 5000 + "}", "nesting"),
        ('{"A":' + "[" * 200 + "]" * 200 + "}", "nesting"),
        ("A: " + "9" * 5000, "not a valid value"),
        ("A: 0x" + "f" * 4000, "not a valid value"),
        ('{"A": ' + "9" * 5000 + "}", "out of range"),
    ],
)
def test_bad_text_is_refused_with_its_place(text: str, part: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse_document(text)
    assert part in error.value.message


def test_nesting_is_allowed_up_to_the_limit() -> None:
    text = "A: " + "[" * (DEPTH_LIMIT - 1) + "]" * (DEPTH_LIMIT - 1)
    assert list(parse_document(text)) == ["A"]


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parsed = parse_document(text)
    except TemplateError:
        return
    assert isinstance(parsed, dict)


@given(
    st.dictionaries(
        st.text("abcXYZ", min_size=1),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text("ab:{}[]'\"#&*! \n", max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("kl", min_size=1), inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_json_comes_back_as_it_was(body: dict[str, object]) -> None:
    import json

    assert parse_document(json.dumps(body)) == body
