"""Which parameters of each action are acted upon, and which are refused by name: none is ever ignored.

A test holds this table against botocore's model, so a new botocore cannot smuggle a parameter past it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multiaz.cloud.service import Context, Operation
from multiaz.cloud.stacks.faults import not_available

_TEMPLATE = frozenset({"TemplateBody", "TemplateURL"})
_PAGE = frozenset({"NextToken"})
_NEW = frozenset({"StackName", "Parameters", "RollbackConfiguration", "Capabilities", "ResourceTypes", "Tags"})
_FATE = frozenset({"DisableRollback", "RetainExceptOnCreate"})
_NEW_REFUSED = frozenset({"RoleARN", "NotificationARNs", "DeploymentConfig", "DisableValidation"})
_POLICY = frozenset({"StackPolicyBody", "StackPolicyURL"})

ACTED: dict[str, frozenset[str]] = {
    "CreateStack": _NEW
    | _TEMPLATE
    | _FATE
    | {"TimeoutInMinutes", "OnFailure", "ClientRequestToken", "EnableTerminationProtection"},
    "UpdateStack": _NEW | _TEMPLATE | _FATE | {"UsePreviousTemplate", "ClientRequestToken"},
    "CancelUpdateStack": frozenset({"StackName", "ClientRequestToken"}),
    "ContinueUpdateRollback": frozenset({"StackName", "ClientRequestToken"}),
    "RollbackStack": frozenset({"StackName", "ClientRequestToken"}),
    "CreateChangeSet": _NEW
    | _TEMPLATE
    | {"UsePreviousTemplate", "ChangeSetName", "ClientToken", "Description", "ChangeSetType", "OnStackFailure"},
    "ExecuteChangeSet": _FATE | {"ChangeSetName", "StackName", "ClientRequestToken"},
    "DescribeChangeSet": frozenset({"ChangeSetName", "StackName"}),
    "DeleteChangeSet": frozenset({"ChangeSetName", "StackName"}),
    "ListChangeSets": frozenset({"StackName"}),
    "DeleteStack": frozenset({"StackName", "RetainResources", "ClientRequestToken", "DeletionMode"}),
    "DescribeStackEvents": _PAGE | {"StackName"},
    "DescribeStackResource": frozenset({"StackName", "LogicalResourceId"}),
    "DescribeStackResources": frozenset({"StackName", "LogicalResourceId", "PhysicalResourceId"}),
    "DescribeStacks": _PAGE | {"StackName"},
    "GetTemplate": frozenset({"StackName", "ChangeSetName", "TemplateStage"}),
    "GetTemplateSummary": _TEMPLATE | {"StackName", "TemplateSummaryConfig"},
    "ListExports": _PAGE,
    "ListImports": _PAGE | {"ExportName"},
    "ListStackResources": _PAGE | {"StackName"},
    "ListStacks": _PAGE | {"StackStatusFilter"},
    "UpdateTerminationProtection": frozenset({"EnableTerminationProtection", "StackName"}),
    "ValidateTemplate": _TEMPLATE,
}
"""The operation reads it; some of its values may be refused there."""

REFUSED: dict[str, frozenset[str]] = {
    "CreateStack": _NEW_REFUSED | _POLICY,
    "UpdateStack": _NEW_REFUSED | _POLICY | {"StackPolicyDuringUpdateBody", "StackPolicyDuringUpdateURL"},
    "CreateChangeSet": _NEW_REFUSED
    | {"ResourcesToImport", "IncludeNestedStacks", "ImportExistingResources", "DeploymentMode"},
    "ContinueUpdateRollback": frozenset({"RoleARN", "ResourcesToSkip", "ForceRollback"}),
    "RollbackStack": frozenset({"RoleARN", "RetainExceptOnCreate", "DeploymentConfig"}),
    "DescribeChangeSet": _PAGE | {"IncludePropertyValues"},
    "ListChangeSets": _PAGE,
    "DeleteStack": frozenset({"RoleARN", "DeploymentConfig"}),
    "GetTemplateSummary": frozenset({"StackSetName", "CallAs"}),
}
"""Known, and accepted only where it says nothing (false, empty)."""


def check(action: str, params: Mapping[str, Any]) -> None:
    """Refuse, by name, what the action does not do. Raises AwsFault ValidationError."""
    for name, value in params.items():
        if name in ACTED[action] or (name == "CallAs" and value == "SELF"):
            continue
        if value or name not in REFUSED.get(action, ()):
            raise not_available(f"The parameter {name}")


def checked(action: str, operation: Operation) -> Operation:
    """The operation, after `check` of its parameters."""

    def perform(context: Context, params: dict[str, Any]) -> dict[str, Any]:
        check(action, params)
        return operation(context, params)

    return perform
