"""What a resource handler is: how one resource type is made, found again and removed.

A handler is idempotent after a crash: the engine repeats `create` with the same token, and sets
`resumed`, so a handler first looks for what its earlier attempt made.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from multiaz.cloud.service import Clients
from multiaz.cloud.stacks.faults import ResourceFailure

STACK_ID_TAG = "aws:cloudformation:stack-id"
LOGICAL_ID_TAG = "aws:cloudformation:logical-id"
STACK_NAME_TAG = "aws:cloudformation:stack-name"


@dataclass(frozen=True)
class Made:
    """A resource that exists: what `Ref` and `Fn::GetAtt` give."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Call:
    """One attempt to make or remove one resource."""

    clients: Clients
    region: str
    account_id: str
    stack_id: str
    stack_name: str
    logical_id: str
    resource_type: str
    token: str
    properties: dict[str, Any] = field(default_factory=dict, repr=False)
    """Evaluated and typed; may hold resolved secrets, so it is never logged."""
    physical_id: str | None = None
    replaces: str | None = None
    """Physical id of what this one takes the place of: it has the same tags, and must not be found for it."""
    resumed: bool = False
    """An earlier attempt with this token may have got anywhere."""
    snapshot: bool = False
    """Deletion: DeletionPolicy asks for a final snapshot."""
    stack_tags: Mapping[str, str] = field(default_factory=dict)
    change_token: str = ""
    """An update in place: the same for every attempt of it, and for going back."""
    reverting: bool = False
    """An update in place that takes back one of the same token, which may have got anywhere."""
    since: float = 0.0
    """Unix time at which the intent to make it was journalled."""
    on_initiated: Callable[[str], None] = lambda physical_id: None
    on_wait: Callable[[float], None] = lambda seconds: None

    def client(self, service: str) -> Any:
        """The botocore client of a service in the stack's region."""
        return self.clients.client(service, self.region)

    def get(self, name: str, default: Any = None) -> Any:
        """One property."""
        return self.properties.get(name, default)

    def made(self, physical_id: str) -> None:
        """Say that the resource exists now: a failure of what follows will have it removed."""
        self.physical_id = physical_id

    def initiated(self, physical_id: str) -> None:
        """As `made`, and journalled before this returns: for what takes a while from here."""
        self.made(physical_id)
        self.on_initiated(physical_id)

    def wait(self, seconds: float) -> None:
        """Wait before looking again. Raises Cancelled or Interrupted if nobody waits for the result."""
        self.on_wait(seconds)

    @property
    def random(self) -> str:
        """Twelve characters, the same for every attempt of this resource."""
        digest = hashlib.sha256(f"{self.token}/{self.logical_id}".encode()).digest()
        return base64.b32encode(digest).decode()[:12]

    def name(self, limit: int, *, lower: bool = False) -> str:
        """The name CloudFormation gives what has none: `stack-logicalid-RANDOM`, at most `limit` long."""
        random = self.random
        room = limit - len(random) - 1
        stack, logical = self.stack_name, self.logical_id
        if len(stack) + 1 + len(logical) > room:
            half = (room - 1) // 2
            stack = stack[: max(half, room - 1 - len(logical))]
            logical = logical[: room - 1 - len(stack)]
        text = f"{stack.strip('-')}-{logical}-{random}"
        return text.lower() if lower else text

    def tag_map(self) -> dict[str, str]:
        """Tags of the resource: CloudFormation's own, the stack's, the template's; later ones win."""
        tags = {
            STACK_NAME_TAG: self.stack_name,
            STACK_ID_TAG: self.stack_id,
            LOGICAL_ID_TAG: self.logical_id,
            **self.stack_tags,
        }
        own = self.properties.get("Tags", [])
        if isinstance(own, Mapping):
            return {**tags, **own}
        return {**tags, **{entry["Key"]: entry["Value"] for entry in own}}

    def tags(self, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
        """`tag_map` as a list; `key` and `value` name the members (KMS: TagKey, TagValue)."""
        return [{key: name, value: text} for name, text in self.tag_map().items()]

    def owns(self, tags: Iterable[Mapping[str, str]], key: str = "Key", value: str = "Value") -> bool:
        """True if these tags say that this resource of this stack made the thing."""
        found = {entry[key]: entry[value] for entry in tags}
        return found.get(STACK_ID_TAG) == self.stack_id and found.get(LOGICAL_ID_TAG) == self.logical_id

    def tag_filters(self) -> list[dict[str, Any]]:
        """EC2 filters that find what this resource made."""
        return [
            {"Name": f"tag:{STACK_ID_TAG}", "Values": [self.stack_id]},
            {"Name": f"tag:{LOGICAL_ID_TAG}", "Values": [self.logical_id]},
        ]


class Handler:
    """Makes and removes resources of one type. Stateless: one object serves every stack."""

    type: ClassVar[str]
    properties: ClassVar[frozenset[str]]
    """Top-level properties that are carried out; others of AWS's schema are refused by name."""
    attributes: ClassVar[frozenset[str]] = frozenset()
    """What Fn::GetAtt may name."""
    gone: ClassVar[frozenset[str]] = frozenset()
    """Error codes that mean the thing does not exist: deletion is done."""
    updatable: ClassVar[frozenset[str]] = frozenset()
    """Properties `update` changes in place; a change of another one that does not replace is refused by name."""
    replacing: ClassVar[frozenset[str]] = frozenset()
    """Properties whose change makes a new resource here, though AWS's schema does not say so, or only sometimes."""
    fixed: ClassVar[frozenset[str]] = frozenset()
    """Properties AWS never lets change, whatever its schema says."""
    named_by: ClassVar[str | None] = None
    """The property that gives a resource a name of its own: a replacement would collide with what it replaces."""
    slow: ClassVar[bool] = False
    """Making one takes seconds: what it needs is made first."""

    def create(self, call: Call) -> Made:
        """Make the resource, or finish making it, and return once it is ready.

        Raises ResourceFailure or botocore's ClientError.
        """
        raise NotImplementedError

    def delete(self, call: Call) -> None:
        """Remove the resource `call.physical_id`; return once it is gone. Absent is done."""
        raise NotImplementedError

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Change the resource in place; `changed` names the properties that differ, all of them `updatable`.

        Called again after a crash, and with the sides exchanged to go back: so it looks at what is there, or puts what
        may be put twice. `old` holds what the resource was made from, secrets unresolved. None: attributes as before.
        Raises ResourceFailure or botocore's ClientError.
        """
        names = ", ".join(sorted(changed))
        raise ResourceFailure(f"updating property {names} of {self.type} is not available in this local cloud")

    def find(self, call: Call) -> str | None:
        """The physical id of what an interrupted `create` with this token made, if it got that far."""
        return None

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """What AWS allows in these properties and this local cloud cannot do, named; may hold Unknowns."""
        return []

    def existing(self, call: Call) -> str | None:
        """Physical id known or found, when this is a repetition."""
        if call.physical_id is None and call.resumed and (found := self.find(call)):
            call.made(found)
        return call.physical_id

    def refuse_existing(self, call: Call, name: str, exists: bool) -> None:
        """Raise ResourceFailure if a put would take over what something else made."""
        if exists:
            raise ResourceFailure(f"{name} already exists")


def changed_tags(old: Call, new: Call) -> tuple[dict[str, str], list[str]]:
    """Tags to set, and keys to remove, so that a resource with the tags of `old` has those of `new`.

    All are set again: an attempt that was interrupted may have set some. CloudFormation's own never change.
    """
    before, after = (
        {key: value for key, value in call.tag_map().items() if not key.startswith("aws:")} for call in (old, new)
    )
    return after, sorted(before.keys() - after.keys())


def tag_list(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """Tags as a list; `key` and `value` name the members."""
    return [{key: name, value: text} for name, text in tags.items()]


def error_code(error: ClientError) -> str:
    """The code of a botocore error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """The message of a botocore error."""
    return str(error.response.get("Error", {}).get("Message", ""))


_HANDLER_CODES = (
    ("AlreadyExists", ("AlreadyExist", "Duplicate", "ResourceExists", "EntityAlreadyExists", "BucketAlready")),
    ("NotFound", ("NotFound", "NoSuch", "ResourceNotFound")),
    ("AccessDenied", ("AccessDenied", "Unauthorized", "NotAuthorized")),
    ("Throttling", ("Throttl", "RequestLimitExceeded")),
    ("ServiceLimitExceeded", ("LimitExceeded", "QuotaExceeded")),
    ("ServiceInternalError", ("InternalFailure", "InternalError", "ServiceUnavailable")),
)


def failure_reason(error: ClientError, token: str) -> str:
    """A service's error as CloudFormation shows it in an event."""
    code = error_code(error)
    metadata = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 400)
    request_id = metadata.get("RequestId", "")
    service = error.operation_name
    kind = next((name for name, parts in _HANDLER_CODES if any(part in code for part in parts)), "InvalidRequest")
    return (
        f'Resource handler returned message: "{error_message(error)} (Operation: {service}, Error Code: {code}, '
        f'Status Code: {status}, Request ID: {request_id})" (RequestToken: {token}, HandlerErrorCode: {kind})'
    )


def unless_gone(codes: frozenset[str], action: Callable[..., Any], **arguments: Any) -> bool:
    """Perform `action`; False if the service says the thing is not there (one of `codes`)."""
    try:
        action(**arguments)
    except ClientError as error:
        if error_code(error) in codes:
            return False
        raise
    return True


def selected(properties: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """boto parameters for the properties that are given: `names` maps property to parameter."""
    return {parameter: properties[name] for name, parameter in names.items() if name in properties}


def same(*names: str) -> dict[str, str]:
    """Properties whose boto parameter has the same name."""
    return {name: name for name in names}


def pages(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    """Items under `key` on all pages of an operation."""
    if client.can_paginate(operation):
        for page in client.get_paginator(operation).paginate(**arguments):
            yield from page.get(key, [])
    else:
        yield from getattr(client, operation)(**arguments).get(key, [])


def same_policy(one: Any, other: Any) -> bool:
    """Whether two policy documents, as text or as objects, say the same."""
    try:
        left, right = (json.loads(item) if isinstance(item, str) else item for item in (one, other))
    except ValueError:
        return bool(one == other)
    return bool(left == right)


def as_policy(document: Any) -> str:
    """A policy document as the APIs take it: text as given, an object as compact JSON."""
    return document if isinstance(document, str) else json.dumps(document, separators=(",", ":"))
