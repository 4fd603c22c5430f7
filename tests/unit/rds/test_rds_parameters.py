"""Parameter groups take what RDS takes, and come to what the server is given."""

from __future__ import annotations

import pytest

from multiaz.cloud.rds.classes import INSTANCE_CLASSES
from multiaz.cloud.rds.formulas import Variables
from multiaz.cloud.rds.parameters import (
    SYSTEM_VALUES,
    SYSTEM_VALUES_18,
    check_change,
    define,
    values_of,
)
from multiaz.cloud.rds.settings import Setting
from multiaz.cloud.service import AwsFault

LIBRARIES = frozenset({"pg_stat_statements", "auto_explain"})


def _setting(name: str, kind: str = "integer", context: str = "user", low: str = "", high: str = "") -> Setting:
    return Setting(name, context, "Some / Group", kind, "", low, high, "")


SETTINGS = {
    one.name.lower(): one
    for one in (
        _setting("work_mem", low="64", high="2147483647"),
        _setting("max_connections", context="postmaster", low="1", high="262143"),
        _setting("random_page_cost", "float", low="0", high="1.79769e+308"),
        _setting("log_min_duration_statement", context="superuser", low="-1", high="2147483647"),
        _setting("log_lock_waits", "boolean"),
        _setting("synchronous_commit", "enum"),
        _setting("shared_preload_libraries", "string", "postmaster"),
        _setting("session_preload_libraries", "string", "superuser"),
        _setting("listen_addresses", "string", "postmaster"),
        _setting("TimeZone", "string"),
        _setting("block_size", context="internal"),
    )
}
DEFINITIONS = define(17, SETTINGS, LIBRARIES)


def change(name: str, value: str, method: str = "pending-reboot") -> None:
    check_change(DEFINITIONS, name, value, method, LIBRARIES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("work_mem", "64"),
        ("work_mem", "2147483647"),
        ("WORK_MEM", "128"),
        ("random_page_cost", "1.1"),
        ("log_min_duration_statement", "-1"),
        ("log_lock_waits", "1"),
        ("max_connections", "LEAST({DBInstanceClassMemory/9531392},5000)"),
        ("shared_preload_libraries", "pg_stat_statements,auto_explain"),
        ("session_preload_libraries", "auto_explain"),
        ("session_preload_libraries", ""),
        ("timezone", "Europe/Vienna"),
        ("rds.force_ssl", "1"),
        ("pg_stat_statements.track", "all"),
        ("rds.force_autovacuum_logging_level", "WARNING"),
    ],
)
def test_a_value_in_its_range_is_taken(name: str, value: str) -> None:
    change(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("work_mem", "63"),
        ("work_mem", "16MB"),
        ("work_mem", "1_000"),
        ("work_mem", " 64"),
        ("work_mem", "nan"),
        ("random_page_cost", "-1"),
        ("random_page_cost", "nan"),
        ("log_min_duration_statement", "-2"),
        ("log_lock_waits", "on"),
        ("max_connections", "{DBInstanceClassMemory/0}"),
        ("timezone", "{DBInstanceVCPU}"),
        ("timezone", "UTC\nlisten_addresses='*'"),
        ("shared_preload_libraries", "pgaudit"),
        ("shared_preload_libraries", "pg_prewarm"),
        ("session_preload_libraries", "/tmp/own.so"),
        ("session_preload_libraries", "auto_explain,plpgsql"),
        ("session_preload_libraries", '"auto_explain"'),
        ("pg_stat_statements.track", "some"),
        ("rds.restrict_password_commands", "1"),
        ("rds.allowed_extensions", "hstore"),
        ("listen_addresses", "*"),
        ("block_size", "1"),
        ("no_such_parameter", "1"),
    ],
)
def test_a_value_the_server_could_not_have_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(AwsFault) as refusal:
        change(name, value)
    assert refusal.value.code == "InvalidParameterValue"
    assert name.lower() in refusal.value.message or value.split(",")[0] in refusal.value.message


def test_a_static_parameter_cannot_apply_immediately() -> None:
    with pytest.raises(AwsFault) as refusal:
        change("max_connections", "100", "immediate")
    assert refusal.value.code == "InvalidParameterCombination"


def test_extension_parameters_are_there_only_with_their_library() -> None:
    assert "auto_explain.log_min_duration" in DEFINITIONS
    assert "pg_prewarm.autoprewarm" not in DEFINITIONS


def test_a_users_value_wins_over_rdss_own_and_the_engines_default_is_left_to_the_engine() -> None:
    variables = Variables(16 * 1024**3, 2, 100 * 1024**3, 5432)
    values = values_of(DEFINITIONS, {"max_connections": "77"}, variables)
    assert values["max_connections"] == "77"
    assert values["rds.force_ssl"] == "1"
    assert "work_mem" not in values


def test_a_formula_that_comes_to_an_impossible_value_is_refused() -> None:
    variables = Variables(16 * 1024**3, 2, 100 * 1024**3, 5432)
    with pytest.raises(AwsFault):
        values_of(DEFINITIONS, {"work_mem": "{DBInstanceVCPU}"}, variables)


@pytest.mark.parametrize("one", INSTANCE_CLASSES.values(), ids=lambda one: one.name)
def test_rdss_own_formulas_come_to_sane_values_for_every_class(one: object) -> None:
    from multiaz.cloud.rds.classes import InstanceClass
    from multiaz.cloud.rds.formulas import evaluate, is_formula

    assert isinstance(one, InstanceClass)
    variables = Variables(one.memory_bytes, one.vcpus, 20 * 1024**3, 5432)
    values = {
        name: evaluate(value, variables)
        for name, value in (SYSTEM_VALUES | SYSTEM_VALUES_18).items()
        if is_formula(value)
    }
    assert 100 <= values["max_connections"] <= 5000
    assert values["shared_buffers"] * 8192 == one.memory_bytes // 4
    assert values["autovacuum_max_workers"] >= 3
