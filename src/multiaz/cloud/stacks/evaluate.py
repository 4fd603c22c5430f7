"""Intrinsic functions, pure: a node of the template in, its value out.

What depends on a resource that does not exist yet comes out as `Unknown`, a comparable record of
the expression. So one evaluator serves validation, change sets (two Unknowns are equal if the
expression is) and the real thing (where `Facts` answers everything).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.template import OutputDefinition, ResourceDefinition, Template
from multiaz.cloud.stacks.values import (
    NO_VALUE,
    Unknown,
    as_text,
    cidr_blocks,
    freeze,
    has_unknown,
    is_scalar,
    sub_arguments,
    sub_parts,
    weight,
    within_limit,
)

PSEUDO_PARAMETERS = frozenset(
    {
        "AWS::AccountId",
        "AWS::NotificationARNs",
        "AWS::NoValue",
        "AWS::Partition",
        "AWS::Region",
        "AWS::StackId",
        "AWS::StackName",
        "AWS::URLSuffix",
    }
)
CONDITION_FUNCTIONS = frozenset({"Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals", "Condition"})
VALUE_FUNCTIONS = frozenset(
    {
        "Ref",
        "Fn::Base64",
        "Fn::Cidr",
        "Fn::FindInMap",
        "Fn::GetAZs",
        "Fn::GetAtt",
        "Fn::If",
        "Fn::ImportValue",
        "Fn::Join",
        "Fn::Select",
        "Fn::Split",
        "Fn::Sub",
    }
)


CONDITION_CHAIN_LIMIT = 50


class Facts(Protocol):
    """What the evaluator must ask the world."""

    def ref(self, logical_id: str) -> Any:
        """Physical id of a resource, or Unknown."""

    def attribute(self, logical_id: str, name: str) -> Any:
        """Value of Fn::GetAtt, or Unknown."""

    def zones(self, region: str) -> list[str]:
        """Availability Zones of a region."""

    def imported(self, name: str) -> Any:
        """Value of an export."""


@dataclass
class SymbolicFacts:
    """Nothing exists yet; records what was asked for."""

    zone_names: Callable[[str], list[str]] = lambda region: [f"{region}{letter}" for letter in "abc"]
    exports: Mapping[str, str] | None = None
    """None: every import is Unknown."""
    references: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)

    def ref(self, logical_id: str) -> Any:
        """Always Unknown."""
        self.references.add(logical_id)
        return Unknown(("Ref", logical_id))

    def attribute(self, logical_id: str, name: str) -> Any:
        """Always Unknown."""
        self.references.add(logical_id)
        return Unknown(("Fn::GetAtt", logical_id, name))

    def zones(self, region: str) -> list[str]:
        """Zones as `zone_names` gives them."""
        return self.zone_names(region)

    def imported(self, name: str) -> Any:
        """The export if it is there, else Unknown."""
        self.imports.add(name)
        if self.exports is not None and name in self.exports:
            return self.exports[name]
        return Unknown(("Fn::ImportValue", name))


@dataclass
class Evaluator:
    """Evaluates nodes of one template against parameter values, pseudo parameters and facts."""

    template: Template
    parameters: Mapping[str, str | list[str]]
    """What Ref gives for each parameter."""
    pseudo: Mapping[str, Any]
    facts: Facts
    budget: int | None = None
    """Characters all texts that functions make may have together; None: each is bounded, the sum is not."""
    _conditions: dict[str, bool] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    # Conditions

    def condition(self, name: str) -> bool:
        """The truth of a named condition. Raises TemplateError for unknown names and circles."""
        if name in self._conditions:
            return self._conditions[name]
        if name not in self.template.conditions:
            raise TemplateError(
                f"Template format error: Unresolved condition dependency {name} in the Conditions block of the template"
            )
        if name in self._open:
            raise TemplateError("Template error: Conditions can't have circular dependencies")
        if len(self._open) >= CONDITION_CHAIN_LIMIT:
            raise TemplateError(
                f"Template error: Conditions that need each other in a chain of more than {CONDITION_CHAIN_LIMIT} are "
                "not available in this local cloud"
            )
        self._open.append(name)
        try:
            result = self.truth(self.template.conditions[name])
        finally:
            self._open.pop()
        self._conditions[name] = result
        return result

    def truth(self, node: Any) -> bool:
        """The truth of a condition expression."""
        name, argument = _function(node)
        match name:
            case "Condition" if isinstance(argument, str):
                return self.condition(argument)
            case "Fn::Equals":
                if not isinstance(argument, list) or len(argument) != 2:
                    raise TemplateError(
                        "Template error: every Fn::Equals object requires a list of 2 string parameters."
                    )
                left, right = (self._condition_text(item) for item in argument)
                return bool(left == right)
            case "Fn::Not":
                if not isinstance(argument, list) or len(argument) != 1:
                    raise TemplateError("Template error: every Fn::Not object requires one boolean parameter.")
                return not self.truth(argument[0])
            case "Fn::And" | "Fn::Or":
                if not isinstance(argument, list) or not 2 <= len(argument) <= 10:
                    raise TemplateError(
                        f"Template error: every {name} object requires a list of at least 2 and at most 10 "
                        "boolean parameters."
                    )
                truths = [self.truth(item) for item in argument]
                return all(truths) if name == "Fn::And" else any(truths)
            case _:
                raise TemplateError(
                    "Template format error: Conditions can only be boolean operations on parameters and "
                    "other conditions"
                )

    def _condition_text(self, node: Any) -> Any:
        if isinstance(node, dict) and len(node) == 1 and next(iter(node)) in CONDITION_FUNCTIONS:
            return as_text(self.truth(node))
        value = self.value(node)
        if has_unknown(value):
            raise TemplateError(
                "Template format error: Unresolved dependencies in a condition. Cannot reference resources in "
                "the Conditions block of the template"
            )
        return [as_text(item) for item in value] if isinstance(value, list) else as_text(value)

    # Values

    def properties(self, resource: ResourceDefinition) -> dict[str, Any]:
        """Evaluated properties of one resource."""
        value = self.value(resource.properties)
        if not isinstance(value, dict):
            raise TemplateError(f"[/Resources/{resource.logical_id}/Properties] must be an object")
        return value

    def active_resources(self) -> dict[str, ResourceDefinition]:
        """Resources whose condition holds, in the template's order."""
        return {
            name: definition
            for name, definition in self.template.resources.items()
            if definition.condition is None or self.condition(definition.condition)
        }

    def active_outputs(self) -> dict[str, OutputDefinition]:
        """Outputs whose condition holds, in the template's order."""
        return {
            name: definition
            for name, definition in self.template.outputs.items()
            if definition.condition is None or self.condition(definition.condition)
        }

    def value(self, node: Any) -> Any:
        """The value of a node; AWS::NoValue has already removed what it stands in."""
        if isinstance(node, list):
            items = [self.value(item) for item in node]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        name = _function_name(node)
        if name is None:
            entries = {key: self.value(item) for key, item in node.items()}
            return {key: item for key, item in entries.items() if item is not NO_VALUE}
        return self._call(name, node[name])

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return self._get_att(argument)
            case "Fn::Sub":
                return self._sub(argument)
            case "Fn::Join":
                return self._join(argument)
            case "Fn::If":
                return self._if(argument)
            case "Fn::Select":
                return self._select(argument)
            case "Fn::Split":
                return self._split(argument)
            case "Fn::FindInMap":
                return self._find_in_map(argument)
            case "Fn::GetAZs":
                return self._zones(argument)
            case "Fn::ImportValue":
                return self._import(argument)
            case "Fn::Base64":
                return self._base64(argument)
            case "Fn::Cidr":
                return self._cidr(argument)
            case _:
                raise unsupported_function(name)

    def _ref(self, name: Any) -> Any:
        if not isinstance(name, str):
            raise TemplateError("Template error: every Ref object must have a single String value.")
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        if name in self.template.resources:
            return self.facts.ref(name)
        raise TemplateError(
            f"Template format error: Unresolved resource dependencies [{name}] in the Resources block of the template"
        )

    def _get_att(self, argument: Any) -> Any:
        parts = argument.split(".", 1) if isinstance(argument, str) else argument
        if (
            not isinstance(parts, list)
            or len(parts) < 2
            or not isinstance(parts[0], str)
            or not all(isinstance(part, str | dict) and part for part in parts)
        ):
            raise TemplateError(
                "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name "
                "and the resource attribute"
            )
        names = [self.value(part) for part in parts[1:]]
        if not all(isinstance(name, str) for name in names):
            raise TemplateError("Template error: every Fn::GetAtt attribute must be a string")
        return self._attribute(parts[0], ".".join(names))

    def _attribute(self, logical_id: str, attribute: str) -> Any:
        if logical_id not in self.template.resources:
            raise TemplateError(f"Template error: instance of Fn::GetAtt references undefined resource {logical_id}")
        return self.facts.attribute(logical_id, attribute)

    def _sub(self, argument: Any) -> Any:
        text, variables = sub_arguments(argument)
        if not isinstance(text, str):
            raise TemplateError(
                "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. "
                "Specify a string as first argument, and an optional second argument to specify a mapping of "
                "values to replace in the string"
            )
        pieces: list[Any] = []
        known: dict[str, Any] = {}
        for kind, piece in sub_parts(text):
            if kind == "text":
                pieces.append(piece)
                continue
            if piece not in known:
                known[piece] = self._sub_variable(piece, variables)
            pieces.append(known[piece])
        self._spend(sum(weight(piece) for piece in pieces))
        if any(isinstance(piece, Unknown) for piece in pieces):
            return Unknown(("Fn::Join", "", tuple(pieces)))
        return "".join(pieces)

    def _spend(self, size: int) -> None:
        """Account for a text of that size before it is made. Raises TemplateError beyond a limit."""
        within_limit(size)
        if self.budget is not None:
            self.budget -= size
            if self.budget < 0:
                raise TemplateError("Template error: the values of all functions together are too large")

    def _sub_variable(self, name: str, variables: Mapping[str, Any]) -> Any:
        if name in variables:
            value = self.value(variables[name])
        elif "." in name:
            logical_id, attribute = name.split(".", 1)
            value = self._attribute(logical_id, attribute)
        else:
            value = self._ref(name)
        if isinstance(value, Unknown):
            return value
        if not is_scalar(value):
            raise TemplateError(f"Template error: variable {name} in Fn::Sub expression does not resolve to a string")
        return as_text(value)

    def _join(self, argument: Any) -> Any:
        wrong = TemplateError(
            "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a "
            "list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) "
            "to be joined."
        )
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            raise wrong
        delimiter, items = argument[0], self.value(argument[1])
        if isinstance(items, Unknown):
            return Unknown(("Fn::Join", delimiter, items))
        if not isinstance(items, list):
            raise wrong
        self._spend(weight(items) + len(delimiter) * len(items))
        if any(isinstance(item, Unknown) for item in items):
            return Unknown(("Fn::Join", delimiter, tuple(freeze(item) for item in items)))
        if not all(is_scalar(item) for item in items):
            raise wrong
        return delimiter.join(as_text(item) for item in items)

    def _if(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 3 or not isinstance(argument[0], str):
            raise TemplateError(
                "Template error: Fn::If requires a list argument with three elements, the first a condition name"
            )
        name, then, otherwise = argument
        return self.value(then if self.condition(name) else otherwise)

    def _select(self, argument: Any) -> Any:
        wrong = TemplateError(
            "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
        )
        if not isinstance(argument, list) or len(argument) != 2:
            raise wrong
        index_value, items = self.value(argument[0]), self.value(argument[1])
        if isinstance(items, Unknown) or isinstance(index_value, Unknown):
            return Unknown(("Fn::Select", freeze(index_value), freeze(items)))
        if not isinstance(items, list) or not is_scalar(index_value):
            raise wrong
        try:
            index = int(as_text(index_value))
        except ValueError as error:
            raise wrong from error
        if not 0 <= index < len(items):
            raise TemplateError(f"Template error: Fn::Select cannot select nonexistent value at index {index}")
        return items[index]

    def _split(self, argument: Any) -> Any:
        wrong = TemplateError(
            "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a "
            "string to be split or a function that returns a string to be split."
        )
        if not isinstance(argument, list) or len(argument) != 2:
            raise wrong
        delimiter, text = argument[0], self.value(argument[1])
        if not isinstance(delimiter, str) or not delimiter:
            raise wrong
        if isinstance(text, Unknown):
            return Unknown(("Fn::Split", delimiter, text))
        if not isinstance(text, str):
            raise wrong
        return text.split(delimiter)

    def _find_in_map(self, argument: Any) -> Any:
        if isinstance(argument, list) and len(argument) == 4:
            raise TemplateError(
                "Template error: Fn::FindInMap with a DefaultValue needs the transform AWS::LanguageExtensions, "
                "which is not available in this local cloud"
            )
        if not isinstance(argument, list) or len(argument) != 3:
            raise TemplateError(
                "Template error: every Fn::FindInMap object requires three parameters, the map name, map key "
                "and the attribute for return value"
            )
        keys = [self.value(item) for item in argument]
        if not all(is_scalar(key) for key in keys):
            raise TemplateError("Template error: Fn::FindInMap keys must be strings known before any resource exists")
        name, key, attribute = (as_text(item) for item in keys)
        try:
            return self.template.mappings[name][key][attribute]
        except KeyError as error:
            raise TemplateError(f"Template error: Unable to get mapping for {name}::{key}::{attribute}") from error

    def _zones(self, argument: Any) -> Any:
        region = self.value(argument)
        if not isinstance(region, str):
            raise TemplateError("Template error: every Fn::GetAZs object must have a String-typed value.")
        return list(self.facts.zones(region or str(self.pseudo["AWS::Region"])))

    def _import(self, argument: Any) -> Any:
        name = self.value(argument)
        if not isinstance(name, str) or not name:
            raise TemplateError(
                "Template error: the attribute in Fn::ImportValue must not depend on any resources, imported "
                "values, or Fn::GetAZs"
            )
        return self.facts.imported(name)

    def _base64(self, argument: Any) -> Any:
        text = self.value(argument)
        if isinstance(text, Unknown):
            return Unknown(("Fn::Base64", text))
        if not isinstance(text, str):
            raise TemplateError("Template error: every Fn::Base64 object must have a String-typed value.")
        self._spend(len(text) * 2)
        return base64.b64encode(text.encode()).decode()

    def _cidr(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) not in {2, 3}:
            raise TemplateError(
                "Template error: every Fn::Cidr object requires two or three parameters: ipBlock, count, cidrBits"
            )
        values = [self.value(item) for item in argument]
        if any(isinstance(value, Unknown) for value in values):
            return Unknown(("Fn::Cidr", *(freeze(value) for value in values)))
        return cidr_blocks(values)


def unsupported_function(name: str) -> TemplateError:
    """The refusal of a function that does not exist here."""
    supported = ", ".join(sorted(VALUE_FUNCTIONS | CONDITION_FUNCTIONS))
    return TemplateError(
        f"Template error: Encountered unsupported function: {name} Supported functions are: [{supported}]"
    )


def _function(node: Any) -> tuple[str | None, Any]:
    if isinstance(node, dict) and len(node) == 1:
        name = next(iter(node))
        return name, node[name]
    return None, None


def _function_name(node: dict[str, Any]) -> str | None:
    """The function a map calls, None for a plain map. Raises TemplateError if it has other keys as well."""
    names = [key for key in node if key.startswith("Fn::")]
    if "Ref" in node and len(node) == 1:
        return "Ref"
    if not names:
        return None
    if len(node) > 1:
        raise TemplateError(f"Template format error: {names[0]} must be the only key of its object")
    return names[0]
