"""What would never end by itself, on real servers: a copy through a dead wire, a shutdown that waits for a standby."""

from __future__ import annotations

import os
import signal
import time

import pytest
from harness import Instance, MakeInstance, eventually, halt

from multiaz.files import lock_holder, write_atomically
from multiaz.instance.faults import Fault, Faults, Network, wire_name
from multiaz.instance.records import MemberName, RequestKind, RunState
from multiaz.postgres.processes import processes_in


def partition(instance: Instance, *, blocked: bool = True) -> None:
    """Between its servers, or between this replica and its source: nothing comes through, and nobody is told.

    With `blocked` False there is a wire, and all comes through.
    """
    fault = Fault(kind="partition", since=time.time(), why="parted", servers=Network(blocked=blocked))
    write_atomically(instance.home.faults, Faults(faults=(fault,)).model_dump_json())


def copying(instance: Instance, member: MemberName) -> bool:
    """A base backup was begun there."""
    return bool(processes_in(instance.home.member(member)))


def test_stop_and_sigterm_end_a_copy_that_waits_for_a_dead_wire(make_instance: MakeInstance) -> None:
    instance = make_instance("one", multi_az=False)
    instance.wait_well()
    partition(instance)
    instance.write(multi_az=True)
    eventually("b is being cloned", lambda: copying(instance, "b"))

    instance.write(run=RunState.STOPPED)
    instance.wait("stopped", lambda seen: seen.phase == "stopped", within_s=10)
    assert not copying(instance, "b")

    instance.write(run=RunState.RUNNING)
    eventually("b is being cloned again", lambda: copying(instance, "b"))
    supervisor = lock_holder(instance.home.lock)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGTERM)
    eventually("the supervisor has ended", lambda: lock_holder(instance.home.lock) is None, within_s=10)
    assert instance.server("a").pid() is None
    assert not copying(instance, "b")


@pytest.mark.long
def test_stop_does_not_wait_for_a_standby_that_confirms_nothing(make_instance: MakeInstance) -> None:
    """A primary that shuts down waits until its last WAL is confirmed, or for wal_sender_timeout (a minute)."""
    instance = make_instance("one")
    instance.wait_well()
    halt(processes_in(instance.home.data("b")))
    instance.write(run=RunState.STOPPED)
    instance.wait("stopped", lambda seen: seen.phase == "stopped", within_s=20)
    instance.write(run=RunState.RUNNING)
    instance.wait_well()


@pytest.mark.long
def test_parted_standby_is_ended_once_and_then_copied_not_killed_for_what_its_former_stream_says(
    make_instance: MakeInstance,
) -> None:
    """The primary lists that stream for a minute (wal_sender_timeout), and it confirms nothing."""
    instance = make_instance("one")
    instance.wait_well()
    partition(instance, blocked=False)
    wire = str(instance.home.wire_folder(wire_name("a")))
    eventually("b streams by a wire", lambda: wire in (instance.home.data("b") / "postgresql.conf").read_text())
    instance.wait_well()
    with instance.connect() as client:
        client.execute("CREATE TABLE t (x int)")
        partition(instance)
        client.execute("INSERT INTO t VALUES (1)")
    instance.wait("struck off", lambda seen: not seen.in_sync)
    eventually("b is cloned again", lambda: "is cloned again" in instance.log())
    assert instance.log().count("the standby is stuck and is ended") == 1
    write_atomically(instance.home.faults, Faults().model_dump_json())
    instance.wait_well()


@pytest.mark.long
def test_row_of_a_replica_promoted_while_it_was_copied_again_stays(make_instance: MakeInstance) -> None:
    source = make_instance("source", multi_az=False)
    source.wait_well()
    with source.connect() as connection:
        connection.execute("CREATE TABLE t (x int)")
    replica = make_instance("replica", multi_az=False, source=source)
    replica.wait("it follows", lambda seen: seen.writable and seen.members[0].streaming)
    partition(replica)
    pid = replica.server("a").pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)  # its stream would go on for a minute
    eventually("it is copied again", lambda: copying(replica, "a"))

    number = replica.request(RequestKind.PROMOTE)
    replica.wait("promoted", lambda seen: seen.writable and any(one.number == number for one in seen.answers), 10)
    with replica.connect() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    assert not copying(replica, "a")
    replica.home.faults.unlink()  # the copy would have come through now
    postmaster = replica.server("a").pid()
    healed_at = time.time()
    replica.wait("a new look", lambda seen: seen.written_at > healed_at + 1 and seen.phase == "running")
    with replica.connect() as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
    assert replica.server("a").pid() == postmaster
