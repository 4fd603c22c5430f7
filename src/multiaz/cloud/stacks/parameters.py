"""Values of a template's parameters: given, previous or default, each checked against its constraints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.patterns import TakesTooLong, all_match
from multiaz.cloud.stacks.template import ParameterDefinition

HIDDEN = "****"
"""What is shown instead of a NoEcho value."""

_EXISTING = (
    "AWS::EC2::AvailabilityZone::Name",
    "AWS::EC2::Image::Id",
    "AWS::EC2::Instance::Id",
    "AWS::EC2::KeyPair::KeyName",
    "AWS::EC2::SecurityGroup::GroupName",
    "AWS::EC2::SecurityGroup::Id",
    "AWS::EC2::Subnet::Id",
    "AWS::EC2::Volume::Id",
    "AWS::EC2::VPC::Id",
    "AWS::Route53::HostedZone::Id",
)
_SSM_VALUE = "AWS::SSM::Parameter::Value<"
_TYPES = frozenset(
    {"String", "Number", "List<Number>", "CommaDelimitedList", "AWS::SSM::Parameter::Name"}
    | set(_EXISTING)
    | {f"List<{name}>" for name in _EXISTING}
)
_SSM_INNER = frozenset(
    {"String", "List<String>", "CommaDelimitedList"} | set(_EXISTING) | {f"List<{name}>" for name in _EXISTING}
)


@dataclass(frozen=True)
class ParameterValue:
    """The value of one parameter. `resolved` is what a Ref gives where it differs (SSM parameters)."""

    name: str
    value: str = field(repr=False)
    type: str = "String"
    no_echo: bool = False
    resolved: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """What describe calls may show."""
        return HIDDEN if self.no_echo else self.value

    @property
    def reference(self) -> str | list[str]:
        """What `Ref` gives: a string, or a list for list types."""
        text = self.value if self.resolved is None else self.resolved
        if is_list_type(self.type):
            return [item.strip() for item in text.split(",")] if text else []
        return text


def is_list_type(kind: str) -> bool:
    """True if a Ref to a parameter of this type gives a list."""
    inner = kind.removeprefix(_SSM_VALUE)
    return inner.startswith(("List<", "CommaDelimitedList"))


Exists = Callable[[str, str], bool]
"""(AWS-specific type, value) → whether it exists in the account and region."""
ReadSsm = Callable[[str], str | None]
"""SSM parameter name → its value, None if there is none."""


def resolve_parameters(
    definitions: Mapping[str, ParameterDefinition],
    given: Mapping[str, str | None],
    previous: Mapping[str, str] | None = None,
    *,
    exists: Exists,
    read_ssm: ReadSsm,
) -> dict[str, ParameterValue]:
    """Every parameter's value, in the template's order.

    `given` maps names to values; None stands for UsePreviousValue, taken from `previous`.
    Raises TemplateError for unknown names, missing values and broken constraints.
    """
    unknown = sorted(set(given) - set(definitions))
    if unknown:
        raise TemplateError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    for definition in definitions.values():
        _check_type(definition)
    chosen: dict[str, str] = {}
    missing = []
    for name, definition in definitions.items():
        value = given.get(name)
        if name in given and value is None:
            if previous is None or name not in previous:
                raise TemplateError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a parameter "
                    "key not in the previous template"
                )
            value = previous[name]
        if value is None:
            value = definition.default
        if value is None:
            missing.append(name)
        else:
            chosen[name] = value
    if missing:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    return {name: _checked(definition, chosen[name], exists, read_ssm) for name, definition in definitions.items()}


def _check_type(definition: ParameterDefinition) -> None:
    kind = definition.type
    if kind in _TYPES:
        return
    if kind.startswith(_SSM_VALUE) and kind.endswith(">") and kind[len(_SSM_VALUE) : -1] in _SSM_INNER:
        return
    raise TemplateError(f"Template format error: Unrecognized parameter type: {kind}")


def _checked(definition: ParameterDefinition, value: str, exists: Exists, read_ssm: ReadSsm) -> ParameterValue:
    name, kind = definition.name, definition.type
    items = [item.strip() for item in value.split(",")] if is_list_type(kind) else [value]
    if len(value.encode()) > 4096:
        raise TemplateError(f"Parameter '{name}' must not be longer than 4096 bytes")
    _check_constraints(definition, value, items)
    resolved: str | None = None
    checked_type = kind
    if kind.startswith(_SSM_VALUE):
        resolved = read_ssm(value)
        if resolved is None:
            raise TemplateError(f"Unable to fetch parameters [{value}] from parameter store for this account.")
        checked_type = kind[len(_SSM_VALUE) : -1]
        items = [item.strip() for item in resolved.split(",")] if is_list_type(kind) else [resolved]
    elif kind == "AWS::SSM::Parameter::Name" and read_ssm(value) is None:
        raise TemplateError(f"Unable to fetch parameters [{value}] from parameter store for this account.")
    element = checked_type.removeprefix("List<").removesuffix(">")
    if element in _EXISTING:
        for item in items:
            if not exists(element, item):
                raise TemplateError(
                    f"Parameter validation failed: parameter value {item} for parameter name {name} does not exist"
                )
    return ParameterValue(name, value, kind, definition.no_echo, resolved)


def _number(text: str) -> float | None:
    if not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*", text):
        return None
    return float(text)


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _check_constraints(definition: ParameterDefinition, value: str, items: list[str]) -> None:
    name = definition.name

    def refuse(problem: str) -> None:
        if definition.constraint_description is not None:
            raise TemplateError(f"Parameter {name} failed to satisfy constraint: {definition.constraint_description}")
        raise TemplateError(f"Parameter '{name}' {problem}")

    if definition.type in {"Number", "List<Number>"}:
        for item in items:
            number = _number(item)
            if number is None:
                raise TemplateError(f"Parameter '{name}' must be a number.")
            if definition.min_value is not None and number < definition.min_value:
                refuse(f"must be a number not less than {_plain(definition.min_value)}")
            if definition.max_value is not None and number > definition.max_value:
                refuse(f"must be a number not greater than {_plain(definition.max_value)}")
    if definition.allowed_values:
        for item in items:
            if item not in definition.allowed_values and not _same_number(definition, item):
                refuse("must be one of AllowedValues")
    if definition.min_length is not None and len(value) < definition.min_length:
        refuse(f"must contain at least {definition.min_length} characters")
    if definition.max_length is not None and len(value) > definition.max_length:
        refuse(f"must contain at most {definition.max_length} characters")
    if definition.allowed_pattern is not None:
        try:
            matches = all_match(definition.allowed_pattern, items)
        except TakesTooLong as error:
            raise TemplateError(
                f"Parameter '{name}': matching its AllowedPattern takes too long on this value "
                f"({definition.allowed_pattern[:200]})"
            ) from error
        if not matches:
            refuse(f"must match pattern {definition.allowed_pattern}")


def _same_number(definition: ParameterDefinition, item: str) -> bool:
    """True if a Number equals an allowed value written another way (`7` and `7.0`)."""
    if definition.type not in {"Number", "List<Number>"}:
        return False
    number = _number(item)
    return any(number == _number(allowed) for allowed in definition.allowed_values)
