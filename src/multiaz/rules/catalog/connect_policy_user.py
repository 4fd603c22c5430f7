"""MAZ306: IAM database logins are not for the master user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template, function_of, text_of


def check(template: Template) -> Iterator[Problem]:
    """The user named is the parameter or the text that is the MasterUsername of an instance."""
    masters: set[str] = set()
    for instance in template.of_type("AWS::RDS::DBInstance", "AWS::RDS::DBCluster"):
        masters.update(_spellings(instance.raw("MasterUsername")))
    for statement in policies.identity_statements(template):
        if not (statement.allows and statement.permits("rds-db:connect")):
            continue
        listed = statement.raw("Resource")
        for node in listed if isinstance(listed, list) else [listed]:
            user = text_of(node).rpartition("/")[2]
            if user and user in masters:
                yield Problem(statement.path, f"{statement.resource.name} is for the master user {user}")


def _spellings(node: Any) -> Iterator[str]:
    """How a policy may write the user: as text, or as the same reference inside of a Sub."""
    if isinstance(node, str) and node:
        yield node
    function = function_of(node)
    if function and function[0] == "Ref" and isinstance(function[1], str):
        yield "${" + function[1] + "}"


RULE = Rule(
    id="MAZ306",
    title="IAM database logins are not for the master user",
    severity=Severity.ERROR,
    source="RDS user guide, IAM database authentication: the database user must have been granted rds_iam",
    why="The master user has no rds_iam, so the token is refused; granted, it could no longer log in by password.",
    check=check,
)
