"""What the supervisor's loop does before what, without servers: fence and promotion are told, not done."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_decide import DEAD, DESIRED, WELL, desired, request, seen

from multiaz.instance import supervisor as module
from multiaz.instance.actions import Step
from multiaz.instance.decide import decide
from multiaz.instance.evidence import read_record
from multiaz.instance.records import DesiredInstance, RequestKind
from multiaz.instance.supervisor import Supervisor
from multiaz.instance.view import Seen


class Told(Supervisor):
    """A supervisor of no servers: what is done to them is kept in `did`."""

    def __init__(self, folder: Path) -> None:
        self.home: Any = SimpleNamespace(role=folder / "role.json", creating=folder / "creating")
        self.observer: Any = SimpleNamespace(acted=False, last_heard=lambda _: None, remembered=lambda _: None)
        self.memory = WELL
        self.did: list[str] = []
        self._remember(WELL)

    def _fence(self, member: str) -> None:
        self.did.append(f"fence {member}")

    def _do(self, action: Any) -> None:
        if isinstance(action, module.Fence):
            self._fence(action.member)
        else:
            self.did.append(type(action).__name__)

    def step(self, wanted: DesiredInstance, view: Seen) -> Step:
        step = decide(wanted, view, self.memory)
        self._perform(step)
        return step


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    yield Told(tmp_path)


def no_room(*_: object, **__: object) -> Path:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("view", [seen(), seen(a=DEAD)], ids=["requested", "after a death"])
def test_failover_that_cannot_be_recorded_fences_nobody(told: Told, view: Seen, monkeypatch: Any) -> None:
    """On a full disk a healthy primary would be killed, and nobody be promoted in its place."""
    monkeypatch.setattr(module, "prepare", no_room)
    with pytest.raises(OSError, match="No space"):
        told.step(desired(request=request(RequestKind.FAILOVER)), view)
    assert told.did == []
    assert read_record(told.home.role)[0].epoch == WELL.epoch


def test_failover_once_fenced_needs_no_more_room_to_be_recorded(told: Told, monkeypatch: Any) -> None:
    def full_from_now_on(member: str) -> None:
        told.did.append(f"fence {member}")
        monkeypatch.setattr(module, "prepare", no_room)

    monkeypatch.setattr(told, "_fence", full_from_now_on)
    told.step(DESIRED, seen(a=DEAD))
    record = read_record(told.home.role)[0]
    assert (record.epoch, record.primary, record.fenced) == (WELL.epoch + 1, "b", "a")
    assert told.did == ["fence a", "Announce", "Promote", "PointPrimary", "PointUpstream"]


def test_record_of_a_failover_is_not_in_force_before_the_fence(told: Told, monkeypatch: Any) -> None:
    """A fence that fails leaves the record as it was."""

    def survives(_: str) -> None:
        raise OSError("stuck in the kernel")

    monkeypatch.setattr(told, "_fence", survives)
    with pytest.raises(OSError, match="stuck"):
        told.step(DESIRED, seen(a=DEAD))
    assert read_record(told.home.role)[0].primary == "a"
    assert told.memory.primary == "a"


def test_moments_of_a_failover_are_kept_though_the_record_was_written_before_them(told: Told) -> None:
    told.step(DESIRED, seen(a=DEAD))
    assert told.memory.last_failover is not None
    assert None not in (told.memory.last_failover.fenced, told.memory.last_failover.recorded)
