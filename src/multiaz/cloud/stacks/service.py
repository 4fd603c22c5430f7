"""The CloudFormation API: stacks. Calls validate, journal and return; the engine works behind them."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from multiaz.cloud.principals import DEFAULT_REGION
from multiaz.cloud.service import ACCOUNT_ID, PARTITION, AwsFault, Clients, Context, Operation
from multiaz.cloud.stacks import describe
from multiaz.cloud.stacks.accepted import checked
from multiaz.cloud.stacks.changesets import ChangeSets
from multiaz.cloud.stacks.engine import Engine
from multiaz.cloud.stacks.faults import Superseded, not_available, validation_error
from multiaz.cloud.stacks.records import STACK_TYPE, Event, Settings, StackRecord
from multiaz.cloud.stacks.requests import (
    RequestReader,
    check_name,
    check_token,
    read_tags,
    refuse_triggers,
)
from multiaz.cloud.stacks.state import Journal
from multiaz.cloud.stacks.template import Template, read_template
from multiaz.cloud.stacks.update_actions import UpdateActions
from multiaz.cloud.store import Store

_PAGE = 100
_WARM_CLIENTS = [
    "ec2",
    "kms",
    "secretsmanager",
    "iam",
    "s3",
    "rds",
    "sns",
    "cloudwatch",
    "logs",
    "lambda",
    "events",
    "ssm",
]


@lru_cache(maxsize=64)
def parsed(text: str) -> Template:
    """A template that was accepted before; kept, as describe calls need its description."""
    return read_template(text)


class CloudFormationService:
    """CloudFormation of this local cloud: `operations` by API name."""

    name = "cloudformation"

    def __init__(self, store: Store, clients: Clients, journal: Journal | None = None) -> None:
        """`journal` stands for the store's own, for tests that have it fail."""
        self._clients = clients
        self.journal = journal or Journal(store)
        self.engine = Engine(self.journal, clients)
        self._reader = RequestReader(clients, self.engine.zones)
        self._updates = UpdateActions(self.journal, self.engine, self._reader)
        self._change_sets = ChangeSets(self.journal, self.engine, self._reader, self._updates)
        self._stopped = threading.Event()
        own = (
            self.create_stack,
            self.delete_stack,
            self.describe_stack_events,
            self.describe_stack_resource,
            self.describe_stack_resources,
            self.describe_stacks,
            self.get_template,
            self.get_template_summary,
            self.list_exports,
            self.list_imports,
            self.list_stack_resources,
            self.list_stacks,
            self.update_termination_protection,
            self.validate_template,
        )
        operations = {_api_name(operation.__name__): operation for operation in own}
        operations |= self._change_sets.operations | self._updates.operations
        self.operations: Mapping[str, Operation] = {
            action: checked(action, operation) for action, operation in operations.items()
        }

    def start(self) -> None:
        """Resume unfinished operations; make the clients the first CreateStack would wait for."""
        self.engine.resume()
        threading.Thread(target=self._warm_up, name="stacks warm-up", daemon=True).start()

    def stop(self) -> None:
        """Stop background work; the journal holds what is unfinished."""
        self._stopped.set()
        self.engine.stop()

    def _warm_up(self) -> None:
        """Making all botocore clients takes a good part of a second."""
        for service in _WARM_CLIENTS:
            if self._stopped.is_set():
                return
            self._clients.client(service, DEFAULT_REGION)

    # Creation and deletion

    def create_stack(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Begin to create a stack; the same ClientRequestToken again gives the same answer."""
        name = check_name(params.get("StackName"))
        token = check_token(params.get("ClientRequestToken"))
        refuse_triggers(params)
        if "DisableRollback" in params and "OnFailure" in params:
            raise validation_error("Only one of DisableRollback or OnFailure can be specified, not both.")
        on_failure = params.get("OnFailure", "ROLLBACK")
        if on_failure not in {"ROLLBACK", "DELETE", "DO_NOTHING"}:
            raise validation_error(
                f"1 validation error detected: Value '{on_failure}' at 'onFailure' failed to satisfy constraint: "
                "Member must satisfy enum value set: [ROLLBACK, DELETE, DO_NOTHING]"
            )
        existing = self.journal.stack(context.region, name)
        if existing is not None:
            if token is not None and existing.settings.create_token == token:
                return {"StackId": existing.stack_id}
            raise AwsFault("AlreadyExistsException", f"Stack [{name}] already exists")
        stack_id = new_stack_id(context.region, name)
        exports = {key: record.value for key, record in self.journal.exports(context.region).items()}
        request = self._reader.read(context.region, name, stack_id, params, exports=exports)
        settings = Settings(
            parameters=request.parameters,
            tags=read_tags(params.get("Tags")),
            capabilities=tuple(params.get("Capabilities") or ()),
            disable_rollback=bool(params.get("DisableRollback", False)),
            on_failure=on_failure,
            timeout_minutes=params.get("TimeoutInMinutes"),
            termination_protection=bool(params.get("EnableTerminationProtection", False)),
            retain_except_on_create=bool(params.get("RetainExceptOnCreate", False)),
            create_token=token,
            operation_token=token,
        )
        record = StackRecord(
            stack_id,
            context.region,
            name,
            "CREATE_IN_PROGRESS",
            "User Initiated",
            request.template.text,
            settings,
            time.time(),
        )
        try:
            with self.journal.transaction():
                self.journal.add_stack(record)
                event = Event(name, STACK_TYPE, "CREATE_IN_PROGRESS", stack_id, "User Initiated")
                self.journal.add_events(record, [event])
        except sqlite3.IntegrityError as error:
            raise AwsFault("AlreadyExistsException", f"Stack [{name}] already exists") from error
        self.engine.begin(record)
        return {"StackId": stack_id}

    def delete_stack(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Begin to delete a stack; an absent one is deleted already."""
        mode = params.get("DeletionMode", "STANDARD")
        if mode != "STANDARD":
            raise not_available(f"DeletionMode {mode}")
        token = check_token(params.get("ClientRequestToken"))
        name = str(params.get("StackName", ""))
        for _ in range(10):
            stack = self.journal.stack(context.region, name)
            if stack is None or stack.deleted is not None or stack.status == "DELETE_IN_PROGRESS":
                return {}
            try:
                self._begin_deletion(stack, tuple(params.get("RetainResources") or ()), token)
            except Superseded:
                continue  # the operation under way changed the status meanwhile: judge again
            return {}
        raise AwsFault("OperationInProgressException", f"Stack [{name}] is being changed", 400)

    def _begin_deletion(self, stack: StackRecord, retain: tuple[str, ...], token: str | None) -> None:
        if stack.settings.termination_protection:
            raise validation_error(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
        if stack.status.startswith("UPDATE_") and stack.status.endswith("_IN_PROGRESS"):
            raise validation_error(f"Stack [{stack.stack_id}] cannot be deleted while in status {stack.status}")
        if stack.status == "REVIEW_IN_PROGRESS":
            deleting = self.journal.set_status(stack, "DELETE_IN_PROGRESS", "User Initiated")
            self.journal.set_status(deleting, "DELETE_COMPLETE")
            return
        if retain:
            if stack.status != "DELETE_FAILED":
                raise validation_error(
                    "Invalid operation on stack. RetainResources can only be specified for a stack in the "
                    f"DELETE_FAILED state: [{stack.name}]"
                )
            unknown = sorted(set(retain) - set(self.journal.resources(stack.stack_id)))
            if unknown:
                raise validation_error(
                    f"Stack {stack.name} does not contain the resources to retain: [{', '.join(unknown)}]"
                )
        with self.journal.transaction():
            for name, export in self.journal.exports(stack.region).items():
                users = self.journal.importers(stack.region, name) if export.stack_id == stack.stack_id else []
                if users:
                    raise validation_error(f"Export {name} cannot be deleted as it is in use by {', '.join(users)}")
            settings = replace(stack.settings, retain=retain, operation_token=token)
            deleting = self.journal.set_status(stack, "DELETE_IN_PROGRESS", "User Initiated", settings=settings)
        self.engine.begin(deleting)

    def update_termination_protection(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Switch termination protection."""
        stack = self._live(context, params)
        wanted = bool(params.get("EnableTerminationProtection"))
        with self.journal.transaction():
            fresh = self.journal.stack(context.region, stack.stack_id)
            assert fresh is not None
            if fresh.status == "DELETE_IN_PROGRESS":
                raise validation_error(
                    f"Stack [{fresh.name}] is in DELETE_IN_PROGRESS: its termination protection cannot be changed"
                )
            self.journal.replace_settings(fresh.stack_id, replace(fresh.settings, termination_protection=wanted))
        return {"StackId": stack.stack_id}

    # Reading

    def _known(self, context: Context, name: Any) -> StackRecord:
        stack = self.journal.stack(context.region, str(name or ""))
        if stack is None:
            raise validation_error(f"Stack with id {name} does not exist")
        return stack

    def _live(self, context: Context, params: Mapping[str, Any]) -> StackRecord:
        name = params.get("StackName")
        stack = self.journal.stack(context.region, str(name or ""))
        if stack is None or stack.deleted is not None:
            raise validation_error(f"Stack [{name}] does not exist")
        return stack

    def describe_stacks(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """All live stacks, or one: a deleted one by its id only."""
        if params.get("StackName"):
            stacks = [self._known(context, params["StackName"])]
            following = None
        else:
            stacks, following = page(self.journal.stacks(context.region), params.get("NextToken"))
        return describe.given(
            Stacks=[
                describe.stack_shape(stack, parsed(stack.template), self.journal.outputs(stack.stack_id))
                for stack in stacks
            ],
            NextToken=following,
        )

    def list_stacks(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """All stacks, deleted ones too, newest first."""
        wanted = set(params.get("StackStatusFilter") or ())
        stacks = [
            stack for stack in self.journal.stacks(context.region, deleted=True) if not wanted or stack.status in wanted
        ]
        shown, following = page(stacks, params.get("NextToken"))
        return describe.given(
            StackSummaries=[describe.summary_shape(stack, parsed(stack.template).description) for stack in shown],
            NextToken=following,
        )

    def describe_stack_events(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Events, newest first."""
        name = params.get("StackName")
        stack = self.journal.stack(context.region, str(name or ""))
        if stack is None:
            raise validation_error(f"Stack [{name}] does not exist")
        before = params.get("NextToken")
        if before is not None and not str(before).isdecimal():
            raise validation_error("The provided token is invalid")
        events = self.journal.events(stack.stack_id, None if before is None else int(before), _PAGE + 1)
        shown = events[:_PAGE]
        return describe.given(
            StackEvents=[describe.event_shape(stack.name, event) for event in shown],
            NextToken=str(shown[-1].number) if len(events) > _PAGE else None,
        )

    def describe_stack_resources(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Resources of a stack, by its name or by the physical id of one of them."""
        name, physical = params.get("StackName"), params.get("PhysicalResourceId")
        if (name is None) == (physical is None):
            raise validation_error("Exactly one of StackName and PhysicalResourceId must be specified")
        if name is None:
            found = self.journal.resources_of_physical_id(context.region, str(physical))
            if not found:
                raise validation_error(f"Stack for {physical} does not exist")
            name = found[0].stack_id
        stack = self._known(context, name)
        wanted = params.get("LogicalResourceId")
        records = [
            record
            for record in self.journal.resources(stack.stack_id).values()
            if wanted is None or record.logical_id == wanted
        ]
        if wanted is not None and not records:
            raise validation_error(f"Resource {wanted} does not exist for stack {stack.name}")
        return {"StackResources": [describe.resource_shape(stack, record) for record in records]}

    def describe_stack_resource(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """One resource, with its metadata."""
        stack = self._known(context, params.get("StackName"))
        wanted = str(params.get("LogicalResourceId", ""))
        record = self.journal.resources(stack.stack_id).get(wanted)
        if record is None:
            raise validation_error(f"Resource {wanted} does not exist for stack {stack.name}")
        shape = describe.resource_shape(stack, record)
        shape["LastUpdatedTimestamp"] = shape.pop("Timestamp")
        definition = parsed(stack.template).resources.get(wanted)
        if definition is not None and definition.metadata is not None:
            shape["Metadata"] = json.dumps(definition.metadata)
        return {"StackResourceDetail": shape}

    def list_stack_resources(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Summaries of a stack's resources."""
        stack = self._known(context, params.get("StackName"))
        shown, following = page(list(self.journal.resources(stack.stack_id).values()), params.get("NextToken"))
        return describe.given(
            StackResourceSummaries=[describe.resource_summary(record) for record in shown],
            NextToken=following,
        )

    def get_template(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """The template's text, exactly as it came."""
        if params.get("ChangeSetName"):
            _, change = self._change_sets.find(context, params)
            text = change.template
        else:
            text = self._known(context, params.get("StackName")).template
        # The one transform of this cloud is carried out by its resource's handler: the text stays.
        return {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}

    def get_template_summary(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """What a template declares."""
        if (params.get("TemplateSummaryConfig") or {}).get("TreatUnrecognizedResourceTypesAsWarnings"):
            raise not_available("The parameter TreatUnrecognizedResourceTypesAsWarnings")
        if params.get("StackName"):
            template = parsed(self._known(context, params["StackName"]).template)
        else:
            template = self._reader.template(context.region, self._reader.text(context.region, params))
        metadata = None if template.metadata is None else json.dumps(template.metadata)
        return describe.summary_of_template(template, metadata)

    def validate_template(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Check structure, types and references of a template."""
        return describe.validation_shape(
            self._reader.template(context.region, self._reader.text(context.region, params))
        )

    def list_exports(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Exports of the region."""
        shown, following = page(list(self.journal.exports(context.region).values()), params.get("NextToken"))
        return describe.given(
            Exports=[
                {"ExportingStackId": export.stack_id, "Name": export.name, "Value": export.value} for export in shown
            ],
            NextToken=following,
        )

    def list_imports(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Stacks that import an export."""
        name = str(params.get("ExportName", ""))
        users = self.journal.importers(context.region, name)
        if not users:
            raise validation_error(f"Export '{name}' is not imported by any stack.")
        shown, following = page(users, params.get("NextToken"))
        return describe.given(Imports=shown, NextToken=following)


def new_stack_id(region: str, name: str) -> str:
    """A fresh stack id."""
    return f"arn:{PARTITION}:cloudformation:{region}:{ACCOUNT_ID}:stack/{name}/{uuid.uuid4()}"


def page(items: list[Any], token: Any) -> tuple[list[Any], str | None]:
    """One page of a list and the token of the next. Raises ValidationError for a foreign token."""
    if token is not None and not str(token).isdecimal():
        raise validation_error("The provided token is invalid")
    start = int(token or 0)
    following = str(start + _PAGE) if len(items) > start + _PAGE else None
    return items[start : start + _PAGE], following


def _api_name(method: str) -> str:
    return "".join(part.capitalize() for part in method.split("_"))
