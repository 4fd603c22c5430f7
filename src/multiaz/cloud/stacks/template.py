"""A parsed document to typed sections: structure is checked here, references in `check`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multiaz.cloud.stacks.document import parse_document
from multiaz.cloud.stacks.faults import TemplateError

HOSTED_ROTATION = "AWS::SecretsManager-2024-09-16"
"""The one transform that is carried out here (hosted rotation functions)."""

_SECTIONS = frozenset(
    [
        "AWSTemplateFormatVersion",
        "Description",
        "Metadata",
        "Parameters",
        "Rules",
        "Mappings",
        "Conditions",
        "Transform",
        "Resources",
        "Outputs",
    ]
)
_RESOURCE_KEYS = frozenset(
    [
        "Type",
        "Properties",
        "DependsOn",
        "Condition",
        "Metadata",
        "DeletionPolicy",
        "UpdateReplacePolicy",
        "UpdatePolicy",
        "CreationPolicy",
    ]
)
_PARAMETER_KEYS = frozenset(
    [
        "Type",
        "Default",
        "NoEcho",
        "AllowedValues",
        "AllowedPattern",
        "MinLength",
        "MaxLength",
        "MinValue",
        "MaxValue",
        "Description",
        "ConstraintDescription",
    ]
)
_OUTPUT_KEYS = frozenset(["Description", "Value", "Export", "Condition"])
_POLICIES = ("Delete", "Retain", "Snapshot", "RetainExceptOnCreate")
_SNAPSHOT_TYPES = frozenset({"AWS::RDS::DBInstance", "AWS::RDS::DBCluster"})
_LOGICAL_ID = re.compile(r"[A-Za-z0-9]{1,255}\Z")
_LIMITS = {"Parameters": 200, "Resources": 500, "Outputs": 200, "Mappings": 200}


@dataclass(frozen=True)
class ParameterDefinition:
    """One entry of Parameters."""

    name: str
    type: str
    default: str | None = None
    no_echo: bool = False
    allowed_values: tuple[str, ...] = ()
    allowed_pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_value: float | None = None
    max_value: float | None = None
    description: str | None = None
    constraint_description: str | None = None


@dataclass(frozen=True)
class ResourceDefinition:
    """One entry of Resources, its properties not evaluated."""

    logical_id: str
    type: str
    properties: dict[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    condition: str | None = None
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"
    metadata: Any = None


@dataclass(frozen=True)
class OutputDefinition:
    """One entry of Outputs, not evaluated."""

    name: str
    value: Any
    description: str | None = None
    export: Any = None
    condition: str | None = None


@dataclass(frozen=True)
class Template:
    """A whole template. `text` is the caller's, byte for byte."""

    text: str
    resources: Mapping[str, ResourceDefinition]
    parameters: Mapping[str, ParameterDefinition] = field(default_factory=dict)
    mappings: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, OutputDefinition] = field(default_factory=dict)
    transforms: tuple[str, ...] = ()
    description: str | None = None
    metadata: Any = None
    version: str | None = None


def read_template(text: str) -> Template:
    """The template in `text`. Raises TemplateError as AWS words it."""
    body = parse_document(text)
    unknown = sorted(body.keys() - _SECTIONS)
    if unknown:
        raise TemplateError(f"Template format error: Invalid template property or properties [{', '.join(unknown)}]")
    version = body.get("AWSTemplateFormatVersion")
    if version is not None and str(version) != "2010-09-09":
        raise TemplateError(f"Template format error: unsupported AWSTemplateFormatVersion '{version}'")
    description = body.get("Description")
    if description is not None and not isinstance(description, str):
        raise TemplateError("Template format error: Description must be a string.")
    if description is not None and len(description.encode()) > 1024:
        raise TemplateError("Template format error: Description length is greater than 1024 bytes.")
    if body.get("Rules"):
        raise TemplateError("Template format error: Rules are not available in this local cloud.")
    sections = {name: _section(body, name) for name in ("Parameters", "Mappings", "Conditions", "Resources", "Outputs")}
    if not sections["Resources"]:
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    clash = sorted(sections["Parameters"].keys() & sections["Resources"].keys())
    if clash:
        raise TemplateError(f"Template format error: Resource name {clash[0]} is already used as a parameter name.")
    return Template(
        text=text,
        version=None if version is None else str(version),
        description=description,
        metadata=body.get("Metadata"),
        transforms=_transforms(body.get("Transform")),
        parameters={name: _parameter(name, entry) for name, entry in sections["Parameters"].items()},
        mappings=_mappings(sections["Mappings"]),
        conditions=sections["Conditions"],
        resources={name: _resource(name, entry) for name, entry in sections["Resources"].items()},
        outputs={name: _output(name, entry) for name, entry in sections["Outputs"].items()},
    )


def _section(body: dict[str, Any], name: str) -> dict[str, Any]:
    section = body.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise TemplateError(f"Template format error: {name} must be a map.")
    limit = _LIMITS.get(name)
    if limit and len(section) > limit:
        what = name.lower()
        raise TemplateError(
            f"Template format error: Number of {what}, {len(section)}, is greater than maximum allowed, {limit}"
        )
    for key in section:
        if name != "Mappings" and not _LOGICAL_ID.match(key):
            raise TemplateError(f"Template format error: {name} name {key} is non alphanumeric.")
    return section


def _transforms(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name != HOSTED_ROTATION:
            shown = name if isinstance(name, str) else "AWS::Include or a macro with parameters"
            raise TemplateError(
                f"Template format error: the transform {shown} is not available in this local cloud "
                f"(available: {HOSTED_ROTATION})."
            )
    return tuple(names)


def _entry(kind: str, name: str, entry: Any, keys: frozenset[str]) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise TemplateError(
            f"Template format error: [/{kind}/{name}] Every {kind} member must be an object."
            if kind != "Resources"
            else f"Template format error: Any Resources member must be an object. ({name})"
        )
    unknown = sorted(entry.keys() - keys)
    if unknown:
        raise TemplateError(f"Invalid template {kind.lower()[:-1]} property '{unknown[0]}' ([/{kind}/{name}])")
    return entry


def _text(value: Any) -> str:
    """A scalar as CloudFormation keeps it: always a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _parameter(name: str, raw: Any) -> ParameterDefinition:
    entry = _entry("Parameters", name, raw, _PARAMETER_KEYS)
    where = f"[/Parameters/{name}]"
    kind = entry.get("Type")
    if not isinstance(kind, str):
        raise TemplateError("Template format error: Every Parameters object must contain a Type member.")
    default = entry.get("Default")
    if "Default" in entry and (default is None or isinstance(default, dict | list)):
        raise TemplateError("Template format error: Every Default member must be a string.")
    allowed = entry.get("AllowedValues", [])
    if not isinstance(allowed, list) or any(isinstance(item, dict | list) for item in allowed):
        raise TemplateError(f"Template format error: {where} Every AllowedValues value must be a list.")
    pattern = entry.get("AllowedPattern")
    if pattern is not None:
        try:
            re.compile(str(pattern))
        except (re.error, RecursionError, OverflowError) as error:
            raise TemplateError(
                f"Template format error: {where} AllowedPattern is not a regular expression."
            ) from error
    no_echo = _text(entry.get("NoEcho", False)).lower()
    if no_echo not in {"true", "false"}:
        raise TemplateError("Template format error: Every NoEcho member must be a boolean.")

    def number(key: str) -> float | None:
        value = entry.get(key)
        if value is None:
            return None
        try:
            result = float(_text(value))
        except ValueError as error:
            raise TemplateError(f"Template format error: {where} {key} must be a number.") from error
        if not math.isfinite(result):
            raise TemplateError(f"Template format error: {where} {key} must be a finite number.")
        return result

    def count(key: str) -> int | None:
        value = number(key)
        if value is not None and value % 1:
            raise TemplateError(f"Template format error: {where} {key} must be an integer.")
        return None if value is None else int(value)

    return ParameterDefinition(
        name=name,
        type=kind,
        default=None if default is None else _text(default),
        no_echo=no_echo == "true",
        allowed_values=tuple(_text(item) for item in allowed),
        allowed_pattern=None if pattern is None else str(pattern),
        min_length=count("MinLength"),
        max_length=count("MaxLength"),
        min_value=number("MinValue"),
        max_value=number("MaxValue"),
        description=None if entry.get("Description") is None else _text(entry["Description"]),
        constraint_description=(
            None if entry.get("ConstraintDescription") is None else _text(entry["ConstraintDescription"])
        ),
    )


def _mappings(section: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    for name, mapping in section.items():
        if not isinstance(mapping, dict) or not mapping:
            raise TemplateError(f"Template format error: Every Mappings member {name} must be a map")
        for key, attributes in mapping.items():
            if not isinstance(attributes, dict) or not attributes:
                raise TemplateError(f"Template format error: Every Mappings attribute must be a map ({name}.{key}).")
            for attribute, value in attributes.items():
                items = value if isinstance(value, list) else [value]
                if any(item is None or isinstance(item, dict | list) for item in items):
                    raise TemplateError(
                        "Template format error: Every Mappings attribute must be a String or a List. "
                        f"({name}.{key}.{attribute})"
                    )
    return section


def _resource(name: str, raw: Any) -> ResourceDefinition:
    entry = _entry("Resources", name, raw, _RESOURCE_KEYS)
    kind = entry.get("Type")
    if not isinstance(kind, str) or not kind:
        raise TemplateError(
            f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
        )
    for absent in ("CreationPolicy", "UpdatePolicy"):
        if entry.get(absent):
            raise TemplateError(
                f"Template format error: {absent} of resource {name} is not available in this local cloud."
            )
    properties = entry.get("Properties")
    if properties is None:
        properties = {}
    if not isinstance(properties, dict):
        raise TemplateError(f"Template format error: [/Resources/{name}/Properties] must be an object.")
    depends = entry.get("DependsOn", [])
    depends = [depends] if isinstance(depends, str) else depends
    if not isinstance(depends, list) or any(not isinstance(item, str) for item in depends):
        raise TemplateError("Template format error: Every DependsOn value must be a string or a list.")
    condition = entry.get("Condition")
    if condition is not None and not isinstance(condition, str):
        raise TemplateError("Template format error: Every Condition member must be a string.")
    standard = "Snapshot" if kind in _SNAPSHOT_TYPES and "DBClusterIdentifier" not in properties else "Delete"
    return ResourceDefinition(
        logical_id=name,
        type=kind,
        properties=properties,
        depends_on=tuple(dict.fromkeys(depends)),
        condition=condition,
        deletion_policy=_policy(entry, "DeletionPolicy", standard),
        update_replace_policy=_policy(entry, "UpdateReplacePolicy", "Delete"),
        metadata=entry.get("Metadata"),
    )


def _policy(entry: dict[str, Any], key: str, standard: str) -> str:
    value = entry.get(key, standard)
    if not isinstance(value, str):
        raise TemplateError(f"Template format error: Every {key} member must be a string.")
    allowed = _POLICIES if key == "DeletionPolicy" else _POLICIES[:3]
    if value not in allowed:
        raise TemplateError(f"Template format error: Unrecognized {key} {value}")
    return value


def _output(name: str, raw: Any) -> OutputDefinition:
    entry = _entry("Outputs", name, raw, _OUTPUT_KEYS)
    if entry.get("Value") is None:
        raise TemplateError(
            f"Template format error: [/Outputs/{name}] Every Outputs member must contain a Value object"
        )
    export = entry.get("Export")
    if export is not None and (not isinstance(export, dict) or set(export) != {"Name"}):
        raise TemplateError(f"Template format error: Output {name} is malformed. (Export needs exactly Name)")
    condition = entry.get("Condition")
    if condition is not None and not isinstance(condition, str):
        raise TemplateError("Template format error: Every Condition member must be a string.")
    description = entry.get("Description")
    if isinstance(description, dict | list):
        raise TemplateError("Template format error: Every Description member must be a string.")
    return OutputDefinition(
        name=name,
        value=entry["Value"],
        description=None if description is None else _text(description),
        export=None if export is None else export["Name"],
        condition=condition,
    )
