"""Failover of a Multi-AZ instance on real servers: nothing acknowledged is lost, nobody answers twice."""

from __future__ import annotations

import os
import select
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from harness import PATIENCE, Instance, MakeInstance, eventually, halt
from ledger import Ledger
from test_hangs import let_go, stop_processes

from multiaz.files import lock_holder
from multiaz.instance.records import RequestKind, RoleRecord
from multiaz.postgres.processes import processes_in


def role(instance: Instance) -> RoleRecord:
    return RoleRecord.model_validate_json(instance.home.role.read_bytes())


def test_no_acknowledged_row_is_lost_and_roles_swap_on_request_and_on_death(multi_az: Instance) -> None:
    instance = multi_az
    first = instance.wait_well()
    told_before = len(instance.home.events.read_text().splitlines()) if instance.home.events.exists() else 0
    with Ledger(instance, instance.connect_by_endpoint) as ledger:
        ledger.wait_for(50)
        second = instance.fail_over()
        ledger.wait_for(50)
        third = instance.kill_postmaster()
        ledger.wait_for(50)
    ledger.check()
    assert first.primary == third.primary
    assert {first.primary, second.primary} == {"a", "b"}
    assert role(instance).in_sync
    told = role(instance).last_failover
    assert told is not None
    assert (third.last_failover, told.epoch, told.cause) == (told, third.epoch, "the primary died")
    moments = [told.suspected, told.detected, told.fenced, told.recorded, told.promoted, told.endpoint]
    assert moments == sorted(moment for moment in moments if moment is not None)
    codes = [line.split('"code":"')[1][:14] for line in instance.home.events.read_text().splitlines()]
    assert codes[told_before:] == ["RDS-EVENT-0013", "RDS-EVENT-0006", "RDS-EVENT-0049"] * 2


def test_killed_backend_is_a_failure_and_the_standby_takes_over(multi_az: Instance) -> None:
    instance = multi_az
    before = instance.wait_well()
    with instance.admin() as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    after = instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.redundant)
    assert {before.primary, after.primary} == {"a", "b"}


def test_commit_waits_for_the_standby_until_the_record_says_it_left(multi_az: Instance) -> None:
    """Never: an acknowledged commit that only the primary has while the record says in sync."""
    instance = multi_az
    standby = instance.standby()
    with instance.connect() as connection, instance.admin() as admin:
        connection.execute("CREATE TABLE kept (x int)")
        # the supervisor is stopped first, so that it cannot strike the standby off
        supervisor = lock_holder(instance.home.lock)
        assert supervisor is not None
        os.kill(supervisor, signal.SIGSTOP)
        try:
            halt(processes_in(instance.home.data(standby)))
            connection.pgconn.send_query(b"INSERT INTO kept VALUES (1)")
            eventually(
                "the commit waits for the standby",
                lambda: admin.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone(),
            )
            assert not acknowledged(connection, within_s=0.5)
            assert role(instance).in_sync
        finally:
            os.kill(supervisor, signal.SIGCONT)
        assert acknowledged(connection, within_s=30)
        assert not role(instance).in_sync
    instance.wait("struck off", lambda seen: not seen.in_sync)
    instance.wait_well()


def test_commit_that_is_cancelled_while_it_waits_succeeds_with_a_warning_and_is_on_the_primary_only(
    multi_az: Instance,
) -> None:
    """PostgreSQL's hole, as docs/failover.md tells it; the cancel request goes through the endpoint."""
    instance = multi_az
    standby = instance.standby()
    told: list[tuple[str | None, str | None, str | None]] = []
    with instance.connect_by_endpoint() as connection, instance.admin() as admin, ThreadPoolExecutor() as pool:
        connection.execute("CREATE TABLE kept (x int)")
        connection.add_notice_handler(
            lambda notice: told.append((notice.severity_nonlocalized, notice.sqlstate, notice.message_primary))
        )
        with instance.client_of(standby) as reader:
            eventually("the standby has the table", lambda: reader.execute("SELECT to_regclass('kept')").fetchone()[0])  # type: ignore[index]
            supervisor = lock_holder(instance.home.lock)
            assert supervisor is not None
            os.kill(supervisor, signal.SIGSTOP)  # it would strike the standby off
            receiver = stop_processes(instance, standby, "walreceiver")
            try:
                insert = pool.submit(connection.execute, "INSERT INTO kept VALUES (1)")
                eventually(
                    "the commit waits for the standby",
                    lambda: admin.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone(),
                )
                assert not told
                connection.cancel_safe()
                assert insert.result(timeout=30 * PATIENCE).statusmessage == "INSERT 0 1"
                why = "canceling wait for synchronous replication due to user request"
                assert told == [("WARNING", "01000", why)]
                assert connection.execute("SELECT x FROM kept").fetchall() == [(1,)]
                assert reader.execute("SELECT x FROM kept").fetchall() == []
                assert role(instance).in_sync
            finally:
                let_go(receiver)
                os.kill(supervisor, signal.SIGCONT)
            eventually("the standby has the row", lambda: reader.execute("SELECT x FROM kept").fetchall() == [(1,)])
    instance.wait_well()


def acknowledged(connection: psycopg.Connection[Any], within_s: float) -> bool:
    """The command that was sent has been answered, with success."""
    raw = connection.pgconn
    if not select.select([raw.socket], [], [], within_s * PATIENCE)[0]:
        return False
    raw.consume_input()
    result = raw.get_result()
    assert result is not None
    assert result.status == psycopg.pq.ExecStatus.COMMAND_OK
    assert raw.get_result() is None
    return True


def test_lost_standby_is_struck_off_and_redundancy_returns(multi_az: Instance) -> None:
    instance = multi_az
    standby, before = instance.standby(), instance.wait_well()
    with Ledger(instance, instance.connect_by_endpoint) as ledger:
        ledger.wait_for(10)
        pid = instance.server(standby).pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        instance.wait("struck off", lambda seen: not seen.in_sync)
        ledger.wait_for(10)
        after = instance.wait_well()
        ledger.wait_for(10)
    ledger.check()
    assert (after.primary, after.epoch) == (before.primary, before.epoch)


def test_failover_without_an_in_sync_standby_is_refused(make_instance: MakeInstance) -> None:
    instance = make_instance("one", multi_az=False)
    instance.wait_well()
    number = instance.request(RequestKind.FAILOVER)
    seen = instance.wait("answered", lambda seen: bool(seen.answers))
    assert (seen.answers[-1].number, seen.answers[-1].outcome) == (number, "refused")
    assert seen.primary == "a"


def test_request_of_an_older_epoch_is_answered_stale_and_not_done(multi_az: Instance) -> None:
    instance = multi_az
    before = instance.wait_well()
    after = instance.kill_postmaster()
    number = 7 + (instance.desired.request.number if instance.desired.request else 0)
    instance.write(request={"number": number, "kind": RequestKind.FAILOVER, "epoch": before.epoch})
    seen = instance.wait("answered", lambda seen: any(answer.number == number for answer in seen.answers))
    assert [answer.outcome for answer in seen.answers if answer.number == number] == ["stale"]
    assert (seen.primary, seen.epoch) == (after.primary, after.epoch)


def test_fenced_server_answers_nobody(multi_az: Instance) -> None:
    """A client that was connected to the old primary is cut, and no process of it is left to answer."""
    instance = multi_az
    before = instance.wait_well().primary
    assert before is not None
    with instance.admin(before) as old:
        killed = set(processes_in(instance.home.data(before)))
        instance.fail_over()
        with pytest.raises(psycopg.OperationalError):
            old.execute("SELECT 1")
        assert not killed & set(processes_in(instance.home.data(before)))
    with instance.admin(before) as now:
        assert now.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_single_az_instance_recovers_in_place(make_instance: MakeInstance) -> None:
    instance = make_instance("one", multi_az=False)
    instance.wait_well()
    with Ledger(instance, instance.connect_by_endpoint) as ledger:
        ledger.wait_for(20)
        pid = instance.server("a").pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        ledger.wait_for(20)
    ledger.check()


def test_multi_az_can_be_turned_off_and_on(make_instance: MakeInstance) -> None:
    """And a group's synchronous_commit = local holds only without: an acknowledged commit survives a failover."""

    def level() -> str:
        with instance.connect() as connection:
            row = connection.execute("SHOW synchronous_commit").fetchone()
            assert row is not None
            return str(row[0])

    instance = make_instance("one", parameters={"synchronous_commit": "local"})
    instance.wait_well()
    assert level() == "on"
    instance.write(multi_az=False)
    eventually("the standby's data is gone", lambda: not instance.home.data("b").exists())
    eventually("local is in force", lambda: level() == "local")
    with instance.connect() as connection:
        connection.execute("CREATE TABLE t ()")  # commits wait for nobody
    instance.write(multi_az=True)
    instance.wait("in sync", lambda seen: seen.in_sync)
    assert level() == "on"


@pytest.mark.long
def test_server_whose_data_directory_is_moved_away_answers_nobody_once_another_is_promoted(
    make_instance: MakeInstance,
) -> None:
    """Also not the session that somebody holds on it; its supervisor has died since, and knows nothing of it."""
    instance = make_instance("one")
    before = instance.wait_well()
    supervisor = lock_holder(instance.home.lock)
    assert supervisor is not None
    with instance.admin("a") as held:
        os.kill(supervisor, signal.SIGKILL)
        instance.home.data("a").rename(instance.home.member("a") / "moved")
        after = instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable)
        assert after.primary == "b"
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
    instance.wait_well()


@pytest.mark.long
def test_former_primary_comes_back_after_many_timelines_within_one_segment(make_instance: MakeInstance) -> None:
    """What it begins with lies on timelines that came and went: its primary does not send that by their names."""
    instance = make_instance("lines")
    for _ in range(3):
        instance.kill_postmaster()
    with instance.admin() as connection:
        connection.execute("SELECT pg_logical_emit_message(false, 'test', 'x')")
        connection.execute("SELECT pg_switch_wal()")
    for _ in range(2):
        instance.kill_postmaster()
