"""One update of one stack: forward, or back, then the clean-up of what nobody needs any more; journalled throughout.

Two sides are kept apart: the old template with the records as they were, and the new one with the records as they are.
Up to `commit` the old template is the truth, whatever happens.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from multiaz.cloud.service import Clients
from multiaz.cloud.stacks.dynamic import SecretReference, references
from multiaz.cloud.stacks.evaluate import Evaluator
from multiaz.cloud.stacks.faults import Cancelled, Interrupted, ResourceFailure, Superseded, TemplateError
from multiaz.cloud.stacks.graph import restricted, reversed_graph
from multiaz.cloud.stacks.parallel import perform_graph
from multiaz.cloud.stacks.perform import LiveFacts, Performer, Previous, property_problems
from multiaz.cloud.stacks.plan import Action, Step, View, check_export_names, plan_update, view
from multiaz.cloud.stacks.records import OutputRecord, ResourceRecord, StackRecord
from multiaz.cloud.stacks.run import StackRun, Zones, evaluated_outputs, pseudo_parameters
from multiaz.cloud.stacks.schema import find_schema
from multiaz.cloud.stacks.state import Journal
from multiaz.cloud.stacks.template import ResourceDefinition, read_template
from multiaz.cloud.stacks.update_state import ChangeRecord, Kind, Progress, UpdateRecord
from multiaz.cloud.stacks.updates import Difference, difference, name_collision, not_updatable

LOG = logging.getLogger(__name__)
_ATTEMPTS = 3
"""How often the clean-up tries to delete a resource. Source: CloudFormation user guide, "Update behaviors"."""
_RETRY_S = 0.2
_LEFT = "One or more resources could not be deleted."


class Side:
    """A template with its parameters, and the records its references are answered from."""

    def __init__(self, clients: Clients, zones: Zones, journal: Journal, stack: StackRecord, run: UpdateRun) -> None:
        self.template = read_template(stack.template)
        self.tags = stack.settings.tags
        self._parameters = {name: value.reference for name, value in stack.settings.parameters.items()}
        self._pseudo = pseudo_parameters(stack.region, stack.name, stack.stack_id)
        self._zones = zones

        def exports() -> Mapping[str, str]:
            return {name: record.value for name, record in journal.exports(stack.region).items()}

        self._exports = exports
        self.cancelled = threading.Event()
        self.facts = LiveFacts(zones, exports)
        self.evaluator = Evaluator(self.template, self._parameters, self._pseudo, self.facts)
        self.performer = Performer(clients, stack, self.evaluator, run.stopping, self.cancelled)

    def view(self) -> View:
        """Evaluated as far as it can be without the records. Raises TemplateError."""
        return view(self.template, self._parameters, self._pseudo, zones=self._zones, exports=self._exports())

    def definition(self, name: str) -> ResourceDefinition:
        """One entry of Resources."""
        return self.template.resources[name]

    def previous(self, name: str) -> Previous:
        """This side's resource, as something to change from."""
        return Previous(self.performer, self.definition(name), self.facts.records[name])


@dataclass(frozen=True)
class Leftover:
    """A physical resource the clean-up is to delete."""

    side: Side
    record: ResourceRecord
    policy: str
    """Delete, Retain, Snapshot."""
    gone: bool
    """The logical resource leaves the stack as well."""


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
        self._journal = journal
        self._updates = journal.updates
        self._clients = clients
        self._zones = zones
        self.stopping = stopping
        self.superseded = False
        """Another operation takes over: stop without going back."""
        self._stack = stack
        self._update = update
        self._lock = threading.Lock()
        old = replace(stack, template=update.old_template, settings=update.old_settings)
        new = replace(stack, template=update.template, settings=update.settings)
        self._old = Side(clients, zones, journal, old, self)
        self._new = Side(clients, zones, journal, new, self)
        self._changes: dict[str, ChangeRecord] = {}
        self._steps: dict[str, Step] = {}
        self._load()

    def _load(self) -> None:
        """The records of both sides, as the journal has them now."""
        current = self._journal.resources(self._stack.stack_id)
        self._changes = self._updates.changes(self._stack.stack_id)
        old, new = dict(current), dict(current)
        for name, change in self._changes.items():
            if change.before is None:
                old.pop(name, None)
            elif change.state is not Progress.RESTORED:
                old[name] = change.before
            if change.after is not None:
                new[name] = change.after
        self._old.facts.records = old
        self._new.facts.records = new

    def cancel(self) -> None:
        """Stop going forward; what is under way ends as soon as it next looks."""
        self._new.cancelled.set()

    def supersede(self) -> None:
        """Stop, and leave what follows to another operation."""
        self.superseded = True
        self.cancel()

    @property
    def _halted(self) -> bool:
        return self.stopping.is_set() or self.superseded

    def perform(self) -> None:
        """Do, or go on with, what the stack's status says is under way."""
        match self._stack.status:
            case "UPDATE_IN_PROGRESS":
                self._update_or_undo()
            case "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS":
                self._clean_up("UPDATE_COMPLETE", self._replaced_and_removed())
            case "UPDATE_ROLLBACK_IN_PROGRESS":
                self._roll_back()
            case "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS":
                self._clean_up("UPDATE_ROLLBACK_COMPLETE", self._added())
            case "DELETE_IN_PROGRESS":
                self._delete()
            case status:
                raise AssertionError(f"nothing to perform for a stack in {status}")

    def fail(self) -> None:
        """End the operation after an error that is our own, so that the stack can be deleted."""
        status = self._stack.status.removesuffix("_IN_PROGRESS").removesuffix("_CLEANUP")
        if status.endswith("COMPLETE"):
            self._stack = self._updates.finish(self._stack, status, f"Internal Failure. {_LEFT}")
        else:
            self._stack = self._journal.set_status(self._stack, f"{status}_FAILED", "Internal Failure")

    # Forward

    def _update_or_undo(self) -> None:
        try:
            self._forward()
        except Superseded:
            raise
        except Exception:
            if self._stack.status != "UPDATE_IN_PROGRESS":
                raise  # it happened while going back, or cleaning up
            LOG.exception("the update of %s", self._stack.stack_id)
            self._undo("Internal Failure")

    def _forward(self) -> None:
        try:
            before, after = self._old.view(), self._new.view()
        except TemplateError as error:
            self._undo(str(error))
            return
        missing = self._journal.record_imports(self._stack, after.imports)
        if missing:
            self._undo(f"No export named {missing[0]} found.")
            return
        physical = {name: record.physical_id for name, record in self._old.facts.records.items()}
        plan = plan_update(
            before,
            after,
            physical,
            lambda kind: find_schema(self._stack.region, kind),
            tags_changed=self._old.tags != self._new.tags,
        )
        self._steps = {step.logical_id: step for step in plan.steps if step.action is not Action.REMOVE}
        if not self._fail_the_doomed(after):
            if any(change.state is Progress.FAILED for change in self._changes.values()):
                self.cancel()
            perform_graph(
                restricted(after.graph, self._steps),
                self._step,
                may_begin=lambda: not self._new.cancelled.is_set() and not self._halted,
                on_error=self._note_error,
            )
        if self._halted:
            return
        failed = self._failures()
        if failed:
            self._undo(failed)
        else:
            self._commit(after)

    def _failures(self) -> str:
        """Why the stack's update failed, in AWS's words; empty if nothing failed."""
        failed = [change for change in self._changes.values() if change.state is Progress.FAILED]
        texts = []
        for verb, adds in (("create", True), ("update", False)):
            names = ", ".join(change.logical_id for change in failed if (change.kind is Kind.ADD) is adds)
            if names:
                texts.append(f"The following resource(s) failed to {verb}: [{names}]. ")
        return "".join(texts)

    def _fail_the_doomed(self, after: View) -> bool:
        """Fail, before the first call, resources whose properties are refused whatever happens; True if there are."""
        doomed = False
        for name, step in self._steps.items():
            problem = property_problems(self._stack.region, after.resources[name], after.properties[name])
            if problem is None or name in self._changes:
                continue
            doomed = True
            self._fail_unbegun(step, problem)
        return doomed

    def _fail_unbegun(self, step: Step, reason: str) -> None:
        """Journal, in one transaction, a change that fails before anything is called."""
        name = step.logical_id
        with self._journal.transaction():
            if step.action is Action.ADD:
                record = self._begin_add(step)
            else:
                record = self._begin_change(self._new.facts.records[name], Kind.UPDATE, frozenset())
            self._fail(name, record, reason)

    def _begin_add(self, step: Step) -> ResourceRecord:
        record = self._updates.begin_add(self._stack, step.logical_id, step.type, step.needs)
        return self._begun(record)

    def _begin_change(self, record: ResourceRecord, kind: Kind, changed: frozenset[str]) -> ResourceRecord:
        return self._begun(self._updates.begin_change(self._stack, record, kind, changed))

    def _begun(self, record: ResourceRecord) -> ResourceRecord:
        change = self._updates.changes(self._stack.stack_id)[record.logical_id]
        with self._lock:
            self._changes[record.logical_id] = change
            self._new.facts.records[record.logical_id] = record
        return record

    def _settle(self, name: str, record: ResourceRecord, state: Progress) -> None:
        if state is Progress.DONE:
            self._updates.done(self._stack, record)
        else:
            self._updates.failed(self._stack, record)
        with self._lock:
            self._new.facts.records[name] = record
            self._changes[name] = replace(self._changes[name], state=state)

    def _fail(self, name: str, record: ResourceRecord, reason: str) -> None:
        verb = "CREATE" if self._changes[name].kind is Kind.ADD else "UPDATE"
        self._settle(name, replace(record, status=f"{verb}_FAILED", reason=reason), Progress.FAILED)

    def _note_error(self, name: str, error: BaseException) -> None:
        """An error no handler foresaw is ours: log it whole, fail the resource."""
        LOG.error("%s of %s", name, self._stack.stack_id, exc_info=error)
        self.cancel()
        if name in self._changes:
            self._fail(name, self._new.facts.records[name], "Internal Failure")
        else:
            self._fail_unbegun(self._steps[name], "Internal Failure")

    def _step(self, name: str) -> bool:
        """One worker's work: the resource is made or changed and journalled, or its failure is."""
        change, step = self._changes.get(name), self._steps[name]
        if change is not None and change.state is not Progress.BEGUN:
            return change.state is Progress.DONE
        resumed = change is not None
        if change is None:
            if step.action is Action.ADD:
                self._begin_add(step)
            elif not self._begin_modification(step):
                return name not in self._changes
            change = self._changes[name]
        try:
            in_place = change.kind is Kind.UPDATE
            record = self._changed_in_place(change) if in_place else self._made(change, resumed)
        except Interrupted:
            return False
        except Cancelled:
            verb = "creation" if change.kind is Kind.ADD else "update"
            self._fail(name, self._new.facts.records[name], f"Resource {verb} cancelled")
            return False
        except ResourceFailure as failure:
            self._fail(name, self._new.facts.records[name], str(failure))
            self.cancel()
            return False
        status = "CREATE_COMPLETE" if change.kind is Kind.ADD else "UPDATE_COMPLETE"
        self._settle(name, replace(record, status=status, reason=None, completed=True), Progress.DONE)
        return True

    def _begin_modification(self, step: Step) -> bool:
        """Find out what differs and journal it; False if nothing does, or it cannot be done (a journalled failure)."""
        name = step.logical_id
        record, definition = self._new.facts.records[name], self._new.definition(name)
        try:
            before = self._old.evaluator.properties(self._old.definition(name))
            after = self._new.evaluator.properties(definition)
            found = difference(self._stack.region, definition.type, before, after, tags=self._tags_changed())
            problem = name_collision(definition, before, after) if found.replaces else not_updatable(definition, found)
            if problem:
                raise ResourceFailure(problem)
        except (TemplateError, ResourceFailure) as error:
            self._fail_unbegun(step, str(error))
            self.cancel()
            return False
        if found.replaces:
            self._begin_change(record, Kind.REPLACE, found.changed)
        elif found.changed or any(detail.attribute not in {"Properties", "Tags"} for detail in step.details):
            self._begin_change(record, Kind.UPDATE, self._with_new_secrets(found, after))
        else:
            return False
        return True

    def _tags_changed(self) -> bool:
        return self._old.tags != self._new.tags

    def _with_new_secrets(self, found: Difference, after: Mapping[str, Any]) -> frozenset[str]:
        """What changes, and the properties that take their value from a secret this update gave another one.

        CloudFormation resolves a reference again only where the resource that holds it is updated anyway.
        Source: CloudFormation user guide, "Get a secret or secret value from Secrets Manager".
        """
        renewed = {
            self._new.facts.records[name].physical_id
            for name, change in self._changes.items()
            if change.changed & {"SecretString", "GenerateSecretString"}
        }
        taken = {
            path[0]
            for path, reference in references(dict(after))
            if path and isinstance(reference, SecretReference) and reference.secret_id in renewed
        }
        return found.changed | taken if found.changed else found.changed

    def _changed_in_place(self, change: ChangeRecord) -> ResourceRecord:
        name = change.logical_id
        record = self._new.facts.records[name]
        made = self._new.performer.update(
            self._new.definition(name), record, self._old.previous(name), change.changed, token=change.token
        )
        return replace(record, attributes=dict(made.attributes))

    def _made(self, change: ChangeRecord, resumed: bool) -> ResourceRecord:
        """A new physical resource; what it got to is journalled if it fails."""
        name = change.logical_id
        told = self._new.facts.records[name].physical_id is not None

        def on_initiated(physical_id: str) -> None:
            nonlocal told
            if not told:
                told = True
                fresh = self._updates.initiated(self._stack, self._new.facts.records[name], physical_id)
                self._new.facts.records[name] = fresh

        def on_made(physical_id: str) -> None:
            record = self._new.facts.records[name]
            self._new.facts.records[name] = replace(record, physical_id=physical_id)

        made = self._new.performer.make(
            self._new.definition(name),
            self._new.facts.records[name],
            resumed=resumed,
            on_initiated=on_initiated,
            on_made=on_made,
            replaces=_replaced_id(change),
        )
        on_initiated(made.physical_id)
        return replace(self._new.facts.records[name], physical_id=made.physical_id, attributes=dict(made.attributes))

    def _commit(self, after: View) -> None:
        try:
            outputs = evaluated_outputs(self._new.evaluator, self._clients, self._stack.region)
            with self._journal.transaction():
                self._check_exports(outputs)
                self._stack = self._updates.commit(self._stack, self._update, outputs, after.imports, after.graph)
        except TemplateError as error:
            self._undo(str(error))
            return
        self._clean_up("UPDATE_COMPLETE", self._replaced_and_removed())

    def _check_exports(self, outputs: Iterable[OutputRecord]) -> None:
        """Raise TemplateError for an export name somebody else has, or one in use that would change or go."""
        wanted = {output.export: output.value for output in outputs if output.export is not None}
        check_export_names([output.export for output in outputs if output.export is not None])
        for name, export in self._journal.exports(self._stack.region).items():
            if export.stack_id != self._stack.stack_id:
                if name in wanted:
                    other = export.stack_id.split("/")[1]
                    raise TemplateError(f"Export with name {name} is already exported by stack {other}.")
                continue
            if wanted.get(name) == export.value:
                continue
            users = self._journal.importers(self._stack.region, name)
            if users:
                verb = "updated" if name in wanted else "deleted"
                raise TemplateError(f"Export {name} cannot be {verb} as it is in use by {', '.join(users)}")

    # Back

    def _undo(self, reason: str) -> None:
        """What DisableRollback says of an update that failed."""
        if self._update.disable_rollback:
            self._stack = self._journal.set_status(self._stack, "UPDATE_FAILED", reason)
            return
        self._stack = self._journal.set_status(self._stack, "UPDATE_ROLLBACK_IN_PROGRESS", reason)
        self._roll_back()

    def _roll_back(self) -> None:
        """What was changed goes back in the order it would be made in; then what was added is deleted."""
        self._find_unrecorded()
        graph = {name: record.depends for name, record in self._old.facts.records.items()}
        touched = [name for name, change in self._changes.items() if change.before is not None]
        failed: list[str] = []

        def restore(name: str) -> bool:
            try:
                return self._restore(self._changes[name])
            except ResourceFailure as failure:
                record = replace(self._new.facts.records[name], status="UPDATE_FAILED", reason=str(failure))
                self._updates.say(self._stack, record, "UPDATE_FAILED", str(failure))
                failed.append(name)
                return False

        def note(name: str, error: BaseException) -> None:
            LOG.error("%s of %s, going back", name, self._stack.stack_id, exc_info=error)
            self._updates.say(self._stack, self._new.facts.records[name], "UPDATE_FAILED", "Internal Failure")
            failed.append(name)

        order = restricted({name: needs & graph.keys() for name, needs in graph.items()}, touched)
        perform_graph(order, restore, may_begin=lambda: not self._halted, on_error=note)
        if self._halted:
            return
        if failed:
            reason = f"The following resource(s) failed to update: [{', '.join(sorted(failed))}]. "
            self._stack = self._journal.set_status(self._stack, "UPDATE_ROLLBACK_FAILED", reason)
            return
        with self._journal.transaction():
            self._journal.replace_imports(self._stack, self._old_imports())
            self._stack = self._journal.set_status(self._stack, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        self._clean_up("UPDATE_ROLLBACK_COMPLETE", self._added())

    def _old_imports(self) -> frozenset[str]:
        try:
            return self._old.view().imports
        except TemplateError:
            return frozenset()  # what it imported is gone: then nothing holds it

    def _find_unrecorded(self) -> None:
        """A creation the process did not survive may have made something: find it before going back."""
        for name, change in self._changes.items():
            record = self._new.facts.records[name]
            if change.kind is Kind.UPDATE or change.state is not Progress.BEGUN or record.physical_id is not None:
                continue
            found = self._new.performer.find(self._new.definition(name), record, replaces=_replaced_id(change))
            record = replace(record, physical_id=found)
            self._updates.found(record)
            self._new.facts.records[name] = record

    def _restore(self, change: ChangeRecord) -> bool:
        """One resource is what it was; True. False if the process ends. Raises ResourceFailure."""
        name, before = change.logical_id, change.before
        if change.state is Progress.RESTORED:
            return True
        assert before is not None
        current = self._new.facts.records[name]
        if change.kind is Kind.UPDATE and change.changed:
            self._updates.begin_restoring(self._stack, current)
            try:
                self._old.performer.update(
                    self._old.definition(name),
                    before,
                    self._new.previous(name),
                    change.changed,
                    token=change.token,
                    reverting=True,
                )
            except (Interrupted, Cancelled):
                return False
        self._updates.restore(self._stack, change, current, before)
        with self._lock:
            self._changes[name] = replace(change, state=Progress.RESTORED, after=current)
        return True

    # Clean-up

    def _replaced_and_removed(self) -> dict[str, Leftover]:
        """What the new template no longer needs."""
        found = {}
        wanted = self._new.evaluator.active_resources()
        for name, record in self._old.facts.records.items():
            change = self._changes.get(name)
            if name not in wanted:
                policy = self._old.definition(name).deletion_policy
                found[name] = Leftover(self._old, record, policy, gone=True)
            elif change is not None and change.kind is Kind.REPLACE:
                policy = self._new.definition(name).update_replace_policy
                found[name] = Leftover(self._old, record, policy, gone=False)
        return found

    def _added(self) -> dict[str, Leftover]:
        """What only the new template needed; of new resources those it says to keep are kept."""
        found = {}
        for name, change in self._changes.items():
            record = self._new.facts.records[name]
            if change.kind is Kind.REPLACE:
                found[name] = Leftover(self._new, record, "Delete", gone=False)
            elif change.kind is Kind.ADD:
                policy = self._new.definition(name).deletion_policy
                if policy == "RetainExceptOnCreate" or self._update.retain_except_on_create or not record.completed:
                    policy = "Delete"
                found[name] = Leftover(self._new, record, policy, gone=True)
        return found

    def _clean_up(self, status: str, leftovers: Mapping[str, Leftover]) -> None:
        """Delete what is left over, in reverse order, then end the operation."""
        failed = self._delete_all(leftovers)
        if self._halted:
            return
        self._stack = self._updates.finish(self._stack, status, _LEFT if failed else None)

    def _delete_all(self, leftovers: Mapping[str, Leftover]) -> list[str]:
        """Names of those that could not be deleted: they are no longer the stack's, as on AWS."""
        needs = {name: left.record.depends for name, left in leftovers.items()}
        known = {name: found & self._depends.keys() for name, found in self._depends.items()}
        order = reversed_graph(restricted({**known, **{n: found & known.keys() for n, found in needs.items()}}, needs))
        failed: list[str] = []

        def delete(name: str) -> bool:
            if not self._deleted(leftovers[name]):
                failed.append(name)
            return True

        def note(name: str, error: BaseException) -> None:
            LOG.error("%s of %s, cleaning up", name, self._stack.stack_id, exc_info=error)
            left = leftovers[name]
            self._updates.forget(self._stack, left.record, "DELETE_FAILED", "Internal Failure", row=left.gone)
            failed.append(name)

        perform_graph(order, delete, may_begin=lambda: not self._halted, on_error=note)
        return failed

    @property
    def _depends(self) -> dict[str, frozenset[str]]:
        """What every resource of both sides was made after."""
        found = {name: record.depends for name, record in self._new.facts.records.items()}
        for name, record in self._old.facts.records.items():
            found[name] = found.get(name, frozenset()) | record.depends
        return found

    def _deleted(self, left: Leftover) -> bool:
        """Delete one physical resource; False if it cannot be."""
        record, name = left.record, left.record.logical_id
        if record.physical_id is None:
            self._updates.forget(self._stack, record, "DELETE_COMPLETE", None, row=left.gone)
            return True
        if left.policy in {"Retain", "RetainExceptOnCreate"}:
            self._updates.forget(self._stack, record, "DELETE_SKIPPED", None, row=left.gone)
            return True
        self._updates.say(self._stack, record, "DELETE_IN_PROGRESS")
        snapshot = left.policy == "Snapshot" and record.completed
        reason = ""
        for attempt in range(_ATTEMPTS):
            try:
                if attempt and self.stopping.wait(_RETRY_S):
                    return True
                left.side.performer.remove(left.side.definition(name), record, snapshot=snapshot)
            except Interrupted:
                return True
            except ResourceFailure as failure:
                reason = str(failure)
                continue
            self._updates.forget(self._stack, record, "DELETE_COMPLETE", None, row=left.gone)
            return True
        self._updates.forget(self._stack, record, "DELETE_FAILED", reason, row=left.gone)
        return False

    # Deletion of a stack whose update was left half done

    def _delete(self) -> None:
        """Delete what the update had added, then all of the stack as it was."""
        self._find_unrecorded()
        for change in list(self._changes.values()):
            if change.before is not None and change.state is not Progress.RESTORED:
                current = self._new.facts.records[change.logical_id]
                self._updates.restore(self._stack, change, current, change.before)
                self._changes[change.logical_id] = replace(change, state=Progress.RESTORED, after=current)
        failed = self._delete_all(self._added())
        if self._halted:
            return
        if failed:
            reason = f"The following resource(s) failed to delete: [{', '.join(failed)}]. "
            self._stack = self._journal.set_status(self._stack, "DELETE_FAILED", reason)
            return
        StackRun(self._journal, self._clients, self._zones, self._stack, self.stopping).perform()


def _replaced_id(change: ChangeRecord) -> str | None:
    return None if change.before is None else change.before.physical_id
