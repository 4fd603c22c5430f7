"""One operation on one stack: a plan performed in parallel where the graph allows, journalled, with rollback."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from multiaz.cloud.service import ACCOUNT_ID, PARTITION, Clients
from multiaz.cloud.stacks.dynamic import Resolver, SsmReference, references
from multiaz.cloud.stacks.evaluate import Evaluator
from multiaz.cloud.stacks.faults import (
    Cancelled,
    Interrupted,
    ResourceFailure,
    Superseded,
    TemplateError,
)
from multiaz.cloud.stacks.graph import Graph, most_urgent, ready, restricted, reversed_graph
from multiaz.cloud.stacks.parallel import WORKERS
from multiaz.cloud.stacks.perform import LiveFacts, Performer, property_problems
from multiaz.cloud.stacks.plan import View, check_export_name, check_export_names, plan_create, view
from multiaz.cloud.stacks.records import STACK_TYPE, OutputRecord, ResourceRecord, StackRecord
from multiaz.cloud.stacks.resources import is_slow
from multiaz.cloud.stacks.state import Journal
from multiaz.cloud.stacks.template import Template, read_template
from multiaz.cloud.stacks.values import as_text, is_scalar

LOG = logging.getLogger(__name__)
_GONE = frozenset({"DELETE_COMPLETE", "DELETE_SKIPPED"})


def pseudo_parameters(region: str, stack_name: str, stack_id: str) -> dict[str, Any]:
    """Values of the pseudo parameters of a stack."""
    return {
        "AWS::AccountId": ACCOUNT_ID,
        "AWS::NotificationARNs": [],
        "AWS::Partition": PARTITION,
        "AWS::Region": region,
        "AWS::StackId": stack_id,
        "AWS::StackName": stack_name,
        "AWS::URLSuffix": "amazonaws.com",
    }


def evaluated_outputs(evaluator: Evaluator, clients: Clients, region: str) -> list[OutputRecord]:
    """The outputs of a stack whose resources are all there. Raises TemplateError."""
    records = []
    for name, output in evaluator.active_outputs().items():
        value = evaluator.value(output.value)
        if not is_scalar(value):
            raise TemplateError(
                f"Template format error: Output {name} is malformed. The Value field of every Outputs member "
                "must evaluate to a String."
            )
        if any(not isinstance(found, SsmReference) or found.secure for _, found in references(value)):
            raise TemplateError(f"Output {name} must not hold a dynamic reference to a secret: outputs are shown")
        value = Resolver(clients, region, STACK_TYPE).resolve(value)
        export = evaluator.value(output.export)
        check_export_name(name, export)
        records.append(
            OutputRecord(name, as_text(value), output.description, None if export is None else as_text(export))
        )
    return records


class Zones:
    """Availability Zones by region, asked for once."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._known: dict[str, list[str]] = {}

    def __call__(self, region: str) -> list[str]:
        """Names of the zones of a region, sorted."""
        if region not in self._known:
            answer = self._clients.client("ec2", region).describe_availability_zones()
            self._known[region] = sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"])
        return self._known[region]


class StackRun:
    """One operation on one stack."""

    def __init__(
        self, journal: Journal, clients: Clients, zones: Zones, stack: StackRecord, stopping: threading.Event
    ) -> None:
        self._journal = journal
        self._clients = clients
        self._zones = zones
        self._stopping = stopping
        self._cancelled = threading.Event()
        self.superseded = False
        """Another operation (a deletion) takes over: stop without rolling back."""
        self._stack = stack
        self._made: dict[str, list[str]] = {}
        """Physical ids of what this run has made, also where its journalling failed."""
        self._template: Template = read_template(stack.template)
        self._parameters = {name: value.reference for name, value in stack.settings.parameters.items()}
        self._pseudo = pseudo_parameters(stack.region, stack.name, stack.stack_id)
        self._facts = LiveFacts(zones, self._exports, journal.resources(stack.stack_id))
        evaluator = Evaluator(self._template, self._parameters, self._pseudo, self._facts)
        self._evaluator = evaluator
        self._performer = Performer(clients, stack, evaluator, stopping, self._cancelled)

    def _exports(self) -> Mapping[str, str]:
        return {name: record.value for name, record in self._journal.exports(self._stack.region).items()}

    def cancel(self) -> None:
        """Stop creating; what is under way ends as soon as it next looks."""
        self._cancelled.set()

    def supersede(self) -> None:
        """Stop creating and do not roll back: a deletion of the stack follows."""
        self.superseded = True
        self.cancel()

    def perform(self) -> None:
        """Do, or go on with, what the stack's status says is under way."""
        match self._stack.status:
            case "CREATE_IN_PROGRESS":
                self._create_or_undo()
            case "ROLLBACK_IN_PROGRESS":
                self._roll_back()
            case "DELETE_IN_PROGRESS":
                self._delete()
            case status:
                raise AssertionError(f"nothing to perform for a stack in {status}")

    def fail(self) -> None:
        """End the operation after an error that is our own, so that the stack can be deleted."""
        prefix = self._stack.status.removesuffix("_IN_PROGRESS")
        self._stack = self._journal.set_status(self._stack, f"{prefix}_FAILED", "Internal Failure")

    # Creation

    def _create_or_undo(self) -> None:
        """Create; after an error that is our own, undo what was made as after any other failure."""
        try:
            self._create()
        except Superseded:
            raise
        except Exception:
            if self._stack.status != "CREATE_IN_PROGRESS":
                raise  # it happened while undoing
            LOG.exception("the creation of %s", self._stack.stack_id)
            self._undo("Internal Failure. Rollback requested by user.")

    def _create(self) -> None:
        try:
            seen = self._view()
        except TemplateError as error:
            self._undo(f"{error} Rollback requested by user.")
            return
        missing = self._journal.record_imports(self._stack, seen.imports)
        if missing:
            self._undo(f"No export named {missing[0]} found. Rollback requested by user.")
            return
        graph = plan_create(seen).graph
        doomed = self._doomed(seen)
        if doomed:
            self._fail_at_once(doomed, graph)
        else:
            timed_out = self._make_all(graph)
            if self._stopping.is_set() or self.superseded:
                return
            if timed_out:
                self._undo("Stack creation time exceeded the specified timeout. Rollback requested by user.")
                return
        failed = [name for name, record in self._facts.records.items() if record.status == "CREATE_FAILED"]
        if failed:
            self._undo(
                f"The following resource(s) failed to create: [{', '.join(failed)}]. Rollback requested by user."
            )
            return
        self._finish()

    def _view(self) -> View:
        return view(self._template, self._parameters, self._pseudo, zones=self._zones, exports=self._exports())

    def _doomed(self, seen: View) -> dict[str, str]:
        """Resources whose properties are refused whatever happens: found before the first call is made."""
        problems = {}
        for name, definition in seen.resources.items():
            if name in self._facts.records:
                continue
            problem = property_problems(self._stack.region, definition, seen.properties[name])
            if problem:
                problems[name] = problem
        return problems

    def _fail_at_once(self, problems: Mapping[str, str], graph: Graph) -> None:
        entries = [(name, self._template.resources[name].type, graph[name]) for name in problems]
        for record in self._journal.begin_resources(self._stack, entries):
            self._journal.change_resource(self._stack, record, "CREATE_FAILED", reason=problems[record.logical_id])
        self._reload()

    def _reload(self) -> None:
        self._facts.records.update(self._journal.resources(self._stack.stack_id))

    def _make_all(self, graph: Graph) -> bool:
        """Create what is not there yet; True if the stack's time ran out."""
        deadline = self._deadline()
        if any(record.status == "CREATE_FAILED" for record in self._facts.records.values()):
            self.cancel()
        resumed = {name for name, record in self._facts.records.items() if record.status == "CREATE_IN_PROGRESS"}
        begun: set[str] = set()
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="resource") as pool:
            while True:
                while not self._cancelled.is_set() and not self._stopping.is_set():
                    names = self._begin_ready(graph, begun, set(running.values()))
                    for name in names:
                        begun.add(name)
                        running[pool.submit(self._make, name, name in resumed)] = name
                    if not names:
                        break  # what was begun may have been all that held the others back: so asked again
                if not running:
                    return deadline is not None and time.time() >= deadline
                left = None if deadline is None else max(0.0, deadline - time.time())
                done, _ = wait(running, left, FIRST_COMPLETED)
                if not done:
                    self.cancel()
                    deadline, _ = 0.0, wait(running)
                    continue
                for future in done:
                    self._note_failure(running.pop(future), future, "CREATE_FAILED")

    def _deadline(self) -> float | None:
        minutes = self._stack.settings.timeout_minutes
        return None if minutes is None else self._stack.created + 60 * minutes

    def _begin_ready(self, graph: Graph, begun: set[str], running: set[str]) -> list[str]:
        """Journal the intent for all that should begin now, in one transaction."""
        records = self._facts.records
        done = {name for name, record in records.items() if record.status == "CREATE_COMPLETE"}
        slow = {name for name in graph if is_slow(self._template.resources[name].type)}
        names = most_urgent(graph, ready(graph, done, begun | done), running - slow, slow - begun - done)
        fresh = [name for name in names if name not in records]
        if fresh:
            entries = [(name, self._template.resources[name].type, graph[name]) for name in fresh]
            for record in self._journal.begin_resources(self._stack, entries):
                records[record.logical_id] = record
        return names

    def _make(self, name: str, resumed: bool) -> None:
        """One worker's work: the resource is made and journalled, or its failure is."""
        record = self._facts.records[name]
        definition = self._template.resources[name]
        told = record.physical_id is not None
        physical: list[str] = self._made.setdefault(name, [])

        def on_initiated(physical_id: str) -> None:
            nonlocal told, record
            if not told:
                told = True
                self._journal.change_resource(
                    self._stack,
                    record,
                    "CREATE_IN_PROGRESS",
                    physical_id=physical_id,
                    initiated=True,
                    silent=True,
                )
                record = replace(record, physical_id=physical_id)

        try:
            made = self._performer.make(
                definition, record, resumed=resumed, on_initiated=on_initiated, on_made=physical.append
            )
        except Interrupted:
            return
        except Cancelled:
            self._failed(record, "Resource creation cancelled", physical)
        except ResourceFailure as failure:
            self._failed(record, str(failure), physical)
            self.cancel()
        else:
            physical.append(made.physical_id)
            self._journal.change_resource(
                self._stack,
                record,
                "CREATE_COMPLETE",
                physical_id=made.physical_id,
                attributes=made.attributes,
                initiated=not told,
            )
            self._facts.records[name] = replace(
                record,
                status="CREATE_COMPLETE",
                physical_id=made.physical_id,
                attributes=dict(made.attributes),
                completed=True,
            )

    def _failed(self, record: ResourceRecord, reason: str, physical: list[str]) -> None:
        physical_id = physical[-1] if physical else record.physical_id
        self._journal.change_resource(self._stack, record, "CREATE_FAILED", reason=reason, physical_id=physical_id)
        self._facts.records[record.logical_id] = replace(
            record, status="CREATE_FAILED", reason=reason, physical_id=physical_id
        )

    def _note_failure(self, name: str, future: Future[None], status: str) -> None:
        """An error no handler foresaw is ours: log it whole, fail the resource."""
        error = future.exception()
        if error is None:
            return
        LOG.error("%s of %s", name, self._stack.stack_id, exc_info=error)
        record = self._facts.records[name]
        known = self._made.get(name)
        physical_id = known[-1] if known else record.physical_id
        self._journal.change_resource(self._stack, record, status, reason="Internal Failure", physical_id=physical_id)
        self._facts.records[name] = replace(record, status=status, reason="Internal Failure", physical_id=physical_id)
        self.cancel()

    def _finish(self) -> None:
        """Outputs, exports, CREATE_COMPLETE: one transaction."""
        try:
            outputs = evaluated_outputs(self._evaluator, self._clients, self._stack.region)
            with self._journal.transaction():
                self._check_exports([output.export for output in outputs if output.export is not None])
                self._journal.finish_create(self._stack, outputs)
        except TemplateError as error:
            self._undo(f"{error} Rollback requested by user.")

    def _check_exports(self, names: list[str]) -> None:
        """Raise TemplateError for an export name that another stack, or another output, has."""
        exports = self._journal.exports(self._stack.region)
        for name in names:
            if name in exports:
                raise TemplateError(
                    f"Export with name {name} is already exported by stack {exports[name].stack_id.split('/')[1]}."
                )
        check_export_names(names)

    # Rollback and deletion

    def _undo(self, reason: str) -> None:
        """What OnFailure says of a creation that failed."""
        settings = self._stack.settings
        if settings.disable_rollback or settings.on_failure == "DO_NOTHING":
            reason = reason.replace(" Rollback requested by user.", "")
            self._stack = self._journal.set_status(self._stack, "CREATE_FAILED", reason)
        elif settings.on_failure == "DELETE":
            reason = reason.replace("Rollback", "Delete")
            self._stack = self._journal.set_status(self._stack, "DELETE_IN_PROGRESS", reason)
            self._delete(rollback=True)
        else:
            self._stack = self._journal.set_status(self._stack, "ROLLBACK_IN_PROGRESS", reason)
            self._roll_back()

    def _roll_back(self) -> None:
        failed = self._remove_all(rollback=True)
        if self._stopping.is_set() or self.superseded:
            return
        if failed:
            self._journal.set_status(
                self._stack,
                "ROLLBACK_FAILED",
                f"The following resource(s) failed to delete: [{', '.join(failed)}]. ",
            )
        else:
            self._journal.forget_imports(self._stack.stack_id)
            self._journal.set_status(self._stack, "ROLLBACK_COMPLETE")

    def _delete(self, *, rollback: bool = False) -> None:
        failed = self._remove_all(rollback=rollback)
        if self._stopping.is_set() or self.superseded:
            return
        if failed:
            self._journal.set_status(
                self._stack,
                "DELETE_FAILED",
                f"The following resource(s) failed to delete: [{', '.join(failed)}]. ",
            )
        else:
            self._journal.set_status(self._stack, "DELETE_COMPLETE")

    def _remove_all(self, *, rollback: bool) -> list[str]:
        """Remove all resources in reverse order; the names of those that could not be."""
        self._find_unrecorded()
        records = self._facts.records
        left = [name for name, record in records.items() if record.status not in _GONE]
        order = reversed_graph(restricted({name: record.depends for name, record in records.items()}, left))
        done: set[str] = set()
        failed: list[str] = []
        begun: set[str] = set()
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="resource") as pool:
            while True:
                if not self._stopping.is_set() and not self.superseded:
                    names = ready(order, done, begun)
                    begun.update(names)
                    quick = [name for name in names if self._skip(records[name], rollback)]
                    done.update(quick)
                    removals = [records[name] for name in names if name not in done]
                    if removals:
                        self._journal.begin_deletions(self._stack, removals)
                    for record in removals:
                        running[pool.submit(self._remove, record, rollback)] = record.logical_id
                    if quick:
                        continue
                if not running:
                    return failed
                finished, _ = wait(running, None, FIRST_COMPLETED)
                for future in finished:
                    name = running.pop(future)
                    self._note_failure(name, future, "DELETE_FAILED")
                    if records[name].status == "DELETE_COMPLETE":
                        done.add(name)
                    elif records[name].status == "DELETE_FAILED":
                        failed.append(name)

    def _find_unrecorded(self) -> None:
        """A creation the process did not survive may have made something: find it before deleting."""
        for name, record in self._facts.records.items():
            if record.status == "CREATE_IN_PROGRESS" and record.physical_id is None:
                found = self._performer.find(self._template.resources[name], record)
                self._journal.change_resource(self._stack, record, "CREATE_FAILED", physical_id=found, silent=True)
                self._facts.records[name] = replace(record, status="CREATE_FAILED", physical_id=found)

    def _skip(self, record: ResourceRecord, rollback: bool) -> bool:
        """Settle, without a call, what is not to be deleted or was never made."""
        name = record.logical_id
        if record.physical_id is None:
            status, physical = "DELETE_COMPLETE", None
        elif self._is_retained(record, rollback):
            status, physical = "DELETE_SKIPPED", record.physical_id
        else:
            return False
        self._journal.change_resource(self._stack, record, status, physical_id=physical)
        self._facts.records[name] = replace(record, status=status)
        return True

    def _is_retained(self, record: ResourceRecord, rollback: bool) -> bool:
        settings = self._stack.settings
        if not rollback and record.logical_id in settings.retain:
            return True
        if not record.completed:
            return False
        match self._template.resources[record.logical_id].deletion_policy:
            case "Retain":
                return not (rollback and settings.retain_except_on_create)
            case "RetainExceptOnCreate":
                return not rollback
            case _:
                return False

    def _remove(self, record: ResourceRecord, rollback: bool) -> None:
        name = record.logical_id
        definition = self._template.resources[name]
        status, reason = "DELETE_COMPLETE", ""
        snapshot = definition.deletion_policy == "Snapshot" and record.completed
        try:
            self._performer.remove(definition, record, snapshot=snapshot)
        except Interrupted:
            return
        except ResourceFailure as failure:
            status, reason = "DELETE_FAILED", str(failure)
        self._journal.change_resource(self._stack, record, status, reason=reason or None)
        self._facts.records[name] = replace(record, status=status, reason=reason or None)
