"""What is kept of stacks, resources, events, outputs and change sets: frozen records, as read from the journal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from multiaz.cloud.stacks.parameters import ParameterValue

STACK_TYPE = "AWS::CloudFormation::Stack"


@dataclass(frozen=True)
class Settings:
    """What the caller of CreateStack or CreateChangeSet asked for besides the template."""

    parameters: dict[str, ParameterValue] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    disable_rollback: bool = False
    on_failure: str = "ROLLBACK"
    timeout_minutes: int | None = None
    termination_protection: bool = False
    retain_except_on_create: bool = False
    create_token: str | None = None
    """ClientRequestToken of CreateStack: the same call again is answered with the same stack."""
    operation_token: str | None = None
    """ClientRequestToken of the operation under way, shown in its events."""
    retain: tuple[str, ...] = ()
    """RetainResources of a DeleteStack under way."""
    change_set_id: str | None = None

    def without_secrets(self) -> Settings:
        """These settings, NoEcho values blanked."""
        blank = {
            name: replace(value, value="", resolved=None) if value.no_echo else value
            for name, value in self.parameters.items()
        }
        return replace(self, parameters=blank)

    def to_json(self) -> str:
        """The stored form."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Settings:
        """The settings in `text`."""
        raw = json.loads(text)
        raw["parameters"] = {name: ParameterValue(**entry) for name, entry in raw["parameters"].items()}
        for key in ("capabilities", "retain"):
            raw[key] = tuple(raw[key])
        return Settings(**raw)


@dataclass(frozen=True)
class StackRecord:
    """One stack, live or deleted."""

    stack_id: str
    region: str
    name: str
    status: str
    reason: str | None
    template: str = field(repr=False)
    settings: Settings = field(repr=False)
    created: float = 0.0
    updated: float | None = None
    deleted: float | None = None


@dataclass(frozen=True)
class ResourceRecord:
    """One resource of a stack that was at least begun."""

    stack_id: str
    logical_id: str
    type: str
    physical_id: str | None
    status: str
    reason: str | None
    token: str
    """Made once per resource before the first call: names and request tokens derive from it."""
    depends: frozenset[str]
    attributes: dict[str, Any]
    completed: bool
    """CREATE_COMPLETE was reached at some time."""
    changed: float


@dataclass(frozen=True)
class Event:
    """One stack event to be written."""

    logical_id: str
    type: str
    status: str
    physical_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class EventRecord:
    """One stack event as written."""

    number: int
    event_id: str
    stack_id: str
    logical_id: str
    physical_id: str | None
    type: str
    status: str
    reason: str | None
    token: str | None
    at: float


@dataclass(frozen=True)
class OutputRecord:
    """One output of a stack."""

    name: str
    value: str
    description: str | None
    export: str | None


@dataclass(frozen=True)
class ExportRecord:
    """One export of a region."""

    name: str
    value: str
    stack_id: str


@dataclass(frozen=True)
class ChangeSetRecord:
    """One change set. `body` is its kind, description and changes."""

    change_set_id: str
    stack_id: str
    name: str
    status: str
    reason: str | None
    execution: str
    template: str = field(repr=False)
    settings: Settings = field(repr=False)
    body: dict[str, Any] = field(repr=False, default_factory=dict)
    created: float = 0.0
