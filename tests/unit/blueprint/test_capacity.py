"""Sizing: the defaults are the seed's sizes, more load never gives less, and everything proposed is valid at RDS."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiaz.blueprint import assumptions, settings_from
from multiaz.blueprint.assumptions import ASSUMPTIONS, Assumption
from multiaz.blueprint.capacity import STEADY_FAMILIES, Capacity, Load, LoadTooLarge, Need, capacity_for
from multiaz.blueprint.instance_classes import INSTANCE_CLASSES, PRIMARY_CLASSES, REPLICA_CLASSES, InstanceClass
from multiaz.blueprint.tuning import group_values
from multiaz.errors import BadInput

ORDERS = st.floats(0, 6.5).map(lambda digits: int(10**digits))
"""From one order a day to three million, as many small shops as large ones."""
PEAKS = st.floats(0, 2).map(lambda digits: min(10**digits, 100.0))
LOADS = st.builds(
    Load,
    orders_per_day=ORDERS,
    reads_per_write=st.floats(1, 1000),
    peak_factor=PEAKS,
)
FAMILIES = st.sampled_from(STEADY_FAMILIES)


def sized(load: Load, family: str = "m5") -> Capacity | None:
    try:
        return capacity_for(load, family)
    except LoadTooLarge:
        return None


def resources(found: Capacity) -> tuple[int, ...]:
    """Everything a person pays for."""
    return (
        *(found.primary.vcpu, found.primary.memory_gib, found.replica.vcpu, found.replica.memory_gib),
        *(found.read_replicas, found.allocated_storage, found.max_allocated_storage, found.storage_iops or 0),
    )


def step(found: Capacity, name: str) -> float:
    (value,) = [one.value for one in found.steps if one.name == name]
    return value


def test_the_defaults_are_the_seeds_sizes() -> None:
    assert Load() == Load(orders_per_day=50_000, reads_per_write=19, peak_factor=10)
    assert capacity_for(Load()).settings() == {
        "db_instance_class": "db.m5.large",
        "read_replica_instance_class": "db.m5.large",
        "read_replicas": 2,
        "allocated_storage": 100,
        "max_allocated_storage": 1000,
    }


def test_the_default_load_is_the_one_the_rehearsal_uses() -> None:
    """0.58 orders and 84 interactions a second on average, 143 on an ordinary day's peak."""
    found = capacity_for(Load(peak_factor=1.7))
    assert step(found, "orders") == pytest.approx(0.58, abs=0.005)
    assert step(found, "page interactions") == pytest.approx(84, abs=0.5)
    assert step(found, "page interactions at peak") == pytest.approx(143, abs=0.5)


def test_a_flash_sale_needs_larger_replicas() -> None:
    found = capacity_for(Load(peak_factor=15))
    assert (found.primary.name, found.replica.name) == ("db.m5.large", "db.m5.xlarge")


def test_data_in_use_calls_for_memory_and_not_for_processors() -> None:
    found = capacity_for(Load(orders_per_day=150_000, peak_factor=1), "m7g")
    assert (found.primary.name, found.replica.name) == ("db.r7g.large", "db.r7g.large")
    assert found.primary_need.vcpu < 2
    assert found.primary_need.memory_gib > INSTANCE_CLASSES["db.m7g.large"].memory_gib


def test_a_larger_shop_is_carried_before_it_is_refused() -> None:
    million = capacity_for(Load(orders_per_day=1_000_000))
    assert (million.primary.name, million.read_replicas) == ("db.m5.8xlarge", 3)
    assert million.settings()["storage_iops"] == million.storage_iops == 16_000


@given(LOADS, ORDERS, FAMILIES)
@settings(max_examples=400, deadline=None)
def test_more_orders_never_mean_less_of_anything(load: Load, orders: int, family: str) -> None:
    fewer, more = sorted((load.orders_per_day, orders))
    low = sized(Load(fewer, load.reads_per_write, load.peak_factor), family)
    high = sized(Load(more, load.reads_per_write, load.peak_factor), family)
    if high is None:
        return
    assert low is not None, "a smaller load was refused and a larger one was not"
    assert all(a <= b for a, b in zip(resources(low), resources(high), strict=True))


@given(LOADS, PEAKS, FAMILIES)
@settings(max_examples=200, deadline=None)
def test_a_higher_peak_never_means_less_of_anything(load: Load, peak: float, family: str) -> None:
    lower, higher = sorted((load.peak_factor, peak))
    low = sized(Load(load.orders_per_day, load.reads_per_write, lower), family)
    high = sized(Load(load.orders_per_day, load.reads_per_write, higher), family)
    if high is None:
        return
    assert low is not None
    assert all(a <= b for a, b in zip(resources(low), resources(high), strict=True))


@given(LOADS, FAMILIES)
@settings(max_examples=400, deadline=None)
def test_everything_proposed_is_valid_at_rds(load: Load, family: str) -> None:
    found = sized(load, family)
    if found is None:
        return
    assert found.primary.name in PRIMARY_CLASSES
    assert found.replica.name in REPLICA_CLASSES
    assert 2 <= found.read_replicas <= 15
    assert found.allocated_storage >= 20
    assert found.allocated_storage * 1.1 <= found.max_allocated_storage <= 65_536
    if found.storage_iops is not None:
        assert 12_000 < found.storage_iops <= 64_000
        assert found.allocated_storage >= 400
        assert found.storage_iops <= found.allocated_storage * 500
    assert found.data_now_gib <= found.data_in_a_year_gib <= found.allocated_storage * 0.9
    assert settings_from(found.settings()).db_instance_class == found.primary.name


def fits(facts: InstanceClass, need: Need) -> bool:
    return (
        facts.vcpu >= need.vcpu and facts.memory_gib >= need.memory_gib and facts.connections_alarm >= need.connections
    )


@given(LOADS, FAMILIES)
@settings(max_examples=200, deadline=None)
def test_the_class_chosen_is_enough_and_the_smallest_that_is(load: Load, family: str) -> None:
    found = sized(load, family)
    if found is None:
        return
    for chosen, need in ((found.primary, found.primary_need), (found.replica, found.replica_need)):
        assert fits(chosen, need)
        siblings = [c for c in INSTANCE_CLASSES.values() if c.family in {family, family.replace("m", "r")}]
        smaller = [c for c in siblings if (c.vcpu, c.memory_gib) < (chosen.vcpu, chosen.memory_gib)]
        assert not [c.name for c in smaller if fits(c, need)]


@given(LOADS)
@settings(max_examples=100, deadline=None)
def test_one_replica_may_be_lost_in_the_peak_hour(load: Load) -> None:
    found = sized(load)
    if found is None:
        return
    per_replica = found.peak.reads / (found.read_replicas - 1)
    busy = (per_replica * 0.5 + found.peak.writes * 0.5) / 1000
    assert busy <= found.replica.vcpu * 0.8 * (1 + 1e-9)


@given(LOADS)
@settings(max_examples=100, deadline=None)
def test_an_order_is_written_however_much_is_read(load: Load) -> None:
    found = sized(load)
    if found is None:
        return
    assert found.peak.writes >= load.orders_per_day / 86_400 * 12 * load.peak_factor * (1 - 1e-9)


@pytest.mark.parametrize(
    ("load", "lacking"),
    [
        (Load(2_000_000), "vCPU of 32"),
        (Load(10_000_000, peak_factor=1), "GiB of memory of 256"),
        (Load(1_000_000, reads_per_write=1, peak_factor=5), "vCPU"),
    ],
)
def test_a_load_no_class_carries_is_refused_by_what_is_lacking(load: Load, lacking: str) -> None:
    with pytest.raises(LoadTooLarge) as refused:
        capacity_for(load)
    assert f"{load.orders_per_day:,}" in refused.value.what
    assert lacking in refused.value.why
    assert "db.r5.8xlarge" in refused.value.why
    assert "divide the shop" in refused.value.next_step


@pytest.mark.parametrize("family", ["t3", "t4g", "x9", "", "db.m5.large", "mm5"])
def test_a_family_that_cannot_be_sized_with_is_refused_with_a_choice(family: str) -> None:
    with pytest.raises(BadInput) as refused:
        capacity_for(Load(), family)
    assert "m7g" in refused.value.next_step


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("orders_per_day", 0),
        ("orders_per_day", -1),
        ("orders_per_day", 1.5),
        ("orders_per_day", True),
        ("orders_per_day", 10**9),
        ("reads_per_write", 0.5),
        ("reads_per_write", 1001),
        ("reads_per_write", math.nan),
        ("peak_factor", 0.9),
        ("peak_factor", math.inf),
        ("peak_factor", "10"),
    ],
)
def test_a_load_out_of_range_is_refused_by_name_value_and_range(name: str, value: Any) -> None:
    with pytest.raises(BadInput) as refused:
        Load(**{name: value})
    assert f"{name}={value!r}" in refused.value.what
    assert "must be" in refused.value.why


@pytest.mark.parametrize(
    "load",
    [
        {"orders_per_day": 1, "reads_per_write": 1, "peak_factor": 1},
        {"orders_per_day": 100_000_000, "reads_per_write": 1000, "peak_factor": 100},
    ],
)
def test_the_ranges_are_those_of_the_settings(load: dict[str, Any]) -> None:
    assert Load(**load).orders_per_day == load["orders_per_day"]
    for name, value in load.items():
        beyond = value - 1 if value == 1 else value + 1
        for refuse in (lambda given: Load(**given), settings_from):
            with pytest.raises(BadInput):
                refuse({**load, name: beyond})


def test_every_assumption_is_listed_once_and_has_a_source() -> None:
    defined = [value for value in vars(assumptions).values() if isinstance(value, Assumption)]
    assert sorted(a.name for a in defined) == sorted(a.name for a in ASSUMPTIONS)
    assert [a.name for a in ASSUMPTIONS if not a.source] == []


def test_the_wal_of_a_slot_is_what_the_parameter_group_allows() -> None:
    s = settings_from({})
    allowed = int(group_values("primary", s)["max_slot_wal_keep_size"])
    assert assumptions.SLOT_WAL_SHARE.value * s.allocated_storage * 1024 == allowed


def test_every_step_says_its_formula_in_words_and_in_numbers() -> None:
    found = capacity_for(Load())
    assert [s.name for s in found.steps if not (s.formula and s.numbers and s.result)] == []
    assert len({s.name for s in found.steps}) == len(found.steps)


def test_thresholds_are_those_of_the_class_and_the_volume() -> None:
    found = capacity_for(Load())
    assert found.thresholds(found.primary) == {
        "DatabaseConnections": 729,
        "DBLoad": 2,
        "FreeableMemory": 2 * 1024**3,
        "FreeStorageSpace": 10 * 1024**3,
    }
