"""The CloudFormation API: updates. Calls validate, journal and return; the engine works behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from multiaz.cloud.service import AwsFault, Context, Operation
from multiaz.cloud.stacks.engine import Engine
from multiaz.cloud.stacks.faults import Superseded, TemplateError, validation_error
from multiaz.cloud.stacks.plan import Plan, View, plan_update, view
from multiaz.cloud.stacks.records import Settings, StackRecord
from multiaz.cloud.stacks.requests import Request, RequestReader, check_token, read_tags, refuse_triggers
from multiaz.cloud.stacks.run import pseudo_parameters
from multiaz.cloud.stacks.schema import find_schema
from multiaz.cloud.stacks.state import Journal
from multiaz.cloud.stacks.template import read_template
from multiaz.cloud.stacks.update_state import UpdateRecord
from multiaz.cloud.stacks.updates import plan_refusals

_UPDATABLE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"})


class UpdateActions:
    """The operations that change a stack by API name."""

    def __init__(self, journal: Journal, engine: Engine, reader: RequestReader) -> None:
        self._journal = journal
        self._engine = engine
        self._reader = reader
        self.operations: dict[str, Operation] = {
            "UpdateStack": self.update_stack,
            "CancelUpdateStack": self.cancel_update_stack,
            "ContinueUpdateRollback": self.continue_update_rollback,
            "RollbackStack": self.rollback_stack,
        }

    def update_stack(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Begin to update a stack; the same ClientRequestToken again gives the same answer."""
        stack = self._live(context, params)
        token = check_token(params.get("ClientRequestToken"))
        refuse_triggers(params)
        if self._is_repetition(stack, token):
            return {"StackId": stack.stack_id}
        request, plan = self.plan(stack, params)
        if not plan.changes_anything:
            raise validation_error("No updates are to be performed.")
        tags = params.get("Tags")
        settings = replace(
            stack.settings,
            parameters=request.parameters,
            tags=stack.settings.tags if tags is None else read_tags(tags),
            capabilities=tuple(params.get("Capabilities") or ()),
            change_set_id=None,
        )
        self.begin(
            stack,
            request.template.text,
            settings,
            token,
            disable_rollback=bool(params.get("DisableRollback", False)),
            retain_except_on_create=bool(params.get("RetainExceptOnCreate", False)),
        )
        return {"StackId": stack.stack_id}

    def _is_repetition(self, stack: StackRecord, token: str | None) -> bool:
        return token is not None and stack.updated is not None and stack.settings.operation_token == token

    def plan(self, stack: StackRecord, params: dict[str, Any]) -> tuple[Request, Plan]:
        """What an update with these parameters would do. Raises ValidationError, also for what is not built here."""
        if stack.status not in _UPDATABLE:
            raise validation_error(f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")
        exports = {name: record.value for name, record in self._journal.exports(stack.region).items()}
        request = self._reader.read(
            stack.region,
            stack.name,
            stack.stack_id,
            params,
            exports=exports,
            previous={name: value.value for name, value in stack.settings.parameters.items()},
            previous_template=stack.template,
        )
        try:
            old = self._view(stack, exports)
        except TemplateError as error:
            raise validation_error(error.message) from error
        changed = [
            name
            for name in request.view.resources
            if name in old.resources and old.resources[name].type != request.view.resources[name].type
        ]
        if changed:
            raise validation_error(
                "Update of resource type is not permitted. The new template modifies resource type of the "
                f"following resources: [{', '.join(changed)}]"
            )
        tags = params.get("Tags")
        physical = {name: record.physical_id for name, record in self._journal.resources(stack.stack_id).items()}
        plan = plan_update(
            old,
            request.view,
            physical,
            lambda kind: find_schema(stack.region, kind),
            tags_changed=tags is not None and read_tags(tags) != stack.settings.tags,
        )
        refused = plan_refusals(stack.region, plan)
        if refused:
            raise validation_error("; ".join(refused))
        return request, plan

    def _view(self, stack: StackRecord, exports: dict[str, str]) -> View:
        return view(
            read_template(stack.template),
            {name: value.reference for name, value in stack.settings.parameters.items()},
            pseudo_parameters(stack.region, stack.name, stack.stack_id),
            zones=self._engine.zones,
            exports=exports,
        )

    def begin(
        self,
        stack: StackRecord,
        template: str,
        settings: Settings,
        token: str | None,
        *,
        disable_rollback: bool,
        retain_except_on_create: bool,
        change_set_id: str | None = None,
    ) -> None:
        """Journal an update and have the engine perform it; returns at once.

        Raises ValidationError if the stack is not in a state that can be updated, or leaves it just now.
        """
        with self._journal.transaction():
            fresh = self._journal.stack(stack.region, stack.stack_id)
            if fresh is None or fresh.status not in _UPDATABLE or fresh.updated != stack.updated:
                status = "no longer there" if fresh is None else f"in {fresh.status} state and can not be updated."
                raise validation_error(f"Stack:{stack.stack_id} is {status}")
            # What may have been changed by other calls since the plan was made is kept.
            update = UpdateRecord(
                stack.stack_id,
                template,
                replace(settings, operation_token=token, termination_protection=fresh.settings.termination_protection),
                fresh.template,
                replace(fresh.settings, operation_token=token),
                disable_rollback=disable_rollback,
                retain_except_on_create=retain_except_on_create,
            )
            started = self._journal.updates.begin_update(fresh, update, change_set_id)
        self._engine.begin(started)

    def cancel_update_stack(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Have an update under way go back."""
        self._go_back(
            context,
            params,
            "UPDATE_IN_PROGRESS",
            lambda stack: "CancelUpdateStack cannot be called from current stack status",
        )
        return {}

    def continue_update_rollback(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Go on with a rollback that failed; what could not go back is tried again."""
        self._go_back(
            context,
            params,
            "UPDATE_ROLLBACK_FAILED",
            lambda stack: f"Stack:{stack.stack_id} is in {stack.status} state and can not continue rollback.",
        )
        return {}

    def rollback_stack(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """Take back an update that failed with DisableRollback."""
        stack = self._go_back(
            context,
            params,
            "UPDATE_FAILED",
            lambda stack: (
                f"Stack:{stack.stack_id} is in {stack.status} state and can not be rolled back (available in this "
                "local cloud: UPDATE_FAILED)."
            ),
        )
        return {"StackId": stack.stack_id}

    def _go_back(
        self, context: Context, params: dict[str, Any], status: str, refusal: Callable[[StackRecord], str]
    ) -> StackRecord:
        token = check_token(params.get("ClientRequestToken"))
        stack = self._live(context, params)
        if token is not None and stack.settings.operation_token == token and "ROLLBACK" in stack.status:
            return stack
        if stack.status != status:
            raise validation_error(refusal(stack))
        settings = replace(stack.settings, operation_token=token)
        try:
            started = self._journal.set_status(
                stack, "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated", settings=settings
            )
        except Superseded as error:
            raise AwsFault("OperationInProgressException", f"Stack [{stack.name}] is being changed") from error
        self._engine.begin(started)
        return stack

    def _live(self, context: Context, params: dict[str, Any]) -> StackRecord:
        name = params.get("StackName")
        stack = self._journal.stack(context.region, str(name or ""))
        if stack is None or stack.deleted is not None:
            raise validation_error(f"Stack [{name}] does not exist")
        return stack
