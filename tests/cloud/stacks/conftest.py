from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stacks_world import Killed, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One cloud for the module's tests."""
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


@pytest.fixture
def death_is_silent() -> Iterator[None]:
    """Threads of a process that was killed say nothing."""
    before = threading.excepthook
    threading.excepthook = lambda args: None if args.exc_type is Killed else before(args)
    yield
    threading.excepthook = before
