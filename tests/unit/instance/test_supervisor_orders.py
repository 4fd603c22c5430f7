"""What the supervisor's loop does before what, without servers: fence and promotion are told, not done."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_decide import DEAD, DESIRED, WELL, desired, request, seen

from multiaz.files import write_atomically
from multiaz.instance import supervisor as module
from multiaz.instance.actions import Step
from multiaz.instance.decide import decide
from multiaz.instance.evidence import read_record
from multiaz.instance.faults import FaultFile, Faults
from multiaz.instance.records import DesiredInstance, Phase, RequestKind, RoleRecord
from multiaz.instance.supervisor import Supervisor
from multiaz.instance.view import Seen
from multiaz.local.faults_record import Fault, Network, write_faults
from power_cut import Disk


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


class Cut(Told):
    """A supervisor of no servers, and before each action what a power cut would leave of its record."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.disk = Disk(folder, monkeypatch)
        super().__init__(folder)
        self.left: list[tuple[str, RoleRecord]] = []
        self.prepared: list[RoleRecord] = []
        """What waited on the disk, before a fence, to become the record."""

    def _do(self, action: Any) -> None:
        (record,) = self.disk.left("role.json")  # one, and whole
        self.left.append((type(action).__name__, parsed(record)))
        if isinstance(action, module.Record):
            self._remember(action.memory)
        super()._do(action)

    def _fence(self, member: str) -> None:
        waiting = [path.name for path in self.disk.folder.glob(".role.json.*")]
        self.prepared += [parsed(content) for name in waiting for content in self.disk.left(name)]
        super()._fence(member)


def parsed(content: bytes | None) -> RoleRecord:
    assert content is not None, "a power cut might leave anything"
    return RoleRecord.model_validate_json(content)


@pytest.mark.parametrize("view", [seen(), seen(a=DEAD)], ids=["requested", "after a death"])
def test_power_cut_in_a_failover_leaves_the_old_record_up_to_the_fence_and_the_new_one_from_then_on(
    tmp_path: Path, view: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Cut(tmp_path, monkeypatch)
    cut.step(desired(request=request(RequestKind.FAILOVER)), view)
    assert [(done, left.epoch, left.primary) for done, left in cut.left] == [
        ("Fence", WELL.epoch, "a"),
        *((done, WELL.epoch + 1, "b") for done in ("Announce", "Promote", "PointPrimary", "PointUpstream")),
    ]
    assert [(left.epoch, left.primary, left.fenced) for left in cut.prepared] == [(WELL.epoch + 1, "b", "a")]


def test_power_cut_once_commits_no_longer_wait_leaves_a_record_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = Cut(tmp_path, monkeypatch)
    cut.step(DESIRED, seen(b=DEAD))
    assert [(done, left.in_sync) for done, left in cut.left] == [
        ("Record", True), ("Configure", False), ("PointUpstream", False),
    ]  # fmt: skip


def test_moments_of_a_failover_are_kept_though_the_record_was_written_before_them(told: Told) -> None:
    told.step(DESIRED, seen(a=DEAD))
    assert told.memory.last_failover is not None
    assert None not in (told.memory.last_failover.fenced, told.memory.last_failover.recorded)


def test_loop_waits_no_longer_than_a_second_for_processes_that_survive_a_kill(told: Told, monkeypatch: Any) -> None:
    """An old standby that is stuck in the kernel must not hide the death of the primary."""
    waited: list[tuple[float, bool]] = []

    def patient(_: Path, *, patience_s: float = 30.0, doomed_will_do: bool = False) -> int:
        waited.append((patience_s, doomed_will_do))
        return 0

    monkeypatch.setattr(module, "fence", patient)
    told._note_stuck = lambda _: None  # type: ignore[method-assign]
    told.servers: Any = {"b": SimpleNamespace(data=Path("data"), remove_stale_pid=lambda: None)}
    Supervisor._fence(told, "b")
    assert waited == [(1.0, True)]


class Wanting(Supervisor):
    """A supervisor that only reads what is wanted."""

    def __init__(self, folder: Path) -> None:
        self.home: Any = SimpleNamespace(desired=folder / "desired.json")
        self.servers: Any = SimpleNamespace(desired=DESIRED)
        self.desired = DESIRED
        self.relay_written = 0
        write_atomically(self.home.desired, DESIRED.model_dump_json())
        self._desired_key = self._key_of_desired()

    def _write_relay(self) -> None:
        self.relay_written += 1

    def want(self, **changes: object) -> None:
        write_atomically(self.home.desired, desired(**changes).model_dump_json())


def test_what_is_wanted_within_one_tick_of_the_clock_is_read(tmp_path: Path) -> None:
    wanting = Wanting(tmp_path)
    before = wanting.home.desired.stat().st_mtime_ns
    wanting.want(multi_az=False)
    os.utime(wanting.home.desired, ns=(before, before))
    wanting._read_desired()
    assert wanting.desired.multi_az is False
    wanting._read_desired()
    assert wanting.relay_written == 1


def test_what_is_wanted_while_it_is_being_read_is_read_next(tmp_path: Path, monkeypatch: Any) -> None:
    wanting, read = Wanting(tmp_path), Path.read_bytes

    def meanwhile(path: Path) -> bytes:
        monkeypatch.setattr(Path, "read_bytes", read)
        said = read(path)
        wanting.want(multi_az=True, allocated_gib=50)
        return said

    wanting.want(multi_az=False)
    monkeypatch.setattr(Path, "read_bytes", meanwhile)
    wanting._read_desired()
    wanting._read_desired()
    assert wanting.desired.allocated_gib == 50


def test_relay_that_could_not_be_told_is_told_in_the_next_round(tmp_path: Path, monkeypatch: Any) -> None:
    """A full disk must not end the supervisor either."""
    wanting = Wanting(tmp_path)
    wanting.want(multi_az=False)
    with monkeypatch.context() as full:
        full.setattr(wanting, "_write_relay", no_room)
        wanting._read_desired()
    wanting._read_desired()
    assert wanting.relay_written == 1


def test_a_server_that_died_since_it_was_looked_at_ends_the_wait_at_once(monkeypatch: Any) -> None:
    """No pidfd can be had of it any more: the loop waited out its calm, a quarter of a second of every such outage."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    waiting: Any = Supervisor.__new__(Supervisor)
    waiting._wake_read, waiting._wake_write = os.pipe2(os.O_NONBLOCK)
    waiting._backoff_s = 0.0
    waiting.observer = SimpleNamespace(acted=False, pids=lambda: (gone.pid,), next_look_s=lambda: 3600.0)
    monkeypatch.setattr(module, "CALM_S", 3600.0)
    waiting._wait()  # an hour, if it waits
    os.close(waiting._wake_read)
    os.close(waiting._wake_write)


def test_supervisor_without_a_free_descriptor_waits_for_its_next_look(monkeypatch: Any) -> None:
    """It ended, and its servers had nobody to fail them over."""

    def none_left(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    waiting: Any = Supervisor.__new__(Supervisor)
    waiting._wake_read, waiting._wake_write = os.pipe2(os.O_NONBLOCK)
    waiting._backoff_s = 0.0
    waiting.observer = SimpleNamespace(acted=False, pids=lambda: (os.getpid(),), next_look_s=lambda: 3600.0)
    monkeypatch.setattr(module, "CALM_S", 3600.0)
    monkeypatch.setattr(module, "open_pidfd", none_left)
    threading.Timer(0.05, waiting.wake).start()
    waiting._wait()
    with pytest.raises(BlockingIOError):  # it was woken, and took notice
        os.read(waiting._wake_read, 1)
    os.close(waiting._wake_read)
    os.close(waiting._wake_write)


def test_supervisor_that_cannot_look_waits_and_looks_again_instead_of_ending(monkeypatch: Any) -> None:
    rounds: list[float] = []

    class Blind(Supervisor):
        def _load(self) -> None:
            self.observer: Any = SimpleNamespace(stop=lambda: None)
            self.lock: Any = SimpleNamespace(acquire=lambda: True)

        def _round(self) -> Step:
            rounds.append(self._backoff_s)
            self._ending = len(rounds) == 4
            raise OSError(errno.EMFILE, "Too many open files")

        def _wait(self) -> None: ...

        def _shut_down(self) -> None: ...

    blind: Any = Blind.__new__(Blind)
    blind._wake_write, blind._ending, blind._backoff_s = -1, False, 0.0
    blind.home = SimpleNamespace(observed=SimpleNamespace(unlink=lambda **_: None))
    blind.lock = SimpleNamespace(acquire=lambda: True)
    monkeypatch.setattr(module.signal, "set_wakeup_fd", lambda *_, **__: None)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    assert blind.run() == 0
    assert rounds == [0.0, 0.05, 0.1, 0.2]


class Faulted(Supervisor):
    """A supervisor that only reads what is broken on purpose."""

    def __init__(self, folder: Path) -> None:
        self.faults = FaultFile(folder / "faults.json")
        self.servers: Any = SimpleNamespace(faults=Faults())
        self.memory = WELL.model_copy(update={"following": True})
        self.written: list[bool] = []

    def _write_relay(self) -> None:
        self.written.append(self.servers.faults.servers() is not None)


def test_a_promotion_ends_what_was_broken_between_the_replica_and_its_source(tmp_path: Path) -> None:
    write_faults(
        tmp_path / "faults.json", (Fault("partition", "parted", servers=Network(blocked=True), follower=True),)
    )
    faulted = Faulted(tmp_path)
    for _ in range(2):
        faulted._read_faults()
    faulted.memory = WELL
    for _ in range(2):
        faulted._read_faults()
    assert faulted.written == [True, False], "once when it comes, once when it is over"


class Deleting(Supervisor):
    """A supervisor whose servers are gone: what is left is its endpoint."""

    def __init__(self, ends: list[bool]) -> None:
        self.did: list[str] = []
        self.memory = WELL
        self.backups: Any = SimpleNamespace(end=lambda: None)
        self.relay: Any = SimpleNamespace(end=lambda: ends.pop(0), keep=lambda: self.did.append("keep"))
        self.publisher: Any = SimpleNamespace(publish=lambda *_, **__: self.did.append("publish"))

    def _release_storage(self) -> None:
        self.did.append("release")


def test_instance_is_not_told_to_be_deleted_before_its_endpoint_has_ended() -> None:
    """Its folder goes when that is told, and with it all that is known of an endpoint that lives on."""
    step = Step("deleted", Phase.DELETED, "the instance is deleted")
    deleting = Deleting([False, True])
    for _ in range(2):
        deleting._tell(step)
        told = deleting._is_deleted(step)
    assert (told, deleting.did) == (True, ["release", "publish"])
