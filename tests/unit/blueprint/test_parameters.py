"""The seed's parameters, letter by letter, and that every setting reaches its parameter."""

from __future__ import annotations

from typing import Any

import pytest

from multiaz.blueprint import settings_from, synthesize
from multiaz.blueprint.parameters import parameter_groups

CIDR = r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$"
NAME = "[a-zA-Z][a-zA-Z0-9]*"
M5_R5 = ["db.m5.large", "db.m5.xlarge", "db.m5.2xlarge", "db.r5.large", "db.r5.xlarge"]

SEED: dict[str, dict[str, Any]] = {
    "EnvironmentSuffix": {"Type": "String", "Default": "prod"},
    "DBInstanceClass": {"Type": "String", "Default": "db.m5.large", "AllowedValues": [*M5_R5, "db.r5.2xlarge"]},
    "ReadReplicaInstanceClass": {"Type": "String", "Default": "db.m5.large", "AllowedValues": M5_R5},
    "DBName": {"Type": "String", "Default": "ecommercedb", "MinLength": 1, "MaxLength": 63, "AllowedPattern": NAME},
    "DBMasterUsername": {
        "Type": "String",
        "Default": "dbadmin",
        "MinLength": 1,
        "MaxLength": 16,
        "AllowedPattern": NAME,
    },
    "BackupRetentionDays": {"Type": "Number", "Default": 7, "MinValue": 7, "MaxValue": 35},
    "PreferredBackupWindow": {"Type": "String", "Default": "03:00-04:00"},
    "PreferredMaintenanceWindow": {"Type": "String", "Default": "sun:04:00-sun:05:00"},
    "PerformanceInsightsRetention": {"Type": "Number", "Default": 7, "AllowedValues": [7, 731]},
    "EnhancedMonitoringInterval": {"Type": "Number", "Default": 60, "AllowedValues": [0, 1, 5, 10, 15, 30, 60]},
    "ApplicationSubnetCIDR": {"Type": "String", "Default": "10.0.1.0/24", "AllowedPattern": CIDR},
    "ManagementCIDR": {"Type": "String", "Default": "10.0.0.0/16", "AllowedPattern": CIDR},
    "AllocatedStorage": {"Type": "Number", "Default": 100, "MinValue": 20, "MaxValue": 65536},
    "MaxAllocatedStorage": {"Type": "Number", "Default": 1000, "MinValue": 100, "MaxValue": 65536},
    "KMSKeyARN": {"Type": "String", "Default": ""},
}

TEST_DEFAULTS: dict[str, dict[str, Any]] = {
    "DBInstanceClass": {"Default": "db.t4g.medium"},
    "ReadReplicaInstanceClass": {"Default": "db.t4g.medium"},
    "AllocatedStorage": {"Default": 20},
    "MaxAllocatedStorage": {"Default": 100},
}
"""The sizes of the test preset."""


@pytest.mark.parametrize("name", SEED)
def test_the_seeds_parameters_are_kept(document: dict[str, Any], name: str) -> None:
    found = dict(document["Parameters"][name])
    if name.endswith("InstanceClass"):
        assert found["AllowedValues"][: len(SEED[name]["AllowedValues"])] == SEED[name]["AllowedValues"]
        found["AllowedValues"] = SEED[name]["AllowedValues"]  # others may follow
    is_test = document["Description"].endswith("(preset test)")
    expected = SEED[name] | (TEST_DEFAULTS.get(name, {}) if is_test else {})
    assert {key: found[key] for key in expected} == expected
    assert found["Description"]


def test_ours_come_after_the_seeds(document: dict[str, Any]) -> None:
    names = list(document["Parameters"])
    assert names[: len(SEED)] == list(SEED)
    assert names[len(SEED) :] == [
        *(
            "EngineVersion",
            "ReplicaEngineVersion",
            "DBPort",
            "ApplicationSecurityGroupId",
            "WriterUsername",
            "ReaderUsername",
            "AlarmEmail",
        ),
    ]


@pytest.mark.parametrize(
    ("setting", "value", "parameter"),
    [
        ("environment_suffix", "qa", "EnvironmentSuffix"),
        ("engine_version", "16.9", "EngineVersion"),
        ("replica_engine_version", "17.11", "ReplicaEngineVersion"),
        ("db_instance_class", "db.r5.2xlarge", "DBInstanceClass"),
        ("read_replica_instance_class", "db.r5.xlarge", "ReadReplicaInstanceClass"),
        ("db_name", "shop", "DBName"),
        ("db_master_username", "owner", "DBMasterUsername"),
        ("db_port", 6000, "DBPort"),
        ("writer_username", "web", "WriterUsername"),
        ("reader_username", "look", "ReaderUsername"),
        ("backup_retention_days", 35, "BackupRetentionDays"),
        ("preferred_backup_window", "01:00-02:00", "PreferredBackupWindow"),
        ("preferred_maintenance_window", "mon:04:00-mon:05:00", "PreferredMaintenanceWindow"),
        ("performance_insights_retention", 731, "PerformanceInsightsRetention"),
        ("enhanced_monitoring_interval", 0, "EnhancedMonitoringInterval"),
        ("application_subnet_cidr", "10.0.9.0/24", "ApplicationSubnetCIDR"),
        ("application_security_group_id", "sg-0a1b2c3d", "ApplicationSecurityGroupId"),
        ("management_cidr", "10.9.1.0/24", "ManagementCIDR"),
        ("allocated_storage", 200, "AllocatedStorage"),
        ("max_allocated_storage", 500, "MaxAllocatedStorage"),
        ("kms_key_arn", "arn:aws:kms:eu-west-1:123456789012:key/abc", "KMSKeyARN"),
        ("alarm_email", "oncall@example.com", "AlarmEmail"),
    ],
)
def test_a_setting_is_the_default_of_its_parameter(setting: str, value: Any, parameter: str) -> None:
    document = synthesize(settings_from({setting: value})).to_dict()
    assert document["Parameters"][parameter]["Default"] == value


def test_every_parameter_is_in_one_group_of_the_console(document: dict[str, Any]) -> None:
    grouped = [name for _, names in parameter_groups(settings_from({})) for name in names]
    assert sorted(grouped) == sorted(document["Parameters"])
    assert "AWS::CloudFormation::Interface" in document["Metadata"]


def test_advanced_insights_change_the_retention_that_is_offered() -> None:
    document = synthesize(settings_from({"database_insights_mode": "advanced"})).to_dict()
    assert document["Parameters"]["PerformanceInsightsRetention"]["AllowedValues"] == [465, 731]
    modes = [document["Resources"][n]["Properties"]["DatabaseInsightsMode"] for n in ("PrimaryDB", "ReadReplica1")]
    assert modes == ["advanced", "advanced"]


def test_a_parameter_nothing_would_read_is_left_out() -> None:
    document = synthesize(settings_from({"read_replicas": 0})).to_dict()
    assert "ReadReplicaInstanceClass" not in document["Parameters"]
    assert "ReadReplica" not in str(document["Resources"]) and "ReplicaParameterGroup" not in document["Resources"]
