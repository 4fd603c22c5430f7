"""The AWS query protocol: form fields to parameters, results and faults to XML. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import OperationModel, ServiceModel
from botocore.utils import parse_timestamp, parse_to_aware_datetime

from multiaz.cloud.service import AwsFault
from multiaz.cloud.shapes import Shape, bad_value, unknown_parameter

ENVELOPE = frozenset(
    {
        "Action",
        "Version",
        "AWSAccessKeyId",
        "SignatureMethod",
        "SignatureVersion",
        "Timestamp",
        "ContentType",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
        "X-Amz-Security-Token",
    }
)
"""Fields that belong to the protocol, not to the operation."""

_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot carry, not even escaped."""

Tree = dict[str, Any]
"""Form fields by the parts of their names: a leaf is a string, everything else a Tree."""


def parse_form(operation: OperationModel, fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Parameters of `operation` from the fields of a form.

    Raises AwsFault naming any field the operation does not have and any value of a wrong type.
    """
    service = operation.service_model.service_name
    tree: Tree = {}
    for key, value in fields:
        if key not in ENVELOPE:
            _plant(service, tree, key, value)
    shape = operation.input_shape
    if shape is None:
        if tree:
            raise unknown_parameter(service, next(iter(tree)), [])
        return {}
    parsed: dict[str, Any] = _Reader(service).read(shape, tree, "")
    return parsed


def _plant(service: str, tree: Tree, key: str, value: str) -> None:
    *folders, leaf = key.split(".")
    here = tree
    for part in folders:
        below = here.setdefault(part, {})
        if below == "":
            below = here[part] = {}
        if not isinstance(below, dict):
            raise bad_value(service, key, value, "scalar: it is given both as a value and as a group")
        here = below
    if isinstance(here.get(leaf), dict):
        if value == "":
            return
        raise bad_value(service, key, value, "group: it is given both as a value and as a group")
    if leaf in here:
        raise AwsFault("InvalidQueryParameter", f'Parameter "{key}" is given more than once.')
    here[leaf] = value


class _Reader:
    """Walks a shape and a tree together."""

    def __init__(self, service: str) -> None:
        self.service = service

    def read(self, shape: Shape, node: Any, path: str) -> Any:
        match shape.type_name:
            case "structure":
                return self._structure(shape, node, path)
            case "list":
                return self._list(shape, node, path)
            case "map":
                return self._map(shape, node, path)
            case _:
                return self._scalar(shape, node, path)

    def _group(self, node: Any, path: str, kind: str) -> Tree:
        if not isinstance(node, dict):
            raise bad_value(self.service, path, node, kind)
        return node

    def _structure(self, shape: Shape, node: Any, path: str) -> dict[str, Any]:
        if node == "":
            return {}
        names = {_member_key(member, name): name for name, member in shape.members.items()}
        parsed: dict[str, Any] = {}
        for key, value in self._group(node, path, "structure").items():
            name = names.get(key)
            if name is None:
                raise unknown_parameter(self.service, _join(path, key), list(names))
            parsed[name] = self.read(shape.members[name], value, _join(path, key))
        return parsed

    def _list(self, shape: Shape, node: Any, path: str) -> list[Any]:
        if node == "":
            return []
        group = self._group(node, path, "list")
        if not shape.serialization.get("flattened"):
            item = shape.member.serialization.get("name", "member")
            if len(group) != 1 or not (group.keys() & {item, "member"}):
                strange = next((key for key in group if key not in (item, "member")), "")
                raise unknown_parameter(self.service, _join(path, strange), [item])
            path = _join(path, next(iter(group)))
            group = self._group(next(iter(group.values())), path, "list")
        return [self.read(shape.member, group[key], _join(path, key)) for key in self._numbered(group, path)]

    def _map(self, shape: Shape, node: Any, path: str) -> dict[str, Any]:
        if node == "":
            return {}
        group = self._group(node, path, "map")
        if not shape.serialization.get("flattened"):
            if group.keys() != {"entry"}:
                raise unknown_parameter(self.service, _join(path, next(iter(group))), ["entry"])
            path = _join(path, "entry")
            group = self._group(group["entry"], path, "map")
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        parsed: dict[str, Any] = {}
        for number in self._numbered(group, path):
            pair = self._group(group[number], _join(path, number), "map entry")
            if not pair.keys() <= {key_name, value_name} or key_name not in pair:
                raise unknown_parameter(
                    self.service, _join(path, f"{number}.{next(iter(pair))}"), [key_name, value_name]
                )
            key = self.read(shape.key, pair[key_name], path)
            parsed[key] = self.read(shape.value, pair.get(value_name, ""), f"{path}.{number}.{value_name}")
        return parsed

    def _numbered(self, group: Tree, path: str) -> list[str]:
        for key in group:
            if not (key.isascii() and key.isdigit()):
                raise unknown_parameter(self.service, _join(path, key), ["1", "2"])
        return sorted(group, key=int)

    def _scalar(self, shape: Shape, node: Any, path: str) -> Any:
        if isinstance(node, dict):
            raise unknown_parameter(self.service, _join(path, next(iter(node))), [path])
        return scalar(self.service, shape, node, path)


def scalar(service: str, shape: Shape, text: str, path: str) -> Any:
    """The value of a scalar shape that was sent as text. Raises AwsFault if it is not one."""
    try:
        match shape.type_name:
            case "integer" | "long":
                return int(text)
            case "float" | "double":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "timestamp":
                return parse_timestamp(text)
            case "blob":
                return base64.b64decode(text, validate=True)
            case _:
                return text
    except (ValueError, KeyError, binascii.Error) as error:
        raise bad_value(service, path, text, shape.type_name) from error


def _member_key(member: Shape, name: str) -> str:
    if member.type_name == "list" and member.serialization.get("flattened"):
        inner: str | None = member.member.serialization.get("name")
        if inner:
            return inner
    key: str = member.serialization.get("name", name)
    return key


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def xml_text(value: str) -> str:
    """`value` as the text of an element; characters XML cannot carry become U+FFFD."""
    return escape(_UNPRINTABLE.sub("\ufffd", value), {"\r": "&#xD;"})


def result_xml(operation: OperationModel, result: Mapping[str, Any], request_id: str) -> bytes:
    """The XML of a successful answer.

    Raises ValueError if `result` holds a member the model has not: a bug of the operation.
    """
    name = operation.name
    namespace = operation.metadata.get("xmlNamespace", "")
    shape = operation.output_shape
    inner = ""
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{shape.name}")
        inner = f"<{wrapper}>{_members(shape, result, name)}</{wrapper}>"
    elif result:
        raise ValueError(f"{name} returns nothing, but was given {sorted(result)}")
    return (
        f'<{name}Response xmlns="{namespace}">{inner}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ).encode()


def fault_xml(model: ServiceModel, fault: AwsFault, shape: Shape | None, code: str, request_id: str) -> bytes:
    """The XML of a fault; `shape` is its model, if it has one."""
    kind = "Sender" if status_of(fault, shape) < 500 else "Receiver"
    extra = ""
    for key, value in fault.members.items():
        member = shape.members.get(key) if shape is not None else None
        extra += _element(member, key, value, key) if member is not None else _loose(key, value)
    return (
        f'<ErrorResponse xmlns="{model.metadata.get("xmlNamespace", "")}"><Error><Type>{kind}</Type>'
        f"<Code>{xml_text(code)}</Code><Message>{xml_text(fault.message)}</Message>{extra}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def status_of(fault: AwsFault, shape: Shape | None) -> int:
    """HTTP status of a fault: the one it was raised with, unless that is the default and the
    model knows better."""
    if fault.status == 400 and shape is not None:
        return int(shape.metadata.get("error", {}).get("httpStatusCode", 400))
    return fault.status


def _loose(key: str, value: Any) -> str:
    return f"<{key}>{xml_text(str(value))}</{key}>"


def _members(shape: Shape, value: Mapping[str, Any], path: str) -> str:
    unknown = value.keys() - shape.members.keys()
    if unknown:
        raise ValueError(f"{path}: {sorted(unknown)} not in the model's {shape.name}")
    return "".join(
        _element(member, name, value[name], f"{path}.{name}")
        for name, member in shape.members.items()
        if value.get(name) is not None
    )


def _element(shape: Shape, name: str, value: Any, path: str) -> str:
    tag = shape.serialization.get("name", name)
    match shape.type_name:
        case "structure":
            return f"<{tag}>{_members(shape, value, path)}</{tag}>"
        case "list":
            if shape.serialization.get("flattened"):
                item = shape.member.serialization.get("name", tag)
                return "".join(_element(shape.member, item, entry, path) for entry in value)
            item = shape.member.serialization.get("name", "member")
            inner = "".join(_element(shape.member, item, entry, path) for entry in value)
            return f"<{tag}>{inner}</{tag}>"
        case "map":
            key_tag = shape.key.serialization.get("name", "key")
            value_tag = shape.value.serialization.get("name", "value")
            entries = [
                _element(shape.key, key_tag, key, path) + _element(shape.value, value_tag, item, path)
                for key, item in value.items()
            ]
            if shape.serialization.get("flattened"):
                return "".join(f"<{tag}>{entry}</{tag}>" for entry in entries)
            return f"<{tag}>" + "".join(f"<entry>{entry}</entry>" for entry in entries) + f"</{tag}>"
        case _:
            return f"<{tag}>{xml_text(_text(shape, value, path))}</{tag}>"


def _text(shape: Shape, value: Any, path: str) -> str:
    match shape.type_name:
        case "boolean":
            if not isinstance(value, bool):
                raise ValueError(f"{path} is not a boolean")
            return "true" if value else "false"
        case "integer" | "long":
            return str(int(value))
        case "float" | "double":
            return str(float(value))
        case "timestamp":
            return iso8601(value)
        case "blob":
            return base64.b64encode(value).decode()
        case _:
            return str(value)


def iso8601(value: Any) -> str:
    """A timestamp with milliseconds, in UTC, as AWS's XML answers write it."""
    moment = parse_to_aware_datetime(value).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
