"""A server that runs and that clients cannot reach, or that is mute to its supervisor alone."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

import psycopg
import pytest
from harness import Instance, MakeInstance, eventually

from multiaz.postgres.processes import processes_in


def new_postmaster(instance: Instance, member: str, old: int) -> object:
    return instance.server(member).pid() not in (None, old)  # type: ignore[arg-type]


def test_postmaster_that_was_told_to_stop_is_failed_over_though_a_session_holds_it(make_instance: MakeInstance) -> None:
    """`kill PID` is a smart shutdown: it takes no client any more, and waits for the last session for ever."""
    instance = make_instance("one")
    before = instance.wait_well()
    pid = instance.server("a").pid()
    assert pid is not None
    with instance.connect() as held:
        held.execute("SELECT 1")
        os.kill(pid, signal.SIGTERM)
        after = instance.wait("taken over", lambda seen: seen.epoch > before.epoch and seen.writable)
        assert after.primary == "b"
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
    instance.wait_well()
    assert "was told to stop, not by its supervisor" in instance.log()


def kept_backend(instance: Instance) -> int:
    """The backend of the supervisor's kept connection to the primary: the one that asks for its standbys."""
    with instance.admin() as connection:
        row = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_get_wal_replay_pause_state%'"
            " AND pid <> pg_backend_pid() ORDER BY backend_start LIMIT 1"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.long
def test_commit_goes_on_though_the_standby_dies_while_the_primary_is_mute_to_its_supervisor(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance("one")
    before = instance.wait_well()
    with instance.connect() as client:
        client.execute("CREATE TABLE t (x int)")
        mute = kept_backend(instance)
        os.kill(mute, signal.SIGSTOP)
        try:
            instance.wait("mute", lambda seen: not seen.writable)
            standby = instance.server("b").pid()
            assert standby is not None
            for pid in processes_in(instance.home.data("b")):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            done = threading.Event()

            def commit() -> None:
                client.execute("INSERT INTO t VALUES (1)")
                done.set()

            threading.Thread(target=commit, daemon=True).start()
            eventually("the commit returned", done.is_set)
            after = instance.wait_well()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(mute, signal.SIGCONT)
    assert (after.epoch, after.primary) == (before.epoch, "a"), "a mute connection of ours is no hang of the server"


@pytest.mark.long
def test_server_is_looked_after_whatever_becomes_of_the_customers_database_the_socket_and_the_log(
    make_instance: MakeInstance,
) -> None:
    """The master user may close `postgres`; a cleaner of /tmp may take the socket; a group may log every statement."""
    loud = {"log_statement": "all", "log_duration": "on", "log_min_duration_statement": "0"}
    loud |= {"log_connections": "on", "log_disconnections": "on"}
    instance = make_instance("one", multi_az=False, parameters=loud)
    instance.wait_well()
    with instance.connect() as client:
        client.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
    for expected in ("a new postmaster is looked at", "and once more"):
        pid = instance.server("a").pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually("another postmaster", lambda pid=pid: new_postmaster(instance, "a", pid))
        assert instance.wait_well().primary == "a", expected
    pid = instance.server("a").pid()
    assert pid is not None
    (instance.home.socket_folder("a") / ".s.PGSQL.5432").unlink()
    eventually("another postmaster", lambda: new_postmaster(instance, "a", pid))
    instance.wait_well()
    with instance.connect() as client:
        client.execute("SELECT 'of a client'")
    said = "".join(path.read_text() for path in Path(instance.home.server_logs("a")).glob("postgresql.log.*"))
    assert "of a client" in said
    assert "pg_is_in_recovery" not in said
    ours = [line for line in said.splitlines() if ":rdsadmin@rdsadmin:" in line]
    assert any("connection authorized" in line for line in ours), "said before a connection's own options are read"
    assert [line for line in ours if any(word in line for word in ("statement:", "duration:", "disconnection:"))] == []
    assert "not currently accepting connections" not in said
    assert "No such file or directory" in instance.log()
