"""Whatever the bytes are, reading ends soon, with a document or with what is wrong and where."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.stacks import document as stacks
from multiaz.rules import check
from multiaz.rules.findings import Position
from multiaz.rules.reading import SHORT_FORMS, URL_LIMIT_BYTES, Document, read
from multiaz.rules.unreadable import DEPTH_LIMIT, Unreadable


def document(text: str) -> Document:
    found, faults = read(text)
    assert faults == []
    assert found is not None
    return found


def fault(source: bytes | str) -> Unreadable:
    found, faults = read(source)
    assert found is None
    assert faults[0].message
    return faults[0]


def test_short_forms_are_written_out_with_their_positions() -> None:
    read_in = document(
        "Resources:\n  A:\n    Type: X\n    Properties:\n      B: !GetAtt C.D.E\n      F: !Sub\n        - '${G}'\n"
    )
    assert read_in.body["Resources"]["A"]["Properties"] == {
        "B": {"Fn::GetAtt": ["C", "D.E"]},
        "F": {"Fn::Sub": ["${G}"]},
    }
    assert read_in.position(("Resources", "A", "Properties", "B")) == Position(5, 7)
    assert read_in.position(("Resources", "A", "Properties", "F", "Fn::Sub", 0)) == Position(7, 11)
    assert read_in.position(("Resources", "A", "Properties", "Absent", "Deeper")) == Position(4, 5)


def test_json_is_read_with_positions_and_every_escape() -> None:
    read_in = document('{\n "Resources": {\n\t"A": {"Type": "\\ud83d\\ude00 \\/ \\\\ud83d \\u00e9"}\n }\n}')
    assert read_in.body["Resources"]["A"]["Type"] == "\U0001f600 / \\ud83d é"
    assert read_in.position(("Resources", "A")).line == 3


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
        max_leaves=20,
    )
)
def test_json_means_what_it_says(value: object) -> None:
    body = {"Resources": {"A": value}}
    text = json.dumps(body)
    found, faults = read(text)
    assert found is not None, faults
    if "\\ud" not in text:  # lone surrogates are not text
        assert found.body == body


@pytest.mark.parametrize(
    "text",
    [
        '{"Resources"\n: {"A":\n1}}',
        '{"Resources": {"%s": 1}}' % ("k" * 2000),
        '{"Resources": {"A": "\x7f\u0085"}}',
        '{"Resources": {"<<": {"A": 1}}}',
        '{"Resources": {"A": 1e999}}',
    ],
    ids=lambda text: text[:30],
)
def test_json_is_not_judged_by_the_rules_of_yaml(text: str) -> None:
    assert document(text).position(("Resources",)) == Position(1, 2)


@given(
    st.recursive(
        st.booleans() | st.text(alphabet='a"\\\n:', max_size=4),
        lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(alphabet='a"\\:,', max_size=4), c, max_size=3),
        max_leaves=12,
    ),
    st.sampled_from([None, 1, 4]),
)
def test_a_position_in_json_is_where_its_text_begins(value: object, indent: int | None) -> None:
    text = json.dumps({"Resources": {"A": value}}, indent=indent)
    found, lines = document(text), text.split("\n")

    def judge(node: object, path: tuple[str | int, ...]) -> None:
        place = found.position(path)
        rest = lines[place.line - 1][place.column - 1 :]
        assert rest.startswith(json.dumps(path[-1]) if isinstance(path[-1], str) else json.dumps(node)[:1])
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else ()):
            judge(inner, (*path, key))

    judge(value, ("Resources", "A"))


def test_both_readers_know_the_same_functions() -> None:
    assert stacks.SHORT_FORMS | stacks.LANGUAGE_EXTENSIONS == SHORT_FORMS


def test_functions_of_rules_have_short_forms() -> None:
    body = document("Rules: {R: {Assertions: [{Assert: !Contains [[a], !ValueOf [P, Tags.x]]}]}}\nResources: {}").body
    assert body["Rules"]["R"]["Assertions"] == [{"Assert": {"Fn::Contains": [["a"], {"Fn::ValueOf": ["P", "Tags.x"]}]}}]


def test_aliases_and_merge_keys_are_told_once_where_they_begin() -> None:
    report = check("X: &x {P: 1}\nResources:\n  A:\n    <<: *x\n  B: *x\n")
    assert [(f.rule, f.line, f.column) for f in report.findings] == [("MAZ008", 4, 5)]
    assert [f.rule for f in check("Resources: {'<<': {}}").findings] == []


@pytest.mark.parametrize(
    ("source", "rule", "line"),
    [
        (b"", "MAZ001", 1),
        (b" \n\n", "MAZ001", 1),
        (b"42", "MAZ001", 1),
        (b"- Resources", "MAZ001", 1),
        (b"a: b: c", "MAZ001", 1),
        (b"A: 1\nB: [\n", "MAZ001", 3),
        (b"Description: no resources", "MAZ001", 1),
        (b"Description: x\nResources: [1]", "MAZ001", 2),
        (b"{\n 'Resources': {}}", "MAZ001", 2),
        (b'{"Resources": {},}', "MAZ001", 1),
        (b'{"Resources": NaN}', "MAZ001", 1),
        (b'{"Resources": {"A": [-Infinity]}}', "MAZ001", 1),
        (b'{"Resources": ' + b"9" * 5000 + b"}", "MAZ001", 1),
        (b"Resources: {}\nA: caf\xe9", "MAZ001", 2),
        ("Resources: {}".encode("utf-16"), "MAZ001", 1),
        (b"Resources: {}\nA: \0", "MAZ001", 2),
        (b"\x7fELF\x02\x01\x01\0\0", "MAZ001", 1),
        (b"Resources: {}\n---\nResources: {}", "MAZ001", 1),
        (b"Resources: {A: !Nope x}", "MAZ001", 1),
        (b"Resources: {A: !!python/object:os.system x}", "MAZ001", 1),
        (b"Resources: {A: *nowhere}", "MAZ001", 1),
        (b"Resources: &a {A: *a}", "MAZ001", 1),
        (b"Resources: {[1]: 2}", "MAZ001", 1),
        (b"Resources: {<<: 3}", "MAZ001", 1),
        (b"Resources:\n A: 1\n B: 2\n A: 3", "MAZ002", 4),
        (b'{"Resources":\n {"A": 1, "A": 2}}', "MAZ002", 2),
        (b"Resources: " + b"[" * 10_000, "MAZ003", 1),
        (b'{"Resources": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "MAZ003", 1),
        (b"Resources: {A: " + b"1:" * 20_000 + b"1}", "MAZ001", 1),
        (b"Resources: {}\n" + b" " * URL_LIMIT_BYTES, "MAZ005", 1),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_template_is_named_with_its_line(source: bytes, rule: str, line: int) -> None:
    found = fault(source)
    assert (found.rule, found.position.line) == (rule, line)
    assert len(found.message) < 400


def test_every_duplicate_is_told() -> None:
    _, faults = read("Resources: {A: 1, A: 2, B: {C: 1, C: 2}}")
    assert [fault.rule for fault in faults] == ["MAZ002", "MAZ002"]


def test_aliases_and_merges_are_followed() -> None:
    body = document("X: &x {P: 1, Q: 2}\nResources:\n  A: *x\n  B:\n    <<: *x\n    P: 3\n").body
    assert body["Resources"] == {"A": {"P": 1, "Q": 2}, "B": {"P": 3, "Q": 2}}


def test_a_bomb_of_aliases_is_refused_without_being_expanded() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    began = time.monotonic()
    assert fault(f"a0: &a0 [x]\n{levels}\nResources: {{}}").rule == "MAZ003"
    assert time.monotonic() - began < 10


def test_a_chain_of_aliases_is_no_way_around_the_depth() -> None:
    levels = "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3 * DEPTH_LIMIT))
    assert fault(f"a0: &a0 [x]\n{levels}\nResources: {{}}").rule == "MAZ003"


@given(st.binary(max_size=300))
def test_no_bytes_are_an_exception(source: bytes) -> None:
    found, faults = read(source)
    assert (found is None) == bool(faults)


@given(st.text(alphabet="{}[]:,-!&*<>|#'\"%@ \n\tRes\\ou", max_size=60))
def test_no_punctuation_is_an_exception(text: str) -> None:
    found, faults = read("Resources:\n " + text)
    assert (found is None) == bool(faults)
