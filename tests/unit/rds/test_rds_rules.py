"""Names, passwords, storage, windows and final snapshots as RDS has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.rds import rules
from multiaz.cloud.service import AwsFault


def refused(code: str, function: Any, *args: Any, **named: Any) -> None:
    with pytest.raises(AwsFault) as refusal:
        function(*args, **named)
    assert refusal.value.code == code


def test_an_identifier_is_kept_in_lower_case() -> None:
    assert rules.identifier("Shop-DB-1") == "shop-db-1"


@pytest.mark.parametrize("name", ["1db", "-db", "db-", "a--b", "a_b", "", "a" * 64, "db.x", "dü"])
def test_a_wrong_identifier_is_refused(name: str) -> None:
    refused("InvalidParameterValue", rules.identifier, name)


@pytest.mark.parametrize("name", ["admin", "rdsadmin", "User", "pg_shop", "1shop", "sh-op", "rds_superuser", ""])
def test_a_reserved_or_wrong_master_user_is_refused(name: str) -> None:
    refused("InvalidParameterValue", rules.master_username, name)


def test_postgres_may_be_the_master_user() -> None:
    assert rules.master_username("postgres") == "postgres"


@pytest.mark.parametrize(
    "password", ["5hort", "with space", "at@sign-x", 'quote"quote', "slash/slash", "é" * 9, "x" * 129]
)
def test_a_password_rds_refuses_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(AwsFault) as refusal:
        rules.master_password(password)
    assert password not in refusal.value.message


@pytest.mark.parametrize(
    ("kind", "size", "iops", "throughput", "result"),
    [
        ("gp3", 100, None, None, (3000, 125)),
        ("gp3", 400, None, None, (12000, 500)),
        ("gp3", 400, 16000, 4000, (16000, 4000)),
        ("gp2", 20, None, None, (None, None)),
        ("io1", 100, 5000, None, (5000, None)),
    ],
)
def test_storage_gets_its_base_line(
    kind: str, size: int, iops: int | None, throughput: int | None, result: tuple[int | None, int | None]
) -> None:
    assert rules.storage(kind, size, iops, throughput, None) == result


@pytest.mark.parametrize(
    ("kind", "size", "iops", "throughput", "most"),
    [
        ("gp3", 399, 12000, None, None),
        ("gp3", 399, None, 500, None),
        ("gp3", 400, 11999, None, None),
        ("gp3", 400, 12000, 3001, None),
        ("gp3", 100, None, None, 109),
        ("gp2", 100, 3000, None, None),
        ("io1", 100, None, None, None),
        ("io1", 100, 5001, None, None),
    ],
)
def test_storage_that_does_not_go_together_is_refused(
    kind: str, size: int, iops: int | None, throughput: int | None, most: int | None
) -> None:
    refused("InvalidParameterCombination", rules.storage, kind, size, iops, throughput, most)


def test_storage_grows_by_a_tenth_and_never_shrinks() -> None:
    rules.growth(100, 110)
    rules.growth(100, 100)
    refused("InvalidParameterCombination", rules.growth, 100, 109)
    refused("InvalidParameterValue", rules.growth, 100, 99)


def test_windows_must_not_overlap() -> None:
    rules.windows_apart("03:00-04:00", "sun:04:00-sun:05:00")
    refused("InvalidParameterValue", rules.windows_apart, "03:00-04:01", "sun:04:00-sun:05:00")
    refused("InvalidParameterValue", rules.windows_apart, "23:30-00:30", "mon:00:00-mon:01:00")


@given(st.text(max_size=20))
def test_default_windows_are_valid_and_apart(seed: str) -> None:
    backup, maintenance = rules.default_windows(seed)
    assert rules.backup_window(backup) == backup
    assert rules.maintenance_window(maintenance) == maintenance
    rules.windows_apart(backup, maintenance)


@given(st.integers(0, 7 * 24 * 60 - 1))
def test_the_maintenance_window_is_open_for_its_length_each_week(minute: int) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(minutes=minute)  # a Monday
    inside = minute >= 6 * 24 * 60 + 23 * 60 + 30 or minute < 30
    assert rules.in_maintenance_window("sun:23:30-mon:00:30", now) is inside


@pytest.mark.parametrize(
    ("replica", "skip", "wanted", "result"),
    [
        (False, True, None, None),
        (False, False, "last-one", "last-one"),
        (False, None, "Last-One", "last-one"),
        (True, None, None, None),
        (True, True, None, None),
        (True, False, None, None),
    ],
)
def test_a_final_snapshot_is_made_exactly_when_asked(
    replica: bool, skip: bool | None, wanted: str | None, result: str | None
) -> None:
    assert rules.final_snapshot(is_replica=replica, skip=skip, wanted=wanted, has_data=True) == result


@pytest.mark.parametrize(
    ("replica", "skip", "wanted", "has_data", "code"),
    [
        (False, None, None, True, "InvalidParameterCombination"),
        (False, False, None, True, "InvalidParameterCombination"),
        (False, True, "last", True, "InvalidParameterCombination"),
        (True, None, "last", True, "InvalidDBInstanceState"),
        (False, None, "last", False, "InvalidDBInstanceState"),
        (False, None, "-bad-", True, "InvalidParameterValue"),
    ],
)
def test_a_wrong_combination_of_final_snapshot_and_skip_is_refused(
    replica: bool, skip: bool | None, wanted: str | None, has_data: bool, code: str
) -> None:
    refused(code, rules.final_snapshot, is_replica=replica, skip=skip, wanted=wanted, has_data=has_data)
