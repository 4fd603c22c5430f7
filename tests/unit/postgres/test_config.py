"""The configuration of a server: what a parameter group may change, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.postgres.config import OURS, ServerSettings, pg_hba, pg_ident, postgresql_conf, quote, session_options


def settings(**changes: object) -> ServerSettings:
    return ServerSettings(**{  # type: ignore[arg-type]
        "name": "multiaz_a", "socket_folder": Path("/run/x/a"), "log_folder": Path("/home/x/a/log"), **changes,
    })  # fmt: skip


def last_value(text: str, name: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith(f"{name} = ")]
    return lines[-1].partition(" = ")[2]


@pytest.mark.parametrize("name", sorted(OURS))
def test_no_parameter_group_changes_what_the_instance_depends_on(name: str) -> None:
    assert "intruder" not in postgresql_conf(settings(parameters={name: "intruder"}))


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")))
def test_hostile_value_cannot_begin_a_line_of_its_own(value: str) -> None:
    quoted = quote(value)
    assert "\n" not in quoted
    assert "\r" not in quoted
    inside = quoted[1:-1].replace("\\\\", "").replace("''", "")
    assert "'" not in inside


def test_commits_wait_only_for_a_named_standby() -> None:
    assert last_value(postgresql_conf(settings()), "synchronous_standby_names") == "''"
    text = postgresql_conf(settings(synchronous_standby="multiaz_b"))
    assert last_value(text, "synchronous_standby_names") == "'\"multiaz_b\"'"


@pytest.mark.parametrize("level", ["local", "LOCAL", "remote_write"])
def test_acknowledged_commit_of_a_multi_az_instance_is_on_the_standby_though_the_group_says_local(level: str) -> None:
    """On RDS it survives a failover, because there the standby is a copy of the storage."""
    text = postgresql_conf(settings(parameters={"synchronous_commit": level}, multi_az=True))
    assert last_value(text, "synchronous_commit") == "'on'"
    alone = postgresql_conf(settings(parameters={"synchronous_commit": level}))
    assert last_value(alone, "synchronous_commit") == f"'{level}'"


@pytest.mark.parametrize("level", ["off", "on", "remote_apply"])
def test_other_levels_of_synchronous_commit_stay_the_groups(level: str) -> None:
    """`off` may lose its last commits on RDS as well."""
    text = postgresql_conf(settings(parameters={"synchronous_commit": level}, multi_az=True))
    assert last_value(text, "synchronous_commit") == f"'{level}'"
    assert "synchronous_commit" not in postgresql_conf(settings(multi_az=True))


def test_killed_backend_ends_the_server_and_nothing_listens_on_tcp() -> None:
    text = postgresql_conf(settings(parameters={"restart_after_crash": "on", "listen_addresses": "*"}))
    assert last_value(text, "restart_after_crash") == "'off'"
    assert last_value(text, "listen_addresses") == "''"


def test_wal_kept_for_a_returning_standby_may_be_raised_and_not_lowered() -> None:
    assert last_value(postgresql_conf(settings(parameters={"wal_keep_size": "4096"})), "wal_keep_size") == "'4096'"
    assert last_value(postgresql_conf(settings(parameters={"wal_keep_size": "16"})), "wal_keep_size") == "'512'"


def test_master_user_with_admin_option_on_rds_iam_still_uses_its_password() -> None:
    lines = pg_hba().splitlines()
    assert lines.index("local all +rds_superuser scram-sha-256") < lines.index("local all +rds_iam peer map=iam")


def test_only_our_own_users_become_the_superuser() -> None:
    text = pg_ident("postgres", "root")
    assert 'rds "postgres" rdsadmin' in text
    assert 'rds "root" rdsadmin' in text
    assert 'iam "root" all' in text
    assert 'iam "postgres"' not in text


def test_own_standby_replays_at_once_and_a_read_replica_as_late_as_its_group_says() -> None:
    """A join waits until the standby has replayed."""
    late = {"recovery_min_apply_delay": "60000"}
    assert last_value(postgresql_conf(settings(parameters=late)), "recovery_min_apply_delay") == "'0'"
    text = postgresql_conf(settings(parameters=late, replica=True))
    assert last_value(text, "recovery_min_apply_delay") == "'60000'"


def test_own_sessions_set_no_parameter_their_server_does_not_know() -> None:
    """Else it refuses them. Source: release notes of PostgreSQL 17."""
    assert "transaction_timeout" in session_options(17).replace("idle_in_transaction", "")
    assert " transaction_timeout" not in session_options(16)
