"""The journal of updates: what an update under way was asked for, what it changed so far, and what was there before.

A row for each resource is written before the first call that touches it. It holds the record as it was, so that an
update can go on or go back after `kill -9`, and it goes when the operation ends.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from multiaz.cloud.stacks.records import Event, OutputRecord, ResourceRecord, Settings, StackRecord

if TYPE_CHECKING:
    from multiaz.cloud.stacks.state import Journal

DDL = """
CREATE TABLE IF NOT EXISTS stacks_update (
    stack_id TEXT PRIMARY KEY REFERENCES stacks_stack, template TEXT NOT NULL, settings TEXT NOT NULL,
    old_template TEXT NOT NULL, old_settings TEXT NOT NULL, disable_rollback INTEGER NOT NULL,
    retain_except_on_create INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS stacks_update_change (
    stack_id TEXT NOT NULL REFERENCES stacks_stack, logical_id TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    changed TEXT NOT NULL,
    token TEXT NOT NULL, before TEXT, after TEXT, position INTEGER NOT NULL, PRIMARY KEY (stack_id, logical_id));
"""
REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."


class Kind(StrEnum):
    """What an update does to one resource that it touches."""

    ADD = "add"
    UPDATE = "update"
    """In place."""
    REPLACE = "replace"
    """A new physical resource; the old one goes in the clean-up."""


class Progress(StrEnum):
    """How far the change of one resource got."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    RESTORED = "restored"
    """Gone back: the stack's record is the old one again, what was new is to be cleaned up."""


@dataclass(frozen=True)
class UpdateRecord:
    """One update under way: both templates with what was asked for besides."""

    stack_id: str
    template: str = field(repr=False)
    settings: Settings = field(repr=False)
    old_template: str = field(repr=False)
    old_settings: Settings = field(repr=False)
    disable_rollback: bool = False
    retain_except_on_create: bool = False


@dataclass(frozen=True)
class ChangeRecord:
    """The change of one resource by the update under way."""

    logical_id: str
    kind: Kind
    state: Progress
    changed: frozenset[str]
    """Names of the properties that were found to differ."""
    token: str
    """Made once for this change: request tokens derive from it."""
    before: ResourceRecord | None
    """The record as it was; None for a new resource."""
    after: ResourceRecord | None
    """The record that was taken back, once it was."""


class UpdateJournal:
    """Reads and writes the records of updates. Every public method is one transaction."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    # The update

    def begin_update(self, stack: StackRecord, update: UpdateRecord, change_set_id: str | None) -> StackRecord:
        """UPDATE_IN_PROGRESS. Change sets made for the stack as it was: executed, deleted or obsolete.

        Raises Superseded if the status is not `stack.status` any more.
        """
        with self._journal.transaction() as db:
            if change_set_id is None:
                db.execute(
                    "UPDATE stacks_change_set SET execution = 'OBSOLETE' "
                    "WHERE stack_id = ? AND execution = 'AVAILABLE'",
                    (stack.stack_id,),
                )
            else:
                db.execute(
                    "UPDATE stacks_change_set SET execution = 'EXECUTE_COMPLETE' WHERE change_set_id = ?",
                    (change_set_id,),
                )
                db.execute(
                    "DELETE FROM stacks_change_set WHERE stack_id = ? AND change_set_id <> ?",
                    (stack.stack_id, change_set_id),
                )
            db.execute("DELETE FROM stacks_update_change WHERE stack_id = ?", (stack.stack_id,))
            db.execute(
                "INSERT OR REPLACE INTO stacks_update VALUES (?,?,?,?,?,?,?)",
                (
                    update.stack_id,
                    update.template,
                    update.settings.to_json(),
                    update.old_template,
                    update.old_settings.to_json(),
                    int(update.disable_rollback),
                    int(update.retain_except_on_create),
                ),
            )
            db.execute("UPDATE stacks_stack SET updated = ? WHERE stack_id = ?", (time.time(), stack.stack_id))
            return self._journal.set_status(stack, "UPDATE_IN_PROGRESS", "User Initiated", settings=update.old_settings)

    def update(self, stack_id: str) -> UpdateRecord | None:
        """The update under way, or left half done, on a stack."""
        with self._journal.transaction() as db:
            row = db.execute("SELECT * FROM stacks_update WHERE stack_id = ?", (stack_id,)).fetchone()
        if row is None:
            return None
        return UpdateRecord(
            stack_id,
            row["template"],
            Settings.from_json(row["settings"]),
            row["old_template"],
            Settings.from_json(row["old_settings"]),
            bool(row["disable_rollback"]),
            bool(row["retain_except_on_create"]),
        )

    def changes(self, stack_id: str) -> dict[str, ChangeRecord]:
        """What the update under way touched, in the order it was begun."""
        with self._journal.transaction() as db:
            rows = db.execute(
                "SELECT * FROM stacks_update_change WHERE stack_id = ? ORDER BY position", (stack_id,)
            ).fetchall()
        return {row["logical_id"]: _change(row) for row in rows}

    def commit(
        self,
        stack: StackRecord,
        update: UpdateRecord,
        outputs: Iterable[OutputRecord],
        imports: Iterable[str],
        depends: Mapping[str, frozenset[str]],
    ) -> StackRecord:
        """Everything is made and changed: from here on the new template is the truth, and only cleaning up is left."""
        with self._journal.transaction() as db:
            self._journal.replace_outputs(stack, outputs)
            self._journal.replace_imports(stack, imports)
            for name, needs in depends.items():
                db.execute(
                    "UPDATE stacks_resource SET depends = ? WHERE stack_id = ? AND logical_id = ?",
                    (json.dumps(sorted(needs)), stack.stack_id, name),
                )
            db.execute("UPDATE stacks_stack SET template = ? WHERE stack_id = ?", (update.template, stack.stack_id))
            return self._journal.set_status(stack, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", settings=update.settings)

    def finish(self, stack: StackRecord, status: str, reason: str | None) -> StackRecord:
        """The operation ends in `status`, and nothing of it is kept."""
        with self._journal.transaction() as db:
            for table in ("stacks_update_change", "stacks_update"):
                db.execute(f"DELETE FROM {table} WHERE stack_id = ?", (stack.stack_id,))  # noqa: S608
            return self._journal.set_status(stack, status, reason)

    # One resource

    def begin_add(self, stack: StackRecord, name: str, kind: str, depends: frozenset[str]) -> ResourceRecord:
        """Journal the intent to make a new resource."""
        with self._journal.transaction():
            (record,) = self._journal.begin_resources(stack, [(name, kind, depends)])
            self._insert(stack, name, Kind.ADD, frozenset(), None)
        return record

    def begin_change(
        self,
        stack: StackRecord,
        record: ResourceRecord,
        kind: Kind,
        changed: frozenset[str],
        depends: frozenset[str],
    ) -> ResourceRecord:
        """Journal the intent to change a resource, and its record as it was; the record the change works on.

        A replacement gets a token, so a random name, of its own.
        """
        replaces = kind is Kind.REPLACE
        reason = REPLACING if replaces else None
        fresh = replace(record, status="UPDATE_IN_PROGRESS", reason=reason, changed=time.time(), depends=depends)
        if replaces:
            fresh = replace(fresh, token=uuid.uuid4().hex, physical_id=None, attributes={}, completed=False)
        with self._journal.transaction():
            self._insert(stack, record.logical_id, kind, changed, record)
            self._put(fresh)
            event = Event(record.logical_id, record.type, "UPDATE_IN_PROGRESS", record.physical_id or "", reason)
            self._journal.add_events(stack, [event])
        return fresh

    def initiated(self, stack: StackRecord, record: ResourceRecord, physical_id: str) -> ResourceRecord:
        """A replacement, or a new resource, exists from here on."""
        adding = record.status == "CREATE_IN_PROGRESS"
        fresh = replace(record, physical_id=physical_id)
        with self._journal.transaction():
            self._put(fresh)
            status = "CREATE_IN_PROGRESS" if adding else "UPDATE_IN_PROGRESS"
            event = Event(record.logical_id, record.type, status, physical_id, "Resource creation Initiated")
            self._journal.add_events(stack, [event])
        return fresh

    def found(self, record: ResourceRecord) -> None:
        """Keep what was found out about a resource: no event."""
        with self._journal.transaction():
            self._put(record)

    def done(self, stack: StackRecord, record: ResourceRecord) -> None:
        """The change is made: `record` says how."""
        self._settle(stack, record, Progress.DONE)

    def failed(self, stack: StackRecord, record: ResourceRecord) -> None:
        """The change failed: `record` says why."""
        self._settle(stack, record, Progress.FAILED)

    def _settle(self, stack: StackRecord, record: ResourceRecord, state: Progress) -> None:
        with self._journal.transaction() as db:
            self._put(record)
            db.execute(
                "UPDATE stacks_update_change SET state = ? WHERE stack_id = ? AND logical_id = ?",
                (state, stack.stack_id, record.logical_id),
            )
            self._tell(stack, record)

    def begin_restoring(self, stack: StackRecord, record: ResourceRecord) -> None:
        """The event that a resource goes back to what it was."""
        with self._journal.transaction():
            self._tell(stack, replace(record, status="UPDATE_IN_PROGRESS", reason=None))

    def restore(self, stack: StackRecord, change: ChangeRecord, current: ResourceRecord, old: ResourceRecord) -> None:
        """The stack's record is `old` again; `current` is kept for the clean-up."""
        fresh = replace(old, status="UPDATE_COMPLETE", reason=None, changed=time.time())
        with self._journal.transaction() as db:
            self._put(fresh)
            db.execute(
                "UPDATE stacks_update_change SET state = ?, after = ? WHERE stack_id = ? AND logical_id = ?",
                (Progress.RESTORED, _text(current), stack.stack_id, change.logical_id),
            )
            self._tell(stack, fresh)

    def say(self, stack: StackRecord, record: ResourceRecord, status: str, reason: str | None = None) -> None:
        """An event of the clean-up, whose physical resource is no longer the stack's."""
        with self._journal.transaction():
            self._tell(stack, replace(record, status=status, reason=reason))

    def forget(self, stack: StackRecord, record: ResourceRecord, status: str, reason: str | None, *, row: bool) -> None:
        """The clean-up is through with a physical resource; `row`: the logical resource is gone from the stack too."""
        with self._journal.transaction() as db:
            self._tell(stack, replace(record, status=status, reason=reason))
            keys = (stack.stack_id, record.logical_id)
            db.execute("DELETE FROM stacks_update_change WHERE stack_id = ? AND logical_id = ?", keys)
            if row:
                db.execute("DELETE FROM stacks_resource WHERE stack_id = ? AND logical_id = ?", keys)

    def _tell(self, stack: StackRecord, record: ResourceRecord) -> None:
        event = Event(record.logical_id, record.type, record.status, record.physical_id or "", record.reason)
        self._journal.add_events(stack, [event])

    def _insert(
        self, stack: StackRecord, name: str, kind: Kind, changed: frozenset[str], before: ResourceRecord | None
    ) -> None:
        with self._journal.transaction() as db:
            db.execute(
                "INSERT INTO stacks_update_change VALUES (?,?,?,?,?,?,?,NULL,"
                "(SELECT count(*) FROM stacks_update_change WHERE stack_id = ?))",
                (
                    stack.stack_id,
                    name,
                    kind,
                    Progress.BEGUN,
                    json.dumps(sorted(changed)),
                    uuid.uuid4().hex,
                    None if before is None else _text(before),
                    stack.stack_id,
                ),
            )

    def _put(self, record: ResourceRecord) -> None:
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE stacks_resource SET physical_id = ?, status = ?, reason = ?, token = ?, depends = ?, "
                "attributes = ?, completed = ?, changed = ? WHERE stack_id = ? AND logical_id = ?",
                (
                    record.physical_id,
                    record.status,
                    record.reason,
                    record.token,
                    json.dumps(sorted(record.depends)),
                    json.dumps(record.attributes),
                    int(record.completed),
                    time.time(),
                    record.stack_id,
                    record.logical_id,
                ),
            )


def _text(record: ResourceRecord) -> str:
    return json.dumps({**asdict(record), "depends": sorted(record.depends)})


def _record(text: str | None) -> ResourceRecord | None:
    if text is None:
        return None
    raw: dict[str, Any] = json.loads(text)
    return ResourceRecord(**{**raw, "depends": frozenset(raw["depends"])})


def _change(row: sqlite3.Row) -> ChangeRecord:
    return ChangeRecord(
        row["logical_id"],
        Kind(row["kind"]),
        Progress(row["state"]),
        frozenset(json.loads(row["changed"])),
        row["token"],
        _record(row["before"]),
        _record(row["after"]),
    )
