"""A home with real supervisors; the folder fixture fails a test that leaves a process behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Instance, MakeInstance

from multiaz.home import Home


@pytest.fixture
def make_instance(
    home_folder: Path, free_port: Callable[[], int], lend_programs: Callable[[Home], None]
) -> Iterator[MakeInstance]:
    """Makes started instances; all are deleted at the end, replicas first."""
    made: list[Instance] = []
    home = Home(home_folder)
    lend_programs(home)

    def make(name: str, **options: object) -> Instance:
        instance = Instance(home, name, free_port(), **options)  # type: ignore[arg-type]
        made.append(instance)
        instance.start()
        return instance

    yield make
    for instance in reversed(made):
        instance.end()


@pytest.fixture(scope="module")
def shared(
    module_home_folder: Path, free_port: Callable[[], int], lend_programs: Callable[[Home], None]
) -> Iterator[Instance]:
    """A Multi-AZ instance for the tests of one file: making one takes longer than most of what is done to it."""
    home = Home(module_home_folder)
    lend_programs(home)
    instance = Instance(home, "shared", free_port())
    instance.start()
    yield instance
    instance.end()


@pytest.fixture
def multi_az(shared: Instance) -> Instance:
    """The file's Multi-AZ instance, well and with its relay; either member may be primary. The test leaves it well."""
    shared.wait("well, with its relay", lambda seen: seen.redundant and seen.relay_ready)
    shared.wait_well()
    with shared.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS ledger, kept")
    return shared
