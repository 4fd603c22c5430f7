"""Checks parameters against botocore's shapes, in the words AWS uses. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from multiaz.cloud.service import AwsFault

Shape = Any
"""A botocore shape. Its classes differ by `type_name`, which we match on, not by a typed base."""

_CORAL = frozenset({"cloudformation", "lambda", "secretsmanager", "sts"})
"""Services whose front end checks every constraint of the model and lists all violations at once;
the others (RDS, EC2, S3) check in their own code and word each case themselves."""


def unknown_parameter(service: str, path: str, known: list[str]) -> AwsFault:
    """The fault for a parameter the model does not have."""
    near = ", ".join(sorted(known)[:12]) + ("…" if len(known) > 12 else "")
    return AwsFault(_code(service), f'Unknown parameter "{path}"; expected one of: {near}')


def bad_value(service: str, path: str, value: object, kind: str) -> AwsFault:
    """The fault for a value that is not of the model's type."""
    shown = str(value) if len(str(value)) <= 40 else f"{str(value)[:40]}…"
    if service == "rds":
        return AwsFault("InvalidParameterValue", f"Invalid value for {path}: '{shown}' is not of type {kind}.")
    return AwsFault("MalformedInput", f"Value '{shown}' at '{path}' is not of type {kind}")


def check(service: str, shape: Shape | None, parameters: dict[str, Any]) -> None:
    """Raise AwsFault if a required parameter is missing or, where the service itself checks it
    up front, a length, range, enumeration or pattern is violated."""
    if shape is None:
        return
    if service not in _CORAL:
        for path in _missing(shape, parameters, ""):
            if service == "rds":
                raise AwsFault("InvalidParameterValue", f"The parameter {path} must be provided and must not be blank.")
            raise AwsFault("MissingParameter", f"The request must contain the parameter {path}.")
        return
    found = list(_violations(shape, parameters, ""))
    if found:
        plural = "error" if len(found) == 1 else "errors"
        raise AwsFault(_code(service), f"{len(found)} validation {plural} detected: " + "; ".join(found))


def _code(service: str) -> str:
    match service:
        case "cloudformation" | "sts" | "iam" | "cloudwatch":
            return "ValidationError"
        case "lambda" | "secretsmanager":
            return "ValidationException" if service == "secretsmanager" else "InvalidParameterValueException"
        case "rds":
            return "InvalidParameterValue"
        case _:
            return "ValidationException"


def _missing(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                yield f"{path}{name}"
        for name, item in value.items():
            yield from _missing(shape.members[name], item, f"{path}{name}.")
    elif shape.type_name == "list":
        for number, item in enumerate(value, 1):
            yield from _missing(shape.member, item, f"{path}{number}.")


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    match shape.type_name:
        case "structure":
            for name in shape.required_members:
                if value.get(name) is None:
                    yield _says("null", _join(path, name), "Member must not be null", quoted=False)
            for name, item in value.items():
                yield from _violations(shape.members[name], item, _join(path, name))
        case "list":
            yield from _length(shape, value, path)
            for number, item in enumerate(value, 1):
                yield from _violations(shape.member, item, f"{path}.{number}.member")
        case "map":
            yield from _length(shape, value, path)
            for key, item in value.items():
                yield from _violations(shape.value, item, f"{path}.{key}.member")
        case "string":
            yield from _string(shape, value, path)
        case "integer" | "long" | "float" | "double":
            low, high = shape.metadata.get("min"), shape.metadata.get("max")
            if low is not None and value < low:
                yield _says(value, path, f"Member must have value greater than or equal to {low}")
            if high is not None and value > high:
                yield _says(value, path, f"Member must have value less than or equal to {high}")
        case _:
            pass


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    yield from _length(shape, value, path)
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        yield _says(_shown(shape, value), path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    pattern = shape.metadata.get("pattern")
    compiled = _compile(pattern) if pattern else None
    if compiled is not None and not compiled.fullmatch(value):
        yield _says(_shown(shape, value), path, f"Member must satisfy regular expression pattern: {pattern}")


def _length(shape: Shape, value: Any, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    shown = _shown(shape, value)
    if low is not None and len(value) < low:
        yield _says(shown, path, f"Member must have length greater than or equal to {low}")
    if high is not None and len(value) > high:
        yield _says(shown, path, f"Member must have length less than or equal to {high}")


def _shown(shape: Shape, value: Any) -> str:
    if shape.metadata.get("sensitive") or shape.metadata.get("noecho"):
        return "****"
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _says(value: object, path: str, constraint: str, *, quoted: bool = True) -> str:
    shown = f"'{value}'" if quoted else value
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _join(path: str, name: str) -> str:
    lowered = name[:1].lower() + name[1:]
    return f"{path}.{lowered}" if path else lowered


@lru_cache(maxsize=512)
def _compile(pattern: str) -> re.Pattern[str] | None:
    """None for a pattern that Python cannot express (Java's possessive and \\p classes): not checked."""
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        return None
