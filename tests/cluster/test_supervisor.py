"""The supervisor may die at any moment: servers go on, and the next one finds everything."""

from __future__ import annotations

import os
import shutil
import signal
import time

import psycopg
import pytest
from harness import PASSWORD, Instance, MakeInstance, eventually, halt
from ledger import Ledger

from multiaz.files import lock_holder, write_atomically
from multiaz.instance.records import MemberName, ObservedInstance, RequestKind, RoleRecord, RunState
from multiaz.postgres.processes import processes_in
from multiaz.postgres.scram import verifier


def kill_supervisor(instance: Instance) -> int:
    pid = lock_holder(instance.home.lock)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for process in instance.processes:
        if process.pid == pid:
            process.wait()
    return pid


def test_connection_survives_the_supervisor_and_failover_works_without_it(multi_az: Instance) -> None:
    """The relay starts a new supervisor, without the cloud. How soon is a figure, and no test."""
    instance = multi_az
    before = instance.wait_well()
    assert before.primary is not None
    with instance.connect() as connection:
        old = kill_supervisor(instance)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        pid = instance.server(before.primary).pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable and seen.pid != old)
    assert {before.primary, instance.wait_well().primary} == {"a", "b"}


def test_endpoint_that_hangs_is_replaced_and_the_servers_are_left_alone(multi_az: Instance) -> None:
    instance = multi_az
    before = instance.wait_well()
    pids = [one.pid for one in before.members]
    hung = lock_holder(instance.home.relay_lock)
    assert hung is not None
    os.kill(hung, signal.SIGSTOP)
    eventually("another one holds its lock", lambda: lock_holder(instance.home.relay_lock) not in (None, hung))
    instance.wait("it listens", lambda seen: seen.relay_ready)
    with instance.connect_by_endpoint() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    after = instance.wait_well()
    assert (after.epoch, after.primary, after.in_sync) == (before.epoch, before.primary, True)
    assert [one.pid for one in after.members] == pids
    assert f"the endpoint ({hung}) hangs: it is stopped" in instance.whole_log()


def test_everything_killed_at_once_comes_back_with_every_acknowledged_row(multi_az: Instance) -> None:
    """A reboot: no process is left and the run folder is gone."""
    instance = multi_az
    with Ledger(instance) as ledger:
        ledger.wait_for(50)
        instance.kill_everything()
        ledger.stop()
    shutil.rmtree(instance.home.run)
    instance.start()
    instance.wait_well()
    ledger.check()


def test_sigterm_stops_the_servers_and_keeps_everything(multi_az: Instance) -> None:
    instance = multi_az
    with instance.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    pid = lock_holder(instance.home.lock)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    eventually(
        "the supervisor and the relay are gone",
        lambda: lock_holder(instance.home.lock) is None and lock_holder(instance.home.relay_lock) is None,
    )
    assert not processes_in(instance.home.data("a"))
    assert not processes_in(instance.home.data("b"))
    instance.start()
    instance.wait_well()
    with instance.connect() as connection:
        assert connection.execute("SELECT x FROM kept").fetchone() == (1,)


def test_second_supervisor_leaves_at_once(multi_az: Instance) -> None:
    instance = multi_az
    first = lock_holder(instance.home.lock)
    instance.start()
    assert instance.processes[-1].wait(20) == 0
    assert lock_holder(instance.home.lock) == first


def test_stop_keeps_data_and_start_serves_it(multi_az: Instance) -> None:
    instance = multi_az
    with instance.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    instance.write(run=RunState.STOPPED)
    instance.wait("stopped", lambda seen: seen.phase == "stopped")
    instance.write(run=RunState.RUNNING)
    instance.wait_well()
    with instance.connect() as connection:
        assert connection.execute("SELECT x FROM kept").fetchone() == (1,)


def test_final_snapshot_is_the_data_directory(make_instance: MakeInstance) -> None:
    instance = make_instance("one", multi_az=False)
    instance.wait_well()
    target = instance.top.snapshots / "last"
    instance.write(final_snapshot=str(target), run=RunState.DELETED)
    eventually("the supervisor is gone", lambda: lock_holder(instance.home.lock) is None)
    assert (target / "PG_VERSION").read_text().strip() == "17"
    assert not instance.home.data("a").exists()


def test_static_parameter_waits_for_a_reboot_and_then_holds_on_both_members(multi_az: Instance) -> None:
    instance = multi_az
    before = instance.desired.parameters["max_connections"]
    more = str(int(before) + 20)
    instance.write(parameters={**instance.desired.parameters, "max_connections": more, "work_mem": "8MB"})
    instance.wait("pending", lambda seen: seen.pending_restart == ("max_connections",))
    with instance.admin() as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("8MB",)
        assert connection.execute("SHOW max_connections").fetchone() == (before,)
    number = instance.request(RequestKind.REBOOT)
    instance.wait("rebooted", lambda seen: any(answer.number == number for answer in seen.answers))
    for member in ("a", "b"):
        eventually(f"{member} has the new value", lambda member=member: _max_connections(instance, member) == more)
    instance.wait("nothing pending", lambda seen: not seen.pending_restart and seen.redundant)
    instance.kill_postmaster()


def test_static_parameter_may_be_lowered_while_stopped_and_the_standby_follows(multi_az: Instance) -> None:
    """A standby below what its primary had would end: "insufficient parameter settings"."""
    instance = multi_az
    fewer = str(int(instance.desired.parameters["max_connections"]) - 20)
    instance.write(run=RunState.STOPPED)
    instance.wait("stopped", lambda seen: seen.phase == "stopped")
    instance.write(run=RunState.RUNNING, parameters={**instance.desired.parameters, "max_connections": fewer})
    instance.wait_well()
    for member in ("a", "b"):
        eventually(f"{member} has the new value", lambda member=member: _max_connections(instance, member) == fewer)
    instance.wait_well()


def test_new_password_does_not_hold_the_loop_while_the_standby_hangs(multi_az: Instance) -> None:
    """Its commit waits for the standby; the loop that strikes the standby off must not wait for the commit."""
    instance = multi_az
    hung = processes_in(instance.home.data(instance.standby()))
    halt(hung)
    try:
        assert instance.desired.master is not None
        number = instance.desired.master.number + 1
        changed = {"verifier": verifier(PASSWORD), "number": number}  # new to the server; the next test logs in too
        instance.write(master={**instance.desired.master.model_dump(), **changed})
        instance.wait("set", lambda seen: seen.master_number == number)
        assert not instance.wait("struck off", lambda seen: not seen.in_sync).in_sync
    finally:
        for pid in hung:
            os.kill(pid, signal.SIGCONT)
    instance.wait_well()


@pytest.mark.long
def test_no_value_of_a_parameter_group_ends_the_sessions_an_instance_is_run_by(make_instance: MakeInstance) -> None:
    """Else it is never created, or has no redundancy, or keeps its password."""
    instance = make_instance("one", parameters={
        "statement_timeout": "5", "lock_timeout": "1", "default_transaction_read_only": "1",
        "recovery_min_apply_delay": "60000",
    })  # fmt: skip
    first = instance.wait_well()
    assert instance.desired.master is not None
    number = instance.desired.master.number + 1
    instance.write(master={**instance.desired.master.model_dump(), "number": number})
    instance.wait("set", lambda seen: seen.master_number == number)
    instance.kill_postmaster()
    third = instance.fail_over()
    assert third.primary == first.primary
    log = instance.whole_log()
    assert "WARNING" not in log, log


def test_data_without_a_role_record_is_left_alone(make_instance: MakeInstance) -> None:
    instance = make_instance("one", multi_az=False)
    instance.wait_well()
    pid = lock_holder(instance.home.lock)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    eventually("stopped", lambda: lock_holder(instance.home.lock) is None)
    kept = instance.home.role.read_bytes()
    instance.home.role.unlink()
    instance.start()
    seen = instance.wait("failed", lambda seen: seen.phase == "failed")
    assert "role.json" in seen.reason
    pid = lock_holder(instance.home.lock)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    eventually("stopped", lambda: lock_holder(instance.home.lock) is None)
    instance.home.role.write_bytes(kept)
    instance.start()
    instance.wait_well()


def test_older_role_record_that_is_put_back_is_refused_by_name_and_clients_stay_where_they_are(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance("one", multi_az=False)
    instance.wait_well()
    older = RoleRecord.model_validate_json(instance.home.role.read_bytes())
    instance.write(parameters={**instance.desired.parameters, "work_mem": "5MB"})
    instance.wait("applied", lambda seen: seen.applied.get("work_mem") == "5MB")
    pid = lock_holder(instance.home.lock)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    kept = instance.home.role.read_bytes()
    write_atomically(instance.home.role, older.model_copy(update={"revision": 0}).model_dump_json())
    seen = instance.wait("refused", lambda seen: seen.phase == "failed" and seen.pid != pid)
    assert "role.json" in seen.reason
    instance.wait("still up", lambda seen: seen.members[0].state == "primary")
    write_atomically(instance.home.role, b"{")
    instance.wait("unreadable", lambda seen: "cannot be read" in seen.reason)
    write_atomically(instance.home.role, kept)
    instance.wait_well()


def exchange_record(instance: Instance, record: bytes | None) -> tuple[bytes, ObservedInstance]:
    """Put another role.json, or none, before a new supervisor; the newest record, and what the new one sees."""
    old = lock_holder(instance.home.lock)
    assert old is not None
    os.kill(old, signal.SIGSTOP)  # so that it writes none in between
    newest = instance.home.role.read_bytes()
    if record is None:
        instance.home.role.unlink()
    else:
        write_atomically(instance.home.role, record)
    kill_supervisor(instance)
    return newest, instance.wait("failed", lambda seen: seen.phase == "failed" and seen.pid != old)


def looks_on(instance: Instance, primary: MemberName, standby: MemberName, pid: int) -> None:
    """The primary dies, and for many rounds nobody is started, promoted or fenced, and no record is made."""
    before, standby_pid = instance.home.role.exists(), instance.server(standby).pid()
    postmaster = instance.server(primary).pid()
    assert postmaster is not None
    os.kill(postmaster, signal.SIGKILL)
    eventually("the primary is dead", lambda: instance.server(primary).pid() is None)
    dead_at = time.time()
    seen = instance.wait("it looks on", lambda seen: seen.written_at > dead_at + 2)
    assert (seen.phase, seen.pid, instance.server(primary).pid()) == ("failed", pid, None)
    assert instance.home.role.exists() == before
    assert instance.server(standby).pid() == standby_pid
    with instance.admin(standby) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_lost_record_of_a_pair_touches_nobody_and_is_taken_up_in_the_next_round_when_it_is_back(
    multi_az: Instance,
) -> None:
    instance = multi_az
    before, standby = instance.wait_well(), instance.standby()
    assert before.primary is not None
    with instance.connect_by_endpoint() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
        newest, seen = exchange_record(instance, None)
        assert "role.json is missing and there is data" in seen.reason
        connection.execute("INSERT INTO kept VALUES (2)")  # clients stay where they are
    looks_on(instance, before.primary, standby, seen.pid)
    write_atomically(instance.home.role, newest)
    after = instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable)
    assert (after.primary, after.pid) == (standby, seen.pid)
    instance.wait_well()
    with instance.connect_by_endpoint() as connection:
        assert connection.execute("SELECT x FROM kept ORDER BY x").fetchall() == [(1,), (2,)]


@pytest.mark.long
def test_older_record_of_a_pair_that_is_put_back_promotes_starts_and_fences_nobody(multi_az: Instance) -> None:
    """It names the former primary: believed, it would have the new one fenced, and what was committed since be lost."""
    instance = multi_az
    older = instance.home.role.read_bytes()
    before = instance.kill_postmaster()
    assert before.primary is not None
    standby = instance.standby()
    with instance.connect_by_endpoint() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
        newest, seen = exchange_record(instance, older)
        assert "has acted on revision" in seen.reason
        connection.execute("INSERT INTO kept VALUES (2)")
    looks_on(instance, before.primary, standby, seen.pid)
    write_atomically(instance.home.role, newest)
    after = instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable)
    assert (after.primary, after.pid) == (standby, seen.pid)
    instance.wait_well()
    with instance.connect_by_endpoint() as connection:
        assert connection.execute("SELECT x FROM kept ORDER BY x").fetchall() == [(1,), (2,)]


def test_value_the_server_refuses_is_reported_and_can_be_mended(make_instance: MakeInstance) -> None:
    instance = make_instance("one", multi_az=False, parameters={"shared_buffers": "900TB"})
    failed = instance.wait("failed", lambda seen: seen.phase == "failed")
    assert "shared_buffers" in failed.reason
    instance.write(parameters={**instance.desired.parameters, "shared_buffers": "16MB"})
    instance.wait_well()


def _max_connections(instance: Instance, member: str) -> str | None:
    try:
        with instance.admin(member) as connection:  # type: ignore[arg-type]
            row = connection.execute("SHOW max_connections").fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None
