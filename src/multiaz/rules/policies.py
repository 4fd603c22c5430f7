"""IAM policies as the rules need them: statements, actions, principals, and which policies a role has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from multiaz.rules.findings import Path
from multiaz.rules.template import UNKNOWN, Choice, Resource, Template, function_of

ROLE = "AWS::IAM::Role"
MANAGED = "AWS::IAM::ManagedPolicy"
INLINE = "AWS::IAM::Policy"
HOLDERS = (ROLE, "AWS::IAM::User", "AWS::IAM::Group")


@dataclass(frozen=True)
class Statement:
    """One statement of a policy document."""

    resource: Resource
    """The resource of the template the document stands in."""
    choice: Choice

    @property
    def path(self) -> Path:
        """Where the statement is."""
        return self.choice.path

    def _values(self, name: str) -> list[Choice]:
        template = self.resource.template
        return [item for inner in template.inside(self.choice, name) for item in template.elements(inner)]

    @property
    def allows(self) -> bool:
        """Its effect is Allow."""
        return any(effect.value == "Allow" for effect in self._values("Effect"))

    @property
    def denies(self) -> bool:
        """Its effect is Deny."""
        return any(effect.value == "Deny" for effect in self._values("Effect"))

    @property
    def actions(self) -> list[str]:
        """Actions that are known, in lower case: IAM does not look at the case."""
        return [choice.value.lower() for choice in self._values("Action") if isinstance(choice.value, str)]

    @property
    def is_of_all_resources(self) -> bool:
        """Its resource is `*`."""
        return any(choice.value == "*" for choice in self._values("Resource"))

    def resources(self) -> list[Choice]:
        """What each element of Resource may be."""
        return self._values("Resource")

    @property
    def has_condition(self) -> bool:
        """It is bound by a condition of any kind."""
        return bool(self.raw("Condition"))

    def raw(self, name: str) -> Any:
        """A member as it is written."""
        return self.choice.value.get(name) if isinstance(self.choice.value, dict) else None

    def principals(self, kind: str) -> list[str]:
        """Known principals of `AWS`, `Service`…; a bare `*` counts as one of AWS."""
        template = self.resource.template
        found: list[str] = []
        for principal in template.inside(self.choice, "Principal"):
            if principal.value == "*":
                found += ["*"] if kind == "AWS" else []
            elif isinstance(principal.value, dict):
                inner = template.inside(principal, kind)
                found += [i.value for c in inner for i in template.elements(c) if isinstance(i.value, str)]
        return found

    def permits(self, action: str) -> bool:
        """One of its actions, wildcards included, is this one."""
        return any(fnmatchcase(action.lower(), pattern) for pattern in self.actions)


def statements(resource: Resource, *names: str) -> Iterator[Statement]:
    """Statements of the policy document that is this property."""
    template = resource.template
    for document in resource.choices(*names):
        yield from _statements(template, resource, document)


def _statements(template: Template, resource: Resource, document: Choice) -> Iterator[Statement]:
    for listed in template.inside(document, "Statement"):
        for item in template.elements(listed):
            if isinstance(item.value, dict) and function_of(item.value) is None:
                yield Statement(resource, item)


def inline(resource: Resource) -> Iterator[Statement]:
    """Statements of the policies written inside a role, user or group."""
    template = resource.template
    for policy in resource.items("Policies"):
        for document in template.inside(policy, "PolicyDocument"):
            yield from _statements(template, resource, document)


def identity_statements(template: Template) -> Iterator[Statement]:
    """Every statement of identity policies: managed, attached, and written inside roles, users and groups."""
    for policy in template.of_type(MANAGED, INLINE):
        yield from statements(policy, "PolicyDocument")
    for holder in template.of_type(*HOLDERS):
        yield from inline(holder)


def of_role(role: Resource) -> tuple[list[Statement], bool]:
    """Statements of all policies of the role, and whether that is all: False if a policy is not in this template."""
    template = role.template
    found = list(inline(role))
    complete = True
    for node in _elements(role.raw("ManagedPolicyArns")):
        policy = template.referred(node, MANAGED)
        if policy is None:
            complete = False
        else:
            found += statements(policy, "PolicyDocument")
    for policy in template.of_type(MANAGED, INLINE, "AWS::IAM::RolePolicy"):
        named = [*_elements(policy.raw("Roles")), policy.raw("RoleName")]
        if any(template.referred(node, ROLE) is role for node in named if node is not None):
            found += statements(policy, "PolicyDocument")
    if any(choice.value is UNKNOWN for choice in role.items("Policies")):
        complete = False
    return found, complete


def _elements(node: Any) -> Iterable[Any]:
    if isinstance(node, list):
        return node
    return () if node is None else (node,)
