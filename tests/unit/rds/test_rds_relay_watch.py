"""The cloud starts a relay nobody else starts, and leaves that to its supervisor as long as it does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from multiaz.cloud.rds.children import LONGEST_RELAY_WAIT_S, RELAY_AFTER_S, RelayWatch
from multiaz.files import ProcessLock, lock_holder
from multiaz.home import Home, InstanceHome

HOLDS = "import sys, time; from pathlib import Path; from multiaz.files import ProcessLock; \
lock = ProcessLock(Path(sys.argv[1]) / 'relay.lock'); assert lock.acquire(); time.sleep(600)"
Eventually = Callable[..., object]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[InstanceHome]:
    """An instance whose relay.json is written and that nobody serves."""
    place = Home(tmp_path).instance("db-X")
    place.logs.mkdir(parents=True)
    place.relay.write_text("{}")
    yield place
    if (holder := lock_holder(place.relay_lock)) is not None:
        os.kill(holder, signal.SIGKILL)


def test_relay_whose_lock_stays_free_is_started_and_again_when_it_has_died(
    place: InstanceHome, eventually: Eventually
) -> None:
    watch = RelayWatch([sys.executable, "-c", HOLDS])
    for began in (0.0, 100.0):
        watch.look(place, began)
        watch.look(place, began + RELAY_AFTER_S - 0.1)
        assert not watch.alive(), "its supervisor may yet start it"
        watch.look(place, began + RELAY_AFTER_S)
        assert watch.alive()
        watch.look(place, began + 50)
        eventually(lambda: lock_holder(place.relay_lock), "it holds its lock")
        watch.look(place, began + 51)
        holder = lock_holder(place.relay_lock)
        assert holder is not None
        os.kill(holder, signal.SIGKILL)
        eventually(lambda: not watch.alive(), "it is reaped")


def test_relay_that_cannot_start_is_tried_ever_more_rarely(
    place: InstanceHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []

    class Dead:
        def __init__(self, *_: object) -> None:
            starts.append(now)

        def ended(self) -> bool:
            return True

    monkeypatch.setattr("multiaz.cloud.rds.children.Child", Dead)
    watch = RelayWatch()
    for second in range(400):
        now = float(second)
        watch.look(place, now)
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert (starts[0], waits) == (3.0, [6.0, 12.0, 24.0, 48.0, *[LONGEST_RELAY_WAIT_S] * 5])


def test_relay_that_runs_or_is_not_wanted_is_not_started(place: InstanceHome) -> None:
    watch = RelayWatch([sys.executable, "-c", HOLDS])
    lock = ProcessLock(place.relay_lock)
    assert lock.acquire()
    for now in (0.0, 10.0):
        watch.look(place, now)
    lock.release()
    place.relay.unlink()
    for now in (20.0, 30.0):
        watch.look(place, now)
    assert not watch.alive()
