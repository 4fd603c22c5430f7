"""AWS's resource schemas, as cfn-lint ships them: properties checked and given their types.

Messages follow CloudFormation's ("#: extraneous key [X] is not permitted"). The schemas are read from
cfn-lint's data files, without importing cfn-lint itself: that costs up to two seconds, for parts that
are not needed here. A contract test holds both ways together.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from multiaz.cloud.stacks.values import Unknown, as_text

_LOCK = threading.Lock()
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z")
_ANY: dict[str, Any] = {}
_FALLBACK_REGION = "us-east-1"

Schema = Mapping[str, Any]


def find_schema(region: str, type_name: str) -> Schema | None:
    """The resource schema of a type, None if AWS has no such type. Loaded once, thread-safe."""
    if type_name.startswith("Custom::"):
        type_name = "AWS::CloudFormation::CustomResource"
    with _LOCK:
        return _load(region, type_name)


@lru_cache(maxsize=1)
def _folder() -> Path:
    spec = find_spec("cfnlint")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("cfn-lint, which ships AWS's resource schemas, is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / "schemas"


@lru_cache(maxsize=32)
def _index(region: str) -> Mapping[str, str]:
    """Type name to the name of its schema file; a region cfn-lint does not know has those of us-east-1."""
    path = _folder() / "providers" / f"{region}.json"
    if not re.fullmatch(r"[a-z0-9-]+", region) or not path.exists():
        path = _folder() / "providers" / f"{_FALLBACK_REGION}.json"
    index: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return index


@lru_cache(maxsize=1024)
def _load(region: str, type_name: str) -> Schema | None:
    name = _index(region).get(type_name)
    if name is None:
        return None
    schema: Schema = json.loads((_folder() / "resources" / f"{name}.json").read_text(encoding="utf-8"))
    return schema


def pointer_names(schema: Schema, keyword: str) -> frozenset[str]:
    """Top-level property names of a list of JSON pointers such as createOnlyProperties."""
    pointers = [str(pointer).split("/") for pointer in schema.get(keyword, [])]
    return frozenset(parts[2] for parts in pointers if len(parts) == 3)


def attribute_names(schema: Schema) -> frozenset[str]:
    """What Fn::GetAtt may name: read-only properties in dotted form, and all their prefixes."""
    names = set()
    for pointer in schema.get("readOnlyProperties", []):
        names.add(".".join(str(pointer).split("/")[2:]))
    return frozenset(names)


class _Checker:
    """Walks one value along its schema; collects problems and builds the typed value."""

    def __init__(self, schema: Schema) -> None:
        self.root = schema
        self.problems: list[str] = []

    def resolve(self, schema: Schema) -> Schema:
        seen = 0
        while "$ref" in schema and seen < 20:
            node: Any = self.root
            for part in str(schema["$ref"]).removeprefix("#/").split("/"):
                node = node.get(part, _ANY) if isinstance(node, Mapping) else _ANY
            rest = {key: item for key, item in schema.items() if key != "$ref"}
            schema = {**node, **rest}
            seen += 1
        return schema

    def problem(self, path: str, text: str) -> None:
        self.problems.append(f"#{path}: {text}")

    def value(self, raw: Any, schema: Schema, path: str) -> Any:
        """`raw` with the types the schema asks for; Unknown and dynamic references pass."""
        if isinstance(raw, Unknown) or (isinstance(raw, str) and "{{resolve:" in raw):
            return raw
        schema = self.resolve(schema)
        typed = self._typed(raw, schema, path)
        if isinstance(typed, dict):
            typed = self._object(typed, schema, path)
        elif isinstance(typed, list):
            typed = self._array(typed, schema, path)
        else:
            self._scalar(typed, schema, path)
        self._branches(typed, schema, path)
        return typed

    def _typed(self, raw: Any, schema: Schema, path: str) -> Any:
        wanted = schema.get("type")
        kinds = wanted if isinstance(wanted, list) else [wanted] if wanted else []
        if not kinds:
            return raw
        for kind in kinds:
            matched, typed = _as_kind(raw, str(kind))
            if matched:
                return typed
        if raw is None:
            self.problem(path, "expected type: " + _kind_names(kinds) + ", found: Null")
        else:
            self.problem(path, f"expected type: {_kind_names(kinds)}, found: {_found(raw)}")
        return raw

    def _object(self, raw: dict[str, Any], schema: Schema, path: str) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties", _ANY)
        patterns: Mapping[str, Any] = schema.get("patternProperties", _ANY)
        additional = schema.get("additionalProperties", True)
        typed = {}
        for key, item in raw.items():
            if key in properties:
                typed[key] = self.value(item, properties[key], f"{path}/{key}")
                continue
            fitting = next((sub for pattern, sub in patterns.items() if _matches(pattern, key)), None)
            if fitting is not None:
                typed[key] = self.value(item, fitting, f"{path}/{key}")
            elif additional is False:
                self.problem(path, f"extraneous key [{key}] is not permitted")
            elif isinstance(additional, Mapping):
                typed[key] = self.value(item, additional, f"{path}/{key}")
            else:
                typed[key] = item
        for key in schema.get("required", []):
            if key not in raw:
                self.problem(path, f"required key [{key}] not found")
        for key, needed in schema.get("dependentRequired", _ANY).items():
            for other in needed if key in raw else []:
                if other not in raw:
                    self.problem(path, f"required key [{other}] not found ([{key}] needs it)")
        one_of = schema.get("requiredXor")
        if one_of and sum(key in raw for key in one_of) != 1:
            self.problem(path, f"exactly one of [{', '.join(one_of)}] is required")
        any_of = schema.get("requiredOr")
        if any_of and not any(key in raw for key in any_of):
            self.problem(path, f"one of [{', '.join(any_of)}] is required")
        return typed

    def _array(self, raw: list[Any], schema: Schema, path: str) -> list[Any]:
        items = schema.get("items")
        typed = raw
        if isinstance(items, Mapping):
            typed = [self.value(item, items, f"{path}/{number}") for number, item in enumerate(raw)]
        low, high = schema.get("minItems"), schema.get("maxItems")
        if low is not None and len(typed) < low:
            self.problem(path, f"expected minimum item count: {low}, found: {len(typed)}")
        if high is not None and len(typed) > high:
            self.problem(path, f"expected maximum item count: {high}, found: {len(typed)}")
        if schema.get("uniqueItems"):
            shown = [repr(item) for item in typed]
            if len(set(shown)) != len(shown):
                self.problem(path, "array items are not unique")
        return typed

    def _scalar(self, value: Any, schema: Schema, path: str) -> None:
        self._enumerated(value, schema, path)
        if isinstance(value, str):
            low, high, pattern = schema.get("minLength"), schema.get("maxLength"), schema.get("pattern")
            if low is not None and len(value) < low:
                self.problem(path, f"expected minLength: {low}, actual: {len(value)}")
            if high is not None and len(value) > high:
                self.problem(path, f"expected maxLength: {high}, actual: {len(value)}")
            if pattern is not None and not _matches(pattern, value):
                self.problem(path, f"failed validation constraint for keyword [pattern] ({pattern})")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low, high = schema.get("minimum"), schema.get("maximum")
            if low is not None and value < low:
                self.problem(path, f"{value} is not greater or equal to {low}")
            if high is not None and value > high:
                self.problem(path, f"{value} is not less or equal to {high}")

    def _enumerated(self, value: Any, schema: Schema, path: str) -> None:
        shown = as_text(value)
        allowed = schema.get("enum")
        if allowed is not None and shown not in {as_text(item) for item in allowed}:
            self.problem(path, f"{shown} is not a valid enum value")
        folded = schema.get("enumCaseInsensitive")
        if folded is not None and shown.lower() not in {as_text(item).lower() for item in folded}:
            self.problem(path, f"{shown} is not a valid enum value")
        if "const" in schema and shown != as_text(schema["const"]):
            self.problem(path, f"{shown} is not {as_text(schema['const'])}")

    def _branches(self, value: Any, schema: Schema, path: str) -> None:
        for branch in schema.get("allOf", []):
            self.value(value, branch, path)
        for keyword in ("anyOf", "oneOf"):
            branches = schema.get(keyword)
            if not branches:
                continue
            # oneOf is judged as anyOf: values not known yet may match several branches.
            if not any(not self._try(value, branch) for branch in branches):
                self.problem(path, f"no subschema matched out of the total {len(branches)} subschemas")

    def _try(self, value: Any, schema: Schema) -> list[str]:
        trial = _Checker(self.root)
        trial.value(value, schema, "")
        return trial.problems


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None  # a construct of Java's that Python lacks: the service itself still judges


def _matches(pattern: str, text: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.search(text) is not None


def _kind_names(kinds: list[Any]) -> str:
    return " or ".join(str(kind).capitalize() for kind in kinds)


def _found(raw: Any) -> str:
    match raw:
        case bool():
            return "Boolean"
        case str():
            return "String"
        case int() | float():
            return "Number"
        case list():
            return "JSONArray"
        case _:
            return "JSONObject"


def _as_kind(raw: Any, kind: str) -> tuple[bool, Any]:
    """Whether `raw` is, or may be written as, a value of `kind`; and that value.

    CloudFormation keeps every scalar as text, so "7" is an integer and true is "true".
    """
    match kind:
        case "object":
            return isinstance(raw, dict), raw
        case "array":
            return isinstance(raw, list), raw
        case "string":
            scalar = isinstance(raw, str | int | float)
            return scalar, as_text(raw) if scalar else raw
        case "boolean":
            if isinstance(raw, bool):
                return True, raw
            if isinstance(raw, str) and raw.lower() in {"true", "false"}:
                return True, raw.lower() == "true"
            return False, raw
        case "integer" | "number":
            return _as_number(raw, kind)
        case "null":
            return raw is None, raw
        case _:
            return True, raw


def _as_number(raw: Any, kind: str) -> tuple[bool, Any]:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return False, raw
    if isinstance(raw, str):
        if not _NUMBER.match(raw.strip()):
            return False, raw
        number = float(raw)
        if math.isfinite(number) and number == int(number) and "." not in raw and "e" not in raw.lower():
            return True, int(raw)
        raw = number
    if isinstance(raw, float) and kind == "integer":
        return (True, int(raw)) if math.isfinite(raw) and raw == int(raw) else (False, raw)
    return True, raw


def typed_properties(schema: Schema, properties: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Properties with the types of their schema, and what is wrong with them (empty: nothing)."""
    checker = _Checker(schema)
    read_only = pointer_names(schema, "readOnlyProperties") - pointer_names(schema, "createOnlyProperties")
    for key in properties:
        if key in read_only and key not in schema.get("required", []):
            checker.problem("", f"extraneous key [{key}] is not permitted (it is read-only)")
    typed = checker.value(dict(properties), schema, "")
    return typed, checker.problems
