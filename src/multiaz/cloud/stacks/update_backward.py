"""An update, backward: what was changed in place gets its old properties again, what was replaced its old record."""

from __future__ import annotations

import logging
from dataclasses import replace

from multiaz.cloud.stacks.faults import Cancelled, Interrupted, ResourceFailure
from multiaz.cloud.stacks.graph import restricted
from multiaz.cloud.stacks.parallel import perform_graph
from multiaz.cloud.stacks.records import ResourceRecord
from multiaz.cloud.stacks.update_state import ChangeRecord, Kind, Progress
from multiaz.cloud.stacks.update_work import UpdateWork, replaced_id

LOG = logging.getLogger(__name__)


class Backward:
    """Takes an update back; what is new is left to the clean-up."""

    def __init__(self, work: UpdateWork) -> None:
        self._work = work

    def perform(self) -> list[str]:
        """Put back what was changed, in the order it would be made in; names of what could not be."""
        self.find_unrecorded()
        graph = {name: record.depends for name, record in self._work.old.facts.records.items()}
        touched = [name for name, change in self._work.changes.items() if change.before is not None]
        failed: list[str] = []

        def restore(name: str) -> bool:
            try:
                return self._restore(self._work.changes[name])
            except ResourceFailure as failure:
                record = replace(self._work.new.facts.records[name], status="UPDATE_FAILED", reason=str(failure))
                self._fail(record)
                failed.append(name)
                return False

        def note(name: str, error: BaseException) -> None:
            LOG.error("%s of %s, going back", name, self._work.stack.stack_id, exc_info=error)
            record = self._work.new.facts.records[name]
            self._fail(replace(record, status="UPDATE_FAILED", reason="Internal Failure"))
            failed.append(name)

        order = restricted({name: needs & graph.keys() for name, needs in graph.items()}, touched)
        perform_graph(order, restore, may_begin=lambda: not self._work.halted, on_error=note)
        return failed

    def _fail(self, record: ResourceRecord) -> None:
        with self._work.journal.transaction():
            self._work.updates.found(record)
            self._work.updates.say(self._work.stack, record, record.status, record.reason)

    def find_unrecorded(self) -> None:
        """A creation the process did not survive may have made something: find it before going back."""
        for name, change in self._work.changes.items():
            record = self._work.new.facts.records[name]
            if change.kind is Kind.UPDATE or change.state is not Progress.BEGUN or record.physical_id is not None:
                continue
            found = self._work.new.performer.find(self._work.new.definition(name), record, replaces=replaced_id(change))
            record = replace(record, physical_id=found)
            self._work.updates.found(record)
            self._work.new.facts.records[name] = record

    def _restore(self, change: ChangeRecord) -> bool:
        """One resource is what it was; True. False if the process ends. Raises ResourceFailure."""
        name, before = change.logical_id, change.before
        if change.state is Progress.RESTORED:
            return True
        assert before is not None
        current = self._work.new.facts.records[name]
        if change.kind is Kind.UPDATE and change.changed:
            self._work.updates.begin_restoring(self._work.stack, current)
            try:
                self._work.old.performer.update(
                    self._work.old.definition(name),
                    before,
                    self._work.new.previous(name),
                    change.changed,
                    token=change.token,
                    reverting=True,
                )
            except (Interrupted, Cancelled):
                return False
        self._work.updates.restore(self._work.stack, change, current, before)
        with self._work.lock:
            self._work.changes[name] = replace(change, state=Progress.RESTORED, after=current)
        return True

    def forget_changes(self) -> None:
        """Give the stack its old records again without touching anything: all of it will be deleted."""
        self.find_unrecorded()
        for change in list(self._work.changes.values()):
            if change.before is not None and change.state is not Progress.RESTORED:
                current = self._work.new.facts.records[change.logical_id]
                self._work.updates.restore(self._work.stack, change, current, change.before)
                restored = replace(change, state=Progress.RESTORED, after=current)
                self._work.changes[change.logical_id] = restored
