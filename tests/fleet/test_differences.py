"""In what two templates differ, as people are told."""

from __future__ import annotations

import json
import time

import pytest

from multiaz.blueprint import settings_from, to_json, to_yaml
from multiaz.fleet.differences import differences


def test_notation_comments_and_spacing_are_no_difference() -> None:
    made = settings_from({"preset": "test"})
    assert differences(to_yaml(made), to_json(made)) == []
    assert differences(to_yaml(made), "# the same\n" + to_yaml(made)) == []
    assert differences(json.dumps(json.loads(to_json(made))), to_json(made)) == []


def test_what_differs_is_named_down_to_the_property() -> None:
    one = to_yaml(settings_from({"preset": "test", "read_replicas": 1, "multi_az": True}))
    two = to_yaml(settings_from({"preset": "test", "read_replicas": 2, "multi_az": False}))
    found = differences(one, two)
    assert found is not None
    assert "Resources/PrimaryDB/Properties/MultiAZ" in found
    assert "Resources/ReadReplica2 (not in it)" in found
    assert "Resources/ReadReplica2 (only in it)" in (differences(two, one) or [])
    assert not any("ReadReplica1/Properties/DBInstanceIdentifier" in path for path in found)
    assert found.index("Resources/ReadReplica2 (not in it)") < found.index("Description"), "resources come first"


def test_no_value_is_told() -> None:
    one, two = (f"Resources: {{A: {{Type: T, Properties: {{P: {word}}}}}}}" for word in ("hunter2", "hunter3"))
    assert differences(one, two) == ["Resources/A/Properties/P"]


@pytest.mark.parametrize("text", ["a: [", "- 1", "a: &x 1\nb: *x", "[" * 5000, "? {a: 1}\n: 2", "a: !!python/none x"])
def test_a_text_that_is_no_template_is_no_error(text: str) -> None:
    found = differences(text, "Resources: {}")
    assert found is None or found


def test_a_template_that_grows_when_it_is_read_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    began = time.monotonic()
    assert differences("\n".join(lines), "a: 1") is None
    assert time.monotonic() - began < 5
