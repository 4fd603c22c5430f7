"""Settings: what is accepted, what is refused, and that a refusal names setting, value and rule."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from multiaz.blueprint import PRESET_ROWS, Preset, Settings, settings_from
from multiaz.blueprint.windows import parse_backup_window, parse_maintenance_window
from multiaz.errors import BadInput, ExitCode


def test_defaults_are_the_seeds() -> None:
    s = settings_from({})
    assert (s.environment_suffix, s.db_instance_class, s.read_replica_instance_class) == (
        "prod",
        "db.m5.large",
        "db.m5.large",
    )
    assert (s.db_name, s.db_master_username, s.db_port) == ("ecommercedb", "dbadmin", 5432)
    assert (s.allocated_storage, s.max_allocated_storage) == (100, 1000)
    assert s.engine_version == "17.10"


@pytest.mark.parametrize("preset", list(Preset))
def test_a_preset_fills_its_rows(preset: Preset) -> None:
    s = settings_from({"preset": preset.value})
    assert {name: getattr(s, name) for name in PRESET_ROWS[preset]} == dict(PRESET_ROWS[preset])


def test_a_given_value_wins_over_the_preset() -> None:
    s = settings_from({"preset": "test", "keep_bucket": True})
    assert s.keep_bucket
    assert not s.deletion_protection


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        settings_from({}).db_port = 5433  # type: ignore[misc]


@pytest.mark.parametrize(
    "values",
    [
        {"engine_version": "16.6"},
        {"engine_version": "18.4"},
        {"allocated_storage": 400, "max_allocated_storage": 440},
        {"preferred_backup_window": "23:45-00:15"},
        {"preferred_backup_window": "05:00-05:30"},
        {"preferred_maintenance_window": "sun:23:45-mon:00:30"},
        {"database_insights_mode": "advanced", "performance_insights_retention": 731},
        {"kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-1111-2222-333344445555"},
        {"zones": 2},
        {"environment_suffix": "pr-1234"},
        {"alarm_email": "oncall@example.com"},
        {"management_cidr": "192.168.10.0/24"},
    ],
    ids=str,
)
def test_valid_values_are_accepted(values: dict[str, Any]) -> None:
    s = settings_from(values)
    assert all(getattr(s, name) == value for name, value in values.items())


def test_advanced_insights_bring_the_retention_they_need() -> None:
    assert settings_from({"database_insights_mode": "advanced"}).performance_insights_retention == 465


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "staging"}, ["preset='staging'", "'prod' or 'test'"]),
        ({"engine_version": "15.2"}, ["engine_version='15.2'", "RDS does not offer", "17.10"]),
        ({"engine_version": "17"}, ["engine_version='17'", "choose one of"]),
        ({"db_instance_class": "db.t3.micro"}, ["db_instance_class='db.t3.micro'", "db.m5.large"]),
        ({"read_replica_instance_class": "db.r5.huge"}, ["read_replica_instance_class", "db.r5.xlarge"]),
        ({"db_name": "1shop"}, ["db_name='1shop'", "must match"]),
        ({"db_name": "rdsadmin"}, ["db_name='rdsadmin'", "reserved"]),
        ({"db_name": "a" * 64}, ["db_name=", "63"]),
        ({"db_master_username": "postgres"}, ["db_master_username='postgres'", "reserved"]),
        ({"db_master_username": "admin"}, ["db_master_username='admin'"]),
        ({"db_master_username": "a" * 17}, ["16"]),
        ({"iam_database_username": "rds_thing"}, ["iam_database_username", "reserved"]),
        ({"iam_database_username": "dbadmin"}, ["iam_database_username=dbadmin", "rds_iam"]),
        ({"db_port": 80}, ["db_port=80", "1150"]),
        ({"db_port": "many"}, ["db_port='many'", "integer"]),
        ({"backup_retention_days": 0}, ["backup_retention_days=0", "7"]),
        ({"backup_retention_days": 36}, ["backup_retention_days=36", "35"]),
        ({"preferred_backup_window": "3-4"}, ["preferred_backup_window='3-4'", "03:00-04:00"]),
        ({"preferred_backup_window": "03:00-03:29"}, ["30 minutes"]),
        ({"preferred_maintenance_window": "sun:04:00"}, ["preferred_maintenance_window", "sun:04:00-sun:05:00"]),
        ({"preferred_maintenance_window": "sun:04:00-sun:04:10"}, ["30 minutes"]),
        ({"preferred_maintenance_window": "sun:04:00-tue:04:00"}, ["24 hours"]),
        ({"preferred_backup_window": "04:30-05:30"}, ["must not overlap", "04:30-05:30", "sun:04:00-sun:05:00"]),
        ({"performance_insights_retention": 8}, ["performance_insights_retention=8", "7, 731", "standard"]),
        (
            {"database_insights_mode": "advanced", "performance_insights_retention": 7},
            ["performance_insights_retention=7", "465", "advanced"],
        ),
        ({"enhanced_monitoring_interval": 7}, ["enhanced_monitoring_interval=7", "0, 1, 5, 10, 15, 30, 60"]),
        ({"log_retention_days": 31}, ["log_retention_days=31", "30, 60"]),
        ({"allocated_storage": 19}, ["allocated_storage=19", "20"]),
        ({"allocated_storage": 950}, ["max_allocated_storage=1000", "allocated_storage=950", "10 %"]),
        ({"application_subnet_cidr": "10.0.1.0"}, ["application_subnet_cidr='10.0.1.0'", "10.0.1.0/24"]),
        ({"application_subnet_cidr": "10.0.1.7/24"}, ["host bits"]),
        ({"management_cidr": "0.0.0.0/0"}, ["management_cidr='0.0.0.0/0'", "whole internet"]),
        ({"management_cidr": "10.0.0.300/32"}, ["management_cidr", "300"]),
        ({"kms_key_arn": "alias/mine"}, ["kms_key_arn='alias/mine'", "must match"]),
        ({"alarm_email": "nobody"}, ["alarm_email='nobody'"]),
        ({"environment_suffix": "Prod"}, ["environment_suffix='Prod'"]),
        ({"environment_suffix": "a--b"}, ["environment_suffix='a--b'"]),
        ({"environment_suffix": "x" * 25}, ["24"]),
        ({"zones": 1}, ["zones=1", "2 or 3"]),
        ({"colour": "red"}, ["colour", "no such setting"]),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else None,
)
def test_a_refusal_names_setting_value_and_rule(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(BadInput) as refused:
        settings_from(values)
    assert all(word in refused.value.why for word in words), refused.value.why
    assert refused.value.exit_code is ExitCode.BAD_INPUT
    assert refused.value.next_step


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(BadInput) as refused:
        settings_from({"db_port": 1, "zones": 9})
    assert "db_port=1" in refused.value.why
    assert "zones=9" in refused.value.why


def test_windows_are_rings() -> None:
    assert parse_backup_window("23:45-00:15") == (23 * 60 + 45, 30)
    assert parse_maintenance_window("sun:23:30-mon:00:30") == (6 * 1440 + 23 * 60 + 30, 60)


@pytest.mark.parametrize(
    ("backup", "maintenance", "clash"),
    [
        ("23:45-00:30", "mon:00:00-mon:00:30", True),
        ("23:45-00:30", "sun:23:30-mon:00:30", True),
        ("00:00-00:30", "sun:23:30-mon:00:30", True),
        ("01:00-02:00", "sun:23:30-mon:00:30", False),
        ("03:00-04:00", "sun:04:00-sun:05:00", False),
        ("03:00-04:01", "sun:04:00-sun:05:00", True),
    ],
)
def test_windows_overlap_also_across_midnight_and_week(backup: str, maintenance: str, clash: bool) -> None:
    values = {"preferred_backup_window": backup, "preferred_maintenance_window": maintenance}
    if clash:
        with pytest.raises(BadInput, match="overlap"):
            settings_from(values)
    else:
        settings_from(values)


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_package_is_cheap_to_import() -> None:
    heavy = "import sys, multiaz.blueprint; print([m for m in ('troposphere', 'cfnlint', 'boto3') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_synthesis_does_not_load_cfn_lint() -> None:
    code = (
        "import sys; from multiaz.blueprint import *; to_yaml(settings_from({})); "
        "print([m for m in ('cfnlint', 'boto3', 'botocore') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
