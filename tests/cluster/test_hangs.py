"""A server that hangs without dying is found by its progress, and ended like a dead one."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psycopg
import pytest
from harness import Instance, MakeInstance, eventually
from ledger import Ledger

from multiaz.postgres.processes import processes_in


def stop_processes(instance: Instance, member: str, which: str) -> list[int]:
    """SIGSTOP the postmaster, all processes, or the one whose title has the word; their pids."""
    postmaster = instance.server(member).pid()  # type: ignore[arg-type]
    assert postmaster is not None
    everybody = processes_in(instance.home.data(member))  # type: ignore[arg-type]
    match which:
        case "postmaster":
            pids = [postmaster]
        case "all":
            pids = [postmaster, *everybody]
        case word:
            pids = [pid for pid in everybody if word.encode() in _title(pid)]
    assert pids, f"nobody is called {which}"
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def let_go(pids: list[int]) -> None:
    """SIGCONT."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _title(pid: int) -> bytes:
    return (Path("/proc") / str(pid) / "cmdline").read_bytes()


def test_hung_primary_is_failed_over_and_never_answers_again(make_instance: MakeInstance) -> None:
    """SIGSTOP of all, then of the postmaster alone; a transaction that was open on it is cut, SIGCONT or not."""
    instance = make_instance("one")
    with_all = instance.wait_well()
    with Ledger(instance) as ledger:
        ledger.wait_for(20)
        for which, before in (("all", with_all), ("postmaster", None)):
            before = before or instance.wait_well()
            assert before.primary is not None
            with instance.connect() as held:
                held.execute("BEGIN; CREATE TABLE IF NOT EXISTS never (x int)")
                pids = stop_processes(instance, before.primary, which)
                after = instance.wait("taken over", lambda seen, old=before.epoch: seen.epoch > old)
                let_go(pids)
                assert not set(pids) & set(processes_in(instance.home.data(before.primary)))
                with pytest.raises(psycopg.OperationalError):
                    held.execute("COMMIT")
            assert after.primary != before.primary
            ledger.wait_for(20)
        instance.wait_well()
    ledger.check()
    assert "hangs: the postmaster" in instance.log()


@pytest.mark.long
def test_hung_server_with_nobody_to_take_over_is_started_again(make_instance: MakeInstance) -> None:
    instance = make_instance("one", multi_az=False)
    instance.wait_well()
    with Ledger(instance) as ledger:
        ledger.wait_for(20)
        (pid,) = stop_processes(instance, "a", "postmaster")
        eventually("another postmaster", lambda: instance.server("a").pid() not in (None, pid))
        ledger.wait_for(20)
    ledger.check()


@pytest.mark.long
def test_standby_that_is_stopped_is_struck_off_and_redundancy_returns(make_instance: MakeInstance) -> None:
    """Also where only its WAL receiver is stopped: both ends still say "streaming"."""
    instance = make_instance("one")
    before = instance.wait_well()
    with Ledger(instance) as ledger:
        for which in ("walreceiver", "all"):
            ledger.wait_for(10)
            pids = stop_processes(instance, "b", which)
            instance.wait("struck off", lambda seen: not seen.in_sync)
            ledger.wait_for(10)
            let_go(pids)
            after = instance.wait_well()
            assert (after.epoch, after.primary) == (before.epoch, before.primary)
    ledger.check()
