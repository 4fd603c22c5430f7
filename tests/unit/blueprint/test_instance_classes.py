"""The facts of the classes: names RDS knows, figures that follow from family and size."""

from __future__ import annotations

from itertools import pairwise

import pytest

from multiaz.blueprint.engines import CURRENT_ENGINE_VERSIONS
from multiaz.blueprint.instance_classes import (
    FAMILIES,
    INSTANCE_CLASSES,
    PRIMARY_CLASSES,
    REPLICA_CLASSES,
    SEED_CLASSES,
    InstanceClass,
    largest_max_connections,
    largest_max_worker_processes,
)
from multiaz.blueprint.offerings import is_offered, offered_classes, regions

GIB = 1024**3
EVERY_FAMILY_REGION = "us-east-1"


@pytest.mark.parametrize(
    ("name", "vcpu", "memory_gib"),
    [
        ("db.t3.medium", 2, 4),
        ("db.t4g.large", 2, 8),
        ("db.t4g.xlarge", 4, 16),
        ("db.m5.large", 2, 8),
        ("db.m6g.2xlarge", 8, 32),
        ("db.m7i.8xlarge", 32, 128),
        ("db.r5.large", 2, 16),
        ("db.r6i.4xlarge", 16, 128),
        ("db.r8g.8xlarge", 32, 256),
    ],
)
def test_figures_are_those_of_the_rds_user_guide(name: str, vcpu: int, memory_gib: int) -> None:
    assert INSTANCE_CLASSES[name] == InstanceClass(name, vcpu, memory_gib)


@pytest.mark.parametrize("name", INSTANCE_CLASSES)
def test_rds_offers_the_class_for_every_current_version(name: str) -> None:
    """cfn-lint's data; one region that has every family is enough, `multiaz` asks for the chosen one."""
    assert [v for v in CURRENT_ENGINE_VERSIONS if not is_offered(EVERY_FAMILY_REGION, name, engine_version=v)] == []


def test_no_region_is_without_a_class_of_ours() -> None:
    everywhere = {name: offered_classes(name) or frozenset() for name in regions()}
    assert [name for name, classes in everywhere.items() if not classes & set(INSTANCE_CLASSES)] == []


def test_the_seeds_classes_come_first_and_in_order() -> None:
    seed = (*("db.m5.large", "db.m5.xlarge", "db.m5.2xlarge"), *("db.r5.large", "db.r5.xlarge", "db.r5.2xlarge"))
    assert seed == SEED_CLASSES
    for offered in (tuple(INSTANCE_CLASSES), PRIMARY_CLASSES, REPLICA_CLASSES):
        assert offered[: len(seed)] == seed
        assert len(set(offered)) == len(offered)
        assert set(offered) <= set(INSTANCE_CLASSES)


def test_a_replica_may_be_whatever_a_primary_may_be() -> None:
    assert set(REPLICA_CLASSES) == set(PRIMARY_CLASSES)


def test_the_name_of_a_class_says_its_family() -> None:
    for name, facts in INSTANCE_CLASSES.items():
        assert facts.name == name
        assert facts.family in FAMILIES
        assert name.startswith(f"db.{facts.family}.")


def test_figures_that_follow_from_the_memory() -> None:
    large = INSTANCE_CLASSES["db.m5.large"]
    assert (large.max_connections, large.connections_alarm) == (901, 729)
    assert large.freeable_memory_alarm_bytes == 2 * GIB
    assert large.max_worker_processes == 8
    assert INSTANCE_CLASSES["db.t3.medium"].max_connections == 450
    assert INSTANCE_CLASSES["db.r5.2xlarge"].max_connections == 5000


def test_more_of_a_machine_never_gives_fewer_of_anything() -> None:
    for family in FAMILIES.values():
        sizes = [INSTANCE_CLASSES[f"db.{family.name}.{size}"] for size in family.sizes]
        for smaller, larger in pairwise(sizes):
            assert larger.memory_gib == 2 * smaller.memory_gib
            assert larger.vcpu >= smaller.vcpu
            assert larger.max_connections >= smaller.max_connections
            assert larger.connections_alarm >= smaller.connections_alarm


def test_the_largest_class_on_offer_does_not_burden_the_smallest_replica() -> None:
    """The replicas' group states the most any primary can have, whatever the replica's size.

    `postgres -C shared_memory_size`, 17.10, shared_buffers 1 GB: 1,095 MB with 450 connections and 8 workers
    (db.t3.medium's own), 1,314 MB with 5,000 and 8, 1,316 MB with 5,000 and 64.
    """
    assert largest_max_worker_processes(PRIMARY_CLASSES) == 64
    assert largest_max_connections(PRIMARY_CLASSES) == 5000
