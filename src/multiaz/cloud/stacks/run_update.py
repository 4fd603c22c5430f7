"""One update of one stack: forward, or back, then the clean-up of what nobody needs any more; journalled throughout.

Two sides are kept apart: the old template with the records as they were, and the new one with the records as they are.
Up to `commit` the old template is the truth, whatever happens.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping

from multiaz.cloud.service import Clients
from multiaz.cloud.stacks.faults import Superseded, TemplateError
from multiaz.cloud.stacks.plan import View, check_export_names
from multiaz.cloud.stacks.records import OutputRecord, StackRecord
from multiaz.cloud.stacks.run import StackRun, Zones, evaluated_outputs
from multiaz.cloud.stacks.state import Journal
from multiaz.cloud.stacks.update_backward import Backward
from multiaz.cloud.stacks.update_cleanup import CleanUp, Leftover
from multiaz.cloud.stacks.update_forward import Forward
from multiaz.cloud.stacks.update_state import UpdateRecord
from multiaz.cloud.stacks.update_work import UpdateWork

LOG = logging.getLogger(__name__)
_LEFT = "One or more resources could not be deleted."


class UpdateRun:
    """One update of one stack, or the deletion of a stack whose update was left half done."""

    def __init__(
        self,
        journal: Journal,
        clients: Clients,
        zones: Zones,
        stack: StackRecord,
        update: UpdateRecord,
        stopping: threading.Event,
    ) -> None:
        self._work = UpdateWork(journal, clients, zones, stack, update, stopping)
        self._forward = Forward(self._work)
        self._backward = Backward(self._work)
        self._clean = CleanUp(self._work)

    def cancel(self) -> None:
        """Stop going forward; what is under way ends as soon as it next looks."""
        self._forward.cancel()

    def supersede(self) -> None:
        """Stop, and leave what follows to another operation."""
        self._work.superseded = True
        self.cancel()

    def perform(self) -> None:
        """Do, or go on with, what the stack's status says is under way."""
        match self._work.stack.status:
            case "UPDATE_IN_PROGRESS":
                self._update_or_undo()
            case "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS":
                self._clean_up("UPDATE_COMPLETE", self._clean.replaced_and_removed())
            case "UPDATE_ROLLBACK_IN_PROGRESS":
                self._roll_back()
            case "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS":
                self._clean_up("UPDATE_ROLLBACK_COMPLETE", self._clean.added())
            case "DELETE_IN_PROGRESS":
                self._delete()
            case status:
                raise AssertionError(f"nothing to perform for a stack in {status}")

    def fail(self) -> None:
        """End the operation after an error that is our own, so that the stack can be deleted."""
        status = self._work.stack.status.removesuffix("_IN_PROGRESS").removesuffix("_CLEANUP")
        if status.endswith("COMPLETE"):
            self._work.updates.finish(self._work.stack, status, f"Internal Failure. {_LEFT}")
        else:
            self._set_status(f"{status}_FAILED", "Internal Failure")

    def _set_status(self, status: str, reason: str | None = None) -> None:
        self._work.stack = self._work.journal.set_status(self._work.stack, status, reason)

    # Forward

    def _update_or_undo(self) -> None:
        """Update; after an error that is our own, go back as after any other failure."""
        try:
            self._update()
        except Superseded:
            raise
        except Exception:
            if self._work.stack.status != "UPDATE_IN_PROGRESS":
                raise  # it happened while going back, or cleaning up
            LOG.exception("the update of %s", self._work.stack.stack_id)
            self._undo("Internal Failure")

    def _update(self) -> None:
        work = self._work
        try:
            before, after = work.old.view(), work.new.view()
        except TemplateError as error:
            self._undo(str(error))
            return
        missing = work.journal.record_imports(work.stack, after.imports)
        if missing:
            self._undo(f"No export named {missing[0]} found.")
            return
        failed = self._forward.perform(before, after)
        if work.halted:
            return
        if failed:
            self._undo(failed)
        else:
            self._commit(after)

    def _commit(self, after: View) -> None:
        try:
            outputs = evaluated_outputs(self._work.new.evaluator, self._work.clients, self._work.stack.region)
            with self._work.journal.transaction():
                self._check_exports(outputs)
                self._work.stack = self._work.updates.commit(
                    self._work.stack, self._work.update, outputs, after.imports, after.graph
                )
        except TemplateError as error:
            self._undo(str(error))
            return
        self._clean_up("UPDATE_COMPLETE", self._clean.replaced_and_removed())

    def _check_exports(self, outputs: Iterable[OutputRecord]) -> None:
        """Raise TemplateError for an export name somebody else has, or one in use that would change or go."""
        wanted = {output.export: output.value for output in outputs if output.export is not None}
        check_export_names([output.export for output in outputs if output.export is not None])
        for name, export in self._work.journal.exports(self._work.stack.region).items():
            if export.stack_id != self._work.stack.stack_id:
                if name in wanted:
                    other = export.stack_id.split("/")[1]
                    raise TemplateError(f"Export with name {name} is already exported by stack {other}.")
                continue
            if wanted.get(name) == export.value:
                continue
            users = self._work.journal.importers(self._work.stack.region, name)
            if users:
                verb = "updated" if name in wanted else "deleted"
                raise TemplateError(f"Export {name} cannot be {verb} as it is in use by {', '.join(users)}")

    # Back

    def _undo(self, reason: str) -> None:
        """What DisableRollback says of an update that failed."""
        if self._work.update.disable_rollback:
            self._set_status("UPDATE_FAILED", reason)
            return
        self._set_status("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        self._roll_back()

    def _roll_back(self) -> None:
        work = self._work
        failed = self._backward.perform()
        if work.halted:
            return
        if failed:
            names = ", ".join(sorted(failed))
            self._set_status("UPDATE_ROLLBACK_FAILED", f"The following resource(s) failed to update: [{names}]. ")
            return
        with work.journal.transaction():
            work.journal.replace_imports(work.stack, self._old_imports())
            self._set_status("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        self._clean_up("UPDATE_ROLLBACK_COMPLETE", self._clean.added())

    def _old_imports(self) -> frozenset[str]:
        try:
            return self._work.old.view().imports
        except TemplateError:
            return frozenset()  # what it imported is gone: then nothing holds it

    # Clean-up

    def _clean_up(self, status: str, leftovers: Mapping[str, Leftover]) -> None:
        """Delete what is left over, then end the operation."""
        failed = self._clean.delete_all(leftovers)
        if not self._work.halted:
            self._work.stack = self._work.updates.finish(self._work.stack, status, _LEFT if failed else None)

    # Deletion of a stack whose update was left half done

    def _delete(self) -> None:
        """Delete what the update had added, then all of the stack as it was."""
        work = self._work
        self._backward.forget_changes()
        failed = self._clean.delete_all(self._clean.added())
        if work.halted:
            return
        if failed:
            self._set_status("DELETE_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
            return
        StackRun(work.journal, work.clients, work.zones, work.stack, work.stopping).perform()
