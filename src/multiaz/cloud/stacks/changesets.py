"""The CloudFormation API: change sets. A change set is a plan that was computed and waits."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from multiaz.cloud.service import ACCOUNT_ID, PARTITION, AwsFault, Context, Operation
from multiaz.cloud.stacks import describe
from multiaz.cloud.stacks.engine import Engine
from multiaz.cloud.stacks.faults import Superseded, not_available, validation_error
from multiaz.cloud.stacks.plan import Plan, plan_create
from multiaz.cloud.stacks.records import STACK_TYPE, ChangeSetRecord, Event, Settings, StackRecord
from multiaz.cloud.stacks.requests import (
    Request,
    RequestReader,
    check_name,
    check_token,
    read_tags,
    refuse_triggers,
)
from multiaz.cloud.stacks.state import Journal
from multiaz.cloud.stacks.update_actions import UpdateActions

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSets:
    """The change set operations by API name."""

    def __init__(self, journal: Journal, engine: Engine, reader: RequestReader, updates: UpdateActions) -> None:
        self._journal = journal
        self._engine = engine
        self._reader = reader
        self._updates = updates
        self.operations: dict[str, Operation] = {
            "CreateChangeSet": self.create,
            "DescribeChangeSet": self.describe,
            "ListChangeSets": self.list,
            "ExecuteChangeSet": self.execute,
            "DeleteChangeSet": self.delete,
        }

    def create(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Compute and keep a change set; of type CREATE it makes a stack in REVIEW_IN_PROGRESS."""
        name = check_name(params.get("ChangeSetName"), "changeSetName")
        token = check_token(params.get("ClientToken"))
        refuse_triggers(params)
        kind = params.get("ChangeSetType", "UPDATE")
        if kind not in {"CREATE", "UPDATE"}:
            raise not_available(f"ChangeSetType {kind}")
        if kind == "UPDATE" and params.get("OnStackFailure") == "DELETE":
            raise validation_error("OnStackFailure DELETE can only be specified for a change set of type CREATE.")
        stack_name = str(params.get("StackName", ""))
        stack = self._journal.stack(context.region, stack_name)
        stack = None if stack is not None and stack.deleted is not None else stack
        again = self._same_request(stack, name, token)
        if stack is not None and again is not None:
            return {"Id": again.change_set_id, "StackId": stack.stack_id}
        if kind == "UPDATE":
            if stack is None:
                raise validation_error(f"Stack [{stack_name}] does not exist")
            request, plan = self._updates.plan(stack, params)
        else:
            if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
                raise validation_error(
                    f"Stack [{stack_name}] already exists and cannot be created again with the changeSet [{name}]."
                )
            stack, request, plan = self._for_creation(context, stack, stack_name, params)
        settings = self._settings(stack, kind, params, request)
        changes = plan.changes_anything or kind == "CREATE"
        change_set_id = f"arn:{PARTITION}:cloudformation:{context.region}:{ACCOUNT_ID}:changeSet/{name}/{uuid.uuid4()}"
        record = ChangeSetRecord(
            change_set_id=change_set_id,
            stack_id=stack.stack_id,
            name=name,
            status="CREATE_COMPLETE" if changes else "FAILED",
            reason=None if changes else NO_CHANGES,
            execution="AVAILABLE" if changes else "UNAVAILABLE",
            template=request.template.text,
            settings=replace(settings, change_set_id=change_set_id),
            body={
                "kind": kind,
                "description": params.get("Description"),
                "changes": describe.change_list(plan),
                "on_stack_failure": params.get("OnStackFailure"),
                "client_token": token,
            },
            created=time.time(),
        )
        self._save(stack, record)
        return {"Id": change_set_id, "StackId": stack.stack_id}

    def _same_request(self, stack: StackRecord | None, name: str, token: str | None) -> ChangeSetRecord | None:
        """The change set an earlier try of the same call made."""
        if stack is None or token is None:
            return None
        records = self._journal.change_sets(stack.stack_id)
        return next((item for item in records if item.name == name and item.body.get("client_token") == token), None)

    def _save(self, stack: StackRecord, record: ChangeSetRecord) -> None:
        with self._journal.transaction():
            if any(other.name == record.name for other in self._journal.change_sets(stack.stack_id)):
                raise AwsFault(
                    "AlreadyExistsException", f"ChangeSet {record.name} already exists for stack {stack.name}"
                )
            if self._journal.stack(stack.region, stack.stack_id) is None:
                try:
                    self._journal.add_stack(stack)
                except sqlite3.IntegrityError as error:
                    raise AwsFault("AlreadyExistsException", f"Stack [{stack.name}] already exists") from error
                event = Event(stack.name, STACK_TYPE, "REVIEW_IN_PROGRESS", stack.stack_id, "User Initiated")
                self._journal.add_events(stack, [event])
            self._journal.save_change_set(record)

    def _for_creation(
        self, context: Context, stack: StackRecord | None, name: str, params: dict[str, Any]
    ) -> tuple[StackRecord, Request, Plan]:
        if stack is None:
            check_name(name)
            stack_id = f"arn:{PARTITION}:cloudformation:{context.region}:{ACCOUNT_ID}:stack/{name}/{uuid.uuid4()}"
        else:
            stack_id = stack.stack_id
        request = self._reader.read(context.region, name, stack_id, params, exports=self._exports(context.region))
        if stack is None:
            stack = StackRecord(
                stack_id,
                context.region,
                name,
                "REVIEW_IN_PROGRESS",
                "User Initiated",
                request.template.text,
                Settings(),
                time.time(),
            )
        return stack, request, plan_create(request.view)

    def _exports(self, region: str) -> dict[str, str]:
        return {name: record.value for name, record in self._journal.exports(region).items()}

    def _settings(self, stack: StackRecord, kind: str, params: dict[str, Any], request: Request) -> Settings:
        on_failure = params.get("OnStackFailure")
        if on_failure not in {None, "ROLLBACK", "DELETE", "DO_NOTHING"}:
            raise validation_error(f"Value '{on_failure}' at 'onStackFailure' is not valid")
        tags = params.get("Tags")
        return replace(
            stack.settings,
            parameters=request.parameters,
            tags=stack.settings.tags if tags is None and kind == "UPDATE" else read_tags(tags),
            capabilities=tuple(params.get("Capabilities") or ()),
            on_failure=on_failure or "ROLLBACK",
        )

    def find(self, context: Context, params: Mapping[str, Any]) -> tuple[StackRecord, ChangeSetRecord]:
        """The change set a request names, by its ARN or by names. Raises ChangeSetNotFound."""
        name, stack_name = str(params.get("ChangeSetName", "")), params.get("StackName")
        if name.startswith("arn:"):
            record = self._journal.change_set(name)
            stack = self._journal.stack(context.region, record.stack_id) if record else None
        else:
            if not stack_name:
                raise validation_error("StackName must be specified if ChangeSetName is not specified as an ARN.")
            stack = self._journal.stack(context.region, str(stack_name))
            if stack is None:
                raise validation_error(f"Stack [{stack_name}] does not exist")
            sets = self._journal.change_sets(stack.stack_id)
            record = next((item for item in sets if item.name == name), None)
        if record is None or stack is None:
            raise AwsFault("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", 404)
        return stack, record

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """One change set, all its changes at once."""
        return describe.change_set_shape(*self.find(context, params))

    def list(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Change sets of a stack."""
        stack = self._journal.stack(context.region, str(params.get("StackName", "")))
        if stack is None or stack.deleted is not None:
            raise validation_error(f"Stack [{params.get('StackName')}] does not exist")
        records = self._journal.change_sets(stack.stack_id)
        return {"Summaries": [describe.change_set_summary(stack, record) for record in records]}

    def delete(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Forget a change set; an absent one is no error."""
        try:
            _, record = self.find(context, params)
        except AwsFault as fault:
            if fault.code == "ChangeSetNotFound":
                return {}
            raise
        self._journal.delete_change_set(record.change_set_id)
        return {}

    def execute(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Begin the creation or update a change set describes; the same call again changes nothing."""
        stack, record = self.find(context, params)
        token = check_token(params.get("ClientRequestToken"))
        if record.execution != "AVAILABLE":
            if token is not None and stack.settings.operation_token == token:
                return {}
            raise AwsFault(
                "InvalidChangeSetStatus",
                f"ChangeSet [{record.change_set_id}] cannot be executed in its current status of [{record.status}], "
                f"execution status [{record.execution}]",
            )
        if record.body["kind"] == "UPDATE":
            self._updates.begin(
                stack,
                record.template,
                record.settings,
                token,
                disable_rollback=params.get("DisableRollback", record.body.get("on_stack_failure") == "DO_NOTHING"),
                retain_except_on_create=bool(params.get("RetainExceptOnCreate", False)),
                change_set_id=record.change_set_id,
            )
            return {}
        settings = replace(
            record.settings,
            operation_token=token,
            disable_rollback=bool(params.get("DisableRollback", False)),
            retain_except_on_create=bool(params.get("RetainExceptOnCreate", False)),
        )
        try:
            with self._journal.transaction():
                self._journal.adopt_change_set(stack, record, settings)
                started = self._journal.set_status(stack, "CREATE_IN_PROGRESS", "User Initiated", settings=settings)
        except Superseded as error:
            raise AwsFault("InvalidChangeSetStatus", f"Stack [{stack.name}] is no longer in {stack.status}") from error
        self._engine.begin(started)
        return {}
