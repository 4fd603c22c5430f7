"""MAZ312: a policy names the resources it is for."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from multiaz.rules import policies
from multiaz.rules.findings import Severity
from multiaz.rules.rule import Rule
from multiaz.rules.template import Problem, Template

UNBOUND = (
    "*:describe*",
    "*:list*",
    "cloudwatch:putmetricdata",
    "cloudwatch:getmetric*",
    "ec2:createnetworkinterface",
    "ec2:deletenetworkinterface",
    "ec2messages:*",
    "ecr:getauthorizationtoken",
    "kms:generaterandom",
    "secretsmanager:getrandompassword",
    "ssm:updateinstanceinformation",
    "ssmmessages:*",
    "sts:getcalleridentity",
    "xray:put*",
)
"""Actions IAM knows no resources for, or that only tell what there is. Source: AWS service authorization reference."""
BOUND = (
    "s3:listbucket",
    "s3:listbucketversions",
    "s3:listbucketmultipartuploads",
    "s3:listmultipartuploadparts",
    "secretsmanager:listsecretversionids",
)
"""Actions that are called as if they were of those, and read what is inside of a resource."""

ALL = "Resource::*"
"""What cdk-nag calls the finding."""


def check(template: Template) -> Iterator[Problem]:
    """Allowing on `*` more than what cannot be bound to a resource, without a condition."""
    for statement in policies.identity_statements(template):
        if not (statement.allows and statement.is_of_all_resources) or statement.has_condition:
            continue
        wide = [action for action in statement.actions if _is_wide(action)]
        if wide:
            yield Problem(
                statement.path, f"{statement.resource.name} allows {', '.join(wide[:3])} on every resource", ALL
            )


def _is_wide(action: str) -> bool:
    """The action, or one its wildcards stand for, is of a resource."""
    if any(fnmatchcase(bound, action) for bound in BOUND):
        return True
    return not any(fnmatchcase(action, pattern) for pattern in UNBOUND)


RULE = Rule(
    id="MAZ312",
    title="A policy names the resources it is for",
    severity=Severity.WARNING,
    source="checkov CKV_AWS_107 to 111; cdk-nag AwsSolutions-IAM5",
    covers=("AwsSolutions-IAM5",),
    related=("CKV_AWS_107", "CKV_AWS_108", "CKV_AWS_109", "CKV_AWS_110", "CKV_AWS_111"),
    check=check,
)
