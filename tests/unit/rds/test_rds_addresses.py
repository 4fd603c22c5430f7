"""An instance gets an address nobody has, the same one for the same name, and a clear refusal otherwise."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.rds.addresses import allocate, candidate_addresses, candidate_ports
from multiaz.cloud.service import AwsFault


def everything_is_free(_address: str, _port: int) -> bool:
    return True


@given(st.text(max_size=30))
def test_candidates_are_loopback_addresses_of_our_own(seed: str) -> None:
    for address in islice(candidate_addresses(seed), 8):
        parts = [int(part) for part in address.split(".")]
        assert parts[0] == 127
        assert parts[1] not in (0, 255)
        assert 1 <= parts[3] <= 254


def test_the_port_asked_for_is_kept_and_the_address_is_stable() -> None:
    first = allocate("home/db-1", 5433, None, (), everything_is_free, own_addresses=True)
    assert first == allocate("home/db-1", 5433, None, (), everything_is_free, own_addresses=True)
    assert first[1] == 5433


def test_a_taken_or_busy_address_is_passed_over() -> None:
    first, second, third = islice(candidate_addresses("seed"), 3)
    found = allocate("seed", 5432, None, {(first, 5432)}, lambda address, _: address != second, own_addresses=True)
    assert found == (third, 5432)


def test_with_a_port_base_ports_count_upwards_on_localhost() -> None:
    taken = {("127.0.0.1", 15432)}
    found = allocate("seed", 5432, 15432, taken, lambda _, port: port != 15433, own_addresses=True)
    assert found == ("127.0.0.1", 15434)


def test_where_there_is_one_loopback_address_the_port_is_stable() -> None:
    first = allocate("seed", 5432, None, (), everything_is_free, own_addresses=False)
    assert first == allocate("seed", 5432, None, (), everything_is_free, own_addresses=False)
    assert first[0] == "127.0.0.1"
    assert 20000 <= first[1] < 30000


def test_a_port_held_everywhere_is_an_error_that_names_the_way_out() -> None:
    with pytest.raises(AwsFault, match="--port-base") as refusal:
        allocate("seed", 5432, None, (), lambda *_: False, own_addresses=True)
    assert refusal.value.code == "InsufficientDBInstanceCapacity"


def test_ports_of_our_own_are_each_tried_once() -> None:
    ports = list(candidate_ports("seed", None))
    assert len(ports) == len(set(ports)) == 10000
