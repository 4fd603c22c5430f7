"""The two presets, and every row in which they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Preset(StrEnum):
    """Which kind of environment the stack is for."""

    PROD = "prod"
    """Survives a careless `delete-stack`: protected, with a final snapshot and its buckets kept."""
    TEST = "test"
    """Leaves nothing behind when it is deleted, and costs little while it is there."""


@dataclass(frozen=True)
class Row:
    """A setting that has one value in production and another in a test."""

    setting: str
    prod: object
    test: object
    reason: str


ROWS: tuple[Row, ...] = (
    Row("deletion_protection", True, False, "a test must be removable without a person"),
    Row("final_snapshot", True, False, "a snapshot of test data is a bill"),
    Row("keep_bucket", True, False, "kept buckets of tests pile up"),
    Row("log_retention_days", 90, 7, "an investigation starts weeks later; a test is looked at the same day"),
    Row("multi_az", True, False, "a standby doubles the price; `multiaz up` has one, where it costs nothing"),
    Row("db_instance_class", "db.m5.large", "db.t4g.medium", "50,000 orders a day, or a handful"),
    Row("read_replica_instance_class", "db.m5.large", "db.t4g.medium", "as the primary"),
    Row("allocated_storage", 100, 20, "GiB; 20 is the least"),
    Row("max_allocated_storage", 1000, 100, "GiB; 100 is the least"),
)
"""The presets differ in these settings and in nothing else."""

PRESET_ROWS: Mapping[Preset, Mapping[str, object]] = MappingProxyType(
    {
        Preset.PROD: MappingProxyType({row.setting: row.prod for row in ROWS}),
        Preset.TEST: MappingProxyType({row.setting: row.test for row in ROWS}),
    }
)
"""Setting to value, per preset."""
