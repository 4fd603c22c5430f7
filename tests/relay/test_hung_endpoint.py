"""An endpoint process that hangs is ended and started again by its keeper; one that is late is left alone."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from relay_harness import PORT, Authority, RunningRelay, dial, free_address, wait_for
from starving import cpu_group

from multiaz.files import lock_holder
from multiaz.home import Home, InstanceHome
from multiaz.instance.endpoint_probe import QUESTION, EndpointProbe
from multiaz.instance.endpoint_watch import EndpointWatch
from multiaz.instance.progress import ASLEEP_AFTER_S, HANG_AFTER_S, LONGEST_GAP_S, Verdict
from multiaz.instance.records import DesiredInstance, Endpoint
from multiaz.instance.relaying import LOOK_EVERY_S, RelayKeeper, Shaping
from multiaz.postgres.pulse import pulse_of


class Kept:
    """An instance's endpoint under its keeper, without a supervisor and without servers."""

    def __init__(self, home: Home, authority: Authority) -> None:
        self.home: InstanceHome = home.instance("db-KEPT")
        self.address = free_address()
        for folder in (self.home.folder, self.home.logs, self.home.tls, self.home.run):
            folder.mkdir(parents=True)
        authority.issue(self.home.tls, self.address)
        self.keeper = RelayKeeper(home, self.home)
        self.wanted = DesiredInstance(
            resource_id="db-KEPT", identifier="kept", bin_folder="/nowhere", major=17, multi_az=True,
            zones={"a": "us-east-1a", "b": "us-east-1b"},
            endpoint=Endpoint(
                address=self.address, port=PORT, region="us-west-2", force_ssl=False, iam_authentication=False
            ),
        )  # fmt: skip

    @property
    def pid(self) -> int | None:
        return lock_holder(self.home.relay_lock)

    def after_a_round(self, holds: Callable[[], object]) -> object:
        """What `holds` says after one round of the supervisor."""
        self.keeper.keep()
        return holds()

    def ready(self) -> object:
        """The relay runs and listens, after one round of the supervisor."""
        return self.after_a_round(self.keeper.ready)

    def listens_after(self, old: int) -> bool:
        """Another relay than `old` runs and listens, after one round of the supervisor."""
        return bool(self.ready()) and self.pid != old

    def start(self) -> int:
        self.keeper.write(self.wanted)
        wait_for("the relay runs", self.ready)
        assert self.pid is not None
        return self.pid

    def keep_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.keeper.keep()
            time.sleep(0.05)

    def answers(self, within_s: float = 0.2) -> bool:
        """A client's first question is answered."""
        with contextlib.suppress(OSError), socket.create_connection((self.address, PORT), timeout=within_s) as client:
            client.sendall(QUESTION)
            return client.recv(1) == b"N"
        return False

    def log(self) -> str:
        return (self.home.logs / "relay.log").read_text()


@pytest.fixture
def kept(tmp_path: Path, authority: Authority) -> Iterator[Kept]:
    made = Kept(Home(tmp_path / "kept"), authority)
    with made.home.lock.open("w") as held:  # a supervisor's lock that is held: the relay must not start one
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield made
        finally:
            made.keeper.end()


def _state(pid: int) -> str:
    seen = pulse_of(pid)
    return "" if seen is None else seen.state


def is_over(probe: EndpointProbe) -> bool:
    """The question has its answer, after one look for it."""
    probe.look()
    return not probe.pending


def verdict_after(pid: int, where: tuple[str, int] | None, seconds: float) -> Verdict:
    """Of looks at a process while so much attended time passes (a simulated one, so that nobody waits)."""
    watch = EndpointWatch()
    for step in range(int(seconds / LONGEST_GAP_S) + 2):
        watch.tick(step * LONGEST_GAP_S)
        verdict = watch.look(pid, where)
    watch.forget()
    return verdict


def test_stopped_endpoint_is_ended_and_another_one_answers(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    old = kept.start()
    os.kill(old, signal.SIGSTOP)
    assert not kept.answers()
    wait_for("another one listens", lambda: kept.listens_after(old))
    assert kept.answers(within_s=10)
    assert f"the endpoint ({old}) hangs: it is stopped and answers no client" in caplog.text


@pytest.mark.long
def test_endpoint_that_is_stopped_before_it_listens_is_ended_too(kept: Kept) -> None:
    """Before it holds its lock, and right after."""
    kept.keeper.write(kept.wanted)
    kept.keeper.keep()
    started = kept.keeper._child
    assert started is not None
    os.kill(started.pid, signal.SIGSTOP)
    wait_for("another one holds the lock", lambda: kept.after_a_round(lambda: kept.pid))
    old = kept.pid
    assert old is not None
    assert old != started.pid
    os.kill(old, signal.SIGSTOP)
    wait_for("another one listens", lambda: kept.listens_after(old))


@pytest.mark.long
def test_stopped_endpoint_is_ended_also_while_its_network_is_shaped(kept: Kept) -> None:
    """It is no network that stops a process."""
    old = kept.start()
    kept.keeper.write(kept.wanted, Shaping(delay_ms=20))
    wait_for("the shape is in force", kept.keeper.in_force)
    os.kill(old, signal.SIGSTOP)
    wait_for("another one listens", lambda: kept.listens_after(old))


@pytest.mark.long
def test_endpoint_that_outlives_its_kill_is_killed_once_and_not_ready(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does that is stuck in the kernel: it holds the address, so that no other one could serve."""
    old = kept.start()
    killed: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(kept.keeper, "_kill", lambda pid, _: killed.append(pid) or True)
        os.kill(old, signal.SIGSTOP)
        wait_for("it is killed", lambda: kept.after_a_round(lambda: killed))
        kept.keep_for(2 * HANG_AFTER_S + 1)
    assert killed == [old]
    assert not kept.keeper.ready()
    assert caplog.text.count("hangs") == 1
    os.kill(old, signal.SIGKILL)
    wait_for("another one listens", lambda: kept.listens_after(old))
    assert kept.keeper.ready()


def test_stopped_endpoint_does_not_outlive_its_instance(kept: Kept) -> None:
    os.kill(kept.start(), signal.SIGSTOP)
    kept.keeper.end()
    assert kept.pid is None


def test_endpoint_that_does_not_end_when_it_is_told_does_not_outlive_its_instance(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither stopped nor hung: it obeys nobody."""
    monkeypatch.setattr("multiaz.instance.relaying.END_PATIENCE_S", 0.2)
    stubborn = "import fcntl, os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); \
lock = open('relay.lock', 'w'); fcntl.flock(lock, fcntl.LOCK_EX); print(os.getpid(), file=lock, flush=True); \
time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", stubborn, "multiaz.relay"], cwd=kept.home.folder) as process:
        try:
            wait_for("it holds the lock", lambda: kept.pid == process.pid)
            assert kept.keeper.end()
            assert kept.pid is None
        finally:
            process.kill()


def test_endpoint_that_is_stopped_before_it_holds_its_lock_does_not_outlive_its_instance(kept: Kept) -> None:
    kept.keeper.write(kept.wanted)
    kept.keeper.keep()
    child = kept.keeper._child
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    assert kept.pid is None
    assert kept.keeper.end()
    assert child.wait(10) == -signal.SIGKILL


def test_endpoint_that_survives_a_kill_is_not_said_to_have_ended(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiaz.instance.relaying.END_PATIENCE_S", 0.1)
    monkeypatch.setattr("multiaz.instance.relaying.KILL_PATIENCE_S", 0.1)
    with kept.home.relay_lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not kept.keeper.end()
    assert kept.keeper.end()


def test_endpoint_that_cannot_start_is_tried_ever_more_rarely_until_one_has_listened(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, starts = [1000.0], []

    class Dead:
        returncode = 1

        def __init__(self, *_: object, **__: object) -> None:
            starts.append(clock[0] - 1000)

        def poll(self) -> int:
            return self.returncode

        def kill(self) -> None:
            raise AssertionError("it is dead")

        def wait(self, _: float) -> int:
            return self.returncode

    def keep_until(end: float) -> None:
        while clock[0] < 1000 + end:
            kept.keeper.keep()
            clock[0] += 0.25

    with monkeypatch.context() as patch:
        patch.setattr("multiaz.instance.relaying.time.monotonic", lambda: clock[0])
        patch.setattr("multiaz.instance.relaying.subprocess.Popen", Dead)
        kept.keeper.write(kept.wanted)
        keep_until(20)
        assert starts == [0, 0.5, 1.5, 3.5, 7.5, 12.5, 17.5]
        with kept.home.relay_lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            held.write(str(os.getpid()))
            held.flush()
            said = {"pid": os.getpid(), "address": kept.address, "port": PORT}
            (kept.home.folder / "relay.ready").write_text(json.dumps(said))
            keep_until(23)
        starts.clear()
        keep_until(25)
        assert starts == [23, 23.5, 24.5], "the first one at once"


def test_endpoint_is_asked_nothing_while_its_network_is_shaped(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is wanted then, or an answer that is late."""
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(EndpointProbe, "ask", lambda _, *where: asked.append(where))
    shapes = [Shaping(blocked=True), Shaping(blocked="cut"), Shaping(delay_ms=5000), Shaping(bytes_per_s=1)]
    kept.keeper.write(kept.wanted, shapes[0])
    wait_for("the relay runs", kept.ready)
    for shape in shapes:
        kept.keeper.write(kept.wanted, shape)
        kept.keep_for(2 * LOOK_EVERY_S)
        assert asked == []
    kept.keeper.write(kept.wanted)
    wait_for("it is asked", lambda: kept.after_a_round(lambda: asked))
    assert asked[0] == (kept.address, PORT)


def test_question_is_answered_and_leaves_no_client_and_no_line(new_relay: Callable[..., RunningRelay]) -> None:
    """There is no server either: its answer waits for none."""
    relay = new_relay(None)
    relay.start()
    before = relay.log
    probe = EndpointProbe()
    assert relay.process is not None
    for _ in range(20):
        relay.process.send_signal(signal.SIGSTOP)
        wait_for("it is stopped", lambda pid=relay.process.pid: _state(pid) == "T")
        probe.ask(relay.address, relay.port)
        probe.look()
        assert probe.pending
        relay.process.send_signal(signal.SIGCONT)
        wait_for("an answer", lambda: is_over(probe))
    wait_for("nobody is connected", lambda: relay.client_sockets() == 0)
    assert relay.log == before


def test_question_that_nobody_can_take_is_none() -> None:
    """Nobody listens at the address: whoever runs there is judged by other means."""
    probe = EndpointProbe()
    probe.ask(free_address(), PORT)
    wait_for("nothing is pending", lambda: is_over(probe))


DEADLOCKED = """
import signal, socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listens", flush=True)
signal.pause()
"""


@pytest.fixture
def deadlocked() -> Iterator[tuple[int, tuple[str, int]]]:
    """The pid of a process that listens and takes nobody, and where."""
    address = free_address()
    command = [sys.executable, "-c", DEADLOCKED, address, str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "listens\n"

    wait_for("it sleeps", lambda: _state(process.pid) == "S")
    yield process.pid, (address, PORT)
    process.kill()
    process.wait()
    process.stdout.close()


def test_endpoint_that_sleeps_while_a_client_waits_hangs(deadlocked: tuple[int, tuple[str, int]]) -> None:
    pid, where = deadlocked
    assert not verdict_after(pid, where, ASLEEP_AFTER_S - 3 * LONGEST_GAP_S).hung
    verdict = verdict_after(pid, where, ASLEEP_AFTER_S + 1)
    assert verdict.hung
    assert "sleeps" in verdict.why


def test_endpoint_that_sleeps_behind_a_shaped_network_does_not_hang(deadlocked: tuple[int, tuple[str, int]]) -> None:
    assert not verdict_after(deadlocked[0], None, 60).hung


def test_process_that_is_no_endpoint_of_this_instance_is_never_killed(
    kept: Kept, deadlocked: tuple[int, tuple[str, int]]
) -> None:
    """A lock's file may name the holder before, whose pid is somebody else's by now."""
    pid, _ = deadlocked
    with kept.home.relay_lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(f"{pid}\n")
        held.flush()
        os.kill(pid, signal.SIGSTOP)
        kept.keep_for(HANG_AFTER_S + 1)
        assert _state(pid) == "T"


@pytest.mark.long
def test_endpoint_without_descriptors_answers_nobody_and_is_left_alone(
    new_relay: Callable[..., RunningRelay],
) -> None:
    """Its sessions go on; who ended them would help nobody. It tries to accept ten times a second: it moves."""
    relay = new_relay(None)
    relay.start(open_files=40)
    assert relay.process is not None
    watch, probe = EndpointWatch(), EndpointProbe()
    with contextlib.ExitStack() as clients:
        wait_for("it has none left", lambda: clients.enter_context(dial(relay)) and "cannot accept" in relay.log)
        until = time.monotonic() + 3 * ASLEEP_AFTER_S
        probe.ask(relay.address, relay.port)
        while time.monotonic() < until:
            watch.tick(time.monotonic())
            assert not watch.look(relay.process.pid, (relay.address, relay.port)).hung
            time.sleep(0.2)
        probe.look()
        watch.forget()
        assert probe.pending, "the question was answered: this shows nothing"
    probe.drop()


class Asking:
    """A client that asks its first question again and again: how long each answer took."""

    def __init__(self, kept: Kept) -> None:
        self.took_s: list[float] = []
        self._kept = kept
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            if self._kept.answers(within_s=60):
                self.took_s.append(time.monotonic() - began)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.long
def test_endpoint_that_is_late_for_want_of_cpu_is_left_alone(kept: Kept) -> None:
    """It has so little of one CPU that answers take seconds, while its keeper has all it wants."""
    old = kept.start()
    with cpu_group() as group, contextlib.ExitStack() as stack:
        if group is None:
            pytest.skip("no control group for the CPU can be made here")
        group.take([old])
        clients = [stack.enter_context(Asking(kept)) for _ in range(8)]
        group.limit(0.001)
        kept.keep_for(30)
        group.lift()
    took_s = [seconds for client in clients for seconds in client.took_s]
    assert kept.pid == old
    assert sum(seconds > HANG_AFTER_S for seconds in took_s) >= len(clients), f"in time: {max(took_s):.2f} s"
