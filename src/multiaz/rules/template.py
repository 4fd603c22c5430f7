"""A template as the rules see it: resources, and what their properties may be.

Facts are conservative. A literal is itself; `Ref` to a parameter is the parameter's default; `Fn::If` is every branch;
everything else cannot be known here, and what cannot be known is never a finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from multiaz.rules.findings import Path, Position
from multiaz.rules.reading import Document

RESOURCE_LIMIT = 500
"""Resources of one template. Source: CloudFormation user guide, quotas."""
_LONGEST_CHAIN = 20
"""Conditions that name conditions, followed this far."""


class Special(Enum):
    """What a property may be besides a value."""

    UNKNOWN = "unknown"
    """Only the deployment knows: an attribute, an import, a parameter without a default."""
    ABSENT = "absent"
    """Not written, or AWS::NoValue."""


UNKNOWN = Special.UNKNOWN
ABSENT = Special.ABSENT


@dataclass(frozen=True)
class Choice:
    """One value a property may have, and where it is written (of what is absent: where it would be)."""

    value: Any
    path: Path

    @property
    def is_known(self) -> bool:
        """It can be judged; being absent can."""
        return self.value is not UNKNOWN

    @property
    def is_absent(self) -> bool:
        """Surely not there."""
        return self.value is ABSENT

    @property
    def flag(self) -> bool | None:
        """True or false, also as the text CloudFormation takes for it; None for all else."""
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, str) and self.value.lower() in ("true", "false"):
            return self.value.lower() == "true"
        return None

    @property
    def number(self) -> float | None:
        """The number, also written as text; None for all else."""
        if isinstance(self.value, bool):
            return None
        if isinstance(self.value, int | float | str):
            try:
                number = float(self.value)
            except (ValueError, OverflowError):
                return None
            return number if math.isfinite(number) else None
        return None

    @property
    def text(self) -> str | None:
        """The text, of a number its digits; None for all else."""
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, int | float) and not isinstance(self.value, bool):
            return str(self.value)
        return None


@dataclass(frozen=True)
class Problem:
    """What a rule has to say, and where."""

    path: Path
    message: str
    part: str = ""
    """See Finding.part."""


@dataclass(frozen=True)
class Resource:
    """One resource. `properties` is empty where the template has something else than a mapping."""

    template: Template = field(repr=False)
    name: str
    type: str
    body: Mapping[str, Any] = field(repr=False)

    @property
    def path(self) -> Path:
        """Where the resource is."""
        return ("Resources", self.name)

    def choices(self, *names: str) -> list[Choice]:
        """Every value the property may have: `choices("VersioningConfiguration", "Status")`. Never empty."""
        found = self.template.alternatives(self.body.get("Properties", {}), (*self.path, "Properties"))
        for name in names:
            found = [inner for choice in found for inner in self.template.inside(choice, name)]
        return found

    def items(self, *names: str) -> list[Choice]:
        """Every element the list property may have; empty if there is none. A single value counts as a list of one."""
        return [item for choice in self.choices(*names) for item in self.template.elements(choice)]

    def has(self, *names: str) -> bool:
        """It may be there: written in at least one branch."""
        return any(not choice.is_absent for choice in self.choices(*names))

    def raw(self, name: str) -> Any:
        """The property as it is written, functions and all; None if it is not."""
        properties = self.body.get("Properties")
        return properties.get(name) if isinstance(properties, dict) else None

    def attribute(self, name: str) -> Any:
        """DeletionPolicy, Condition, DependsOn…, as written; None if it is not."""
        return self.body.get(name)

    def problem(self, message: str, *names: str) -> Problem:
        """A problem at the property, or at the resource."""
        return Problem((*self.path, "Properties", *names) if names else self.path, message)


@dataclass(frozen=True)
class Template:
    """What the rules judge."""

    document: Document

    @property
    def body(self) -> dict[str, Any]:
        """The whole, as plain data."""
        return self.document.body

    def position(self, path: Path) -> Position:
        """Where the path is in the text."""
        return self.document.position(path)

    @cached_property
    def resources(self) -> Mapping[str, Resource]:
        """By logical id; at most `RESOURCE_LIMIT`, and only what has the shape of a resource."""
        found: dict[str, Resource] = {}
        for name, body in self.body["Resources"].items():
            if len(found) == RESOURCE_LIMIT:
                break
            if isinstance(name, str) and isinstance(body, dict) and isinstance(body.get("Type"), str):
                found[name] = Resource(self, name, body["Type"], body)
        return found

    @cached_property
    def _by_type(self) -> Mapping[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for resource in self.resources.values():
            found.setdefault(resource.type, []).append(resource)
        return found

    def of_type(self, *types: str) -> Iterator[Resource]:
        """Resources of these types, in the order of the template."""
        for type_ in types:
            yield from self._by_type.get(type_, [])

    def parameter(self, name: object) -> Mapping[str, Any] | None:
        """The declaration of a parameter, if there is one of this name."""
        parameters = self.body.get("Parameters")
        found = parameters.get(name) if isinstance(parameters, dict) and isinstance(name, str) else None
        return found if isinstance(found, dict) else None

    def alternatives(self, node: Any, path: Path) -> list[Choice]:
        """What the node may be. Never empty."""
        function = function_of(node)
        if function is None:
            return [Choice(node, path)]
        name, argument = function
        inner = (*path, name)
        if name == "Ref":
            return [Choice(self._reference(argument), path)]
        if name == "Fn::If" and isinstance(argument, list) and len(argument) == 3:
            return [
                *self.alternatives(argument[1], (*inner, 1)),
                *self.alternatives(argument[2], (*inner, 2)),
            ]
        if name == "Fn::Sub" and isinstance(argument, str) and "${" not in argument:
            return [Choice(argument, path)]
        return [Choice(UNKNOWN, path)]

    def _reference(self, name: Any) -> Any:
        if name == "AWS::NoValue":
            return ABSENT
        declared = self.parameter(name)
        default = declared.get("Default") if declared else None
        # An empty default is how templates say "nothing given": what is given then is not known here.
        if default is None or default == "" or isinstance(default, dict):
            return UNKNOWN
        assert declared is not None
        type_ = declared.get("Type")
        if isinstance(type_, str) and type_.startswith("AWS::SSM::"):
            return UNKNOWN
        if isinstance(default, str) and isinstance(type_, str) and type_.startswith(("CommaDelimitedList", "List<")):
            return [part.strip() for part in default.split(",")]
        return default

    def inside(self, choice: Choice, name: str) -> list[Choice]:
        """What `name` may be inside of the mapping. Never empty."""
        value = choice.value
        if isinstance(value, dict):
            if name in value:
                return self.alternatives(value[name], (*choice.path, name))
            return [Choice(UNKNOWN if "Fn::Transform" in value else ABSENT, choice.path)]
        return [Choice(ABSENT if value is ABSENT else UNKNOWN, choice.path)]

    def elements(self, choice: Choice) -> Iterator[Choice]:
        """What each element may be; none of what is absent. A single value counts as a list of one."""
        if choice.is_absent:
            return
        if not isinstance(choice.value, list):
            yield choice
            return
        for index, item in enumerate(choice.value):
            for found in self.alternatives(item, (*choice.path, index)):
                if isinstance(found.value, list):
                    # A function that gave a list in the place of an element.
                    yield from self.elements(found)
                elif not found.is_absent:
                    yield found

    def go_together(self, *choices: Choice) -> bool:
        """False if the branches of Fn::If they stand in exclude each other: no deployment has all of them."""
        assumed: dict[str, bool] = {}
        return all(
            assumed.setdefault(condition, holds) == holds
            for choice in choices
            for condition, holds in self._assumptions(choice.path)
        )

    def _assumptions(self, path: Path) -> Iterator[tuple[str, bool]]:
        """What each condition must be for the branches the path goes through."""
        node: Any = self.body
        for part, following in zip(path, (*path[1:], None), strict=True):
            if part == "Fn::If" and following in (1, 2) and isinstance(node, dict):
                argument = node.get("Fn::If")
                if isinstance(argument, list) and argument and isinstance(argument[0], str):
                    yield self._meaning(argument[0], following == 1)
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return

    def _meaning(self, name: str, holds: bool) -> tuple[str, bool]:
        """A condition without its negations, so that `Not [IsReplica]` is known to exclude `IsReplica`."""
        declared = self.body.get("Conditions")
        if not isinstance(declared, dict) or name not in declared:
            return name, holds
        node: Any = declared[name]
        for _ in range(_LONGEST_CHAIN):
            match node:
                case {"Condition": str(other)} if other in declared:
                    node = declared[other]
                case {"Fn::Not": [inner]}:
                    node, holds = inner, not holds
                case _:
                    break
        if id(node) not in self._spellings:
            self._spellings[id(node)] = repr(node)
        return self._spellings[id(node)], holds

    @cached_property
    def _spellings(self) -> dict[int, str]:
        """Texts of conditions by their identity; a node of the template lives as long as the template."""
        return {}

    def strings(self) -> Iterator[tuple[Path, str]]:
        """Every text of the template with its path, keys not included."""
        pending: list[tuple[Path, Any]] = [((), self.body)]
        while pending:
            path, node = pending.pop()
            if isinstance(node, str):
                yield path, node
            elif isinstance(node, dict):
                pending += [((*path, key), value) for key, value in node.items()]
            elif isinstance(node, list):
                pending += [((*path, index), value) for index, value in enumerate(node)]

    @cached_property
    def _mentions(self) -> Mapping[str, frozenset[str]]:
        """Logical id of each resource to what it names by Ref, GetAtt, Sub or DependsOn."""
        return {name: frozenset(references(resource.body)) for name, resource in self.resources.items()}

    def mentions(self, resource: Resource) -> frozenset[str]:
        """Logical ids and parameters the resource names, anywhere in it."""
        return self._mentions[resource.name]

    def referred(self, node: Any, *types: str) -> Resource | None:
        """The resource of one of the types that Ref, GetAtt or a Sub of one reference names; else None."""
        names = list(direct_references(node))
        found = self.resources.get(names[0]) if len(names) == 1 else None
        return found if found is not None and (not types or found.type in types) else None


def function_of(node: Any) -> tuple[str, Any] | None:
    """Name and argument of the intrinsic function the node is; None for plain data."""
    if isinstance(node, dict) and len(node) == 1:
        ((name, argument),) = node.items()
        if name == "Ref" or (isinstance(name, str) and name.startswith("Fn::")):
            return name, argument
    return None


def text_of(node: Any) -> str:
    """The text of a node with what only the deployment knows written as in Fn::Sub (`${DB.Arn}`); empty if it has none.

    Two nodes with one such text are the same text in every deployment.
    """
    function = function_of(node)
    if function is None:
        return node if isinstance(node, str) else ""
    name, argument = function
    match name, argument:
        case "Ref", str():
            return "${" + argument + "}"
        case "Fn::GetAtt", str():
            return "${" + argument + "}"
        case "Fn::GetAtt", [str(resource), str(attribute)]:
            return "${" + resource + "." + attribute + "}"
        case "Fn::Sub", str():
            return argument
        case "Fn::Sub", [str(text), *_]:
            return text
        case "Fn::Join", [glue, list(parts)]:
            return (glue if isinstance(glue, str) else "").join(text_of(part) for part in parts)
        case _:
            return ""


def _substituted(text: str) -> Iterator[str]:
    """Names a Fn::Sub text replaces, attributes cut off."""
    for part in text.split("${")[1:]:
        name, closed, _ = part.partition("}")
        if closed and not name.startswith("!"):
            yield name.strip().partition(".")[0]


def direct_references(node: Any) -> Iterator[str]:
    """What this one function names: the target of Ref or GetAtt, the names in a Sub; of Fn::If both branches'."""
    function = function_of(node)
    if function is None:
        return
    name, argument = function
    if name == "Ref" and isinstance(argument, str):
        yield argument
    elif name == "Fn::GetAtt":
        first = argument[0] if isinstance(argument, list) and argument else argument
        if isinstance(first, str):
            yield first.partition(".")[0]
    elif name == "Fn::Sub":
        text = argument[0] if isinstance(argument, list) and argument else argument
        if isinstance(text, str):
            yield from _substituted(text)
    elif name == "Fn::If" and isinstance(argument, list):
        for branch in argument[1:]:
            yield from direct_references(branch)


def references(node: Any) -> Iterator[str]:
    """Every name a Ref, GetAtt, Sub or DependsOn mentions, anywhere below."""
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if function_of(current):
                yield from direct_references(current)
            depends = current.get("DependsOn")
            if isinstance(depends, str):
                yield depends
            elif isinstance(depends, list):
                yield from (name for name in depends if isinstance(name, str))
            pending += current.values()
        elif isinstance(current, list):
            pending += current


Check = Callable[[Template], Iterable[Problem]]
