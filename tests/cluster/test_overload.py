"""A slow machine is no dead primary: no failover while every core is busy, nor after a time in which nobody looked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Instance, MakeInstance
from ledger import Ledger

from multiaz.files import lock_holder

BUSY_S = 20.0


@contextlib.contextmanager
def every_core_busy(seconds: float) -> Iterator[None]:
    """Two loops for each core, at the servers' own priority; each ends by itself."""
    loop = f"import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    burners = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@pytest.mark.long
def test_overload_is_no_failover(make_instance: MakeInstance) -> None:
    """2 loops a core and 30 clients that write: probes are slow, commits go on, the epoch stays."""
    instance = make_instance("one")
    before = instance.wait_well()
    scale = subprocess.run(_pgbench(instance, "-i", "-q"), check=False)
    assert scale.returncode == 0
    with Ledger(instance) as ledger, every_core_busy(BUSY_S):
        clients = subprocess.Popen(
            _pgbench(instance, "-n", "-c", "30", "-j", "2", "-T", str(int(BUSY_S)), "-C"),
            stdout=subprocess.DEVNULL,
        )
        assert clients.wait(BUSY_S * 6) == 0
        assert ledger.acknowledged
    after = instance.wait_well()
    ledger.check()
    assert (after.epoch, after.primary) == (before.epoch, before.primary), instance.log()
    assert "hangs" not in instance.log()


def _pgbench(instance: Instance, *arguments: str) -> list[str]:
    program = Path(instance.desired.bin_folder) / "pgbench"
    host = str(instance.home.socket_folder("a"))
    return [str(program), "-h", host, "-p", "5432", "-U", "rdsadmin", *arguments, "postgres"]


@pytest.mark.long
def test_supervisor_that_was_stopped_wakes_without_blaming_anybody(make_instance: MakeInstance) -> None:
    """What it remembers is old by then; its age counts only as far as it was awake."""
    instance = make_instance("one")
    before = instance.wait_well()
    supervisor = lock_holder(instance.home.lock)
    assert supervisor is not None
    with Ledger(instance) as ledger:
        for _ in range(3):
            ledger.wait_for(5)
            os.kill(supervisor, signal.SIGSTOP)
            asleep_until = time.monotonic() + 5
            while time.monotonic() < asleep_until:  # the servers go on without it
                ledger.wait_for(1)
            os.kill(supervisor, signal.SIGCONT)
            awake_at = time.time()
            instance.wait("awake", lambda seen, at=awake_at: seen.written_at > at + 1)
            seen = instance.wait_well()
            assert (seen.epoch, seen.primary, seen.in_sync) == (before.epoch, before.primary, True), instance.log()
    ledger.check()
    assert "hangs" not in instance.log()
    assert "[leave]" not in instance.log()
