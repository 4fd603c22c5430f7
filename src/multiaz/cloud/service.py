"""What a service of the local cloud is: a request in, an answer out, faults as AWS words them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

ACCOUNT_ID = "123456789012"
"""The one account of a local cloud (moto's default, so that its ARNs agree with ours)."""
PARTITION = "aws"


@dataclass(frozen=True)
class Caller:
    """Who signed a request."""

    arn: str
    access_key_id: str
    account_id: str = ACCOUNT_ID
    internal: bool = False
    """The CloudFormation engine itself: alone may set `aws:*` tags and skips policy."""
    administrator: bool = False
    """The key of this home: allowed everything a client may do."""


@dataclass(frozen=True)
class AwsRequest:
    """One HTTP request, already attributed to a service, region and caller."""

    service: str
    """Endpoint prefix of the credential scope: "rds", "cloudformation", "s3"…"""
    region: str
    caller: Caller
    method: str
    path: str
    """Path as sent, percent-encoding kept."""
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    request_id: str
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class AwsResponse:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class AwsFault(Exception):
    """An error an AWS caller sees: `code` as botocore's model names it, message, HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members


@dataclass(frozen=True)
class Context:
    """What an operation may know of its call."""

    region: str
    caller: Caller
    request_id: str


Operation = Callable[[Context, dict[str, Any]], dict[str, Any]]
"""One API action: parsed parameters (botocore's input shape) in, output shape out.
Raises AwsFault. `cloud/protocol.py` parses and serialises, so an operation sees neither XML nor JSON."""


class ModelledService(Protocol):
    """A service of ours: `name` is botocore's service name, `operations` its actions by API name."""

    name: str

    @property
    def operations(self) -> Mapping[str, Operation]:
        """API name to the function that performs it."""

    def start(self) -> None:
        """Resume unfinished work and begin to serve; called once the front door can dispatch."""

    def stop(self) -> None:
        """Stop background work; acknowledged calls are already durable."""


class Clients(Protocol):
    """Makes botocore clients that reach the front door's dispatcher in process."""

    def client(self, service: str, region: str) -> Any:
        """A botocore client signed as the engine's internal principal; cached, thread-safe."""
