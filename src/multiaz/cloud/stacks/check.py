"""Static checks of a template: every reference leads somewhere, in branches not taken as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from multiaz.cloud.stacks.evaluate import CONDITION_FUNCTIONS, PSEUDO_PARAMETERS, VALUE_FUNCTIONS, unsupported_function
from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.template import Template
from multiaz.cloud.stacks.values import sub_arguments, sub_parts

AttributeCheck = Callable[[str, str], bool]
"""(resource type, attribute name) → whether Fn::GetAtt knows it."""


def check_references(template: Template, knows_attribute: AttributeCheck) -> None:
    """Raise TemplateError, as AWS words it, for the first reference that leads nowhere."""
    for name, node in template.conditions.items():
        _check_condition(template, name, node)
    unresolved: set[str] = set()
    for definition in template.resources.values():
        unresolved |= set(definition.depends_on) - set(template.resources)
        if definition.logical_id in definition.depends_on:
            raise TemplateError(f"Circular dependency between resources: [{definition.logical_id}]")
        _check_condition_name(template, definition.condition)
        unresolved |= _walk(template, definition.properties, knows_attribute)
    if unresolved:
        raise _unresolved(unresolved, "Resources")
    for output in template.outputs.values():
        _check_condition_name(template, output.condition)
        unresolved |= _walk(template, output.value, knows_attribute)
        unresolved |= _walk(template, output.export, knows_attribute)
        if any(True for node in _references(output.export) if node in template.resources):
            raise TemplateError(
                f"Template format error: Output {output.name} is malformed. The Name of an Export must not "
                "depend on any resources"
            )
    if unresolved:
        raise _unresolved(unresolved, "Outputs")


def _unresolved(names: set[str], block: str) -> TemplateError:
    return TemplateError(
        f"Template format error: Unresolved resource dependencies [{', '.join(sorted(names))}] in the {block} "
        "block of the template"
    )


def _check_condition_name(template: Template, name: Any) -> None:
    if name is not None and name not in template.conditions:
        raise TemplateError(f"Template format error: Unresolved condition dependency {name} in the Resources block")


def _check_condition(template: Template, name: str, node: Any) -> None:
    if not isinstance(node, dict) or len(node) != 1 or next(iter(node)) not in CONDITION_FUNCTIONS:
        raise TemplateError(
            "Template format error: Conditions can only be boolean operations on parameters and other conditions "
            f"({name})"
        )
    for used in _references(node):
        if used in template.resources or (used not in template.parameters and used not in PSEUDO_PARAMETERS):
            raise _unresolved({used}, "Conditions")
    for inner in _named_conditions(node):
        if inner not in template.conditions:
            raise TemplateError(
                f"Template format error: Unresolved condition dependency {inner} in the Conditions block of the "
                "template"
            )


def _named_conditions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "Condition" and isinstance(value, str) and len(node) == 1:
                yield value
            else:
                yield from _named_conditions(value)
    elif isinstance(node, list):
        for item in node:
            yield from _named_conditions(item)


def _references(node: Any) -> Iterator[str]:
    """Names behind Ref, Fn::GetAtt and Fn::Sub anywhere in `node`."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "Ref" and len(node) == 1 and isinstance(value, str):
                yield value
            elif key == "Fn::GetAtt":
                parts = value.split(".", 1) if isinstance(value, str) else value
                if isinstance(parts, list) and parts and isinstance(parts[0], str):
                    yield parts[0]
            elif key == "Fn::Sub":
                yield from _sub_references(value)
            else:
                yield from _references(value)


def _sub_references(argument: Any) -> Iterator[str]:
    text, variables = sub_arguments(argument)
    if isinstance(text, str):
        for kind, name in sub_parts(text):
            if kind == "name" and name not in variables:
                yield name.split(".", 1)[0] if "::" not in name else name
    yield from _references(variables)


def _walk(template: Template, node: Any, knows_attribute: AttributeCheck) -> set[str]:
    """Unresolved names in `node`; raises for unknown functions, conditions, maps and attributes."""
    unresolved: set[str] = set()
    if isinstance(node, list):
        for item in node:
            unresolved |= _walk(template, item, knows_attribute)
        return unresolved
    if not isinstance(node, dict):
        return unresolved
    for key, value in node.items():
        match key:
            case "Ref" if len(node) == 1:
                if not isinstance(value, str):
                    raise TemplateError("Template error: every Ref object must have a single String value.")
                if not _known(template, value):
                    unresolved.add(value)
            case "Fn::GetAtt":
                _check_attribute(template, value, knows_attribute)
            case "Fn::Sub":
                unresolved |= _walk_sub(template, value, knows_attribute)
            case "Fn::If":
                if isinstance(value, list) and value:
                    _check_condition_name(template, value[0] if isinstance(value[0], str) else None)
                unresolved |= _walk(template, value, knows_attribute)
            case "Fn::FindInMap":
                name = value[0] if isinstance(value, list) and value else None
                if isinstance(name, str) and name not in template.mappings:
                    raise TemplateError(
                        f"Template error: Mapping named '{name}' is not present in the 'Mappings' section of template."
                    )
                unresolved |= _walk(template, value, knows_attribute)
            case _:
                if key.startswith("Fn::") and key not in VALUE_FUNCTIONS | CONDITION_FUNCTIONS:
                    raise unsupported_function(key)
                unresolved |= _walk(template, value, knows_attribute)
    return unresolved


def _known(template: Template, name: str) -> bool:
    return name in template.resources or name in template.parameters or name in PSEUDO_PARAMETERS


def _walk_sub(template: Template, argument: Any, knows_attribute: AttributeCheck) -> set[str]:
    text, variables = sub_arguments(argument)
    unresolved: set[str] = set()
    if isinstance(text, str):
        for kind, name in sub_parts(text):
            if kind == "text" or name in variables:
                continue
            if "." in name:
                logical_id = name.split(".", 1)[0]
                if logical_id not in template.resources:
                    unresolved.add(name)
                else:
                    _check_attribute(template, name, knows_attribute)
            elif not _known(template, name):
                unresolved.add(name)
    return unresolved | _walk(template, variables, knows_attribute)


def _check_attribute(template: Template, argument: Any, knows_attribute: AttributeCheck) -> None:
    parts = argument.split(".", 1) if isinstance(argument, str) else argument
    if not isinstance(parts, list) or len(parts) < 2 or not isinstance(parts[0], str):
        raise TemplateError(
            "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and "
            "the resource attribute"
        )
    logical_id = parts[0]
    if logical_id not in template.resources:
        raise TemplateError(f"Template error: instance of Fn::GetAtt references undefined resource {logical_id}")
    if all(isinstance(part, str) for part in parts):
        name = ".".join(parts[1:])
        if not knows_attribute(template.resources[logical_id].type, name):
            raise TemplateError(
                f"Template error: resource {logical_id} does not support attribute type {name} in Fn::GetAtt"
            )
