"""An update, forward: what is added is made, what is modified changed in place or replaced; journalled throughout."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from multiaz.cloud.stacks.dynamic import SecretReference, references
from multiaz.cloud.stacks.faults import Cancelled, Interrupted, ResourceFailure, TemplateError
from multiaz.cloud.stacks.graph import restricted
from multiaz.cloud.stacks.parallel import perform_graph
from multiaz.cloud.stacks.perform import property_problems
from multiaz.cloud.stacks.plan import Action, Step, View, plan_update
from multiaz.cloud.stacks.records import ResourceRecord
from multiaz.cloud.stacks.schema import find_schema
from multiaz.cloud.stacks.update_state import ChangeRecord, Kind, Progress
from multiaz.cloud.stacks.update_work import UpdateWork, replaced_id
from multiaz.cloud.stacks.updates import Difference, difference, name_collision, not_updatable

LOG = logging.getLogger(__name__)


class Forward:
    """Carries out the steps of an update's plan; again after a crash, it goes on where the journal ends."""

    def __init__(self, work: UpdateWork) -> None:
        self._work = work
        self._steps: dict[str, Step] = {}

    def perform(self, before: View, after: View) -> str:
        """Make and change all there is to be; why it failed, in AWS's words, empty if nothing did or it was halted."""
        work = self._work
        plan = plan_update(
            before,
            after,
            {name: record.physical_id for name, record in work.old.facts.records.items()},
            lambda kind: find_schema(work.stack.region, kind),
            tags_changed=self._tags_changed(),
        )
        self._steps = {step.logical_id: step for step in plan.steps if step.action is not Action.REMOVE}
        if not self._fail_the_doomed(after):
            if any(change.state is Progress.FAILED for change in work.changes.values()):
                self.cancel()
            perform_graph(
                restricted(after.graph, self._steps),
                self._step,
                may_begin=lambda: not work.new.cancelled.is_set() and not work.halted,
                on_error=self._note_error,
            )
        return "" if work.halted else self._failures()

    def cancel(self) -> None:
        """Begin nothing more; what is under way ends as soon as it next looks."""
        self._work.new.cancelled.set()

    def _failures(self) -> str:
        """Why the stack's update failed, in AWS's words; empty if nothing failed."""
        failed = [change for change in self._work.changes.values() if change.state is Progress.FAILED]
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
            problem = property_problems(self._work.stack.region, after.resources[name], after.properties[name])
            if problem is None or name in self._work.changes:
                continue
            doomed = True
            self._fail_unbegun(step, problem)
        return doomed

    def _fail_unbegun(self, step: Step, reason: str) -> None:
        """Journal, in one transaction, a change that fails before anything is called."""
        name = step.logical_id
        with self._work.journal.transaction():
            if step.action is Action.ADD:
                record = self._begin_add(step)
            else:
                record = self._begin_change(step, Kind.UPDATE, frozenset())
            self._fail(name, record, reason)

    def _begin_add(self, step: Step) -> ResourceRecord:
        record = self._work.updates.begin_add(self._work.stack, step.logical_id, step.type, step.needs)
        return self._begun(record)

    def _begin_change(self, step: Step, kind: Kind, changed: frozenset[str]) -> ResourceRecord:
        work = self._work
        record = work.new.facts.records[step.logical_id]
        return self._begun(work.updates.begin_change(work.stack, record, kind, changed, step.needs))

    def _begun(self, record: ResourceRecord) -> ResourceRecord:
        change = self._work.updates.changes(self._work.stack.stack_id)[record.logical_id]
        with self._work.lock:
            self._work.changes[record.logical_id] = change
            self._work.new.facts.records[record.logical_id] = record
        return record

    def _settle(self, name: str, record: ResourceRecord, state: Progress) -> None:
        if state is Progress.DONE:
            self._work.updates.done(self._work.stack, record)
        else:
            self._work.updates.failed(self._work.stack, record)
        with self._work.lock:
            self._work.new.facts.records[name] = record
            self._work.changes[name] = replace(self._work.changes[name], state=state)

    def _fail(self, name: str, record: ResourceRecord, reason: str) -> None:
        verb = "CREATE" if self._work.changes[name].kind is Kind.ADD else "UPDATE"
        self._settle(name, replace(record, status=f"{verb}_FAILED", reason=reason), Progress.FAILED)

    def _note_error(self, name: str, error: BaseException) -> None:
        """An error no handler foresaw is ours: log it whole, fail the resource."""
        LOG.error("%s of %s", name, self._work.stack.stack_id, exc_info=error)
        self.cancel()
        if name in self._work.changes:
            self._fail(name, self._work.new.facts.records[name], "Internal Failure")
        else:
            self._fail_unbegun(self._steps[name], "Internal Failure")

    def _step(self, name: str) -> bool:
        """One worker's work: the resource is made or changed and journalled, or its failure is."""
        change, step = self._work.changes.get(name), self._steps[name]
        if change is not None and change.state is not Progress.BEGUN:
            return change.state is Progress.DONE
        resumed = change is not None
        if change is None:
            if step.action is Action.ADD:
                self._begin_add(step)
            elif not self._begin_modification(step):
                return name not in self._work.changes
            change = self._work.changes[name]
        try:
            in_place = change.kind is Kind.UPDATE
            record = self._changed_in_place(change) if in_place else self._made(change, resumed)
        except Interrupted:
            return False
        except Cancelled:
            verb = "creation" if change.kind is Kind.ADD else "update"
            self._fail(name, self._work.new.facts.records[name], f"Resource {verb} cancelled")
            return False
        except ResourceFailure as failure:
            self._fail(name, self._work.new.facts.records[name], str(failure))
            self.cancel()
            return False
        status = "CREATE_COMPLETE" if change.kind is Kind.ADD else "UPDATE_COMPLETE"
        self._settle(name, replace(record, status=status, reason=None, completed=True), Progress.DONE)
        return True

    def _begin_modification(self, step: Step) -> bool:
        """Find out what differs and journal it; False if nothing does, or it cannot be done (a journalled failure)."""
        name = step.logical_id
        definition = self._work.new.definition(name)
        try:
            before = self._work.old.evaluator.properties(self._work.old.definition(name))
            after = self._work.new.evaluator.properties(definition)
            found = difference(self._work.stack.region, definition.type, before, after, tags=self._tags_changed())
            problem = name_collision(definition, before, after) if found.replaces else not_updatable(definition, found)
            if problem:
                raise ResourceFailure(problem)
        except (TemplateError, ResourceFailure) as error:
            self._fail_unbegun(step, str(error))
            self.cancel()
            return False
        if found.replaces:
            self._begin_change(step, Kind.REPLACE, found.changed)
        elif found.changed or any(detail.attribute not in {"Properties", "Tags"} for detail in step.details):
            self._begin_change(step, Kind.UPDATE, self._with_new_secrets(found, after))
        else:
            return False
        return True

    def _tags_changed(self) -> bool:
        return self._work.old.tags != self._work.new.tags

    def _with_new_secrets(self, found: Difference, after: Mapping[str, Any]) -> frozenset[str]:
        """What changes, and the properties that take their value from a secret this update gave another one.

        CloudFormation resolves a reference again only where the resource that holds it is updated anyway.
        Source: CloudFormation user guide, "Get a secret or secret value from Secrets Manager".
        """
        renewed = {
            self._work.new.facts.records[name].physical_id
            for name, change in list(self._work.changes.items())
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
        record = self._work.new.facts.records[name]
        made = self._work.new.performer.update(
            self._work.new.definition(name), record, self._work.old.previous(name), change.changed, token=change.token
        )
        return replace(record, attributes=dict(made.attributes))

    def _made(self, change: ChangeRecord, resumed: bool) -> ResourceRecord:
        """A new physical resource; what it got to is journalled if it fails."""
        name = change.logical_id
        told = self._work.new.facts.records[name].physical_id is not None

        def on_initiated(physical_id: str) -> None:
            nonlocal told
            if not told:
                told = True
                fresh = self._work.updates.initiated(self._work.stack, self._work.new.facts.records[name], physical_id)
                self._work.new.facts.records[name] = fresh

        def on_made(physical_id: str) -> None:
            record = self._work.new.facts.records[name]
            self._work.new.facts.records[name] = replace(record, physical_id=physical_id)

        made = self._work.new.performer.make(
            self._work.new.definition(name),
            self._work.new.facts.records[name],
            resumed=resumed,
            on_initiated=on_initiated,
            on_made=on_made,
            replaces=replaced_id(change),
        )
        on_initiated(made.physical_id)
        return replace(
            self._work.new.facts.records[name], physical_id=made.physical_id, attributes=dict(made.attributes)
        )
