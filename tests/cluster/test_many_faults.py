"""Fault after fault on one instance with a replica: every acknowledged row stays, and the replica equals its source."""

from __future__ import annotations

import contextlib
import os
import random
import signal

import psycopg
import pytest
from harness import Instance, MakeInstance, eventually
from ledger import Ledger

from multiaz.files import lock_holder
from multiaz.instance.records import RequestKind
from multiaz.postgres.processes import processes_in

FAULTS = 30
HANGS = ("primary: all", "primary: postmaster", "standby: all", "standby: postmaster")
"""What is stopped (SIGSTOP); nobody lets it go."""
MIX = ("request", "primary", "standby", "process", "supervisor", "both", "primary+supervisor", *HANGS)


def kill_postmaster(instance: Instance, member: str) -> None:
    pid = instance.server(member).pid()  # type: ignore[arg-type]
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def stop(instance: Instance, member: str, *, whole: bool) -> None:
    """Its postmaster, or all of it; the fault before may have ended it already."""
    postmaster = instance.server(member).pid()  # type: ignore[arg-type]
    everybody = processes_in(instance.home.data(member)) if whole else []  # type: ignore[arg-type]
    for pid in {postmaster, *everybody} - {None}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)  # type: ignore[arg-type]


def kill_some_process(instance: Instance, member: str) -> None:
    pids = processes_in(instance.home.data(member))
    if pids:
        os.kill(random.choice(pids), signal.SIGKILL)


def kill_supervisor(instance: Instance) -> None:
    pid = lock_holder(instance.home.lock)
    if pid:
        os.kill(pid, signal.SIGKILL)


def rows(instance: Instance) -> list[tuple[int]]:
    with instance.connect() as connection:
        return connection.execute("SELECT number FROM ledger ORDER BY number").fetchall()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_no_acknowledged_row_is_lost_by_any_of_many_faults(make_instance: MakeInstance, seed: int) -> None:
    random.seed(seed)
    source = make_instance("source")
    source.wait("well, with its relay", lambda seen: seen.redundant and seen.relay_ready)
    replica = make_instance("replica", multi_az=False, source=source)
    replica.wait_well()
    with Ledger(source, source.connect_by_endpoint) as ledger:
        for _ in range(FAULTS):
            seen = source.wait_well()
            assert seen.primary is not None
            standby = "b" if seen.primary == "a" else "a"
            fault = random.choice(MIX)
            if fault == "request":
                source.request(RequestKind.FAILOVER)
            if fault in ("primary", "primary+supervisor", "both"):
                kill_postmaster(source, seen.primary)
            if fault in ("standby", "both"):
                kill_postmaster(source, standby)
            if fault in HANGS:
                which, what = fault.split(": ")
                stop(source, seen.primary if which == "primary" else standby, whole=what == "all")
            if fault == "process":
                kill_some_process(source, random.choice((seen.primary, standby)))
            if "supervisor" in fault:
                kill_supervisor(source)
            try:
                ledger.wait_for(5)
            except AssertionError as error:
                raise AssertionError(f"{error} after {fault}\n{source.log()}") from None
    source.wait_well()
    ledger.check()
    wanted = rows(source)

    def equal() -> bool:
        try:
            return rows(replica) == wanted
        except psycopg.Error:
            return False

    eventually("the replica has the same rows", equal, within_s=60)
