"""A home with one Multi-AZ instance under a real supervisor, shared by the tests of a file; each leaves it well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Instance

from multiaz.home import Home
from multiaz.local import faults
from multiaz.local.marker import plan_marker, record_marker


@pytest.fixture(scope="module")
def home(module_home_folder: Path, lend_programs: Callable[[Home], None]) -> Home:
    """A home that `multiaz fault` takes for one: it has a marker."""
    home = Home(module_home_folder)
    record_marker(home, plan_marker(home, port=None, port_base=None))
    lend_programs(home)
    return home


@pytest.fixture(scope="module")
def shared(home: Home, free_port: Callable[[], int]) -> Iterator[Instance]:
    instance = Instance(home, "shop", free_port())
    instance.start()
    try:
        yield instance
    finally:
        faults.heal(home)
        instance.end()


@pytest.fixture
def shop(shared: Instance, home: Home) -> Iterator[Instance]:
    """The instance, well before each test and healed after it."""
    shared.wait_well()
    with shared.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS ledger")
    yield shared
    faults.heal(home)


@pytest.fixture(scope="module")
def replica(shared: Instance, home: Home, free_port: Callable[[], int]) -> Iterator[Instance]:
    """A read replica of the shared instance."""
    shared.wait("well, with its relay", lambda seen: seen.redundant and seen.relay_ready)
    instance = Instance(home, "reader", free_port(), multi_az=False, source=shared)
    instance.start()
    try:
        instance.wait_well()
        yield instance
    finally:
        instance.end()
