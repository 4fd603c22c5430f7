"""Settings: what is accepted, what is refused, and that a refusal names setting, value and rule."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from multiaz.blueprint import PRESET_ROWS, Preset, Settings, patterns, settings_from
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
        {"engine_version": "16.6", "allow_deprecated_engine_version": True},
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
        {"allocated_storage": 400, "storage_iops": 16_000, "storage_throughput": 4_000},
        {"allocated_storage": 400, "storage_throughput": 3_000},
        {"performance_insights_retention": 93},
        {"vpc_id": "vpc-0a1b2c3d", "subnet_ids": ("subnet-0a1b2c3d", "subnet-0a1b2c3e")},
        {"vpc_cidr": "172.16.0.0/20", "application_subnet_cidr": "172.16.0.0/24"},
        {"database_subnet_cidrs": ("10.0.21.0/24", "10.0.22.0/24", "10.0.23.0/24")},
        {"nat_gateways": "per-zone"},
        {"read_replicas": 0},
        {"replica_engine_version": "17.11"},
        {"allow_major_version_upgrade": True, "apply_immediately": True},
        {"read_replicas": 15},
        {"region": "us-west-1", "zones": 2},
        {"application_subnet_cidr": "10.9.0.0/24", "application_security_group_id": "sg-0a1b2c3d"},
        {"orders_per_day": 200_000, "reads_per_write": 20.0, "peak_factor": 15.0},
    ],
    ids=str,
)
def test_valid_values_are_accepted(values: dict[str, Any]) -> None:
    s = settings_from(values)
    assert all(getattr(s, name) == value for name, value in values.items())


def test_advanced_insights_bring_the_retention_they_need() -> None:
    assert settings_from({"database_insights_mode": "advanced"}).performance_insights_retention == 465


@pytest.mark.parametrize(("region", "zones"), [("", 3), ("eu-central-1", 3), ("us-west-1", 2)])
def test_there_are_three_zones_where_the_region_has_them(region: str, zones: int) -> None:
    assert settings_from({"region": region}).zones == zones


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "staging"}, ["preset='staging'", "'prod' or 'test'"]),
        ({"engine_version": "15.2"}, ["engine_version='15.2'", "RDS does not offer", "17.10"]),
        ({"engine_version": "17"}, ["engine_version='17'", "choose one of"]),
        ({"db_instance_class": "db.t3.micro"}, ["db_instance_class='db.t3.micro'", "near it: db.t3.medium"]),
        ({"read_replica_instance_class": "m5.large"}, ["read_replica_instance_class", "near it: db.m5.large"]),
        ({"engine_version": "16.6"}, ["engine_version=16.6", "deprecated", "allow_deprecated_engine_version"]),
        ({"db_name": "1shop"}, ["db_name='1shop'", "must be letters and digits, a letter first"]),
        ({"db_name": "select"}, ["db_name='select'", "reserved"]),
        ({"db_name": "Left"}, ["db_name='Left'", "reserved"]),
        ({"db_master_username": "Table"}, ["db_master_username='Table'", "reserved"]),
        ({"reader_username": "all"}, ["reader_username='all'", "reserved"]),
        ({"vpc_id": "vpc-1"}, ["vpc_id='vpc-1'", "must be empty, or an id, such as vpc-0123456789abcdef0"]),
        ({"region": "Frankfurt"}, ["region='Frankfurt'", "such as eu-central-1"]),
        ({"db_name": "rdsadmin"}, ["db_name='rdsadmin'", "reserved"]),
        ({"db_name": "a" * 64}, ["db_name=", "63"]),
        ({"db_master_username": "postgres"}, ["db_master_username='postgres'", "reserved"]),
        ({"db_master_username": "admin"}, ["db_master_username='admin'"]),
        ({"db_master_username": "a" * 17}, ["16"]),
        ({"writer_username": "rds_thing"}, ["writer_username", "reserved"]),
        ({"writer_username": "dbadmin"}, ["writer_username=dbadmin", "rds_iam"]),
        ({"reader_username": "app_writer"}, ["writer_username=app_writer and reader_username=app_writer", "two users"]),
        ({"db_port": 80}, ["db_port=80", "1150"]),
        ({"db_port": "many"}, ["db_port='many'", "integer"]),
        ({"backup_retention_days": 0}, ["backup_retention_days=0", "7"]),
        ({"backup_retention_days": 36}, ["backup_retention_days=36", "35"]),
        ({"preferred_backup_window": "3-4"}, ["preferred_backup_window='3-4'", "03:00-04:00"]),
        ({"preferred_backup_window": "03:00-03:29"}, ["30 minutes"]),
        ({"preferred_maintenance_window": "sun:04:00"}, ["preferred_maintenance_window", "sun:04:00-sun:05:00"]),
        ({"preferred_maintenance_window": "sun:04:00-sun:04:10"}, ["30 minutes"]),
        ({"preferred_maintenance_window": "sun:04:00-tue:04:00"}, ["24 hours"]),
        (
            {"preferred_backup_window": "04:30-05:30"},
            ["must not overlap", "preferred_backup_window=04:30-05:30", "sun:04:00-sun:05:00", "CreateDBInstance"],
        ),
        ({"performance_insights_retention": 8}, ["performance_insights_retention=8", "7, 31, 62", "731"]),
        (
            {"database_insights_mode": "advanced", "performance_insights_retention": 7},
            ["performance_insights_retention=7", "465", "advanced"],
        ),
        ({"enhanced_monitoring_interval": 7}, ["enhanced_monitoring_interval=7", "0, 1, 5, 10, 15, 30, 60"]),
        ({"log_retention_days": 31}, ["log_retention_days=31", "30, 60"]),
        ({"allocated_storage": 19}, ["allocated_storage=19", "20"]),
        ({"allocated_storage": 950}, ["max_allocated_storage=1000", "allocated_storage=950", "10 %"]),
        ({"storage_iops": 12_000}, ["storage_iops=12000", "allocated_storage=100", "400 GiB", "user guide"]),
        ({"storage_throughput": 500}, ["storage_throughput=500", "400 GiB"]),
        (
            {"allocated_storage": 400, "storage_iops": 12_000, "storage_throughput": 3_001},
            ["storage_throughput=3001", "0.25 x IOPS", "12000"],
        ),
        ({"monitoring_role_arn": "arn:aws:iam::123456789012:role/m", "enhanced_monitoring_interval": 0}, ["interval"]),
        ({"region": "xx-north-1"}, ["region=xx-north-1", "no such region", "eu-central-1"]),
        ({"region": "us-west-1", "zones": 3}, ["zones=3", "region=us-west-1", "2 Availability Zones"]),
        ({"vpc_id": "vpc-0a1b2c3d"}, ["vpc_id=vpc-0a1b2c3d", "subnet_ids=", "together"]),
        ({"vpc_id": "vpc-0a1b2c3d", "subnet_ids": "subnet-0a1b2c3d"}, ["two zones"]),
        (
            {
                "vpc_id": "vpc-0a1b2c3d",
                "subnet_ids": "subnet-0a1b2c3d,subnet-0a1b2c3e",
                "nat_gateways": "single",
                "database_subnet_cidrs": "10.0.3.0/24",
            },
            ["nat_gateways=single", "database_subnet_cidrs=10.0.3.0/24"],
        ),
        ({"subnet_ids": "subnet-1"}, ["subnet_ids='subnet-1'", "subnet-0123456789abcdef0"]),
        ({"vpc_cidr": "10.0.0.0/8"}, ["vpc_cidr=10.0.0.0/8", "/16", "/28"]),
        ({"application_subnet_cidr": "10.1.0.0/24"}, ["application_subnet_cidr=10.1.0.0/24", "outside the VPC"]),
        (
            {"database_subnet_cidrs": "10.0.1.0/25,10.0.2.0/24,10.0.3.0/24"},
            ["application_subnet_cidr=10.0.1.0/24", "collides"],
        ),
        ({"database_subnet_cidrs": "10.0.2.0/24,10.0.2.0/25,10.0.3.0/24"}, ["10.0.2.0/24 and 10.0.2.0/25 overlap"]),
        ({"database_subnet_cidrs": "10.0.2.0/24"}, ["one network for each zone"]),
        ({"database_subnet_cidrs": "10.0.2.0/24,10.0.3.0/24,192.168.0.0/24"}, ["192.168.0.0/24 lies outside"]),
        ({"application_subnet_cidr": "10.0.0.0/16"}, ["no room"]),
        ({"backup_copy_region": "eu-west-1"}, ["backup_copy_region=eu-west-1", "a key of that region"]),
        (
            {
                "backup_copy_region": "eu-west-1",
                "backup_copy_kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/abc",
            },
            ["backup_copy_kms_key_arn=", "of that region"],
        ),
        (
            {"region": "eu-central-1", "kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/abc"},
            ["kms_key_arn=", "the stack's region"],
        ),
        ({"read_replicas": 16}, ["read_replicas=16", "15", "Quotas"]),
        ({"replica_engine_version": "17.9"}, ["replica_engine_version=17.9", "engine_version=17.10", "later minor"]),
        ({"replica_engine_version": "18.4"}, ["replica_engine_version=18.4", "same major"]),
        ({"allow_major_version_upgrade": True}, ["needs apply_immediately"]),
        ({"preset": "test", "aws_backup": True}, ["aws_backup=True", "recovery points"]),
        ({"peak_factor": 4}, ["peak_factor=4", "needs orders_per_day"]),
        ({"application_subnet_cidr": "10.0.1.0"}, ["application_subnet_cidr='10.0.1.0'", "10.0.1.0/24"]),
        ({"application_subnet_cidr": "10.0.1.7/24"}, ["host bits"]),
        ({"management_cidr": "0.0.0.0/0"}, ["management_cidr='0.0.0.0/0'", "whole internet"]),
        ({"management_cidr": "10.0.0.300/32"}, ["management_cidr", "300"]),
        ({"kms_key_arn": "alias/mine"}, ["kms_key_arn='alias/mine'", "arn:aws:kms:REGION:ACCOUNT:key/ID"]),
        ({"alarm_email": "nobody"}, ["alarm_email='nobody'", "name@example.com"]),
        ({"environment_suffix": "Prod"}, ["environment_suffix='Prod'"]),
        ({"environment_suffix": "a--b"}, ["environment_suffix='a--b'"]),
        ({"environment_suffix": "x" * 25}, ["24"]),
        ({"zones": 1}, ["zones=1", "greater than or equal to 2"]),
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


def test_rules_of_two_settings_are_all_told_at_once() -> None:
    with pytest.raises(BadInput) as refused:
        settings_from({"storage_iops": 12_000, "peak_factor": 2, "application_subnet_cidr": "10.1.0.0/24"})
    assert all(name in refused.value.why for name in ("storage_iops=12000", "peak_factor=2", "10.1.0.0/24"))


def test_every_refusal_names_the_source_of_its_rule() -> None:
    for values in ({"db_port": 1}, {"allocated_storage": 950}, {"engine_version": "9.6"}):
        with pytest.raises(BadInput, match=r"\(source: "):
            settings_from(values)


def test_text_is_read_as_flags_and_environment_hold_it() -> None:
    s = settings_from(
        {
            "read_replicas": "3",
            "flow_logs": "false",
            "storage_iops": "",
            "database_subnet_cidrs": "10.0.21.0/24, 10.0.22.0/24,10.0.23.0/24",
        }
    )
    assert (s.read_replicas, s.flow_logs, s.storage_iops) == (3, False, None)
    assert s.database_subnet_cidrs == ("10.0.21.0/24", "10.0.22.0/24", "10.0.23.0/24")


def test_an_existing_vpc_keeps_its_own_flow_logs() -> None:
    existing = {"vpc_id": "vpc-0a1b2c3d", "subnet_ids": "subnet-0a1b2c3d,subnet-0a1b2c3e"}
    assert not settings_from(existing).flow_logs
    assert settings_from({**existing, "flow_logs": True}).flow_logs


def test_every_setting_has_a_description_a_group_and_a_source() -> None:
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert field.description and extra["group"] and extra["source"], name


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


def test_every_form_has_words_and_no_refusal_shows_a_pattern() -> None:
    for name, field in Settings.model_fields.items():
        for rule in field.metadata:
            pattern = getattr(rule, "pattern", None)
            if pattern is not None:
                with pytest.raises(BadInput) as refused:
                    settings_from({name: "!"})
                assert patterns.in_words(pattern) in refused.value.why
                assert pattern not in refused.value.why


def test_an_unknown_class_is_answered_with_a_few() -> None:
    with pytest.raises(BadInput) as refused:
        settings_from({"db_instance_class": "db.t1.huge"})
    assert refused.value.why.count("db.") == 5
