"""The journal: stacks, their resources, events, outputs, exports and change sets in the Store.

What is written here before a call is made (status, token) is what a restart resumes from.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from multiaz.cloud.stacks.faults import Superseded
from multiaz.cloud.stacks.records import (
    STACK_TYPE,
    ChangeSetRecord,
    Event,
    EventRecord,
    ExportRecord,
    OutputRecord,
    ResourceRecord,
    Settings,
    StackRecord,
)
from multiaz.cloud.stacks.update_state import DDL as UPDATES_DDL
from multiaz.cloud.stacks.update_state import UpdateJournal
from multiaz.cloud.store import Store

_DDL = """
CREATE TABLE IF NOT EXISTS stacks_stack (
    stack_id TEXT PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, reason TEXT,
    template TEXT NOT NULL, settings TEXT NOT NULL, created REAL NOT NULL, updated REAL, deleted REAL);
CREATE UNIQUE INDEX IF NOT EXISTS stacks_stack_live ON stacks_stack (region, name) WHERE deleted IS NULL;
CREATE TABLE IF NOT EXISTS stacks_resource (
    stack_id TEXT NOT NULL REFERENCES stacks_stack, logical_id TEXT NOT NULL, type TEXT NOT NULL,
    physical_id TEXT, status TEXT NOT NULL, reason TEXT, token TEXT NOT NULL, depends TEXT NOT NULL,
    attributes TEXT NOT NULL DEFAULT '{}', completed INTEGER NOT NULL DEFAULT 0, changed REAL NOT NULL,
    position INTEGER NOT NULL, PRIMARY KEY (stack_id, logical_id));
CREATE TABLE IF NOT EXISTS stacks_event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, stack_id TEXT NOT NULL,
    logical_id TEXT NOT NULL, physical_id TEXT, type TEXT NOT NULL, status TEXT NOT NULL, reason TEXT,
    properties TEXT, token TEXT, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS stacks_event_stack ON stacks_event (stack_id, number);
CREATE TABLE IF NOT EXISTS stacks_output (
    stack_id TEXT NOT NULL REFERENCES stacks_stack, name TEXT NOT NULL, value TEXT NOT NULL,
    description TEXT, position INTEGER NOT NULL, PRIMARY KEY (stack_id, name));
CREATE TABLE IF NOT EXISTS stacks_export (
    region TEXT NOT NULL, name TEXT NOT NULL, stack_id TEXT NOT NULL REFERENCES stacks_stack,
    output TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (region, name));
CREATE TABLE IF NOT EXISTS stacks_import (
    stack_id TEXT NOT NULL REFERENCES stacks_stack, region TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (stack_id, name));
CREATE TABLE IF NOT EXISTS stacks_change_set (
    change_set_id TEXT PRIMARY KEY, stack_id TEXT NOT NULL REFERENCES stacks_stack, name TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT, execution TEXT NOT NULL, template TEXT NOT NULL,
    settings TEXT NOT NULL, body TEXT NOT NULL, created REAL NOT NULL, UNIQUE (stack_id, name));
"""


_NOTHING_LEFT = frozenset({"DELETE_COMPLETE", "ROLLBACK_COMPLETE"})
"""Statuses of a stack no resource of which will be made or deleted any more."""


class Journal:
    """Reads and writes the records. Every public method is one transaction, on disk when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.create(_DDL)
        store.create(UPDATES_DDL)
        self.updates = UpdateJournal(self)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Several writes in one transaction."""
        return self._store.transaction()

    # Stacks

    def add_stack(self, record: StackRecord) -> None:
        """A new stack. Raises sqlite3.IntegrityError if a live one has its name."""
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO stacks_stack VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    record.stack_id,
                    record.region,
                    record.name,
                    record.status,
                    record.reason,
                    record.template,
                    record.settings.to_json(),
                    record.created,
                    record.updated,
                    record.deleted,
                ),
            )

    def stack(self, region: str, name_or_id: str) -> StackRecord | None:
        """The live stack of that name, or the stack, deleted or not, of that id."""
        if name_or_id.startswith("arn:"):
            rows = self._store.rows(
                "SELECT * FROM stacks_stack WHERE stack_id = ? AND region = ?", (name_or_id, region)
            )
        else:
            rows = self._store.rows(
                "SELECT * FROM stacks_stack WHERE region = ? AND name = ? AND deleted IS NULL",
                (region, name_or_id),
            )
        return _stack(rows[0]) if rows else None

    def stacks(self, region: str, *, deleted: bool = False) -> list[StackRecord]:
        """Stacks of a region, newest first."""
        live = "" if deleted else " AND deleted IS NULL"
        rows = self._store.rows(
            f"SELECT * FROM stacks_stack WHERE region = ?{live} ORDER BY created DESC, rowid DESC",  # noqa: S608
            (region,),
        )
        return [_stack(row) for row in rows]

    def unfinished(self) -> list[StackRecord]:
        """Stacks of all regions with an operation under way."""
        rows = self._store.rows(
            "SELECT * FROM stacks_stack WHERE deleted IS NULL AND status LIKE '%_IN_PROGRESS' "
            "AND status <> 'REVIEW_IN_PROGRESS'"
        )
        return [_stack(row) for row in rows]

    def set_status(
        self, stack: StackRecord, status: str, reason: str | None = None, *, settings: Settings | None = None
    ) -> StackRecord:
        """Change a stack's status and write the event that tells so, in one transaction.

        Raises Superseded if the status is not `stack.status` any more.
        """
        now = time.time()
        deleted = now if status == "DELETE_COMPLETE" else None
        with self._store.transaction() as db:
            changed = db.execute(
                "UPDATE stacks_stack SET status = ?, reason = ?, deleted = ?, settings = coalesce(?, settings) "
                "WHERE stack_id = ? AND status = ? AND deleted IS NULL",
                (
                    status,
                    reason,
                    deleted,
                    settings.to_json() if settings else None,
                    stack.stack_id,
                    stack.status,
                ),
            ).rowcount
            if not changed:
                raise Superseded(stack.stack_id)
            if status in _NOTHING_LEFT:
                _forget_secrets(db, stack.stack_id)
            if deleted:
                db.execute("DELETE FROM stacks_update_change WHERE stack_id = ?", (stack.stack_id,))
                db.execute("DELETE FROM stacks_update WHERE stack_id = ?", (stack.stack_id,))
                db.execute("DELETE FROM stacks_export WHERE stack_id = ?", (stack.stack_id,))
                db.execute("DELETE FROM stacks_import WHERE stack_id = ?", (stack.stack_id,))
                db.execute("DELETE FROM stacks_change_set WHERE stack_id = ?", (stack.stack_id,))
            self.add_events(stack, [Event(stack.name, STACK_TYPE, status, stack.stack_id, reason)], settings)
        fresh = self.stack(stack.region, stack.stack_id)
        assert fresh is not None
        return fresh

    def replace_settings(self, stack_id: str, settings: Settings) -> None:
        """Change a stack's settings without an event."""
        with self._store.transaction() as db:
            db.execute("UPDATE stacks_stack SET settings = ? WHERE stack_id = ?", (settings.to_json(), stack_id))

    def adopt_change_set(self, stack: StackRecord, change: ChangeSetRecord, settings: Settings) -> None:
        """Give a stack under review the template and settings of the change set that is executed."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE stacks_stack SET template = ?, settings = ? WHERE stack_id = ?",
                (change.template, settings.to_json(), stack.stack_id),
            )
            db.execute(
                "UPDATE stacks_change_set SET execution = 'EXECUTE_COMPLETE' WHERE change_set_id = ?",
                (change.change_set_id,),
            )
            db.execute(
                "DELETE FROM stacks_change_set WHERE stack_id = ? AND change_set_id <> ?",
                (stack.stack_id, change.change_set_id),
            )

    # Resources

    def resources(self, stack_id: str) -> dict[str, ResourceRecord]:
        """Resources of a stack by logical id, in the order they were begun."""
        rows = self._store.rows("SELECT * FROM stacks_resource WHERE stack_id = ? ORDER BY position", (stack_id,))
        return {row["logical_id"]: _resource(row) for row in rows}

    def resources_of_physical_id(self, region: str, physical_id: str) -> list[ResourceRecord]:
        """Resources of live stacks with that physical id."""
        rows = self._store.rows(
            "SELECT r.* FROM stacks_resource r JOIN stacks_stack s USING (stack_id) "
            "WHERE s.region = ? AND s.deleted IS NULL AND r.physical_id = ?",
            (region, physical_id),
        )
        return [_resource(row) for row in rows]

    def begin_resources(
        self, stack: StackRecord, entries: Iterable[tuple[str, str, frozenset[str]]]
    ) -> list[ResourceRecord]:
        """Journal the intent to create (logical id, type, dependencies): token first, then the calls."""
        now = time.time()
        events = []
        names = []
        with self._store.transaction() as db:
            for logical_id, kind, depends in entries:
                db.execute(
                    "INSERT INTO stacks_resource (stack_id, logical_id, type, status, token, depends, changed, "
                    "position) VALUES (?,?,?,'CREATE_IN_PROGRESS',?,?,?, (SELECT count(*) FROM stacks_resource))",
                    (stack.stack_id, logical_id, kind, uuid.uuid4().hex, json.dumps(sorted(depends)), now),
                )
                events.append(Event(logical_id, kind, "CREATE_IN_PROGRESS", ""))
                names.append(logical_id)
            self.add_events(stack, events)
        records = self.resources(stack.stack_id)
        return [records[name] for name in names]

    def change_resource(
        self,
        stack: StackRecord,
        record: ResourceRecord,
        status: str,
        *,
        reason: str | None = None,
        physical_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        initiated: bool = False,
        silent: bool = False,
    ) -> None:
        """Change a resource's status and write the event; with `initiated` also the one before it."""
        physical = physical_id or record.physical_id
        events = []
        if initiated:
            events.append(
                Event(
                    record.logical_id,
                    record.type,
                    "CREATE_IN_PROGRESS",
                    physical,
                    "Resource creation Initiated",
                )
            )
        if not silent:
            events.append(Event(record.logical_id, record.type, status, physical or "", reason))
        with self._store.transaction() as db:
            db.execute(
                "UPDATE stacks_resource SET status = ?, reason = ?, physical_id = coalesce(?, physical_id), "
                "attributes = coalesce(?, attributes), completed = max(completed, ?), changed = ? "
                "WHERE stack_id = ? AND logical_id = ?",
                (
                    status,
                    reason,
                    physical_id,
                    None if attributes is None else json.dumps(attributes),
                    int(status == "CREATE_COMPLETE"),
                    time.time(),
                    stack.stack_id,
                    record.logical_id,
                ),
            )
            self.add_events(stack, events)

    def begin_deletions(self, stack: StackRecord, records: Iterable[ResourceRecord]) -> None:
        """Journal that deletion of these resources begins."""
        now = time.time()
        events = []
        with self._store.transaction() as db:
            for record in records:
                db.execute(
                    "UPDATE stacks_resource SET status = 'DELETE_IN_PROGRESS', reason = NULL, changed = ? "
                    "WHERE stack_id = ? AND logical_id = ?",
                    (now, stack.stack_id, record.logical_id),
                )
                events.append(Event(record.logical_id, record.type, "DELETE_IN_PROGRESS", record.physical_id or ""))
            self.add_events(stack, events)

    # Events

    def add_events(self, stack: StackRecord, events: Iterable[Event], settings: Settings | None = None) -> None:
        """Append events, in order."""
        token = (settings or stack.settings).operation_token
        now = time.time()
        with self._store.transaction() as db:
            for event in events:
                unique = str(uuid.uuid4())
                event_id = unique if event.type == STACK_TYPE else f"{event.logical_id}-{event.status}-{unique}"
                db.execute(
                    "INSERT INTO stacks_event (event_id, stack_id, logical_id, physical_id, type, status, "
                    "reason, token, at) VALUES (?,?,?,?,?,?,?,?,?)",
                    (
                        event_id,
                        stack.stack_id,
                        event.logical_id,
                        event.physical_id,
                        event.type,
                        event.status,
                        event.reason,
                        token,
                        now,
                    ),
                )

    def events(self, stack_id: str, before: int | None, limit: int) -> list[EventRecord]:
        """Events of a stack, newest first, those with a number below `before`."""
        rows = self._store.rows(
            "SELECT * FROM stacks_event WHERE stack_id = ? AND number < ? ORDER BY number DESC LIMIT ?",
            (stack_id, before if before is not None else 2**62, limit),
        )
        names = [
            "number",
            "event_id",
            "stack_id",
            "logical_id",
            "physical_id",
            "type",
            "status",
            "reason",
            "token",
            "at",
        ]
        return [EventRecord(**{name: row[name] for name in names}) for row in rows]

    # Outputs, exports, imports

    def finish_create(self, stack: StackRecord, outputs: Iterable[OutputRecord]) -> None:
        """Write outputs and exports and CREATE_COMPLETE, all in one transaction."""
        with self._store.transaction():
            self.replace_outputs(stack, outputs)
            self.set_status(stack, "CREATE_COMPLETE")

    def replace_outputs(self, stack: StackRecord, outputs: Iterable[OutputRecord]) -> None:
        """The stack's outputs and exports are these."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM stacks_output WHERE stack_id = ?", (stack.stack_id,))
            db.execute("DELETE FROM stacks_export WHERE stack_id = ?", (stack.stack_id,))
            for position, output in enumerate(outputs):
                db.execute(
                    "INSERT INTO stacks_output VALUES (?,?,?,?,?)",
                    (stack.stack_id, output.name, output.value, output.description, position),
                )
                if output.export is not None:
                    db.execute(
                        "INSERT INTO stacks_export VALUES (?,?,?,?,?)",
                        (stack.region, output.export, stack.stack_id, output.name, output.value),
                    )

    def outputs(self, stack_id: str) -> list[OutputRecord]:
        """Outputs of a stack in the template's order."""
        rows = self._store.rows(
            "SELECT o.name, o.value, o.description, e.name AS export FROM stacks_output o "
            "LEFT JOIN stacks_export e ON e.stack_id = o.stack_id AND e.output = o.name "
            "WHERE o.stack_id = ? ORDER BY o.position",
            (stack_id,),
        )
        return [OutputRecord(row["name"], row["value"], row["description"], row["export"]) for row in rows]

    def exports(self, region: str) -> dict[str, ExportRecord]:
        """Exports of a region by name, in alphabetical order."""
        rows = self._store.rows("SELECT * FROM stacks_export WHERE region = ? ORDER BY name", (region,))
        return {row["name"]: ExportRecord(row["name"], row["value"], row["stack_id"]) for row in rows}

    def record_imports(self, stack: StackRecord, names: Iterable[str]) -> list[str]:
        """Note that a stack uses these exports; the names that do not exist (then nothing is noted).

        One transaction with the look, so an exporting stack cannot go away in between.
        """
        wanted = sorted(set(names))
        with self._store.transaction() as db:
            known = {
                row["name"] for row in db.execute("SELECT name FROM stacks_export WHERE region = ?", (stack.region,))
            }
            missing = [name for name in wanted if name not in known]
            if not missing:
                for name in wanted:
                    db.execute(
                        "INSERT OR IGNORE INTO stacks_import VALUES (?,?,?)",
                        (stack.stack_id, stack.region, name),
                    )
        return missing

    def replace_imports(self, stack: StackRecord, names: Iterable[str]) -> None:
        """The stack uses these exports, and no others."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM stacks_import WHERE stack_id = ?", (stack.stack_id,))
            for name in sorted(set(names)):
                db.execute("INSERT INTO stacks_import VALUES (?,?,?)", (stack.stack_id, stack.region, name))

    def importers(self, region: str, export: str) -> list[str]:
        """Names of the stacks that import an export."""
        rows = self._store.rows(
            "SELECT s.name FROM stacks_import i JOIN stacks_stack s USING (stack_id) "
            "WHERE i.region = ? AND i.name = ? AND s.deleted IS NULL ORDER BY s.name",
            (region, export),
        )
        return [row["name"] for row in rows]

    def forget_imports(self, stack_id: str) -> None:
        """The stack no longer uses any export."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM stacks_import WHERE stack_id = ?", (stack_id,))

    # Change sets

    def save_change_set(self, record: ChangeSetRecord) -> None:
        """Insert or replace a change set."""
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO stacks_change_set VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    record.change_set_id,
                    record.stack_id,
                    record.name,
                    record.status,
                    record.reason,
                    record.execution,
                    record.template,
                    record.settings.to_json(),
                    json.dumps(record.body),
                    record.created,
                ),
            )

    def change_sets(self, stack_id: str) -> list[ChangeSetRecord]:
        """Change sets of a stack, oldest first."""
        rows = self._store.rows(
            "SELECT * FROM stacks_change_set WHERE stack_id = ? ORDER BY created, rowid", (stack_id,)
        )
        return [_change_set(row) for row in rows]

    def change_set(self, change_set_id: str) -> ChangeSetRecord | None:
        """The change set of that id."""
        rows = self._store.rows("SELECT * FROM stacks_change_set WHERE change_set_id = ?", (change_set_id,))
        return _change_set(rows[0]) if rows else None

    def delete_change_set(self, change_set_id: str) -> None:
        """Forget a change set."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM stacks_change_set WHERE change_set_id = ?", (change_set_id,))


def _forget_secrets(db: sqlite3.Connection, stack_id: str) -> None:
    """Blank what may be secret of a stack that has nothing left to be made or deleted."""
    for table in ("stacks_stack", "stacks_change_set"):
        rows = db.execute(f"SELECT rowid, settings FROM {table} WHERE stack_id = ?", (stack_id,)).fetchall()  # noqa: S608
        for row in rows:
            blank = Settings.from_json(row["settings"]).without_secrets().to_json()
            db.execute(f"UPDATE {table} SET settings = ? WHERE rowid = ?", (blank, row["rowid"]))  # noqa: S608
    db.execute("UPDATE stacks_resource SET attributes = '{}' WHERE stack_id = ?", (stack_id,))


def _stack(row: sqlite3.Row) -> StackRecord:
    return StackRecord(
        stack_id=row["stack_id"],
        region=row["region"],
        name=row["name"],
        status=row["status"],
        reason=row["reason"],
        template=row["template"],
        settings=Settings.from_json(row["settings"]),
        created=row["created"],
        updated=row["updated"],
        deleted=row["deleted"],
    )


def _resource(row: sqlite3.Row) -> ResourceRecord:
    return ResourceRecord(
        stack_id=row["stack_id"],
        logical_id=row["logical_id"],
        type=row["type"],
        physical_id=row["physical_id"],
        status=row["status"],
        reason=row["reason"],
        token=row["token"],
        depends=frozenset(json.loads(row["depends"])),
        attributes=json.loads(row["attributes"]),
        completed=bool(row["completed"]),
        changed=row["changed"],
    )


def _change_set(row: sqlite3.Row) -> ChangeSetRecord:
    return ChangeSetRecord(
        change_set_id=row["change_set_id"],
        stack_id=row["stack_id"],
        name=row["name"],
        status=row["status"],
        reason=row["reason"],
        execution=row["execution"],
        template=row["template"],
        settings=Settings.from_json(row["settings"]),
        body=json.loads(row["body"]),
        created=row["created"],
    )
