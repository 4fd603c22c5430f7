"""Read replicas follow their source wherever it goes, and never show a row that a failover then loses."""

from __future__ import annotations

import os
import random
import signal
import threading

import psycopg
import pytest
from harness import Instance, MakeInstance, eventually
from ledger import Ledger

from multiaz.instance.records import RequestKind
from multiaz.postgres.processes import processes_in

FAILOVERS = 8


class Reader(threading.Thread):
    """Reads everything on a replica again and again, and keeps what it ever saw."""

    def __init__(self, replica: Instance) -> None:
        super().__init__(daemon=True)
        self.replica = replica
        self.seen: set[int] = set()
        self.reads = 0
        self._stop_it = threading.Event()
        self.start()

    def run(self) -> None:
        connection: psycopg.Connection[tuple[int]] | None = None
        newest = 0
        while not self._stop_it.is_set():
            try:
                if connection is None:
                    connection = self.replica.connect()
                found = connection.execute("SELECT number FROM ledger WHERE number > %s", (newest - 200,)).fetchall()
            except psycopg.Error:
                connection = None
                continue
            self.reads += 1
            self.seen.update(row[0] for row in found)
            newest = max(self.seen, default=0)
        if connection is not None:
            connection.close()

    def stop(self) -> None:
        """Read no more."""
        self._stop_it.set()
        self.join(30)


def numbers(instance: Instance) -> set[int]:
    with instance.connect() as connection:
        return {row[0] for row in connection.execute("SELECT number FROM ledger")}


def followed_by(instance: Instance, member: str) -> set[str]:
    with instance.admin(member) as connection:  # type: ignore[arg-type]
        found = connection.execute("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")
        return {row[0] for row in found}


def follows(replica: Instance) -> None:
    replica.wait("it follows", lambda seen: seen.writable and seen.replication_error is None, 60)


def break_primary(source: Instance, fault: str) -> None:
    seen = source.wait_well()
    assert seen.primary is not None
    pids = processes_in(source.home.data(seen.primary))
    match fault:
        case "request":
            source.request(RequestKind.FAILOVER)
        case "kill":
            pid = source.server(seen.primary).pid()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        case "hang":
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)  # the fence kills what is stopped
    source.wait(f"failed over ({fault})", lambda now: now.epoch > seen.epoch, 60)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_no_row_a_replica_ever_showed_is_lost_by_a_failover(make_instance: MakeInstance, seed: int) -> None:
    random.seed(seed)
    source = make_instance("source")
    source.wait_well()
    with Ledger(source) as ledger:
        replica = make_instance("replica", multi_az=False, source=source)  # created under load
        follows(replica)
        reader = Reader(replica)
        for _ in range(FAILOVERS):
            break_primary(source, random.choice(("request", "kill", "hang")))
            ledger.wait_for(20)
        source.wait_well()
    reader.stop()
    ledger.check()
    there = numbers(source)
    assert reader.seen, reader.reads
    assert not reader.seen - there, f"shown and lost: {sorted(reader.seen - there)[:10]}"
    follows(replica)
    eventually("the replica has the same rows", lambda: numbers(replica) == there)


@pytest.mark.long
def test_replicas_follow_the_primary_without_a_standby_and_go_back_once_there_is_one(
    make_instance: MakeInstance,
) -> None:
    source = make_instance("source", multi_az=False)
    source.wait_well()
    name = "replica_db-REPLICA"
    with Ledger(source) as ledger:
        replica = make_instance("replica", multi_az=False, source=source)
        follows(replica)
        reader = Reader(replica)
        assert name in followed_by(source, "a")
        source.write(multi_az=True)
        source.wait("in sync", lambda seen: seen.in_sync)
        eventually("fed by the standby", lambda: name in followed_by(source, "b"))
        assert name not in followed_by(source, "a")
        ledger.wait_for(50)
        source.kill_postmaster()
    reader.stop()
    ledger.check()
    assert reader.seen <= numbers(source)


@pytest.mark.long
def test_replica_created_while_its_source_fails_over_misses_nothing(make_instance: MakeInstance) -> None:
    source = make_instance("source")
    source.wait_well()
    with source.connect() as connection:  # a copy that takes a moment
        connection.execute("CREATE TABLE ballast AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 150000)")
    with Ledger(source) as ledger:
        ledger.wait_for(10)
        replica = make_instance("replica", multi_az=False, source=source)
        building = replica.home.member("a") / "building"
        eventually("the copy is under way", lambda: building.exists() or replica.home.data("a").exists())
        source.kill_postmaster()
        ledger.wait_for(10)
        follows(replica)
    ledger.check()
    eventually("it has every row", lambda: numbers(replica) == numbers(source))


@pytest.mark.long
def test_chain_of_replicas_survives_its_top_its_middle_and_the_promotion_of_its_middle(
    make_instance: MakeInstance,
) -> None:
    """Three links, as RDS allows: each streams from the one above by that one's own link."""
    source = make_instance("source")
    source.wait_well()
    first = make_instance("first", multi_az=False, source=source)
    follows(first)
    second = make_instance("second", multi_az=False, source=first)
    follows(second)
    third = make_instance("third", multi_az=False, source=second)
    follows(third)
    assert followed_by(first, "a") == {"replica_db-SECOND"}
    with Ledger(source) as ledger:
        ledger.wait_for(10)
        source.fail_over()
        source.kill_postmaster()
        pid = first.server("a").pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        ledger.wait_for(10)
    ledger.check()
    for replica in (first, second, third):
        follows(replica)
        eventually("it has every row", lambda replica=replica: numbers(replica) == numbers(source))

    number = first.request(RequestKind.PROMOTE)
    first.wait("promoted", lambda seen: seen.writable and any(answer.number == number for answer in seen.answers))
    with first.connect() as connection:
        connection.execute("INSERT INTO ledger VALUES (-1)")
    for replica in (second, third):
        eventually("it follows the promoted one", lambda replica=replica: -1 in numbers(replica))
    assert -1 not in numbers(source)
    first.write(multi_az=True)
    first.wait("in sync", lambda seen: seen.in_sync)
    eventually("fed by the new standby", lambda: "replica_db-SECOND" in followed_by(first, "b"))
    first.kill_postmaster()
    with first.connect() as connection:
        connection.execute("INSERT INTO ledger VALUES (-2)")
    for replica in (second, third):
        eventually("it follows", lambda replica=replica: -2 in numbers(replica))
