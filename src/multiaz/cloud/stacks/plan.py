"""Old state and new template to steps, pure. A change set is a plan; so is what a create performs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from multiaz.cloud.stacks.evaluate import Evaluator, SymbolicFacts
from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.graph import Graph, dependencies, reversed_graph
from multiaz.cloud.stacks.schema import Schema, pointer_names
from multiaz.cloud.stacks.template import ResourceDefinition, Template
from multiaz.cloud.stacks.values import Unknown, as_text, is_scalar

EXPORT_NAME_LIMIT = 255
TEXT_BUDGET = 64 * 1_048_576
"""Characters all functions of one template may produce before anything exists."""


class Action(StrEnum):
    """What a step does to a resource, in the words of DescribeChangeSet."""

    ADD = "Add"
    MODIFY = "Modify"
    REMOVE = "Remove"


class Replacement(StrEnum):
    """Whether a modification makes a new resource."""

    TRUE = "True"
    FALSE = "False"
    CONDITIONAL = "Conditional"


@dataclass(frozen=True)
class Detail:
    """Why, and by which property, a resource is modified."""

    attribute: str
    """Properties, Tags, Metadata, DeletionPolicy, UpdateReplacePolicy."""
    name: str | None
    recreation: str
    """Never, Conditionally, Always."""
    evaluation: str
    """Static, or Dynamic if the value depends on another resource that changes."""
    source: str
    """DirectModification, ParameterReference, ResourceReference, ResourceAttribute."""
    causing: str | None = None


@dataclass(frozen=True)
class Step:
    """One resource and what happens to it. `needs` are steps that must be done before."""

    action: Action
    logical_id: str
    type: str
    needs: frozenset[str]
    physical_id: str | None = None
    replacement: Replacement | None = None
    scope: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Steps in an order that respects `needs`; other outputs, or stack tags, alone make an update as well."""

    steps: tuple[Step, ...]
    outputs_changed: bool = False
    tags_changed: bool = False

    @property
    def changes_anything(self) -> bool:
        """False: "No updates are to be performed."."""
        return bool(self.steps) or self.outputs_changed or self.tags_changed

    @property
    def graph(self) -> Graph:
        """Logical id to what must be done before."""
        names = {step.logical_id for step in self.steps}
        return {step.logical_id: step.needs & names for step in self.steps}


@dataclass(frozen=True)
class View:
    """A template evaluated as far as it can be before anything exists."""

    template: Template
    resources: Mapping[str, ResourceDefinition]
    properties: Mapping[str, Mapping[str, Any]]
    graph: Graph
    outputs: Mapping[str, tuple[Any, Any]]
    """Name → value and export name."""
    imports: frozenset[str] = frozenset()
    parameters: Mapping[str, str | list[str]] = field(default_factory=dict)


def view(
    template: Template,
    parameters: Mapping[str, str | list[str]],
    pseudo: Mapping[str, Any],
    *,
    zones: Callable[[str], list[str]],
    exports: Mapping[str, str],
) -> View:
    """Evaluate a template symbolically. Raises TemplateError."""
    facts = SymbolicFacts(zones, exports)
    evaluator = Evaluator(template, parameters, pseudo, facts, budget=TEXT_BUDGET)
    graph = dependencies(evaluator, facts)
    resources = evaluator.active_resources()
    outputs = {
        name: (evaluator.value(output.value), evaluator.value(output.export))
        for name, output in evaluator.active_outputs().items()
    }
    for name, (_, export) in outputs.items():
        check_export_name(name, export)
    check_export_names([as_text(export) for _, export in outputs.values() if is_scalar(export)])
    return View(
        template=template,
        resources=resources,
        properties={name: evaluator.properties(definition) for name, definition in resources.items()},
        graph=graph,
        outputs=outputs,
        imports=frozenset(facts.imports),
        parameters=parameters,
    )


def check_export_name(output: str, name: Any) -> None:
    """Raise TemplateError unless this evaluated Name of an output's export is absent, unknown or not empty text."""
    if name is None or isinstance(name, Unknown) or (is_scalar(name) and 0 < len(as_text(name)) <= EXPORT_NAME_LIMIT):
        return
    raise TemplateError(
        f"Template format error: Output {output} is malformed. The Name field of Export must evaluate to a String of 1 "
        f"to {EXPORT_NAME_LIMIT} characters."
    )


def check_export_names(names: Sequence[str]) -> None:
    """Raise TemplateError if two outputs have one export name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TemplateError(f"Template format error: Export names must be unique, {twice[0]} is used more than once.")


def in_order(graph: Graph) -> list[str]:
    """Names so that each comes after all it needs; otherwise the graph's own order."""
    done: dict[str, None] = {}
    left = dict(graph)
    while left:
        free = [name for name, needs in left.items() if all(need in done or need not in graph for need in needs)]
        if not free:
            raise ValueError("the graph has a circle")
        for name in free:
            done[name] = None
            del left[name]
    return list(done)


def plan_create(new: View) -> Plan:
    """Everything is added."""
    return Plan(
        tuple(Step(Action.ADD, name, new.resources[name].type, new.graph[name]) for name in in_order(new.graph)),
        bool(new.outputs),
    )


def plan_delete(old: Mapping[str, frozenset[str]], types: Mapping[str, str]) -> Plan:
    """Everything is removed, what is needed after what needs it. `old`: recorded dependencies."""
    graph = reversed_graph({name: needs & old.keys() for name, needs in old.items()})
    return Plan(tuple(Step(Action.REMOVE, name, types[name], graph[name]) for name in in_order(graph)))


SchemaOf = Callable[[str], Schema | None]


def plan_update(
    old: View,
    new: View,
    physical_ids: Mapping[str, str | None],
    schema_of: SchemaOf,
    *,
    tags_changed: bool = False,
) -> Plan:
    """Additions and modifications in dependency order, then removals in reverse order.

    A resource whose type changes is not an update: AWS refuses it, so the caller must have.
    """
    steps: dict[str, Step] = {}
    for name in in_order(new.graph):
        definition = new.resources[name]
        if name not in old.resources:
            steps[name] = Step(Action.ADD, name, definition.type, new.graph[name])
            continue
        step = _modification(name, old, new, physical_ids.get(name), schema_of, steps, tags_changed)
        if step is not None:
            steps[name] = step
    removed = {name: needs for name, needs in old.graph.items() if name not in new.resources}
    users = reversed_graph({name: needs & removed.keys() for name, needs in removed.items()})
    kept = frozenset(steps)
    for name in in_order(users):
        # Removals come last, as CloudFormation's clean-up does.
        steps[name] = Step(Action.REMOVE, name, old.resources[name].type, users[name] | kept, physical_ids.get(name))
    return Plan(tuple(steps.values()), old.outputs != new.outputs, tags_changed)


def _modification(
    name: str,
    old: View,
    new: View,
    physical_id: str | None,
    schema_of: SchemaOf,
    steps: Mapping[str, Step],
    tags_changed: bool,
) -> Step | None:
    before, after = old.resources[name], new.resources[name]
    schema = schema_of(after.type) or {}
    details = _property_details(name, old, new, schema, steps)
    for attribute, left, right in (
        ("Metadata", before.metadata, after.metadata),
        ("DeletionPolicy", before.deletion_policy, after.deletion_policy),
        ("UpdateReplacePolicy", before.update_replace_policy, after.update_replace_policy),
    ):
        if left != right:
            details.append(Detail(attribute, None, "Never", "Static", "DirectModification"))
    if tags_changed and "Tags" in schema.get("properties", {}):
        details.append(Detail("Tags", None, "Never", "Static", "DirectModification"))
    if not details:
        return None
    recreations = {detail.recreation for detail in details if detail.evaluation == "Static"}
    maybe = {detail.recreation for detail in details}
    if "Always" in recreations:
        replacement = Replacement.TRUE
    elif maybe & {"Always", "Conditionally"}:
        replacement = Replacement.CONDITIONAL
    else:
        replacement = Replacement.FALSE
    scope = tuple(dict.fromkeys(detail.attribute for detail in details))
    return Step(Action.MODIFY, name, after.type, new.graph[name], physical_id, replacement, scope, tuple(details))


def _property_details(name: str, old: View, new: View, schema: Schema, steps: Mapping[str, Step]) -> list[Detail]:
    always = pointer_names(schema, "createOnlyProperties")
    sometimes = pointer_names(schema, "conditionalCreateOnlyProperties")
    before, after = old.properties[name], new.properties[name]
    details = []
    for key in sorted(set(before) | set(after)):
        replaced = _changed_references(after.get(key), steps)
        if before.get(key) == after.get(key) and not replaced:
            continue
        recreation = "Always" if key in always else "Conditionally" if key in sometimes else "Never"
        attribute = "Tags" if key == "Tags" else "Properties"
        shown = None if key == "Tags" else key
        if before.get(key) == after.get(key):
            kind, causing = replaced[0]
            details.append(Detail(attribute, shown, recreation, "Dynamic", kind, causing))
            continue
        raw_same = old.template.resources[name].properties.get(key) == new.template.resources[name].properties.get(key)
        if raw_same:
            parameter = _changed_parameter(new.template.resources[name].properties.get(key), old, new)
            # Without one it is a condition or a mapping that differs.
            source = "DirectModification" if parameter is None else "ParameterReference"
            details.append(Detail(attribute, shown, recreation, "Static", source, parameter))
        else:
            unknown = bool(replaced) or _refers_to_new(after.get(key), steps)
            evaluation = "Dynamic" if unknown else "Static"
            details.append(Detail(attribute, shown, recreation, evaluation, "DirectModification"))
    return details


def _changed_references(value: Any, steps: Mapping[str, Step]) -> list[tuple[str, str]]:
    """References in a value that may give another value: to what is, or may be, replaced, and to attributes of what
    is modified in any way, as CloudFormation does not know which attributes a modification changes.
    """
    found = []
    for reference in _expressions(value):
        match reference:
            case ("Ref", str(target)) if _is_replaced(steps.get(target)):
                found.append(("ResourceReference", target))
            case ("Fn::GetAtt", str(target), str(attribute)) if target in steps and steps[target].scope:
                found.append(("ResourceAttribute", f"{target}.{attribute}"))
    return found


def _refers_to_new(value: Any, steps: Mapping[str, Step]) -> bool:
    """Whether a value needs a resource that is added; what exists is known before the change set is executed."""
    targets = (reference[1] for reference in _expressions(value) if reference[0] in {"Ref", "Fn::GetAtt"})
    return any(target in steps and steps[target].action is Action.ADD for target in targets)


def _is_replaced(step: Step | None) -> bool:
    return step is not None and step.replacement in {Replacement.TRUE, Replacement.CONDITIONAL}


def _expressions(value: Any) -> list[tuple[Any, ...]]:
    match value:
        case Unknown():
            return [value.expression, *(item for part in value.expression for item in _expressions(part))]
        case Mapping():
            return [item for part in value.values() for item in _expressions(part)]
        case list() | tuple():
            return [item for part in value for item in _expressions(part)]
        case _:
            return []


def _changed_parameter(node: Any, old: View, new: View) -> str | None:
    """The first parameter a property names whose value differs."""
    text = repr(node)
    for parameter in new.template.parameters:
        if old.parameters.get(parameter) != new.parameters.get(parameter) and parameter in text:
            return parameter
    return None
