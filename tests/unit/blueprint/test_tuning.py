"""The parameter groups: rules of PostgreSQL that values must keep, and a reason for each."""

from __future__ import annotations

from multiaz.blueprint import settings_from
from multiaz.blueprint.instance_classes import INSTANCE_CLASSES, PRIMARY_CLASSES
from multiaz.blueprint.tuning import TUNED_PARAMETERS, group_values

PROD = settings_from({})
STATIC = {
    *("max_connections", "max_worker_processes", "shared_buffers"),
    *("shared_preload_libraries", "track_activity_query_size"),
}
"""Source: pg_settings, context postmaster."""


def test_every_value_has_a_reason() -> None:
    assert [p.name for p in TUNED_PARAMETERS if not p.reason] == []


def test_static_parameters_are_called_static() -> None:
    assert {p.name for p in TUNED_PARAMETERS if p.apply == "static"} == STATIC


def test_no_group_has_a_parameter_twice() -> None:
    for group in ("primary", "replica"):
        names = [p.name for p in TUNED_PARAMETERS if group in p.groups]
        assert len(names) == len(set(names))


def test_a_replica_never_allows_fewer_connections_than_any_primary() -> None:
    """PostgreSQL stops replay on a hot standby whose limits are below its primary's."""
    replica = group_values("replica", PROD)
    for name in PRIMARY_CLASSES:
        assert int(replica["max_connections"]) >= INSTANCE_CLASSES[name].max_connections
        assert int(replica["max_worker_processes"]) >= INSTANCE_CLASSES[name].max_worker_processes


def test_formulas_of_memory_are_rdss_own() -> None:
    primary = group_values("primary", PROD)
    assert primary["max_connections"] == "LEAST({DBInstanceClassMemory/9531392},5000)"
    assert primary["shared_buffers"] == "{DBInstanceClassMemory/32768}"


def test_only_readers_have_the_readers_settings() -> None:
    extra = group_values("replica", PROD).keys() - group_values("primary", PROD).keys()
    assert extra == {"max_worker_processes", "hot_standby_feedback", "max_standby_streaming_delay"}


def test_statements_with_passwords_are_not_logged() -> None:
    assert "log_statement" not in group_values("primary", PROD)


def test_a_slot_may_hold_back_a_share_of_the_volume_it_is_on() -> None:
    """A figure for a large volume would be the whole of a small one."""
    for preset, megabytes in (("prod", 20_480), ("test", 4_096)):
        s = settings_from({"preset": preset})
        assert group_values("primary", s)["max_slot_wal_keep_size"] == str(megabytes)
        assert megabytes * 5 == s.allocated_storage * 1024


def test_a_parameter_rds_does_not_let_a_group_set_is_not_listed() -> None:
    """One such parameter fails the whole stack; of these RDS documents nothing."""
    assert {p.name for p in TUNED_PARAMETERS} & {"transaction_timeout", "idle_replication_slot_timeout"} == set()
