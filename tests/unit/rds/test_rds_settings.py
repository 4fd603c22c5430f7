"""What the server says about itself is read as it says it."""

from __future__ import annotations

from multiaz.cloud.rds.settings import parse_description, parse_rejection

DESCRIPTION = (
    "work_mem\tuser\tResource Usage / Memory\tINTEGER\t0\t64\t2147483647\tSets the memory.\tMore.\n"
    "wal_level\tpostmaster\tWrite-Ahead Log / Settings\tENUM\treplica\t\t\tSets the level.\t\n"
    "DateStyle\tuser\tClient\tSTRING\tISO, MDY\t\t\tSets the display format.\t\n"
    "a line of another kind\n"
)


def test_settings_are_found_by_lower_case_name() -> None:
    settings = parse_description(DESCRIPTION)
    assert set(settings) == {"work_mem", "wal_level", "datestyle"}
    assert settings["work_mem"].minimum == "64"
    assert settings["wal_level"].static
    assert not settings["work_mem"].static


def test_the_words_of_an_enumeration_come_from_the_hint() -> None:
    said = (
        '2026-11-23 12:45:39.854 GMT [7647] FATAL:  invalid value for parameter "log_statement": "bogus"\n'
        "2026-11-23 12:45:39.854 GMT [7647] HINT:  Available values: none, ddl, mod, all.\n"
    )
    rejection = parse_rejection(said, {"log_statement": "bogus"})
    assert rejection is not None
    assert rejection.name == "log_statement"
    assert rejection.allowed == "none, ddl, mod, all"


def test_a_rejection_names_the_setting_as_it_was_asked() -> None:
    said = '2026-11-23 12:45:39 GMT [1] FATAL:  invalid value for parameter "DateStyle": "foo"\n'
    rejection = parse_rejection(said, {"work_mem": "1", "datestyle": "foo"})
    assert rejection is not None
    assert rejection.name == "datestyle"


def test_what_is_only_logged_is_no_rejection() -> None:
    assert parse_rejection("2026 GMT [1] LOG:  skipping missing configuration file\n", {"a": "b"}) is None
