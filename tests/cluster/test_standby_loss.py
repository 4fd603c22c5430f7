"""An in-sync standby is lost: commits go on, or wait until it is back, as is wanted."""

from __future__ import annotations

import os
import signal
import time

import psycopg
import pytest
from harness import Instance, MakeInstance, eventually
from ledger import Ledger
from test_hangs import let_go, stop_processes

from multiaz.files import write_atomically
from multiaz.instance.faults import Fault, Faults
from multiaz.instance.records import MemberName, RequestKind, RoleRecord


def hold_down(instance: Instance, *members: MemberName) -> None:
    """What `multiaz fault` does: these members must not run."""
    faults = (Fault(kind="standby-loss", since=time.time(), why="held", held=members),) if members else ()
    write_atomically(instance.home.faults, Faults(faults=faults).model_dump_json())
    instance.write()  # SIGHUP


def test_commits_wait_for_a_lost_standby_if_that_is_wanted_and_go_on_when_it_is_back(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance("one")
    before = instance.wait_well()
    instance.write(standby_loss="wait")
    with Ledger(instance) as ledger:
        ledger.wait_for(20)
        hold_down(instance, "b")
        instance.wait("commits wait", lambda seen: "commits wait for the standby: held" in seen.reason)
        waiting = len(ledger.acknowledged)
        number = instance.request(RequestKind.FAILOVER)
        refused = instance.wait("answered", lambda seen: bool(seen.answers))
        assert (refused.answers[-1].number, refused.answers[-1].outcome) == (number, "refused")
        assert (refused.in_sync, refused.redundant, refused.primary) == (True, False, "a")
        assert len(ledger.acknowledged) - waiting <= 1
        hold_down(instance)
        ledger.wait_for(20)
        after = instance.wait_well()
    ledger.check()
    assert (after.epoch, after.primary) == (before.epoch, before.primary)
    assert RoleRecord.model_validate_json(instance.home.role.read_bytes()).in_sync


@pytest.mark.long
def test_standby_whose_receiver_is_stopped_is_promoted_when_the_primary_dies(make_instance: MakeInstance) -> None:
    """A promotion waits for the receiver to end: a stopped one would hold it up."""
    instance = make_instance("one")
    before = instance.wait_well()
    instance.write(standby_loss="wait")
    with Ledger(instance) as ledger:
        ledger.wait_for(20)
        stop_processes(instance, "b", "walreceiver")
        pid = instance.server("a").pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        instance.wait("taken over", lambda seen: seen.epoch > before.epoch)
        ledger.wait_for(20)
        assert instance.wait_well().primary == "b"
    ledger.check()


@pytest.mark.long
def test_process_whose_stopping_stops_no_commit_is_left_alone(make_instance: MakeInstance) -> None:
    """One that is at rest holds nothing others need."""
    instance = make_instance("one")
    before = instance.wait_well()
    with Ledger(instance) as ledger:
        for process in ("walwriter", "checkpointer", "background writer", "autovacuum launcher", "logger"):
            ledger.wait_for(20)
            pids = stop_processes(instance, "a", process)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                ledger.wait_for(5)
            let_go(pids)
        ledger.wait_for(20)
        after = instance.wait_well()
    ledger.check()
    assert after.epoch == before.epoch


@pytest.mark.long
def test_stopped_backend_that_holds_a_lock_on_the_way_of_every_client_is_a_hang(make_instance: MakeInstance) -> None:
    """pg_authid locked by a process that is stopped: nobody logs in any more."""
    instance = make_instance("one")
    before = instance.wait_well()
    with instance.admin("a") as holder:
        holder.execute("BEGIN; LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE")
        row = holder.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGSTOP)
        instance.wait("taken over", lambda seen: seen.epoch > before.epoch)
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")
    eventually("clients are served", lambda: _answers(instance))
    assert instance.wait_well().primary == "b"


def _answers(instance: Instance) -> bool:
    with instance.connect() as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
