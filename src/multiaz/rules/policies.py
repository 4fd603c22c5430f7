"""IAM policies as the rules need them: statements, actions, principals, and which policies a role has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from multiaz.rules.findings import Path
from multiaz.rules.template import UNKNOWN, Choice, Resource, Template, function_of, references

ROLE = "AWS::IAM::Role"
MANAGED = "AWS::IAM::ManagedPolicy"
INLINE = "AWS::IAM::Policy"
INLINE_OF_ONE = ("AWS::IAM::RolePolicy", "AWS::IAM::UserPolicy", "AWS::IAM::GroupPolicy")
"""Each puts one policy into the one role, user or group it names."""
HOLDERS = (ROLE, "AWS::IAM::User", "AWS::IAM::Group")
_TLS = "aws:securetransport"


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
    def excepted(self) -> list[str]:
        """Actions of NotAction that are known, in lower case: the statement is about every other one."""
        return [choice.value.lower() for choice in self._values("NotAction") if isinstance(choice.value, str)]

    @property
    def is_public(self) -> bool:
        """It allows something to everybody. A condition binds it to somebody, unless it only asks for TLS."""
        everybody = "*" in self.principals("AWS") or self.raw("NotPrincipal") is not None
        return self.allows and everybody and self._tested <= {_TLS}

    @property
    def _tested(self) -> set[str]:
        """Condition keys in lower case; what cannot be known is one of its own."""
        condition = self.raw("Condition")
        if not condition:
            return set()
        if not isinstance(condition, dict):
            return {"?"}
        return {
            str(key).lower() for tests in condition.values() for key in (tests if isinstance(tests, dict) else ("?",))
        }

    def refuses_plain_http(self, *actions: str) -> bool:
        """It denies everybody these actions in every request that does not come by TLS."""
        condition = self.raw("Condition")
        if not (self.denies and "*" in self.principals("AWS") and self._tested == {_TLS}):
            return False
        for operator, tests in condition.items():
            if operator not in ("Bool", "BoolIfExists"):
                return False
            for values in tests.values():
                if not any(str(v).lower() == "false" for v in (values if isinstance(values, list) else [values])):
                    return False
        return all(self._names(action) for action in actions)

    def _names(self, action: str) -> bool:
        """The statement is about this action, or may be."""
        excepted = self.excepted
        if excepted:
            return not any(fnmatchcase(action.lower(), pattern) for pattern in excepted)
        return self.permits(action) or any(not choice.is_known for choice in self._values("Action"))

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
    for policy in template.of_type(MANAGED, INLINE, *INLINE_OF_ONE):
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


def of_keys(role: Resource) -> Iterator[Statement]:
    """Statements of key policies of the template that name the role: they need no policy of the role beside them."""
    for key in role.template.of_type("AWS::KMS::Key"):
        for statement in statements(key, "KeyPolicy"):
            if role.name in references(statement.raw("Principal")):
                yield statement


def _elements(node: Any) -> Iterable[Any]:
    if isinstance(node, list):
        return node
    return () if node is None else (node,)
