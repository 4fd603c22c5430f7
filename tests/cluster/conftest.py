"""A home with real supervisors; the folder fixture fails a test that leaves a process behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Instance, MakeInstance

from multiaz.home import Home


@pytest.fixture
def make_instance(home_folder: Path, free_port: Callable[[], int]) -> Iterator[MakeInstance]:
    """Makes started instances; all are deleted at the end, replicas first."""
    made: list[Instance] = []

    def make(name: str, **options: object) -> Instance:
        instance = Instance(Home(home_folder), name, free_port(), **options)  # type: ignore[arg-type]
        made.append(instance)
        instance.start()
        return instance

    yield make
    for instance in reversed(made):
        instance.end()
