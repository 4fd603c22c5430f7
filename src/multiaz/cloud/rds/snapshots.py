"""DB snapshots: shown and deleted; they are made when an instance is deleted."""

from __future__ import annotations

import shutil
from typing import Any

from multiaz.cloud.rds import faults, rules
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.describe import snapshot_shape
from multiaz.cloud.rds.model import Snapshot
from multiaz.cloud.rds.paging import filters, page
from multiaz.cloud.rds.wanted import snapshot_folder
from multiaz.cloud.service import AwsFault, Context, Operation

KINDS = ("automated", "manual", "shared", "public", "awsbackup")


class SnapshotActions:
    """DescribeDBSnapshots and DeleteDBSnapshot."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.operations: dict[str, Operation] = {
            "DescribeDBSnapshots": self.describe,
            "DeleteDBSnapshot": self.delete,
        }

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeDBSnapshots."""
        wanted = filters(params, ("db-instance-id", "db-snapshot-id", "dbi-resource-id", "snapshot-type", "engine"))
        kind = params.get("SnapshotType")
        if kind is not None:
            rules.one_of(kind, KINDS, "SnapshotType")
        if params.get("DBSnapshotIdentifier"):
            found = [self._require(context, params["DBSnapshotIdentifier"])]
        else:
            found = self._core.repository.snapshots.all(context.region)
        chosen = [
            one
            for one in found
            if kind in (None, one.kind)
            and params.get("DBInstanceIdentifier", one.instance.identifier).lower() == one.instance.identifier
            and params.get("DbiResourceId", one.resource_id) == one.resource_id
            and _matches(one, wanted)
        ]
        shown, more = page(chosen, lambda one: one.identifier, params)
        return {"DBSnapshots": [snapshot_shape(one) for one in shown], **more}

    def delete(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DeleteDBSnapshot: its data goes first, then its record."""
        snapshot = self._require(context, params["DBSnapshotIdentifier"])
        if not snapshot.ready:
            raise AwsFault(
                "InvalidDBSnapshotState",
                f"Cannot delete the snapshot {snapshot.identifier} because it is not in available state: creating.",
            )
        folder = snapshot_folder(self._core.home, snapshot.resource_id)
        if folder.exists():
            shutil.rmtree(folder)
        with self._core.repository.transaction():
            self._core.repository.snapshots.remove(context.region, snapshot.identifier)
            self._core.events.add(
                context.region, "db-snapshot", snapshot.identifier, "RDS-EVENT-0041", "Deleted manual snapshot"
            )
        return {"DBSnapshot": {**snapshot_shape(snapshot), "Status": "deleted"}}

    def _require(self, context: Context, identifier: str) -> Snapshot:
        name = identifier.rpartition(":snapshot:")[2].lower()
        found = self._core.repository.snapshots.get(context.region, name)
        if found is None:
            raise faults.snapshot_not_found(identifier)
        return found


def _matches(snapshot: Snapshot, wanted: dict[str, list[str]]) -> bool:
    def last(values: list[str]) -> set[str]:
        return {value.rpartition(":")[2].lower() for value in values}

    return (
        ("db-instance-id" not in wanted or snapshot.instance.identifier in last(wanted["db-instance-id"]))
        and ("db-snapshot-id" not in wanted or snapshot.identifier in last(wanted["db-snapshot-id"]))
        and ("dbi-resource-id" not in wanted or snapshot.resource_id in wanted["dbi-resource-id"])
        and ("snapshot-type" not in wanted or snapshot.kind in wanted["snapshot-type"])
        and ("engine" not in wanted or "postgres" in wanted["engine"])
    )
