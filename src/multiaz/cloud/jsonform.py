"""The AWS JSON and REST-JSON protocols: documents and HTTP parts to parameters, and back. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from botocore.model import OperationModel
from botocore.utils import parse_timestamp, parse_to_aware_datetime

from multiaz.cloud.query import iso8601, scalar
from multiaz.cloud.service import AwsFault, AwsRequest
from multiaz.cloud.shapes import Shape, bad_value, unknown_parameter

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
}
_NUMBERS = ((int,), (int, float))


def load(body: bytes) -> Any:
    """The JSON value of a body; an empty one counts as {}. Raises AwsFault if it is not JSON."""
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except ValueError as error:
        raise AwsFault("SerializationException", "The request body is not valid JSON.") from error


def parse_json(operation: OperationModel, body: bytes) -> dict[str, Any]:
    """Parameters of `operation` from a JSON body; unknown members and wrong types raise AwsFault."""
    document = load(body)
    service = operation.service_model.service_name
    shape = operation.input_shape
    if shape is None:
        if document:
            raise unknown_parameter(service, next(iter(document)), [])
        return {}
    parsed: dict[str, Any] = _read(service, shape, document, "")
    return parsed


def parse_rest(operation: OperationModel, request: AwsRequest, labels: Mapping[str, str]) -> dict[str, Any]:
    """Parameters of `operation` from path labels, query string, headers and body."""
    service = operation.service_model.service_name
    shape: Shape = operation.input_shape
    query = parse_qs(request.query, keep_blank_values=True)
    if shape is None:
        return {}
    parsed: dict[str, Any] = {}
    in_body: dict[str, Shape] = {}
    literal = {part.partition("=")[0] for part in operation.http["requestUri"].partition("?")[2].split("&")}
    known = set(literal)
    for name, member in shape.members.items():
        wire = member.serialization.get("name", name)
        match member.serialization.get("location"):
            case "uri":
                parsed[name] = scalar(service, member, labels[wire], name)
            case "querystring":
                known.add(wire)
                if member.type_name == "list" and wire in query:
                    parsed[name] = [scalar(service, member.member, item, name) for item in query[wire]]
                elif wire in query:
                    parsed[name] = scalar(service, member, query[wire][0], name)
            case "header":
                if wire.lower() in request.headers:
                    parsed[name] = scalar(service, member, request.headers[wire.lower()], name)
            case _:
                in_body[name] = member
    unknown = query.keys() - known
    if unknown:
        raise unknown_parameter(service, min(unknown), sorted(known - {""}))
    payload = shape.serialization.get("payload")
    if payload:
        member = shape.members[payload]
        if member.type_name in ("blob", "string"):
            parsed[payload] = request.body if member.type_name == "blob" else request.body.decode()
        elif request.body:
            parsed[payload] = _read(service, member, load(request.body), payload)
    elif in_body or request.body.strip():
        document = load(request.body)
        parsed |= _structure(service, in_body, document, "")
    return parsed


def _read(service: str, shape: Shape, value: Any, path: str) -> Any:
    match shape.type_name:
        case "structure":
            return _structure(service, shape.members, value, path)
        case "list":
            if not isinstance(value, list):
                raise bad_value(service, path, value, "list")
            return [_read(service, shape.member, item, f"{path}[{i}]") for i, item in enumerate(value)]
        case "map":
            if not isinstance(value, dict):
                raise bad_value(service, path, value, "map")
            return {key: _read(service, shape.value, item, f"{path}.{key}") for key, item in value.items()}
        case "timestamp":
            try:
                return parse_timestamp(value)
            except (ValueError, TypeError) as error:
                raise bad_value(service, path, value, "timestamp") from error
        case "blob":
            try:
                return base64.b64decode(value, validate=True)
            except (ValueError, TypeError, binascii.Error) as error:
                raise bad_value(service, path, value, "blob (base64)") from error
        case kind:
            allowed = _TYPES.get(kind, (object,))
            if not isinstance(value, allowed) or (isinstance(value, bool) and allowed in _NUMBERS):
                raise bad_value(service, path, value, kind)
            return value


def _structure(service: str, members: Mapping[str, Shape], value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_value(service, path or "request", value, "structure")
    names = {member.serialization.get("name", name): name for name, member in members.items()}
    parsed: dict[str, Any] = {}
    for key, item in value.items():
        here = f"{path}.{key}" if path else key
        if key not in names:
            raise unknown_parameter(service, here, list(names))
        if item is not None:
            parsed[names[key]] = _read(service, members[names[key]], item, here)
    return parsed


def result_json(shape: Shape | None, result: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON document of a result.

    Raises ValueError if `result` holds a member the model has not: a bug of the operation.
    """
    if shape is None:
        if result:
            raise ValueError(f"this operation returns nothing, but was given {sorted(result)}")
        return {}
    written: dict[str, Any] = write(shape, result, shape.name)
    return written


def result_rest(operation: OperationModel, result: Mapping[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a REST-JSON result."""
    status = int(operation.http.get("responseCode", 200))
    shape = operation.output_shape
    if shape is None:
        result_json(None, result)
        return status, {}, b""
    headers: dict[str, str] = {}
    document: dict[str, Any] = {}
    written = result_json(shape, result)
    payload = shape.serialization.get("payload")
    for name, member in shape.members.items():
        wire = member.serialization.get("name", name)
        if wire not in written:
            continue
        match member.serialization.get("location"):
            case "statusCode":
                status = int(written[wire])
            case "header":
                headers[wire] = str(written[wire])
            case _:
                document[wire] = written[wire]
    if payload:
        kind = shape.members[payload].type_name
        raw = result.get(payload, b"")
        if kind in ("blob", "string"):
            return status, headers, raw if isinstance(raw, bytes) else str(raw).encode()
        document = document.get(payload, {})
    if status == 204:
        return status, headers, b""
    return status, headers, json.dumps(document).encode()


def write(shape: Shape, value: Any, path: str) -> Any:
    """`value` as JSON of `shape`. Raises ValueError for a member the model has not."""
    match shape.type_name:
        case "structure":
            unknown = value.keys() - shape.members.keys()
            if unknown:
                raise ValueError(f"{path}: {sorted(unknown)} not in the model's {shape.name}")
            return {
                member.serialization.get("name", name): write(member, value[name], f"{path}.{name}")
                for name, member in shape.members.items()
                if value.get(name) is not None
            }
        case "list":
            return [write(shape.member, item, path) for item in value]
        case "map":
            return {str(key): write(shape.value, item, path) for key, item in value.items()}
        case "timestamp":
            if shape.serialization.get("timestampFormat") == "iso8601":
                return iso8601(value)
            return round(parse_to_aware_datetime(value).timestamp(), 3)
        case "blob":
            return base64.b64encode(value).decode()
        case "boolean":
            if not isinstance(value, bool):
                raise ValueError(f"{path} is not a boolean")
            return value
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
        case _:
            return str(value)
