"""Keeps the records of the RDS API in the Store, as JSON, one row each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from multiaz.cloud.rds.model import (
    Document,
    Instance,
    ParameterGroup,
    RetainedBackup,
    Snapshot,
    SubnetGroup,
    Subscription,
)
from multiaz.cloud.store import Store

D = TypeVar("D", bound=Document)

_DDL = """
CREATE TABLE IF NOT EXISTS rds_documents (
    kind TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, region, name)
);
"""


class Shelf(Generic[D]):
    """All records of one kind, by region and name."""

    def __init__(self, store: Store, kind: str, model: type[D]) -> None:
        self._store = store
        self._kind = kind
        self._model = model

    def get(self, region: str, name: str) -> D | None:
        """The record, or None."""
        rows = self._store.rows(
            "SELECT body FROM rds_documents WHERE kind = ? AND region = ? AND name = ?",
            (self._kind, region, name),
        )
        return self._model.model_validate_json(rows[0]["body"]) if rows else None

    def all(self, region: str | None = None) -> list[D]:
        """All records, or those of one region, ordered by name."""
        condition, values = ("", ()) if region is None else (" AND region = ?", (region,))
        rows = self._store.rows(
            f"SELECT body FROM rds_documents WHERE kind = ?{condition} ORDER BY region, name",  # noqa: S608
            (self._kind, *values),
        )
        return [self._model.model_validate_json(row["body"]) for row in rows]

    def put(self, region: str, name: str, record: D) -> D:
        """Keep a record; returns it."""
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO rds_documents (kind, region, name, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (kind, region, name) DO UPDATE SET body = excluded.body",
                (self._kind, region, name, record.model_dump_json()),
            )
        return record

    def remove(self, region: str, name: str) -> None:
        """Forget a record."""
        with self._store.transaction() as connection:
            connection.execute(
                "DELETE FROM rds_documents WHERE kind = ? AND region = ? AND name = ?",
                (self._kind, region, name),
            )


class Repository:
    """The shelves of the RDS API."""

    def __init__(self, store: Store) -> None:
        store.create(_DDL)
        self.store = store
        self.instances = Shelf(store, "instance", Instance)
        self.subnet_groups = Shelf(store, "subnet-group", SubnetGroup)
        self.parameter_groups = Shelf(store, "parameter-group", ParameterGroup)
        self.snapshots = Shelf(store, "snapshot", Snapshot)
        self.retained_backups = Shelf(store, "retained-backup", RetainedBackup)
        """By the resource id of the instance that was deleted."""
        self.subscriptions = Shelf(store, "subscription", Subscription)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; on disk when it ends."""
        with self.store.transaction():
            yield

    def by_resource_id(self, resource_id: str) -> Instance | None:
        """The instance with a DbiResourceId."""
        return next((one for one in self.instances.all() if one.resource_id == resource_id), None)

    def name_of(self, resource_id: str) -> str:
        """The identifier of the instance with a DbiResourceId, or the one it had; the id itself of one unknown."""
        found = self.by_resource_id(resource_id)
        if found is None:
            kept = (one.instance for one in self.retained_backups.all() if one.instance.resource_id == resource_id)
            found = next(kept, None)
        return found.identifier if found is not None else resource_id

    def replicas_of(self, resource_id: str) -> list[Instance]:
        """The read replicas that stream from an instance."""
        return [one for one in self.instances.all() if one.source == resource_id]

    def save(self, instance: Instance) -> Instance:
        """Keep an instance."""
        return self.instances.put(instance.region, instance.identifier, instance)
