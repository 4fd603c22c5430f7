"""Capabilities a caller must acknowledge: resources that grant rights, transforms that expand. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from multiaz.cloud.stacks.template import HOSTED_ROTATION, Template

IAM = "CAPABILITY_IAM"
NAMED_IAM = "CAPABILITY_NAMED_IAM"
AUTO_EXPAND = "CAPABILITY_AUTO_EXPAND"
KNOWN = (IAM, NAMED_IAM, AUTO_EXPAND)

_NAMES = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::User": "UserName",
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::Policy": "",
    "AWS::IAM::AccessKey": "",
    "AWS::IAM::UserToGroupAddition": "",
}


def required_capabilities(template: Template) -> tuple[list[str], list[str]]:
    """The capabilities a template needs, and the resource types that are the reason."""
    types = sorted({item.type for item in template.resources.values() if item.type in _NAMES})
    needed = []
    named = any(_NAMES.get(item.type) and _NAMES[item.type] in item.properties for item in template.resources.values())
    if named:
        needed.append(NAMED_IAM)
    elif types or HOSTED_ROTATION in template.transforms:
        needed.append(IAM)
    if template.transforms:
        needed.append(AUTO_EXPAND)
    return needed, types


def missing_capabilities(template: Template, given: Iterable[str]) -> list[str]:
    """What is needed and was not acknowledged; NAMED_IAM includes IAM."""
    needed, _ = required_capabilities(template)
    held = set(given)
    if NAMED_IAM in held:
        held.add(IAM)
    return [name for name in needed if name not in held]
