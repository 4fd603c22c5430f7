"""Settings as people might choose them: a hypothesis strategy of valid ones, every setting in it."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from multiaz.blueprint import Preset, offerings, settings_from
from multiaz.blueprint.engines import CURRENT_ENGINE_VERSIONS
from multiaz.blueprint.instance_classes import PRIMARY_CLASSES
from multiaz.blueprint.settings import (
    CERTIFICATE_AUTHORITIES,
    INSIGHTS_RETENTION,
    LOG_RETENTION_DAYS,
    MONITORING_INTERVALS,
)
from multiaz.errors import BadInput

_NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,15}", fullmatch=True)
_USERS = st.from_regex(r"[a-z_][a-z0-9_]{0,62}", fullmatch=True)
_NETWORKS = st.sampled_from(
    [
        {},
        {"vpc_cidr": "172.16.0.0/20", "application_subnet_cidr": "172.16.0.0/24", "management_cidr": "192.168.1.0/24"},
        {"vpc_cidr": "10.20.0.0/24", "application_subnet_cidr": "10.20.0.0/28"},
        {"database_subnet_cidrs": "10.0.21.0/24,10.0.22.0/24,10.0.23.0/24", "zones": 3},
        {"nat_gateways": "single"},
        {"nat_gateways": "per-zone", "flow_logs": False},
        {"vpc_id": "vpc-0a1b2c3d4e5f60718", "subnet_ids": "subnet-0a1b2c3d,subnet-1a1b2c3d"},
        {
            "vpc_id": "vpc-0a1b2c3d",
            "subnet_ids": "subnet-0a1b2c3d,subnet-1a1b2c3d,subnet-2a1b2c3d",
            "flow_logs": True,
            "secrets_endpoint": False,
        },
        {"application_security_group_id": "sg-0a1b2c3d4e5f60718", "management_cidr": "10.0.1.0/24"},
    ]
)
_STORAGE = st.one_of(
    st.integers(20, 399).map(lambda size: {"allocated_storage": size, "max_allocated_storage": max(100, size * 2)}),
    st.builds(
        lambda size, iops, share: {
            "allocated_storage": size,
            "max_allocated_storage": 65_536,
            "storage_iops": iops,
            "storage_throughput": min(max(500, int(iops * share / 4)), 4_000),
        },
        st.integers(400, 59_000),
        st.integers(12_000, 64_000),
        st.floats(0.1, 1),
    ),
)
_COPIES = st.sampled_from(
    [
        {},
        {},
        {
            "backup_copy_region": "eu-west-1",
            "backup_copy_kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d",
        },
    ]
)
_INSIGHTS = st.one_of(
    st.sampled_from(INSIGHTS_RETENTION).map(lambda days: {"performance_insights_retention": days}),
    st.just({"database_insights_mode": "advanced"}),
)
_WINDOWS = st.builds(
    lambda hour, day: {
        "preferred_backup_window": f"{hour:02}:00-{hour:02}:45",
        "preferred_maintenance_window": f"{day}:{(hour + 2) % 24:02}:00-{day}:{(hour + 2) % 24:02}:30",
    },
    st.integers(0, 23),
    st.sampled_from(["mon", "thu", "sun"]),
)
_ALONE: dict[str, st.SearchStrategy[Any]] = {
    "preset": st.sampled_from([preset.value for preset in Preset]),
    "environment_suffix": st.from_regex(r"[a-z0-9]{1,11}(-[a-z0-9]{1,11})?", fullmatch=True),
    "deletion_protection": st.booleans(),
    "final_snapshot": st.booleans(),
    "keep_bucket": st.booleans(),
    "apply_immediately": st.booleans(),
    "engine_version": st.sampled_from(CURRENT_ENGINE_VERSIONS),
    "extended_support": st.booleans(),
    "allow_major_version_upgrade": st.booleans(),
    "account_events": st.booleans(),
    "multi_az": st.booleans(),
    "read_replicas": st.integers(0, 15),
    "db_instance_class": st.sampled_from(PRIMARY_CLASSES),
    "read_replica_instance_class": st.sampled_from(PRIMARY_CLASSES),
    "db_name": _NAMES,
    "db_master_username": _NAMES,
    "writer_username": _USERS,
    "reader_username": _USERS,
    "db_port": st.integers(1150, 65535),
    "ca_certificate_identifier": st.sampled_from(CERTIFICATE_AUTHORITIES),
    "kms_key_arn": st.sampled_from(["", "arn:aws:kms:eu-central-1:123456789012:key/0a1b2c3d"]),
    "zones": st.integers(2, 3),
    "password_rotation_days": st.integers(1, 1000),
    "backup_retention_days": st.integers(7, 35),
    "aws_backup": st.booleans(),
    "aws_backup_retention_days": st.integers(1, 36_500),
    "access_log_retention_days": st.integers(1, 3653),
    "enhanced_monitoring_interval": st.sampled_from(MONITORING_INTERVALS),
    "monitoring_role_arn": st.sampled_from(["", "", "arn:aws:iam::123456789012:role/monitoring"]),
    "log_retention_days": st.sampled_from(LOG_RETENTION_DAYS),
    "alarm_email": st.sampled_from(["", "oncall@example.com"]),
    "region": st.sampled_from(["", "us-east-1", "eu-central-1"]),
}
"""Every setting that can be drawn by itself; any of them may be left to its default."""


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    """Values `settings_from` accepts; what two of them make impossible together is drawn again."""
    chosen: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=_ALONE))
    chosen["upgrade_replicas_first"] = draw(st.booleans())
    for together in (_NETWORKS, _STORAGE, _COPIES, _INSIGHTS, _WINDOWS):
        chosen |= draw(st.one_of(st.just({}), together))
    if chosen.get("kms_key_arn"):
        chosen["region"] = "eu-central-1"
    if chosen.get("enhanced_monitoring_interval") == 0:
        chosen.pop("monitoring_role_arn", None)
    if chosen.get("preset") == "test":
        chosen.pop("aws_backup", None)
    if not chosen.get("final_snapshot", True):
        chosen.pop("aws_backup", None)
    if chosen.get("allow_major_version_upgrade"):
        chosen["apply_immediately"] = True
    if chosen.pop("upgrade_replicas_first", False):
        chosen |= {"engine_version": "17.10", "replica_engine_version": "17.11"}
    region = chosen.get("region", "")
    for name in ("db_instance_class", "read_replica_instance_class"):
        if region and name in chosen and not offerings.is_offered(region, chosen[name]):
            del chosen[name]
    try:
        settings_from(chosen)
    except BadInput:
        assume(False)  # reserved names, two equal users
    return chosen


_TOGETHER = {
    *("vpc_cidr", "vpc_id", "subnet_ids", "database_subnet_cidrs", "nat_gateways", "flow_logs", "secrets_endpoint"),
    *("application_subnet_cidr", "application_security_group_id", "management_cidr"),
    *("allocated_storage", "max_allocated_storage", "storage_iops", "storage_throughput"),
    "replica_engine_version",
    *("backup_copy_region", "backup_copy_kms_key_arn", "performance_insights_retention", "database_insights_mode"),
    *("preferred_backup_window", "preferred_maintenance_window"),
}
SETTINGS = frozenset(_ALONE) | _TOGETHER
"""Every setting the strategy chooses."""
