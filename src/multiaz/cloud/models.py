"""botocore's service models: loaded once, and asked which operation and protocol a request means."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from multiaz.cloud.service import AwsFault, AwsRequest

_SCOPE_TO_MODEL = {"monitoring": "cloudwatch", "eventbridge": "events"}
"""Where the name in the credential scope is not botocore's service name."""

LOADER = Loader()
"""Reads botocore's models; shared with the clients, as EC2's alone takes 30 MB."""
_loading = threading.Lock()


@lru_cache(maxsize=64)
def _load(service_name: str) -> ServiceModel:
    # S3's clients change the paths of their model in place: ours must be another copy.
    loader = LOADER if service_name != "s3" else Loader()
    return ServiceModel(loader.load_service_model(service_name, "service-2"), service_name)


def service_model(service_name: str) -> ServiceModel:
    """botocore's model of `service_name`; raises botocore's UnknownServiceError if there is none."""
    with _loading:
        return _load(service_name)


@lru_cache(maxsize=1)
def known_services() -> frozenset[str]:
    """Names of all services botocore has a model of."""
    return frozenset(LOADER.list_available_services("service-2"))


@lru_cache(maxsize=1)
def known_regions() -> frozenset[str]:
    """Regions of the partition aws."""
    partitions = LOADER.load_data("partitions")["partitions"]
    return frozenset(name for partition in partitions if partition["id"] == "aws" for name in partition["regions"])


def model_name(scope_service: str) -> str:
    """botocore's name of the service that a credential scope names ("monitoring" is "cloudwatch")."""
    return _SCOPE_TO_MODEL.get(scope_service, scope_service)


@dataclass(frozen=True)
class Form:
    """The parts of a request that the query protocol, and a router, look at."""

    fields: tuple[tuple[str, str], ...]
    """Parameters of the query string, then of a form body, decoded, in order."""
    path: str
    """Path, percent-decoded."""


def form_of(request: AwsRequest) -> Form:
    """Decode the query string and, if the body is a form, the body."""
    fields = parse_qsl(request.query, keep_blank_values=True)
    if is_form(request):
        try:
            text = request.body.decode()
        except UnicodeDecodeError as error:
            raise AwsFault("MalformedQueryString", "The request body is not valid UTF-8.") from error
        fields += parse_qsl(text, keep_blank_values=True)
    return Form(tuple(fields), unquote(request.path))


DEEPEST_JSON = 100
"""Objects and lists within one another that a JSON body may have: no API of AWS needs a tenth of it, and
every reader of the body recurses."""
_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def check_nesting(request: AwsRequest) -> None:
    """Raise AwsFault for a JSON body that is nested too deeply to be read; S3's only JSON is a policy."""
    body = request.body
    if is_form(request) or (request.service == "s3" and "policy" not in dict(form_of(request).fields)):
        return
    if body.count(b"[") + body.count(b"{") <= DEEPEST_JSON:
        return
    depth = 0
    for bracket in _JSON_STRING.sub(b"", body).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST_JSON:
            raise AwsFault("SerializationException", f"The body has more than {DEEPEST_JSON} levels of nesting.")


def is_form(request: AwsRequest) -> bool:
    """Is the body a query-protocol form?"""
    kind = request.headers.get("content-type", "")
    return request.service != "s3" and kind.startswith("application/x-www-form-urlencoded")


def protocol_of(model: ServiceModel, request: AwsRequest) -> str:
    """The protocol a request speaks: what its headers say, else the model's first."""
    offered: list[str] = model.metadata.get("protocols") or [model.metadata["protocol"]]
    if "smithy-protocol" in request.headers:
        raise AwsFault(
            "UnsupportedProtocol",
            f"{request.headers['smithy-protocol']} is not spoken here; use "
            + " or ".join(name for name in offered if not name.startswith("smithy")),
            415,
        )
    if "x-amz-target" in request.headers and "json" in offered:
        return "json"
    for name in ("query", "ec2"):
        if name in offered and (is_form(request) or "json" not in offered):
            return name
    return next((name for name in offered if not name.startswith("smithy")), offered[0])


def operation_name(model: ServiceModel, request: AwsRequest) -> tuple[str, dict[str, str]]:
    """API name of the operation a request calls, and the labels of its path.

    Raises AwsFault naming the action if the model has none of that name.
    """
    protocol = protocol_of(model, request)
    if protocol in ("query", "ec2"):
        name = next((value for key, value in form_of(request).fields if key == "Action"), "")
        if not name:
            raise AwsFault("MissingAction", "The request must contain the parameter Action.")
    elif protocol == "json":
        name = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if not name:
            raise AwsFault("MissingAction", "The request must contain the header X-Amz-Target.")
    else:
        return _router(model).match(request)
    if name not in model.operation_names:
        version = model.metadata.get("apiVersion", "")
        if protocol == "json":
            raise AwsFault("UnknownOperationException", f"{model.service_name} has no operation {name}.")
        raise AwsFault("InvalidAction", f"Could not find operation {name} for version {version}")
    return name, {}


@dataclass(frozen=True)
class _Route:
    name: str
    method: str
    path: re.Pattern[str]
    labels: tuple[str, ...]
    query: tuple[tuple[str, str | None], ...]
    headers: tuple[str, ...]

    def fits(self, fields: dict[str, str], headers: Any) -> bool:
        return all(key in fields and (value is None or fields[key] == value) for key, value in self.query) and all(
            name in headers for name in self.headers
        )


@dataclass
class Router:
    """Finds the operation of a REST request: method, path, and what the model requires besides."""

    routes: list[_Route] = field(default_factory=list)

    def match(self, request: AwsRequest) -> tuple[str, dict[str, str]]:
        """Operation name and path labels. Raises AwsFault if no operation has that method and path."""
        fields = dict(parse_qsl(request.query, keep_blank_values=True))
        for route in self.routes:
            if route.method != request.method:
                continue
            found = route.path.fullmatch(request.path)
            if found and route.fits(fields, request.headers):
                values = (unquote(value) for value in found.groups())
                return route.name, dict(zip(route.labels, values, strict=True))
        raise AwsFault("UnknownOperationException", f"No operation is {request.method} {request.path} here.", 404)


@lru_cache(maxsize=16)
def _build_router(service_name: str) -> Router:
    model = service_model(service_name)
    weighed: list[tuple[tuple[int, int, int], _Route]] = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        route = _route(operation)
        literal = len(re.sub(r"\{[^}]*\}", "", operation.http["requestUri"]))
        constraints = len(route.query) + len(route.headers)
        weighed.append(((-constraints, -literal, int(operation.deprecated)), route))
    weighed.sort(key=lambda pair: pair[0])
    return Router([route for _, route in weighed])


def _router(model: ServiceModel) -> Router:
    return _build_router(model.service_name)


def _route(operation: OperationModel) -> _Route:
    path, _, query = operation.http["requestUri"].partition("?")
    required: list[tuple[str, str | None]] = [
        (key, value or None) for key, value in parse_qsl(query, keep_blank_values=True)
    ]
    headers: list[str] = []
    shape = operation.input_shape
    for member in shape.required_members if shape is not None else ():
        trait: Any = shape.members[member] if shape is not None else None
        name = trait.serialization.get("name", member)
        match trait.serialization.get("location"):
            case "querystring":
                required.append((name, None))
            case "header":
                headers.append(name.lower())
            case _:
                pass
    labels: list[str] = []

    def capture(found: re.Match[str]) -> str:
        label = found.group(1)
        labels.append(label.rstrip("+"))
        return "(.+)" if label.endswith("+") else "([^/]+)"

    pieces = re.split(r"(\{[^}]+\})", path.rstrip("/"))
    pattern = "".join(
        re.sub(r"\{([^}]+)\}", capture, piece) if piece.startswith("{") else re.escape(piece) for piece in pieces
    )
    return _Route(
        operation.name,
        operation.http["method"],
        re.compile(pattern + "/?"),
        tuple(labels),
        tuple(required),
        tuple(headers),
    )
