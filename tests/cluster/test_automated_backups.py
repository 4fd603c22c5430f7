"""Automated backups: what was committed by a moment is in what is restored to it, whatever happened to the servers."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from harness import Instance, MakeInstance, eventually

from multiaz.files import write_atomically
from multiaz.instance.records import BackupRecord, MemberName, RequestKind, Restore
from multiaz.postgres.archive import SEGMENT_BYTES
from multiaz.postgres.processes import processes_in
from multiaz.postgres.pulse import title_of

PLAN = {"retention_days": 7, "window": "03:00-04:00", "archive_every_s": 1.0}


def record_of(instance: Instance) -> BackupRecord:
    return BackupRecord.model_validate_json(instance.home.backups.record.read_bytes())


def restorable(instance: Instance, moment: float) -> BackupRecord:
    instance.wait("restorable", lambda seen: (seen.restorable_until or 0) >= moment, within_s=60)
    return record_of(instance)


def restored(make_instance: MakeInstance, source: Instance, name: str, until: float) -> Instance:
    base = [base for base in record_of(source).bases if base.ended_at <= until][-1]
    wanted = Restore(resource_id=source.resource_id, base=base.name, until=until)
    made = make_instance(name, multi_az=False, master=None, restore=wanted)
    made.wait_well()
    return made


def numbers(instance: Instance) -> list[int]:
    with instance.admin_of_shop() as connection:
        return [int(str(row[0])) for row in connection.execute("SELECT n FROM orders ORDER BY n").fetchall()]


def order(instance: Instance, *wanted: int) -> float:
    """Commit orders; a moment after them and before any other (Unix time)."""
    instance.wait_well()
    with instance.admin_of_shop() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (n int PRIMARY KEY)")
        for number in wanted:
            connection.execute("INSERT INTO orders VALUES (%s)", (number,))
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    return float(str(row[0]))


def archiver_of(instance: Instance, member: MemberName) -> int:
    (found,) = (pid for pid in processes_in(instance.server(member).data) if title_of(pid).startswith("its archiver"))
    return found


def with_backups(make_instance: MakeInstance, name: str = "source", *, multi_az: bool = False) -> Instance:
    made = make_instance(name, multi_az=multi_az, backups=PLAN)
    made.wait("a base backup", lambda seen: seen.restorable_until is not None, within_s=60)
    return made


def test_restored_instance_has_what_was_committed_by_the_moment_and_nothing_after(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    moment = order(source, 1, 2)
    later = order(source, 3)
    restorable(source, later)
    earlier = restored(make_instance, source, "earlier", moment)
    assert numbers(earlier) == [1, 2]
    order(earlier, 4)
    assert numbers(earlier) == [1, 2, 4]
    with earlier.connect() as client:  # its roles and passwords are those of the backup
        assert client.execute("SELECT current_user").fetchone() == ("dbadmin",)
    assert numbers(source) == [1, 2, 3]
    assert [event.code for event in source.events() if event.code in ("RDS-EVENT-0001", "RDS-EVENT-0002")] == [
        "RDS-EVENT-0001",
        "RDS-EVENT-0002",
    ]


@pytest.mark.long
def test_moments_before_between_and_after_failovers_can_be_restored(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance, multi_az=True)
    before = order(source, 1)
    source.kill_postmaster()
    between = order(source, 2)
    source.fail_over()
    source.kill_postmaster()
    after = order(source, 3)
    restorable(source, after)
    assert len(record_of(source).bases) == 1, "the base backup of before serves"
    assert numbers(restored(make_instance, source, "before", before)) == [1]
    assert numbers(restored(make_instance, source, "between", between)) == [1, 2]
    assert numbers(restored(make_instance, source, "after", after)) == [1, 2, 3]


@pytest.mark.long
def test_moment_at_which_nothing_had_been_committed_for_long_costs_no_wal_and_can_be_restored(
    make_instance: MakeInstance,
) -> None:
    source = with_backups(make_instance)
    restorable(source, order(source, 1))
    quiet = restorable(source, record_of(source).marker_at + 5)
    segments = {path.name for path in source.home.backups.wal.iterdir()}
    moment = restorable(source, quiet.marker_at + 8).restorable_until
    assert moment is not None
    assert {path.name for path in source.home.backups.wal.iterdir()} == segments
    assert record_of(source).marker_at == quiet.marker_at
    assert numbers(restored(make_instance, source, "quiet", moment)) == [1]
    later = order(source, 2)
    restorable(source, later)
    assert record_of(source).marker_at > quiet.marker_at, "a commit is archived"
    assert numbers(restored(make_instance, source, "before", moment)) == [1]
    assert numbers(restored(make_instance, source, "after", later)) == [1, 2]


@pytest.mark.long
def test_both_archivers_get_on_after_failovers_in_the_middle_of_segments(make_instance: MakeInstance) -> None:
    """A rewound member ends the timeline that was left under the name of a segment it had archived whole."""
    source = with_backups(make_instance, multi_az=True)
    for number in range(1, 7):
        order(source, number)
        with source.admin_of_shop() as connection:
            connection.execute("SELECT pg_switch_wal()")
        moment = order(source, 100 + number)
        source.kill_postmaster() if number % 2 else source.fail_over()
    restorable(source, moment)
    for member in ("a", "b"):
        data = source.server(member).data  # type: ignore[arg-type]
        eventually(f"{member} has archived all it has", lambda data=data: not _waiting(data), within_s=120)
    assert not source.wait_well().backup_problem
    assert len(record_of(source).bases) == 1
    restored_one = restored(make_instance, source, "restored", moment)
    assert numbers(restored_one) == [1, 2, 3, 4, 5, 6, *range(101, 107)]


@pytest.mark.long
def test_what_a_dead_primary_had_not_archived_is_archived_by_its_standby(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance, multi_az=True)
    source.write(backups={**PLAN, "archive_every_s": 300})
    primary = source.wait_well().primary
    assert primary is not None
    os.kill(archiver_of(source, primary), signal.SIGSTOP)
    moment = order(source, 1)
    with source.admin_of_shop() as connection:  # a whole segment that the primary cannot archive
        connection.execute("SELECT pg_switch_wal()")
    moment = order(source, 2)
    source.kill_postmaster()
    source.write(backups=PLAN)
    restorable(source, moment)
    assert len(record_of(source).bases) == 1
    assert numbers(restored(make_instance, source, "restored", moment)) == [1, 2]


@pytest.mark.long
def test_promoted_replica_has_backups_of_its_own_from_then_on_and_none_before(make_instance: MakeInstance) -> None:
    source = make_instance("source", multi_az=False)
    order(source, 1)
    replica = make_instance("replica", multi_az=False, source=source, backups=PLAN)
    replica.wait("it streams", lambda seen: any(member.streaming for member in seen.members))
    with replica.admin_of_shop() as connection:
        assert connection.execute("SHOW archive_command").fetchone() == ("true",)
    assert not replica.home.backups.record.exists()
    replica.request(RequestKind.PROMOTE)
    replica.wait("a base backup", lambda seen: seen.restorable_until is not None, within_s=60)
    moment = order(replica, 2)
    restorable(replica, order(replica, 3))
    source.end()
    assert numbers(restored(make_instance, replica, "restored", moment)) == [1, 2]
    assert not source.home.backups.folder.exists()


@pytest.mark.long
def test_base_backups_whose_wal_is_not_whole_are_given_up_and_a_new_one_is_made(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    (lost,) = restorable(source, order(source, 1)).bases
    (source.home.backups.wal / lost.start_segment).unlink()
    eventually("another base backup", lambda: [base for base in record_of(source).bases if base != lost])
    assert lost not in record_of(source).bases
    eventually("the old one is gone", lambda: not source.home.backups.base(lost.name).exists())
    assert f"{lost.start_segment} is not in the archive" in source.whole_log()
    moment = order(source, 2)
    restorable(source, moment)
    assert numbers(restored(make_instance, source, "restored", moment)) == [1, 2]


@pytest.mark.long
def test_archive_that_takes_nothing_is_told_and_nothing_is_claimed_until_it_does(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    restorable(source, order(source, 1))
    wal = source.home.backups.wal
    wal.chmod(0o500)
    waiting = len(_waiting(source.server("a").data))
    moment = order(source, 2)
    seen = source.wait("told", lambda seen: seen.backup_problem, within_s=240)
    assert seen.restorable_until is not None
    assert seen.restorable_until < moment
    assert seen.writable
    assert len(_waiting(source.server("a").data)) <= waiting + 1, "each attempt costs a segment"
    wal.chmod(0o700)
    source.wait("well again", lambda seen: not seen.backup_problem, within_s=120)
    restorable(source, moment)
    assert len(record_of(source).bases) == 1
    assert numbers(restored(make_instance, source, "restored", moment)) == [1, 2]


@pytest.mark.long
def test_without_backups_wanted_nothing_is_archived_and_what_there_was_is_removed(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    eventually("a switched segment takes little room", lambda: _blocks(source) < SEGMENT_BYTES / 4)
    source.write(backups=None)
    seen = source.wait("off", lambda seen: seen.restorable_until is None)
    assert seen.restorable_from is None
    eventually("removed", lambda: not source.home.backups.folder.exists())
    with source.admin_of_shop() as connection:
        connection.execute("SELECT pg_switch_wal()")
        eventually("nothing waits to be archived", lambda: not _waiting(source.server("a").data))
    assert not source.home.backups.folder.exists()
    source.write(backups=PLAN)
    source.wait("on again", lambda seen: seen.restorable_until is not None, within_s=60)


def _blocks(source: Instance) -> int:
    """Bytes on the disk of the archived segment that takes least."""
    segments = [path for path in source.home.backups.wal.iterdir() if len(path.name) == 24]
    assert all(path.stat().st_size == SEGMENT_BYTES for path in segments)
    return min(path.stat().st_blocks * 512 for path in segments)


def _waiting(data: Path) -> list[Path]:
    return list((data / "pg_wal" / "archive_status").glob("*.ready"))


def due_now(source: Instance) -> dict[str, object]:
    """A plan by which a base backup is due, because its window opened after the last one began."""
    began = datetime.fromtimestamp(record_of(source).bases[-1].began_at, UTC)
    opens = began.replace(second=0, microsecond=0) + timedelta(minutes=1)
    eventually("a minute is over", lambda: time.time() >= opens.timestamp(), within_s=90)
    return {**PLAN, "window": f"{opens:%H:%M}-23:59"}


@pytest.mark.long
def test_base_backup_with_a_changed_byte_is_refused_by_name(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    moment = order(source, 1)
    (base,) = restorable(source, moment).bases
    with (source.home.backups.base(base.name) / "global" / "pg_filenode.map").open("r+b") as file:
        file.seek(8)
        file.write(b"\xff")
    wanted = Restore(resource_id=source.resource_id, base=base.name, until=moment)
    made = make_instance("restored", multi_az=False, master=None, restore=wanted)
    seen = made.wait("refused", lambda seen: seen.phase == "failed")
    assert "pg_verifybackup failed" in seen.reason
    assert "pg_filenode.map" in seen.reason


@pytest.mark.long
def test_supervisor_that_dies_in_the_middle_of_a_base_backup_leaves_none_half_done(make_instance: MakeInstance) -> None:
    source = make_instance("source", multi_az=False, backups=PLAN)
    bases = source.home.backups.bases
    eventually("a base backup has begun", lambda: (bases / "building").exists())
    supervisor = source.seen()
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    source.processes[-1].wait(10)
    source.start()
    source.wait("a base backup", lambda seen: seen.restorable_until is not None, within_s=60)
    moment = order(source, 1)
    record = restorable(source, moment)
    assert sorted(path.name for path in bases.iterdir()) == sorted(base.name for base in record.bases)
    assert numbers(restored(make_instance, source, "restored", moment)) == [1]


@pytest.mark.long
def test_base_backup_that_ends_after_the_promoted_standby_left_its_timeline_is_given_up(
    make_instance: MakeInstance,
) -> None:
    """Its primary was ahead of the standby, so it needs WAL that nobody has any more. That it was is written here."""
    source = with_backups(make_instance, multi_az=True)
    restorable(source, order(source, 1))
    supervisor = source.wait_well()
    os.kill(supervisor.pid, signal.SIGKILL)
    source.processes[-1].wait(10)
    record = record_of(source)
    (ahead,) = record.bases
    ahead = ahead.model_copy(update={"end": ahead.end + 1024 * SEGMENT_BYTES})
    write_atomically(source.home.backups.record, record.model_copy(update={"bases": (ahead,)}).model_dump_json())
    source.start()
    restorable(source, order(source, 2))
    assert record_of(source).bases == (ahead,), "on its own timeline it counts"
    source.kill_postmaster()
    eventually("another one", lambda: record_of(source).bases and ahead not in record_of(source).bases, within_s=60)
    assert "it ends on timeline 1 after that was left" in source.whole_log()
    moment = order(source, 3)
    restorable(source, moment)
    assert numbers(restored(make_instance, source, "restored", moment)) == [1, 2, 3]


@pytest.mark.long
def test_attempts_that_fail_leave_no_copies(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    plan = due_now(source)
    source.home.backups.wal.chmod(0o500)
    source.write(backups=plan)
    source.wait("told", lambda seen: seen.backup_problem, within_s=120)
    assert len(list(source.home.backups.bases.iterdir())) <= 2
    source.home.backups.wal.chmod(0o700)
    eventually("made at last", lambda: len(record_of(source).bases) == 2, within_s=150)
    recorded = {base.name for base in record_of(source).bases}
    eventually("no other", lambda: {path.name for path in source.home.backups.bases.iterdir()} == recorded)


@pytest.mark.long
def test_record_that_cannot_be_read_is_told_and_nothing_is_removed(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    restorable(source, order(source, 1))
    supervisor, record = source.seen(), source.home.backups.record
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    source.processes[-1].wait(10)
    text = record.read_text()
    record.write_text(text.replace("{", '{"of_a_newer_version": 1,', 1))
    source.start()
    seen = source.wait("told, and serving", lambda seen: seen.backup_problem and seen.writable)
    assert "of_a_newer_version" in seen.backup_problem
    record.write_text(text)
    source.wait("read", lambda seen: not seen.backup_problem and seen.restorable_until, within_s=60)
    assert [base.name for base in record_of(source).bases] == [p.name for p in source.home.backups.bases.iterdir()]


@pytest.mark.long
def test_wal_that_only_the_fenced_primary_had_is_archived_before_it_is_rewound(make_instance: MakeInstance) -> None:
    """Its archiver was behind, and its standby was cloned after that."""
    source = with_backups(make_instance)
    restorable(source, order(source, 1))
    (base,) = record_of(source).bases
    source.write(backups={**PLAN, "archive_every_s": 300})
    os.kill(archiver_of(source, "a"), signal.SIGSTOP)
    for number in (2, 3, 4):
        moment = order(source, number)
        with source.admin_of_shop() as connection:
            connection.execute("SELECT pg_switch_wal()")
    source.write(multi_az=True)
    source.wait("a standby", lambda seen: seen.in_sync, within_s=60)
    source.kill_postmaster()
    source.write(backups=PLAN)
    restorable(source, order(source, 5))
    assert record_of(source).bases == (base,)
    assert numbers(restored(make_instance, source, "restored", moment)) == [1, 2, 3, 4]


@pytest.mark.long
def test_file_under_the_name_of_a_segment_is_not_taken_for_it(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    before = restorable(source, order(source, 1))
    with source.admin_of_shop() as connection:
        (name,) = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone() or ("",)
    impostor = source.home.backups.wal / name
    impostor.write_bytes(b"x" * SEGMENT_BYTES)
    source.server("a").user.own(impostor)
    moment = order(source, 2)
    seen = source.wait("told", lambda seen: seen.backup_problem, within_s=120)
    assert (seen.restorable_until or 0) < moment
    impostor.unlink()
    record = restorable(source, moment)
    assert record.bases == before.bases


@pytest.mark.long
def test_transaction_that_is_prepared_while_nothing_else_happens_is_in_what_is_restored(
    make_instance: MakeInstance,
) -> None:
    prepares = {"max_prepared_transactions": "5"}
    source = make_instance("source", multi_az=False, backups=PLAN, parameters=prepares)
    source.wait("a base backup", lambda seen: seen.restorable_until is not None, within_s=60)
    restorable(source, order(source, 1))
    restorable(source, record_of(source).marker_at + 5)
    with source.admin_of_shop() as connection:
        for command in ("BEGIN", "INSERT INTO orders VALUES (2)", "PREPARE TRANSACTION 'two'"):
            connection.execute(command)
    moment = time.time()
    record = restorable(source, moment)
    wanted = Restore(resource_id=source.resource_id, base=record.bases[-1].name, until=moment)
    made = make_instance("restored", multi_az=False, master=None, restore=wanted, parameters=prepares)
    made.wait_well()
    with made.admin_of_shop() as connection:
        connection.execute("COMMIT PREPARED 'two'")
    assert numbers(made) == [1, 2]


@pytest.mark.long
def test_backups_turned_off_and_on_again_at_once_are_made_anew(make_instance: MakeInstance) -> None:
    source = with_backups(make_instance)
    (first,) = record_of(source).bases
    source.write(backups=None)
    source.write(backups=PLAN)
    source.write(backups=None)
    eventually("off", lambda: not source.home.backups.record.exists())
    source.write(backups=PLAN)
    eventually("on", source.home.backups.record.exists, within_s=60)
    source.wait("restorable", lambda seen: seen.restorable_until is not None and not seen.backup_problem)
    assert first not in record_of(source).bases
    eventually("the old ones are gone", lambda: not source.home.backups.gone.exists())
