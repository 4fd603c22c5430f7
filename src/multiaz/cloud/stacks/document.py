"""Template text to plain data: JSON or YAML with CloudFormation's short forms, hostile input refused.

YAML is read from the parser's events, not through an object constructor, so depth, aliases and
duplicate keys are judged before anything is built, and every error has its line.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import yaml

from multiaz.cloud.stacks.faults import TemplateError

INLINE_LIMIT_BYTES = 51_200
URL_LIMIT_BYTES = 1_048_576
DEPTH_LIMIT = 100
"""Levels of nesting; far above any real template, far below where recursion hurts."""
_LARGEST_INTEGER_BITS = 8192
"""Beyond, Python does not write an integer as decimal digits."""

_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)
_RESOLVER: Any = yaml.resolver.Resolver()
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor()
_TAG = "tag:yaml.org,2002:"
SHORT_FORMS = frozenset(
    [
        "And",
        "Base64",
        "Cidr",
        "Contains",
        "EachMemberEquals",
        "EachMemberIn",
        "Equals",
        "FindInMap",
        "GetAZs",
        "GetAtt",
        "If",
        "ImportValue",
        "Join",
        "Not",
        "Or",
        "RefAll",
        "Select",
        "Split",
        "Sub",
        "Transform",
        "ValueOf",
        "ValueOfAll",
    ]
)
LANGUAGE_EXTENSIONS = frozenset({"ForEach", "Length", "ToJsonString"})


def parse_document(text: str) -> dict[str, Any]:
    """The template as plain dicts, lists and scalars, short forms written out (`{"Fn::Sub": …}`).

    Raises TemplateError as AWS words it, with line and column.
    """
    if not text.strip():
        raise TemplateError("Template format error: template body is empty")
    looks_like_json = text.lstrip().startswith("{")
    body = _parse_json(text) if looks_like_json else _parse_yaml(text)
    if not isinstance(body, dict):
        raise TemplateError("Template format error: unsupported structure.")
    return body


def _parse_json(text: str) -> Any:
    try:
        body = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise TemplateError(
            f"Template format error: JSON not well-formed. (line {error.lineno}, column {error.colno})"
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise TemplateError("Template format error: JSON not well-formed. (number out of range)") from error
    _check_depth(body)
    return body


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise TemplateError(f"Template format error: JSON not well-formed. (duplicate key '{twice}')")
    return result


def _no_constant(name: str) -> Any:
    raise TemplateError(f"Template format error: JSON not well-formed. ({name} is not JSON)")


def _too_deep() -> TemplateError:
    return TemplateError(f"Template format error: nesting exceeds {DEPTH_LIMIT} levels")


def _check_depth(body: Any) -> None:
    level: list[Any] = [body]
    for _ in range(DEPTH_LIMIT):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    raise _too_deep()


@dataclass
class _Open:
    """A collection that is being read."""

    value: dict[str, Any] | list[Any]
    wrap: str | None
    """Name of the function a short-form tag stands for."""
    key: str | None = None
    keys: set[str] = field(default_factory=set)


def _parse_yaml(text: str) -> Any:
    try:
        return _build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise TemplateError(f"Template format error: YAML not well-formed.{place}") from error
    except yaml.YAMLError as error:  # an unprintable character
        raise TemplateError("Template format error: YAML not well-formed. (invalid character)") from error


def _build(text: str) -> Any:
    stack: list[_Open] = []
    documents: list[Any] = []
    for event in yaml.parse(text, Loader=_LOADER):
        match event:
            case yaml.AliasEvent():
                raise TemplateError("Template error: YAML aliases are not allowed in CloudFormation templates")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                if len(stack) >= DEPTH_LIMIT:
                    raise _too_deep()
                if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                    raise _at(event, "map keys must be strings")
                is_map = isinstance(event, yaml.MappingStartEvent)
                stack.append(_Open({} if is_map else [], _function_of(event)))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = stack.pop()
                _place(stack, documents, _wrapped(done.wrap, done.value), event)
            case yaml.ScalarEvent():
                if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                    _open_key(stack[-1], event)
                else:
                    name = _function_of(event)
                    value = event.value if name else _scalar(event)
                    _place(stack, documents, _wrapped(name, value), event)
            case _:
                pass
    if len(documents) != 1:
        raise TemplateError("Template format error: YAML not well-formed. (exactly one document is expected)")
    return documents[0]


def _at(event: Any, problem: str) -> TemplateError:
    mark = event.start_mark
    return TemplateError(
        f"Template format error: YAML not well-formed. ({problem}) (line {mark.line + 1}, column {mark.column + 1})"
    )


def _open_key(owner: _Open, event: Any) -> None:
    if event.value == "<<" and event.implicit[0]:
        raise _at(event, "merge keys are not supported")
    if event.value in owner.keys:
        raise _at(event, f"duplicate key '{event.value}'")
    owner.keys.add(event.value)
    owner.key = event.value


def _place(stack: list[_Open], documents: list[Any], value: Any, event: Any) -> None:
    if not stack:
        documents.append(value)
        return
    owner = stack[-1]
    if isinstance(owner.value, list):
        owner.value.append(value)
    elif owner.key is None:
        raise _at(event, "map keys must be strings")
    else:
        owner.value[owner.key] = value
        owner.key = None


def _function_of(event: Any) -> str | None:
    """The intrinsic function a tag stands for; None for YAML's own tags."""
    tag: str | None = event.tag
    if tag is None or tag == "!":
        return None
    if tag.startswith(_TAG):
        if tag[len(_TAG) :] in {"str", "int", "float", "bool", "null", "map", "seq"}:
            return None
        raise _at(event, f"the tag !!{tag[len(_TAG) :]} is not supported")
    name = tag.removeprefix("!")
    if name in {"Ref", "Condition"}:
        return name
    if name in SHORT_FORMS:
        return f"Fn::{name}"
    if name in LANGUAGE_EXTENSIONS:
        raise _at(event, f"!{name} needs the transform AWS::LanguageExtensions, which is not available here")
    raise _at(event, f"unknown tag {tag}")


def _wrapped(name: str | None, value: Any) -> Any:
    if name is None:
        return value
    if name == "Fn::GetAtt" and isinstance(value, str):
        return {name: value.split(".", 1)}
    return {name: value}


def _scalar(event: Any) -> Any:
    """The value of a scalar by the rules of YAML 1.1; dates stay the text they are."""
    text: str = event.value
    tag = event.tag
    if tag == "!" or (tag is None and not event.implicit[0]):
        return text
    if tag is None:
        tag = str(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)))
    node = yaml.ScalarNode(tag, text)
    try:
        match tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return _CONSTRUCTOR.construct_yaml_bool(node)
            case "int":
                whole: int = _CONSTRUCTOR.construct_yaml_int(node)
                if whole.bit_length() > _LARGEST_INTEGER_BITS:
                    raise ValueError("out of range")
                return whole
            case "float":
                number = _CONSTRUCTOR.construct_yaml_float(node)
                return number if math.isfinite(number) else text
            case _:
                return text
    except (ValueError, KeyError) as error:
        raise _at(event, f"'{text[:40]}' is not a valid value") from error
