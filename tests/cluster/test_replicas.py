"""Read replicas stream from the hidden standby, follow a failover, and refuse writes."""

from __future__ import annotations

import psycopg
import pytest
from harness import Instance, MakeInstance, eventually

from multiaz.instance.records import RequestKind


def standby_of(instance: Instance) -> str:
    seen = instance.wait_well()
    return "b" if seen.primary == "a" else "a"


def followers(instance: Instance, member: str) -> set[str]:
    with instance.admin(member) as connection:  # type: ignore[arg-type]
        return {row[0] for row in connection.execute("SELECT application_name FROM pg_stat_replication")}


def rows(instance: Instance) -> list[tuple[int]]:
    with instance.connect() as connection:
        return connection.execute("SELECT x FROM t ORDER BY x").fetchall()


def test_replicas_stream_from_the_standby_and_follow_both_kinds_of_failover(make_instance: MakeInstance) -> None:
    source = make_instance("source")
    source.wait_well()
    with source.connect() as connection:
        connection.execute("CREATE TABLE t (x int)")
    replica = make_instance("replica", multi_az=False, source=source)
    replica.wait_well()
    name = f"replica_{replica.resource_id}"
    eventually("fed by the standby", lambda: name in followers(source, standby_of(source)))
    for number, fail in enumerate((source.fail_over, source.kill_postmaster), start=1):
        fail()
        with source.connect() as connection:
            connection.execute("INSERT INTO t VALUES (%s)", (number,))
        eventually("the row is on the replica", lambda number=number: (number,) in rows(replica))
        eventually("fed by the new standby", lambda: name in followers(source, standby_of(source)))
        assert rows(replica) == rows(source)
    with replica.connect() as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("INSERT INTO t VALUES (9)")


def test_promoted_replica_takes_writes_and_its_source_goes_on(make_instance: MakeInstance) -> None:
    source = make_instance("source", multi_az=False)
    source.wait_well()
    replica = make_instance("replica", multi_az=False, source=source)
    replica.wait_well()
    number = replica.request(RequestKind.PROMOTE)
    replica.wait("promoted", lambda seen: any(a.number == number and a.outcome == "done" for a in seen.answers))
    eventually("takes writes", lambda: _writes(replica))
    assert _writes(source)


def test_replica_that_lost_its_place_is_copied_again(make_instance: MakeInstance) -> None:
    """Diverged: it was promoted behind our back, so it can never stream again as it is."""
    source = make_instance("source", multi_az=False)
    source.wait_well()
    replica = make_instance("replica", multi_az=False, source=source)
    replica.wait_well()
    replica.server("a").promote()
    eventually("promoted behind our back", lambda: _writes(replica))
    with source.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")
    eventually("a replica again, with the source's rows", lambda: _rows_now(replica) == [(1,)], within_s=60)
    assert not _writes(replica)


def _rows_now(instance: Instance) -> list[tuple[int]] | None:
    try:
        return rows(instance)
    except psycopg.Error:
        return None


def _writes(instance: Instance) -> bool:
    try:
        with instance.connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS mark (x int); INSERT INTO mark VALUES (1)")
    except psycopg.Error:
        return False
    return True
