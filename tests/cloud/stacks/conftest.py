from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stacks_world import Killed, World

from multiaz.files import lock_holder
from multiaz.home import Home


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One cloud for the module's tests."""
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.close()


@pytest.fixture(scope="module")
def rds_world() -> Iterator[World]:
    """One cloud for the module's tests, with RDS whose servers are pretended."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="mzs"))
    folder.chmod(0o755)
    world = World(folder, rds=True)
    yield world
    world.close()
    for lock in Home(folder).instances.glob("*/instance.lock"):
        holder = lock_holder(lock)
        if holder is not None and holder > 0:
            os.kill(holder, signal.SIGTERM)
    shutil.rmtree(folder)


@pytest.fixture
def death_is_silent() -> Iterator[None]:
    """Threads of a process that was killed say nothing."""
    before = threading.excepthook
    threading.excepthook = lambda args: None if args.exc_type is Killed else before(args)
    yield
    threading.excepthook = before
