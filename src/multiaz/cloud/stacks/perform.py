"""One resource of one stack: evaluate, check, call its handler, translate what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from multiaz.cloud.service import ACCOUNT_ID, Clients
from multiaz.cloud.stacks import schema as schemas
from multiaz.cloud.stacks.dynamic import DYNAMIC, Resolver, references
from multiaz.cloud.stacks.evaluate import Evaluator
from multiaz.cloud.stacks.faults import Cancelled, Interrupted, ResourceFailure, TemplateError
from multiaz.cloud.stacks.records import ResourceRecord, StackRecord
from multiaz.cloud.stacks.resources import CUSTOM_PREFIX, handler_for
from multiaz.cloud.stacks.resources.base import Call, Handler, Made, failure_reason
from multiaz.cloud.stacks.template import ResourceDefinition
from multiaz.cloud.stacks.values import as_text


@dataclass
class LiveFacts:
    """What exists of a stack now: answers Ref and Fn::GetAtt from the journal's records."""

    zone_names: Callable[[str], list[str]]
    exports: Callable[[], Mapping[str, str]]
    records: dict[str, ResourceRecord] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    def ref(self, logical_id: str) -> Any:
        """The physical id."""
        record = self.records.get(logical_id)
        if record is None or record.physical_id is None:
            raise TemplateError(
                f"Template error: unresolved condition dependency or resource {logical_id} that was not created"
            )
        return record.physical_id

    def attribute(self, logical_id: str, name: str) -> Any:
        """A recorded attribute."""
        record = self.records.get(logical_id)
        if record is None or name not in record.attributes:
            raise TemplateError(
                f"Template error: resource {logical_id} does not support attribute type {name} in Fn::GetAtt"
            )
        return record.attributes[name]

    def zones(self, region: str) -> list[str]:
        """Availability Zones of a region."""
        return self.zone_names(region)

    def imported(self, name: str) -> Any:
        """Value of an export."""
        exports = self.exports()
        if name not in exports:
            raise TemplateError(f"No export named {name} found.")
        return exports[name]


def property_problems(region: str, definition: ResourceDefinition, properties: Mapping[str, Any]) -> str | None:
    """Why these (perhaps partly unknown) properties cannot be carried out; None if they can."""
    handler = _handler(definition.type)
    schema = schemas.find_schema(region, definition.type)
    if schema is None:
        return f"Resource type {definition.type} is not known"
    problems: list[str] = []
    if definition.type.startswith(CUSTOM_PREFIX) or definition.type == "AWS::CloudFormation::CustomResource":
        if "ServiceToken" not in properties:
            problems.append("#: required key [ServiceToken] not found")
    else:
        _, problems = schemas.typed_properties(schema, properties)
    try:
        list(references(properties))
    except TemplateError as error:
        return error.message
    known = schema.get("properties", {})
    unsupported = [
        f"property {name} of {definition.type} is not available in this local cloud"
        for name in properties
        if name not in handler.properties and (name in known or handler.type.endswith("CustomResource"))
    ]
    if problems:
        text = "\n".join(problems)
        return f"Properties validation failed for resource {definition.logical_id} with message:\n{text}"
    refusals = unsupported + handler.refusals(properties)
    if refusals:
        return f"Encountered unsupported property in resource {definition.logical_id}: {'; '.join(refusals)}"
    return None


def _handler(type_name: str) -> Handler:
    handler = handler_for(type_name)
    if handler is None:
        raise ResourceFailure(f"Resource type {type_name} is not available in this local cloud")
    return handler


@dataclass
class Performer:
    """Makes and removes the resources of one stack."""

    clients: Clients
    stack: StackRecord
    evaluator: Evaluator
    stopping: threading.Event
    """The process ends: leave everything as it is."""
    cancelled: threading.Event
    """Creation is no longer wanted."""

    def make(
        self,
        definition: ResourceDefinition,
        record: ResourceRecord,
        *,
        resumed: bool,
        on_initiated: Callable[[str], None],
        on_made: Callable[[str], None],
        replaces: str | None = None,
    ) -> Made:
        """Create the resource. `on_made` is told the physical id if it fails after it exists.

        Raises ResourceFailure, Cancelled or Interrupted; secrets never appear in a reason.
        """
        resolver = Resolver(self.clients, self.stack.region, definition.type)
        call: Call | None = None
        try:
            with _translated(resolver, definition, record):
                evaluated = self.evaluator.properties(definition)
                problem = property_problems(self.stack.region, definition, evaluated)
                if problem:
                    raise ResourceFailure(problem)
                call = self._call(definition, record, resolver.resolve(evaluated), self._wait_for_creation)
                call.resumed, call.replaces = resumed, replaces
                call.on_initiated = on_initiated
                self._wait_for_creation(0)
                made = _handler(definition.type).create(call)
                # What references gave is kept beside the attributes: deletion must name what creation named.
                attributes = {name: _plain(value) for name, value in made.attributes.items()}
                return Made(made.physical_id, {**resolver.shown, **attributes})
        except Cancelled:
            if resumed and call is not None and not call.physical_id:  # nobody has looked what a dead process made
                call.physical_id = self.find(definition, record, replaces=replaces)
            raise
        finally:
            if call is not None and call.physical_id:
                on_made(call.physical_id)

    def update(
        self,
        definition: ResourceDefinition,
        record: ResourceRecord,
        previous: Previous,
        changed: frozenset[str],
        *,
        token: str,
        reverting: bool = False,
    ) -> Made:
        """Change the resource in place from what `previous` says to what the template says now; see `Handler.update`.

        Raises ResourceFailure, Cancelled or Interrupted; secrets never appear in a reason.
        """
        resolver = Resolver(self.clients, self.stack.region, definition.type)
        handler = _handler(definition.type)
        with _translated(resolver, definition, record):
            evaluated = self.evaluator.properties(definition)
            problem = property_problems(self.stack.region, definition, evaluated)
            if problem:
                raise ResourceFailure(problem)
            call = self._call(definition, record, resolver.resolve(evaluated), self._wait_for_creation)
            old = previous.performer._deletion_call(previous.definition, previous.record)
            call.resumed, call.reverting, call.change_token = True, reverting, token
            self._wait_for_creation(0)
            made = handler.update(call, old, changed) if changed else None
            attributes = {**record.attributes, **resolver.shown}
            if made is not None:
                attributes |= {name: _plain(value) for name, value in made.attributes.items()}
            return Made(str(record.physical_id), attributes)

    def find(
        self, definition: ResourceDefinition, record: ResourceRecord, *, replaces: str | None = None
    ) -> str | None:
        """What an interrupted creation left, None if nothing."""
        try:
            call = self._deletion_call(definition, record)
            call.replaces = replaces
            return _handler(definition.type).find(call)
        except (ClientError, TemplateError):
            # What it would be made from was never there: neither is it.
            return None

    def remove(self, definition: ResourceDefinition, record: ResourceRecord, *, snapshot: bool) -> None:
        """Delete the resource and wait until it is gone. Raises ResourceFailure or Interrupted."""
        try:
            call = self._deletion_call(definition, record)
            call.snapshot = snapshot
            self._wait_for_deletion(0)
            _handler(definition.type).delete(call)
        except TemplateError as error:
            raise ResourceFailure(str(error)) from error
        except ClientError as error:
            raise ResourceFailure(failure_reason(error, record.token)) from error
        except BotoCoreError as error:
            raise ResourceFailure(str(error)) from error

    def _deletion_call(self, definition: ResourceDefinition, record: ResourceRecord) -> Call:
        kept = {name: str(value) for name, value in record.attributes.items() if name.startswith(DYNAMIC)}
        resolver = Resolver(self.clients, self.stack.region, definition.type, shown=kept, deleting=True)
        evaluated = resolver.resolve(self.evaluator.properties(definition))
        return self._call(definition, record, evaluated, self._wait_for_deletion)

    def _call(
        self,
        definition: ResourceDefinition,
        record: ResourceRecord,
        evaluated: Mapping[str, Any],
        wait: Callable[[float], None],
    ) -> Call:
        schema = schemas.find_schema(self.stack.region, definition.type)
        typed, _ = schemas.typed_properties(schema or {}, evaluated)
        return Call(
            clients=self.clients,
            region=self.stack.region,
            account_id=ACCOUNT_ID,
            stack_id=self.stack.stack_id,
            stack_name=self.stack.name,
            logical_id=definition.logical_id,
            resource_type=definition.type,
            token=record.token,
            properties=typed,
            physical_id=record.physical_id,
            stack_tags=self.stack.settings.tags,
            since=record.changed,
            on_wait=wait,
        )

    def _wait_for_creation(self, seconds: float) -> None:
        if self.stopping.is_set():
            raise Interrupted
        if self.cancelled.wait(seconds):
            raise Interrupted if self.stopping.is_set() else Cancelled

    def _wait_for_deletion(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise Interrupted


@contextmanager
def _translated(resolver: Resolver, definition: ResourceDefinition, record: ResourceRecord) -> Iterator[None]:
    """What goes wrong inside becomes a ResourceFailure, free of the secrets the resolver has read."""
    try:
        yield
    except (ResourceFailure, TemplateError) as error:
        raise ResourceFailure(resolver.hide(str(error))) from error
    except ClientError as error:
        raise ResourceFailure(resolver.hide(failure_reason(error, record.token))) from error
    except ParamValidationError as error:
        raise ResourceFailure(
            resolver.hide(f"Properties validation failed for resource {definition.logical_id}: {error}")
        ) from error
    except BotoCoreError as error:
        raise ResourceFailure(resolver.hide(str(error))) from error


@dataclass(frozen=True)
class Previous:
    """What a resource is changed from."""

    performer: Performer
    definition: ResourceDefinition
    record: ResourceRecord


def _plain(value: Any) -> Any:
    """An attribute as it is journalled: text, or a list of texts."""
    return [as_text(item) for item in value] if isinstance(value, list) else as_text(value)
