"""The presets differ in exactly the stated rows, and each row changes exactly the stated places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from multiaz.blueprint import PRESET_ROWS, Preset, settings_from

BUCKETS = ("BackupBucket", "AccessLogBucket")
GROUPS = ("DBParameterGroup", "ReplicaParameterGroup")
SIZES = ("DBInstanceClass", "ReadReplicaInstanceClass", "AllocatedStorage", "MaxAllocatedStorage")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths to values, without what is accepted of a resource: that follows from its properties."""
    if path.startswith("/Resources/") and path.endswith("/Metadata"):
        return
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}")
    else:
        yield path, value


def test_presets_differ_in_the_stated_settings_only() -> None:
    prod, test = (settings_from({"preset": name}).model_dump() for name in ("prod", "test"))
    differing = {name for name in prod if prod[name] != test[name]}
    assert differing == {"preset", *PRESET_ROWS[Preset.PROD]}
    assert set(PRESET_ROWS[Preset.PROD]) == set(PRESET_ROWS[Preset.TEST])


def test_presets_differ_in_the_stated_places_of_the_template_only(
    prod: dict[str, Any], test_stack: dict[str, Any]
) -> None:
    first, second = dict(leaves(prod)), dict(leaves(test_stack))
    instances = ("PrimaryDB", "ReadReplica1", "ReadReplica2")
    changed = {path for path in first.keys() & second.keys() if first[path] != second[path]}
    assert changed == {
        "/Description",
        *(f"/Resources/{name}/Properties/DeletionProtection" for name in instances),
        "/Resources/PrimaryDB/Properties/MultiAZ",
        *(f"/Resources/{group}/Properties/Parameters/max_slot_wal_keep_size" for group in GROUPS),  # of the size
        "/Outputs/RestoreCommand/Value/Fn::Sub",  # --multi-az
        *(f"/Parameters/{name}/Default" for name in SIZES),
        *(path for path in first if path.endswith("/RetentionInDays")),
        *(f"/Resources/{bucket}/Properties/Tags" for bucket in BUCKETS),
        *(
            f"/Resources/{name}/{policy}"
            for name in ("PrimaryDB", *BUCKETS, *(f"{bucket}Policy" for bucket in BUCKETS), "DBEncryptionKey")
            for policy in ("DeletionPolicy", "UpdateReplacePolicy")
        ),
    }
    assert first.keys() - second.keys() == set()
    added = {"/".join(path.split("/")[:3]) for path in second.keys() - first.keys()}
    assert added == {
        "/Resources/DBEncryptionKey",  # PendingWindowInDays
        *(f"/Resources/EmptyBucket{part}" for part in ("Function", "Logs", "Policy", "Role")),
        *(f"/Resources/Empty{part}" for part in ("BackupBucket", "BackupBucketPolicy", "AccessLogBucket")),
        "/Resources/AccessLogBucketPolicy",  # DependsOn: it goes before the bucket is emptied
    }


def test_production_leaves_a_final_snapshot(prod: dict[str, Any], test_stack: dict[str, Any]) -> None:
    assert prod["Resources"]["PrimaryDB"]["DeletionPolicy"] == "Snapshot"
    assert prod["Resources"]["PrimaryDB"]["UpdateReplacePolicy"] == "Snapshot"
    assert test_stack["Resources"]["PrimaryDB"]["DeletionPolicy"] == "Delete"
