"""A slow machine is no dead primary: no failover while every core is busy, nor after a time in which nobody looked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from harness import PASSWORD, Instance, MakeInstance, eventually
from ledger import Ledger
from starving import cpu_group

from multiaz.files import lock_holder
from multiaz.instance.progress import GIVE_UP_AFTER_S, HANG_AFTER_S
from multiaz.instance.records import MemberName, ObservedInstance
from multiaz.instance.servers import MEMBERS
from multiaz.postgres.processes import processes_in

BUSY_S = 20.0
BLAMED_WITHIN_S = 0.9
"""Of waking: a standby that is blamed so soon is blamed for what was seen before. Later it may have a disk that is too
busy for a second, which is no rule of this file."""


STARVED_S, SHARE = 20.0, 0.01
"""For so long they have so much of one CPU, all together."""
LEAST = 0.001
"""The least share the kernel grants: 1 ms in a second."""
CLIENTS = 8


@contextlib.contextmanager
def every_core_busy(seconds: float) -> Iterator[None]:
    """Two loops for each core, at the servers' own priority, each in a session of its own, because Linux shares the CPU
    out to sessions; each ends by itself."""
    loop = f"import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    count = 2 * (os.cpu_count() or 1)
    burners = [subprocess.Popen([sys.executable, "-c", loop], start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


class Asking:
    """Goes the way of the supervisor's probe, again and again: how long a new connection and a flushed commit take."""

    def __init__(self, instance: Instance, member: MemberName) -> None:
        self.took_s: list[float] = []
        self.asked_at: float | None = None
        """`time.monotonic` of the question that has no answer yet."""
        self._instance, self._member = instance, member
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            began = self.asked_at = time.monotonic()
            with contextlib.suppress(psycopg.OperationalError), self._instance.admin(self._member) as connection:
                connection.execute("SET synchronous_commit = local")
                connection.execute("SELECT pg_logical_emit_message(true, 'test', '')")
            self.asked_at = None
            self.took_s.append(time.monotonic() - began)

    def waits_s(self) -> float:
        """For how long the present question has waited."""
        asked_at = self.asked_at
        return 0.0 if asked_at is None else time.monotonic() - asked_at

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def begin(instance: Instance) -> ObservedInstance:
    """Wait until there are two copies, and a relay to reach them by."""
    return instance.wait("well, with its relay", lambda seen: seen.redundant and seen.relay_ready)


def nobody_was_blamed(instance: Instance, before: ObservedInstance) -> None:
    after = instance.wait_well()
    assert (after.epoch, after.primary) == (before.epoch, before.primary), instance.log()
    assert "hang" not in instance.whole_log()


@pytest.mark.long
def test_overload_is_no_failover(make_instance: MakeInstance) -> None:
    """2 loops a core and 30 clients of the endpoint, each commit by a TLS session of its own: all goes on as before."""
    instance = make_instance("one")
    before = begin(instance)
    assert before.primary is not None
    command, environment = _pgbench(instance, "-i", "-q")
    scale = subprocess.run(command, env=environment, check=False)
    assert scale.returncode == 0
    with Ledger(instance, instance.connect_by_endpoint) as ledger, every_core_busy(BUSY_S):
        command, environment = _pgbench(instance, "-n", "-c", "30", "-j", "2", "-T", str(int(BUSY_S)), "-C")
        clients = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        assert clients.wait(BUSY_S * 6) == 0
        assert ledger.acknowledged
    ledger.check()
    assert not ledger.unknown, "a session was cut"
    nobody_was_blamed(instance, before)
    assert "[leave]" not in instance.whole_log()


@pytest.mark.long
@pytest.mark.parametrize("who", ["servers", "everybody"])
def test_probes_that_are_slow_for_want_of_cpu_are_no_failover(make_instance: MakeInstance, who: str) -> None:
    """The servers alone, or the supervisor and the relay too, get so little CPU that probes take seconds; loops beside
    them, be it 32, do not make a probe late: Linux runs first who wakes and wants little.

    The standby may leave: for a second it confirms nothing.
    """
    instance = make_instance("one")
    before = begin(instance)
    assert before.primary is not None
    with cpu_group() as group, contextlib.ExitStack() as stack:
        if group is None:
            pytest.skip("no control group for the CPU can be made here")
        group.take(pid for member in MEMBERS for pid in processes_in(instance.home.data(member)))
        if who == "everybody":
            group.take(pid for pid in map(lock_holder, (instance.home.lock, instance.home.relay_lock)) if pid)
        asking = stack.enter_context(Asking(instance, before.primary))
        ledgers = [
            stack.enter_context(Ledger(instance, instance.connect_by_endpoint, client=number))
            for number in range(CLIENTS)
        ]
        group.limit(SHARE)
        until = time.monotonic() + STARVED_S
        while time.monotonic() < until:
            ledgers[0].wait_for(1, within_s=60)
        group.lift()
    nobody_was_blamed(instance, before)
    if who == "servers":  # the supervisor itself missed nothing
        assert "[awaken] the primary is slow to answer" in instance.whole_log()
    assert sum(took > HANG_AFTER_S for took in asking.took_s) >= 3, f"probes were not slow: {max(asking.took_s):.2f} s"
    for ledger in ledgers:
        ledger.check()
        assert not ledger.unknown, "a session was cut"


@pytest.mark.long
def test_servers_that_answer_nobody_for_want_of_cpu_are_no_failover_however_long_it_lasts(
    make_instance: MakeInstance,
) -> None:
    """So little CPU that no question is answered in the time after which a server that loops is given up."""
    instance = make_instance("one")
    before = begin(instance)
    assert before.primary is not None
    with cpu_group() as group:
        if group is None:
            pytest.skip("no control group for the CPU can be made here")
        group.take(pid for member in MEMBERS for pid in processes_in(instance.home.data(member)))
        with Asking(instance, before.primary) as asking:
            group.limit(LEAST)
            eventually("a question waits", lambda: asking.waits_s() > GIVE_UP_AFTER_S + 5, within_s=150)
            group.lift()
    assert "[awaken] the primary is slow to answer" in instance.whole_log()
    nobody_was_blamed(instance, before)


def _pgbench(instance: Instance, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """A command and its environment: clients of the endpoint, by TLS."""
    endpoint = instance.desired.endpoint
    program = Path(instance.desired.bin_folder) / "pgbench"
    to = ["-h", endpoint.address, "-p", str(endpoint.port), "-U", "dbadmin"]
    return [str(program), *to, *arguments, "shop"], {**os.environ, "PGPASSWORD": PASSWORD, "PGSSLMODE": "require"}


@pytest.mark.long
def test_supervisor_that_was_stopped_wakes_without_blaming_anybody(make_instance: MakeInstance) -> None:
    """What it remembers is old by then; its age counts only as far as it was awake."""
    instance = make_instance("one")
    before = instance.wait_well()
    supervisor = lock_holder(instance.home.lock)
    assert supervisor is not None
    woken = []
    with Ledger(instance) as ledger:
        for _ in range(3):
            ledger.wait_for(5)
            os.kill(supervisor, signal.SIGSTOP)
            asleep_until = time.monotonic() + 5
            while time.monotonic() < asleep_until:  # the servers go on without it
                ledger.wait_for(1)
            os.kill(supervisor, signal.SIGCONT)
            awake_at = time.time()
            woken.append(awake_at)
            instance.wait("awake", lambda seen, at=awake_at: seen.written_at > at + 1)
            seen = instance.wait_well()
            assert (seen.epoch, seen.primary, seen.in_sync) == (before.epoch, before.primary, True), instance.log()
    ledger.check()
    assert "hangs" not in instance.whole_log()
    left = leaves(instance)
    assert not [at for at in left if any(awake <= at < awake + BLAMED_WITHIN_S for awake in woken)], instance.log()


def leaves(instance: Instance) -> list[float]:
    """When the standby was struck off, as the log says; Unix time."""
    lines = [line for line in instance.whole_log().splitlines() if "[leave]" in line]
    return [datetime.fromisoformat(line.split()[0]).timestamp() for line in lines]
