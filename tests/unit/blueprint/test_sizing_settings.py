"""A load among the settings sizes what nobody gave; what somebody gave stands."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.blueprint import PRESET_ROWS, Preset, settings_from
from multiaz.blueprint.capacity import Load, LoadTooLarge, capacity_for
from multiaz.errors import BadInput

GIVEN: dict[str, Any] = {
    "db_instance_class": "db.r6g.4xlarge",
    "read_replica_instance_class": "db.r6g.2xlarge",
    "read_replicas": 3,
    "allocated_storage": 500,
    "max_allocated_storage": 5000,
}
"""Explicit values, different from what any load below asks for."""


@given(
    st.sampled_from(["prod", "test"]),
    st.integers(1, 200_000),
    st.sampled_from([None, 1.0, 19.0, 30.0]),
    st.sampled_from([None, 1.7, 10.0]),
)
def test_the_load_wins_over_the_sizes_of_the_preset(
    preset: str, orders: int, reads: float | None, peak: float | None
) -> None:
    told = {"orders_per_day": orders, "reads_per_write": reads, "peak_factor": peak}
    found = settings_from({"preset": preset, **told})
    load = Load(**{name: value for name, value in told.items() if value is not None})  # type: ignore[arg-type]
    wanted = capacity_for(load).settings()
    assert {name: getattr(found, name) for name in wanted} == wanted


@given(st.sets(st.sampled_from(sorted(GIVEN))))
def test_what_is_given_wins_over_the_load(names: set[str]) -> None:
    explicit = {name: GIVEN[name] for name in names}
    if "allocated_storage" in explicit:
        explicit["max_allocated_storage"] = GIVEN["max_allocated_storage"]
    found = settings_from({"preset": "test", "orders_per_day": 100_000, **explicit})
    wanted = {**capacity_for(Load(100_000)).settings(), **explicit}
    assert {name: getattr(found, name) for name in wanted} == wanted


@pytest.mark.parametrize("preset", list(Preset))
def test_without_orders_the_preset_sizes(preset: Preset) -> None:
    for nothing in (None, ""):
        found = settings_from({"preset": preset, "orders_per_day": nothing})
        assert {name: getattr(found, name) for name in PRESET_ROWS[preset]} == dict(PRESET_ROWS[preset])


@pytest.mark.parametrize("orders", ["200000", 200_000, "200000.0", 200_000.0], ids=repr)
def test_text_sizes_as_numbers_do(orders: object) -> None:
    assert settings_from({"orders_per_day": orders}) == settings_from({"orders_per_day": 200_000})


def test_the_seeds_load_gives_the_sizes_of_production() -> None:
    found = settings_from({"preset": "test", "orders_per_day": 50_000})
    sizes = ("db_instance_class", "read_replica_instance_class", "allocated_storage", "max_allocated_storage")
    assert {name: getattr(found, name) for name in sizes} == {name: PRESET_ROWS[Preset.PROD][name] for name in sizes}
    assert not found.deletion_protection


def test_a_size_that_does_not_fit_the_load_is_told_with_where_both_come_from() -> None:
    with pytest.raises(BadInput) as caught:
        settings_from(
            {"orders_per_day": 1_000_000, "max_allocated_storage": 100}, {"max_allocated_storage": "f line 2"}
        )
    assert "max_allocated_storage=100 from f line 2" in str(caught.value)
    assert "from orders_per_day: " in str(caught.value)


@pytest.mark.parametrize("wrong", [0, -1, "many", 100_000_001, "nan"], ids=repr)
def test_wrong_orders_are_refused_by_the_setting(wrong: object) -> None:
    with pytest.raises(BadInput, match="orders_per_day="):
        settings_from({"orders_per_day": wrong})


def test_a_load_nothing_carries_is_refused() -> None:
    with pytest.raises(LoadTooLarge, match="100,000,000 orders a day"):
        settings_from({"orders_per_day": 100_000_000})


def test_without_a_load_the_arithmetic_is_not_loaded() -> None:
    program = (
        "import sys, multiaz.blueprint as b; b.settings_from({}); print('multiaz.blueprint.capacity' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
