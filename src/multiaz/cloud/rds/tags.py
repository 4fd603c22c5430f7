"""Tags: what they may be, and the three tag actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from multiaz.cloud.rds import faults
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.describe import tag_list
from multiaz.cloud.rds.model import Document
from multiaz.cloud.rds.repository import Shelf
from multiaz.cloud.service import ACCOUNT_ID, AwsFault, Caller, Context, Operation

MOST = 50


def checked(tags: Iterable[Mapping[str, Any]] | None, caller: Caller) -> tuple[tuple[str, str], ...]:
    """Tags that may be set by that caller, as pairs; a key given twice is refused."""
    pairs = [(str(tag.get("Key", "")), str(tag.get("Value") or "")) for tag in tags or ()]
    for key, value in pairs:
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise faults.bad_value(f"Tag keys have 1 to 128 characters and values at most 256: {key}")
        if key.lower().startswith("aws:") and not caller.internal:
            raise faults.bad_value(f"Tag keys may not begin with aws: : {key}")
    if len({key for key, _ in pairs}) != len(pairs):
        raise faults.bad_value("A tag key may be given once only.")
    if len(pairs) > MOST:
        raise faults.bad_value(f"A resource has at most {MOST} tags.")
    return tuple(pairs)


class TagActions:
    """AddTagsToResource, RemoveTagsFromResource, ListTagsForResource."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.operations: dict[str, Operation] = {
            "AddTagsToResource": self.add,
            "RemoveTagsFromResource": self.remove,
            "ListTagsForResource": self.list,
        }
        repository = core.repository
        self._shelves: dict[str, tuple[Shelf[Any], Callable[[str], AwsFault]]] = {
            "db": (repository.instances, faults.instance_not_found),
            "subgrp": (repository.subnet_groups, faults.subnet_group_not_found),
            "pg": (repository.parameter_groups, faults.parameter_group_not_found),
            "snapshot": (repository.snapshots, faults.snapshot_not_found),
            "es": (repository.subscriptions, faults.subscription_not_found),
        }

    def add(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """AddTagsToResource."""
        new = dict(checked(params["Tags"], context.caller))
        with self._core.repository.transaction():
            shelf, name, record = self._find(context, params["ResourceName"])
            tags = {**dict(record.tags), **new}
            if len(tags) > MOST:
                raise faults.bad_value(f"A resource has at most {MOST} tags.")
            shelf.put(context.region, name, record.but(tags=tuple(tags.items())))
        return {}

    def remove(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """RemoveTagsFromResource."""
        gone = set(params["TagKeys"])
        if not context.caller.internal and any(key.lower().startswith("aws:") for key in gone):
            raise faults.bad_value("Tags that begin with aws: cannot be removed.")
        with self._core.repository.transaction():
            shelf, name, record = self._find(context, params["ResourceName"])
            kept = tuple(pair for pair in record.tags if pair[0] not in gone)
            shelf.put(context.region, name, record.but(tags=kept))
        return {}

    def list(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """ListTagsForResource."""
        _, _, record = self._find(context, params["ResourceName"])
        return {"TagList": tag_list(record.tags)}

    def _find(self, context: Context, resource: str) -> tuple[Shelf[Any], str, Any]:
        parts = resource.split(":", 6)
        if len(parts) != 7 or parts[:3] != ["arn", "aws", "rds"] or parts[4] != ACCOUNT_ID:
            raise faults.bad_value(f"Invalid resource name: {resource}")
        kind, name = parts[5], parts[6].lower()
        if kind not in self._shelves:
            raise faults.bad_value(f"Resources of the kind {kind} have no tags on the local cloud: {resource}")
        shelf, missing = self._shelves[kind]
        record: Document | None = shelf.get(parts[3], name) if parts[3] == context.region else None
        if record is None:
            raise missing(name)
        return shelf, name, record
