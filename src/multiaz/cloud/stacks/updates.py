"""What differs between two versions of a resource, and whether that can be carried out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiaz.cloud.stacks.plan import Action, Plan, Replacement
from multiaz.cloud.stacks.resources import handler_for
from multiaz.cloud.stacks.schema import find_schema, pointer_names, typed_properties
from multiaz.cloud.stacks.template import ResourceDefinition
from multiaz.cloud.stacks.values import as_text

_DIRECT = frozenset({"DirectModification", "ParameterReference"})
"""Sources of a change that is certain, though its value may be known only later."""


@dataclass(frozen=True)
class Difference:
    """What differs between two versions of one resource, once everything is known."""

    changed: frozenset[str]
    replaces: bool


def replacing_properties(region: str, type_name: str) -> frozenset[str]:
    """Properties whose change makes a new physical resource: by AWS's schema, or by the handler's knowledge."""
    handler = handler_for(type_name)
    schema = find_schema(region, type_name) or {}
    named = pointer_names(schema, "createOnlyProperties")
    return (named | handler.replacing) - handler.fixed if handler else named


def difference(
    region: str, type_name: str, before: Mapping[str, Any], after: Mapping[str, Any], *, tags: bool
) -> Difference:
    """Compare evaluated properties. `tags`: the stack's own tags differ, which every resource with tags here gets."""
    schema = find_schema(region, type_name) or {}
    old, _ = typed_properties(schema, before)
    new, _ = typed_properties(schema, after)
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    handler = handler_for(type_name)
    if tags and handler is not None and "Tags" in handler.properties:
        changed.add("Tags")
    return Difference(frozenset(changed), bool(changed & replacing_properties(region, type_name)))


def not_updatable(definition: ResourceDefinition, found: Difference) -> str | None:
    """Why these changes cannot be made in place here; None if they can."""
    handler = handler_for(definition.type)
    assert handler is not None
    if found.changed & handler.fixed & {"ServiceToken"}:
        return "Modifying service token is not allowed."
    return _refusal(definition.type, found.changed - handler.updatable)


def _refusal(type_name: str, names: frozenset[str]) -> str | None:
    if not names:
        return None
    kind = "property" if len(names) == 1 else "properties"
    return f"updating {kind} {', '.join(sorted(names))} of {type_name} is not available in this local cloud"


def name_collision(definition: ResourceDefinition, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Why a replacement would collide with what it replaces: both have the one name the template gives."""
    handler = handler_for(definition.type)
    named_by = handler.named_by if handler else None
    if named_by is None or named_by not in after or before.get(named_by) != after[named_by]:
        return None
    return (
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename "
        f"{as_text(after[named_by])} and update the stack again."
    )


def plan_refusals(region: str, plan: Plan) -> list[str]:
    """What of a plan is known, before anything is touched, not to be available here."""
    refused = []
    for step in plan.steps:
        handler = handler_for(step.type)
        if step.action is not Action.MODIFY or step.replacement is Replacement.TRUE or handler is None:
            continue
        allowed = handler.updatable | replacing_properties(region, step.type)
        names = {
            detail.name or detail.attribute
            for detail in step.details
            if detail.source in _DIRECT
            and (detail.attribute == "Properties" or (detail.attribute == "Tags" and "Tags" in handler.properties))
        }
        problem = _refusal(step.type, frozenset(names - allowed))
        if problem:
            refused.append(f"{step.logical_id}: {problem}")
    return refused
