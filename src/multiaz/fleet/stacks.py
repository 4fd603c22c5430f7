"""A stack made and unmade: calls, then watching its events until nothing moves any more."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from multiaz.blueprint import CAPABILITIES
from multiaz.errors import Conflict, MultiazError, NoProgress, NotFound
from multiaz.fleet.access import AwsClients, refusals
from multiaz.fleet.differences import differences as differences_of
from multiaz.fleet.events import StackEvent, event_of, first_failure, is_final, is_good, plain_reason
from multiaz.fleet.templates import sent_template

DIFFERENCES_TOLD = 5
"""Of a template that differs; the rest is counted."""
OnEvent = Callable[[StackEvent], None]


class StackFailed(MultiazError):
    """The stack did not reach what was asked for; `events` are all that were seen."""

    def __init__(self, what: str, why: str, next_step: str, events: Sequence[StackEvent]) -> None:
        super().__init__(what, why, next_step)
        self.events = tuple(events)


@dataclass(frozen=True)
class Stack:
    """A stack as CloudFormation describes it."""

    name: str
    stack_id: str
    status: str
    reason: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    termination_protection: bool


@dataclass(frozen=True)
class StackResource:
    """One resource of a stack."""

    logical_id: str
    physical_id: str
    resource_type: str
    status: str


@dataclass(frozen=True)
class Deployed:
    """Outcome of a deploy."""

    stack: Stack
    created: bool
    """False: it was there already, and nothing was changed."""
    seconds: float
    events: Sequence[StackEvent] = field(default=(), repr=False)
    left_behind: Sequence[str] = ()
    """What the upload of a long template could not remove again, for people; see `sent_template`."""


def ignore_event(event: StackEvent) -> None:
    """An `OnEvent` for callers who only want the end."""


class Pace:
    """Seconds between two looks: ten times what the quickest look cost, so a near cloud is watched closely.

    The quickest, because the first look pays for connections and cold caches.
    """

    def __init__(self, shortest_s: float = 0.1, longest_s: float = 5.0) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._looks = 0
        self._quickest_s = float("inf")

    def after(self, look_s: float) -> float:
        """The pause after a look that took `look_s` seconds; the first pauses are short."""
        self._looks += 1
        self._quickest_s = min(self._quickest_s, look_s)
        if self._looks <= 2:
            return self._shortest_s
        return min(max(10 * self._quickest_s, self._shortest_s), self._longest_s)


class Stacks:
    """CloudFormation as `fleet` uses it."""

    def __init__(
        self,
        clients: AwsClients,
        *,
        quiet_limit_s: float = 3600.0,
        pace: Callable[[], Pace] = Pace,
        template_bucket: str | None = None,
    ) -> None:
        self._clients = clients
        self._template_bucket = template_bucket
        """Where a template too long for a call is put; None: into a bucket made for it."""
        self._quiet_limit_s = quiet_limit_s
        """Give up when no event came for so long: a DB instance on Amazon is silent for half an hour."""
        self._make_pace = pace

    @property
    def _cloudformation(self) -> Any:
        return self._clients.client("cloudformation")

    def find(self, name: str) -> Stack | None:
        """The stack with this name or id, or None if there is none (a deleted one counts as none by name)."""
        with refusals(f"Cannot look for the stack {name}"):
            try:
                told = self._cloudformation.describe_stacks(StackName=name)["Stacks"][0]
            except ClientError as error:
                if "does not exist" in error.response.get("Error", {}).get("Message", ""):
                    return None
                raise
        return Stack(
            name=told["StackName"],
            stack_id=told["StackId"],
            status=told["StackStatus"],
            reason=told.get("StackStatusReason", ""),
            parameters={p["ParameterKey"]: p.get("ParameterValue", "") for p in told.get("Parameters", ())},
            outputs={o["OutputKey"]: o["OutputValue"] for o in told.get("Outputs", ())},
            termination_protection=bool(told.get("EnableTerminationProtection")),
        )

    def get(self, name: str) -> Stack:
        """As `find`; raises NotFound."""
        found = self.find(name)
        if found is None:
            raise NotFound(
                f"There is no stack {name}",
                "CloudFormation knows none of this name",
                "deploy it with `multiaz up`, or name another with --stack",
            )
        return found

    def names(self) -> list[str]:
        """Names of all stacks that are not deleted, nested ones left out."""
        with refusals("Cannot list the stacks"):
            pages = self._cloudformation.get_paginator("describe_stacks").paginate()
            return sorted(
                told["StackName"]
                for page in pages
                for told in page["Stacks"]
                if told["StackStatus"] != "DELETE_COMPLETE" and "ParentId" not in told
            )

    def resources(self, name: str) -> list[StackResource]:
        """Every resource of the stack, also those it no longer has if `name` is the id of a deleted stack."""
        with refusals(f"Cannot list the resources of the stack {name}"):
            pages = self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
            return [
                StackResource(
                    logical_id=told["LogicalResourceId"],
                    physical_id=told.get("PhysicalResourceId", ""),
                    resource_type=told["ResourceType"],
                    status=told["ResourceStatus"],
                )
                for page in pages
                for told in page["StackResourceSummaries"]
            ]

    def template(self, name: str) -> str:
        """The template the stack was made from, as text."""
        with refusals(f"Cannot read the template of the stack {name}"):
            body = self._cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
        # botocore parses a template that is JSON.
        return body if isinstance(body, str) else json.dumps(body)

    def deploy(
        self,
        name: str,
        template: str,
        parameters: Mapping[str, str],
        *,
        tags: Mapping[str, str] | None = None,
        on_event: OnEvent = ignore_event,
    ) -> Deployed:
        """Make the stack, wait until it is complete, and return it.

        A stack that is there and equals what is asked is left alone; one that is being created is
        watched to its end; the empty remains of a creation that rolled back are cleared away first.
        Raises StackFailed with the reason of the first resource that failed, Conflict if a stack of
        this name is there with another template or other parameters.
        """
        began = time.monotonic()
        stack = self.find(name)
        if stack is not None and stack.status == "CREATE_IN_PROGRESS":
            self._watch(stack.stack_id, None, on_event)
            stack = self.get(stack.stack_id)
        elif stack is not None and stack.status == "ROLLBACK_COMPLETE":
            self.delete(name, on_event=on_event)
            stack = None
        if stack is not None:
            self._check_same(stack, template, parameters)
            return Deployed(stack, created=False, seconds=time.monotonic() - began)
        sending = sent_template(self._clients, template, self._template_bucket)
        with sending as sent, refusals(f"Cannot create the stack {name}"):
            stack_id = self._cloudformation.create_stack(
                StackName=name,
                Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
                Capabilities=list(CAPABILITIES),
                Tags=[{"Key": k, "Value": v} for k, v in (tags or {}).items()],
                ClientRequestToken=f"multiaz-{uuid.uuid4()}",
                **sent.argument,
            )["StackId"]
        events = self._watch(stack_id, None, on_event)
        stack = self.get(stack_id)
        if stack.status != "CREATE_COMPLETE":
            raise self._failed(f"The stack {name} was not created", stack, events)
        return Deployed(stack, True, time.monotonic() - began, events, tuple(sent.left_behind))

    def delete(self, name: str, *, on_event: OnEvent = ignore_event) -> str:
        """Delete the stack, wait until it is gone, return its id. Raises NotFound, StackFailed."""
        stack = self.get(name)
        if stack.termination_protection:
            raise Conflict(
                f"Cannot delete the stack {stack.name}",
                "its termination protection is on",
                f"{self._clients.access.aws_command} cloudformation update-termination-protection "
                f"--no-enable-termination-protection "
                f"--stack-name {stack.name}",
            )
        last = self._newest_event_id(stack.stack_id)
        if stack.status != "DELETE_IN_PROGRESS":
            with refusals(f"Cannot delete the stack {stack.name}"):
                self._cloudformation.delete_stack(
                    StackName=stack.stack_id, ClientRequestToken=f"multiaz-{uuid.uuid4()}"
                )
        events = self._watch(stack.stack_id, last, on_event)
        gone = self.find(stack.stack_id)
        if gone is not None and gone.status != "DELETE_COMPLETE":
            raise self._failed(f"The stack {stack.name} was not deleted", gone, events)
        return stack.stack_id

    def _check_same(self, stack: Stack, template: str, parameters: Mapping[str, str]) -> None:
        what = f"The stack {stack.name} is there already and was not changed"
        if not is_good(stack.status):
            raise Conflict(
                what,
                f"its status is {stack.status}" + (f": {stack.reason}" if stack.reason else ""),
                "wait if it is at work; else remove it with `multiaz down` and repeat",
            )
        differences = [
            f"{key} is {stack.parameters.get(key, 'not a parameter of it')}, not {value}"
            for key, value in parameters.items()
            if stack.parameters.get(key) not in (value, "****")
        ]
        there = self.template(stack.stack_id)
        found = [] if there.strip() == template.strip() else differences_of(there, template)
        if found is None:
            differences.append("its template is another one")
        elif found:
            more = f" and {len(found) - DIFFERENCES_TOLD} more" if len(found) > DIFFERENCES_TOLD else ""
            differences.append(f"its template differs in {', '.join(found[:DIFFERENCES_TOLD])}{more}")
        if differences:
            raise Conflict(
                what,
                "it differs from what is asked for: " + "; ".join(differences),
                "leave the differing options away to use it as it is, give the new one another name "
                "(--stack, --suffix), or remove this one first (`multiaz down`)",
            )

    def _newest_event_id(self, stack_id: str) -> str | None:
        with refusals(f"Cannot read the events of {stack_id}"):
            told = self._cloudformation.describe_stack_events(StackName=stack_id)["StackEvents"]
        return told[0]["EventId"] if told else None

    def _new_events(self, stack_id: str, last_id: str | None) -> list[StackEvent]:
        """Events after `last_id`, oldest first."""
        news: list[StackEvent] = []
        with refusals(f"Cannot read the events of {stack_id}"):
            pages = self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
            for page in pages:
                for told in page["StackEvents"]:
                    if told["EventId"] == last_id:
                        return news[::-1]
                    news.append(event_of(told))
        return news[::-1]

    def _watch(self, stack_id: str, last_id: str | None, on_event: OnEvent) -> list[StackEvent]:
        """Report events after `last_id` until the stack itself tells its end; returns them all."""
        seen: list[StackEvent] = []
        pace = self._make_pace()
        moved, checked_s = time.monotonic(), 0.0
        while True:
            looked = time.monotonic()
            news = self._new_events(stack_id, last_id)
            look_s = time.monotonic() - looked
            for event in news:
                on_event(event)
            if news:
                seen += news
                last_id = news[-1].event_id
                moved, checked_s = time.monotonic(), 0.0
            if any(event.is_of_stack and is_final(event.status) for event in news):
                return seen
            quiet_s = time.monotonic() - moved
            if quiet_s > checked_s + 2:
                # The last event may have come before the first look (an operation somebody else began).
                checked_s = quiet_s
                stack = self.find(stack_id)
                if stack is None or is_final(stack.status):
                    return seen
            if quiet_s > self._quiet_limit_s:
                raise NoProgress(
                    f"Stopped watching the stack {stack_id.split('/')[1] if '/' in stack_id else stack_id}",
                    f"no event came for {quiet_s:.0f} s; it may still finish",
                    "look at it with `multiaz status`; repeat the command to watch on",
                )
            time.sleep(pace.after(look_s))

    def _failed(self, what: str, stack: Stack, events: Sequence[StackEvent]) -> StackFailed:
        first = first_failure(events)
        if first is not None:
            why = f"{first.logical_id} ({first.resource_type}): {plain_reason(first.reason) or first.status}"
        else:
            why = stack.reason or f"its status is {stack.status}"
        state = "everything was rolled back" if stack.status == "ROLLBACK_COMPLETE" else f"now {stack.status}"
        return StackFailed(what, f"{why} [{state}]", "mend the cause, then repeat the command", events)
