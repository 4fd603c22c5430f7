"""The end of an update: physical resources nobody needs any more are deleted, in reverse order."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from multiaz.cloud.stacks.faults import Interrupted, ResourceFailure, TemplateError
from multiaz.cloud.stacks.graph import Graph, check_no_circle, restricted, reversed_graph
from multiaz.cloud.stacks.parallel import perform_graph
from multiaz.cloud.stacks.records import ResourceRecord
from multiaz.cloud.stacks.update_state import Kind
from multiaz.cloud.stacks.update_work import Side, UpdateWork

LOG = logging.getLogger(__name__)
_ATTEMPTS = 3
"""How often the clean-up tries to delete a resource."""
_RETRY_S = 0.2


@dataclass(frozen=True)
class Leftover:
    """A physical resource the clean-up is to delete."""

    side: Side
    record: ResourceRecord
    policy: str
    """Delete, Retain, Snapshot."""
    gone: bool
    """The logical resource leaves the stack as well."""


class CleanUp:
    """Finds and deletes what an update, or its rollback, left over."""

    def __init__(self, work: UpdateWork) -> None:
        self._work = work

    def replaced_and_removed(self) -> dict[str, Leftover]:
        """What the new template no longer needs."""
        found = {}
        wanted = self._work.new.evaluator.active_resources()
        for name, record in self._work.old.facts.records.items():
            change = self._work.changes.get(name)
            if name not in wanted:
                policy = self._work.old.definition(name).deletion_policy
                found[name] = Leftover(self._work.old, record, policy, gone=True)
            elif change is not None and change.kind is Kind.REPLACE:
                policy = self._work.new.definition(name).update_replace_policy
                found[name] = Leftover(self._work.old, record, policy, gone=False)
        return found

    def added(self) -> dict[str, Leftover]:
        """What only the new template needed; of new resources those it says to keep are kept."""
        found = {}
        for name, change in self._work.changes.items():
            record = self._work.new.facts.records[name]
            if change.kind is Kind.REPLACE:
                found[name] = Leftover(self._work.new, record, "Delete", gone=False)
            elif change.kind is Kind.ADD:
                policy = self._work.new.definition(name).deletion_policy
                if (
                    policy == "RetainExceptOnCreate"
                    or self._work.update.retain_except_on_create
                    or not record.completed
                ):
                    policy = "Delete"
                found[name] = Leftover(self._work.new, record, policy, gone=True)
        return found

    def delete_all(self, leftovers: Mapping[str, Leftover]) -> list[str]:
        """Names of those that could not be deleted: they are no longer the stack's, as on AWS."""
        order = self._order(leftovers)
        failed: list[str] = []

        def delete(name: str) -> bool:
            if not self._deleted(leftovers[name]):
                failed.append(name)
            return True

        def note(name: str, error: BaseException) -> None:
            LOG.error("%s of %s, cleaning up", name, self._work.stack.stack_id, exc_info=error)
            left = leftovers[name]
            self._work.updates.forget(self._work.stack, left.record, "DELETE_FAILED", "Internal Failure", row=left.gone)
            failed.append(name)

        perform_graph(order, delete, may_begin=lambda: not self._work.halted, on_error=note)
        return failed

    def _order(self, leftovers: Mapping[str, Leftover]) -> Graph:
        """What must be deleted before what: the reverse of how each was made."""
        records = {name: record for left in leftovers.values() for name, record in left.side.facts.records.items()}
        records |= {name: left.record for name, left in leftovers.items()}
        needs = {name: record.depends & records.keys() for name, record in records.items()}
        order = {name: found - {name} for name, found in restricted(needs, leftovers).items()}
        try:
            check_no_circle(order)
        except TemplateError:
            # Old and new records may need one another where the template turned a DependsOn round.
            return dict.fromkeys(leftovers, frozenset())
        return reversed_graph(order)

    def _deleted(self, left: Leftover) -> bool:
        """Delete one physical resource; False if it cannot be."""
        record, name = left.record, left.record.logical_id
        if record.physical_id is None:
            self._work.updates.forget(self._work.stack, record, "DELETE_COMPLETE", None, row=left.gone)
            return True
        if left.policy in {"Retain", "RetainExceptOnCreate"}:
            self._work.updates.forget(self._work.stack, record, "DELETE_SKIPPED", None, row=left.gone)
            return True
        with self._work.journal.transaction():
            if left.gone:
                self._work.updates.found(replace(record, status="DELETE_IN_PROGRESS", reason=None))
            self._work.updates.say(self._work.stack, record, "DELETE_IN_PROGRESS")
        snapshot = left.policy == "Snapshot" and record.completed
        reason = ""
        for attempt in range(_ATTEMPTS):
            try:
                if attempt and self._work.stopping.wait(_RETRY_S):
                    return True
                left.side.performer.remove(left.side.definition(name), record, snapshot=snapshot)
            except Interrupted:
                return True
            except ResourceFailure as failure:
                reason = str(failure)
                continue
            self._work.updates.forget(self._work.stack, record, "DELETE_COMPLETE", None, row=left.gone)
            return True
        self._work.updates.forget(self._work.stack, record, "DELETE_FAILED", reason, row=left.gone)
        return False
