"""Pages hold every item once, whatever comes or goes between two calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.rds.paging import filters, page
from multiaz.cloud.service import AwsFault


@given(st.sets(st.text(min_size=1, max_size=8), max_size=150), st.integers(20, 100))
def test_following_the_markers_gives_every_item_once_and_in_order(items: set[str], size: int) -> None:
    ordered = sorted(items)
    found: list[str] = []
    params: dict[str, Any] = {"MaxRecords": size}
    while True:
        chosen, more = page(ordered, str, params)
        assert len(chosen) <= size
        found += chosen
        if not more:
            break
        params["Marker"] = more["Marker"]
    assert found == ordered


@pytest.mark.parametrize("params", [{"MaxRecords": 19}, {"MaxRecords": 101}, {"Marker": "not base64!"}])
def test_a_wrong_size_or_marker_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(AwsFault) as refusal:
        page(["a"], str, params)
    assert refusal.value.code == "InvalidParameterValue"


def test_an_unknown_filter_is_refused_by_name() -> None:
    with pytest.raises(AwsFault, match="Unrecognized filter name: colour"):
        filters({"Filters": [{"Name": "colour", "Values": ["red"]}]}, ("engine",))
