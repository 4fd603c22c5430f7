"""MAZ305: a policy for IAM database logins names every instance that takes them."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules import policies, rds
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Resource, Template, references


def check(template: Template) -> Iterator[Problem]:
    """Statements that name some instances of the template, but not all of one primary and its replicas."""
    taking = {
        instance.name: instance
        for instance in rds.instances(template)
        if any(choice.flag for choice in instance.choices("EnableIAMDatabaseAuthentication"))
    }
    for resource, statements in _by_policy(template):
        named = {name for s in statements for name in references(s.raw("Resource"))} & taking.keys()
        families = {_family(taking[name]) for name in named}
        missing = [name for name, instance in taking.items() if name not in named and _family(instance) in families]
        if missing:
            yield Problem(statements[0].path, f"{resource.name} lets nobody connect to {', '.join(missing)}")


def _by_policy(template: Template) -> Iterator[tuple[Resource, list[policies.Statement]]]:
    found: dict[str, list[policies.Statement]] = {}
    for statement in policies.identity_statements(template):
        if statement.allows and statement.permits("rds-db:connect"):
            found.setdefault(statement.resource.name, []).append(statement)
    for name, statements in found.items():
        yield template.resources[name], statements


def _family(instance: Resource) -> str:
    origin = rds.source(instance)
    return origin.name if origin is not None else instance.name


RULE = Rule(
    id="MAZ305",
    title="A policy for IAM database logins names every instance that takes them",
    severity=Severity.ERROR,
    source="RDS user guide, IAM database authentication: a policy names the resource id of each instance",
    why="Logins to the others are refused, readers among them.",
    check=check,
)
