"""What the parts of an update share: the two sides of it, what is changed so far, and whether to go on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from multiaz.cloud.service import Clients
from multiaz.cloud.stacks.evaluate import Evaluator
from multiaz.cloud.stacks.perform import LiveFacts, Performer, Previous
from multiaz.cloud.stacks.plan import View, view
from multiaz.cloud.stacks.records import StackRecord
from multiaz.cloud.stacks.run import Zones, pseudo_parameters
from multiaz.cloud.stacks.state import Journal
from multiaz.cloud.stacks.template import ResourceDefinition, read_template
from multiaz.cloud.stacks.update_state import ChangeRecord, Progress, UpdateRecord


class Side:
    """A template with its parameters, and the records its references are answered from."""

    def __init__(
        self, clients: Clients, zones: Zones, journal: Journal, stack: StackRecord, stopping: threading.Event
    ) -> None:
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
        self.performer = Performer(clients, stack, self.evaluator, stopping, self.cancelled)

    def view(self) -> View:
        """Evaluated as far as it can be without the records. Raises TemplateError."""
        return view(self.template, self._parameters, self._pseudo, zones=self._zones, exports=self._exports())

    def definition(self, name: str) -> ResourceDefinition:
        """One entry of Resources."""
        return self.template.resources[name]

    def previous(self, name: str) -> Previous:
        """This side's resource, as something to change from."""
        return Previous(self.performer, self.definition(name), self.facts.records[name])


class UpdateWork:
    """One update under way: two templates, the records of each, and the journal of what was changed."""

    def __init__(
        self,
        journal: Journal,
        clients: Clients,
        zones: Zones,
        stack: StackRecord,
        update: UpdateRecord,
        stopping: threading.Event,
    ) -> None:
        self.journal = journal
        self.updates = journal.updates
        self.clients = clients
        self.zones = zones
        self.stopping = stopping
        self.superseded = False
        """Another operation takes over: stop without going back."""
        self.stack = stack
        self.update = update
        self.lock = threading.Lock()
        old = replace(stack, template=update.old_template, settings=update.old_settings)
        new = replace(stack, template=update.template, settings=update.settings)
        self.old = Side(clients, zones, journal, old, stopping)
        self.new = Side(clients, zones, journal, new, stopping)
        self.changes: dict[str, ChangeRecord] = {}
        self._load()

    def _load(self) -> None:
        """The records of both sides, as the journal has them now."""
        current = self.journal.resources(self.stack.stack_id)
        self.changes = self.updates.changes(self.stack.stack_id)
        old, new = dict(current), dict(current)
        for name, change in self.changes.items():
            if change.before is None:
                old.pop(name, None)
            elif change.state is not Progress.RESTORED:
                old[name] = change.before
            if change.after is not None:
                new[name] = change.after
        self.old.facts.records = old
        self.new.facts.records = new

    @property
    def halted(self) -> bool:
        """The process ends, or another operation takes over: begin nothing more."""
        return self.stopping.is_set() or self.superseded


def replaced_id(change: ChangeRecord) -> str | None:
    """Physical id of what a change replaces, None if it replaces nothing."""
    return None if change.before is None else change.before.physical_id
