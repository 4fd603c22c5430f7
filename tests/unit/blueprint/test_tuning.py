"""The parameter groups: rules of PostgreSQL that values must keep, and a reason for each."""

from __future__ import annotations

from typing import Any

import pytest

from multiaz.blueprint.instance_classes import INSTANCE_CLASSES, PRIMARY_CLASSES
from multiaz.blueprint.tuning import TUNED_PARAMETERS, group_values

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
    replica = group_values("replica", 17)
    for name in PRIMARY_CLASSES:
        assert int(replica["max_connections"]) >= INSTANCE_CLASSES[name].max_connections
        assert int(replica["max_worker_processes"]) >= INSTANCE_CLASSES[name].max_worker_processes


def test_formulas_of_memory_are_rdss_own() -> None:
    primary = group_values("primary", 17)
    assert primary["max_connections"] == "LEAST({DBInstanceClassMemory/9531392},5000)"
    assert primary["shared_buffers"] == "{DBInstanceClassMemory/32768}"


def test_only_readers_have_the_readers_settings() -> None:
    extra = group_values("replica", 17).keys() - group_values("primary", 17).keys()
    assert extra == {"max_worker_processes", "hot_standby_feedback", "max_standby_streaming_delay"}


def test_statements_with_passwords_are_not_logged() -> None:
    assert "log_statement" not in group_values("primary", 17)


@pytest.mark.parametrize(("version", "has"), [("16.9", set()), ("17.10", {"transaction_timeout"})])
def test_a_family_holds_only_what_its_version_knows(version: str, has: set[str]) -> None:
    newer = {p.name for p in TUNED_PARAMETERS if p.since > 16}
    assert newer & group_values("primary", int(version.split(".")[0])).keys() == has


def test_the_template_leaves_out_what_an_older_family_does_not_have(document: dict[str, Any]) -> None:
    values = document["Resources"]["DBParameterGroup"]["Properties"]["Parameters"]
    assert values["transaction_timeout"] == {"Fn::If": ["PostgreSQL17OrLater", "600000", {"Ref": "AWS::NoValue"}]}
    assert values["idle_replication_slot_timeout"]["Fn::If"][0] == "PostgreSQL18OrLater"
