"""AWS::IAM: roles, policies, instance profiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    as_policy,
    changed_tags,
    error_code,
    pages,
    same,
    same_policy,
    selected,
    tag_list,
    unless_gone,
)

_GONE = frozenset({"NoSuchEntity"})
_SESSION_S = 3600
"""MaxSessionDuration of a role that says nothing. Source: IAM API reference, CreateRole."""
_VERSIONS = 5
"""Versions a managed policy may have. Source: IAM user guide, "IAM and AWS STS quotas"."""
_PRINCIPALS = {"Roles": ("role", "RoleName"), "Users": ("user", "UserName"), "Groups": ("group", "GroupName")}


class Role(Handler):
    """AWS::IAM::Role with inline and managed policies."""

    type = "AWS::IAM::Role"
    properties = frozenset(
        {
            "RoleName",
            "AssumeRolePolicyDocument",
            "Path",
            "Description",
            "MaxSessionDuration",
            "PermissionsBoundary",
            "ManagedPolicyArns",
            "Policies",
            "Tags",
        }
    )
    attributes = frozenset({"Arn", "RoleId"})
    gone = _GONE
    updatable = properties - {"RoleName", "Path"}
    named_by = "RoleName"

    def _name(self, call: Call) -> str:
        return str(call.get("RoleName") or call.name(64))

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        iam, name = call.client("iam"), self._name(call)
        try:
            role = iam.get_role(RoleName=name)["Role"]
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            raise
        return name if call.owns(role.get("Tags", [])) else None

    def create(self, call: Call) -> Made:
        """Create, then its policies."""
        iam = call.client("iam")
        name = self.existing(call)
        if name is None:
            name = self._name(call)
            iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=as_policy(call.properties["AssumeRolePolicyDocument"]),
                Tags=call.tags(),
                **selected(call.properties, same("Path", "Description", "MaxSessionDuration", "PermissionsBoundary")),
            )
            call.made(name)
        for policy in call.get("Policies", []):
            iam.put_role_policy(
                RoleName=name,
                PolicyName=policy["PolicyName"],
                PolicyDocument=as_policy(policy["PolicyDocument"]),
            )
        for arn in call.get("ManagedPolicyArns", []):
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        role = iam.get_role(RoleName=name)["Role"]
        return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put what the template says, take away what it says no more."""
        iam, name = call.client("iam"), str(call.physical_id)
        if "AssumeRolePolicyDocument" in changed:
            document = as_policy(call.properties["AssumeRolePolicyDocument"])
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=document)
        if changed & {"Description", "MaxSessionDuration"}:
            iam.update_role(
                RoleName=name,
                Description=call.get("Description", ""),
                MaxSessionDuration=call.get("MaxSessionDuration", _SESSION_S),
            )
        if "PermissionsBoundary" in changed:
            if "PermissionsBoundary" in call.properties:
                boundary = call.properties["PermissionsBoundary"]
                iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary)
            else:
                unless_gone(_GONE, iam.delete_role_permissions_boundary, RoleName=name)
        for policy in call.get("Policies", []) if "Policies" in changed else []:
            document = as_policy(policy["PolicyDocument"])
            iam.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=document)
        kept = {policy["PolicyName"] for policy in call.get("Policies", [])}
        for policy in old.get("Policies", []):
            if policy["PolicyName"] not in kept:
                unless_gone(_GONE, iam.delete_role_policy, RoleName=name, PolicyName=policy["PolicyName"])
        wanted, had = set(call.get("ManagedPolicyArns", [])), set(old.get("ManagedPolicyArns", []))
        for arn in sorted(wanted - had):
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        for arn in sorted(had - wanted):
            unless_gone(_GONE, iam.detach_role_policy, RoleName=name, PolicyArn=arn)
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            if tags:
                iam.tag_role(RoleName=name, Tags=tag_list(tags))
            if removed:
                iam.untag_role(RoleName=name, TagKeys=removed)
        return None

    def delete(self, call: Call) -> None:
        """Delete the role after the policies the template gave it."""
        iam, name = call.client("iam"), str(call.physical_id)
        for arn in call.get("ManagedPolicyArns", []):
            unless_gone(_GONE, iam.detach_role_policy, RoleName=name, PolicyArn=arn)
        for policy in call.get("Policies", []):
            policy_name = policy["PolicyName"]
            unless_gone(
                _GONE,
                iam.delete_role_policy,
                RoleName=name,
                PolicyName=policy_name,
            )
        unless_gone(_GONE, iam.delete_role, RoleName=name)


def _principals(call: Call) -> Iterable[tuple[str, str, str]]:
    """(kind, parameter name, principal) for every role, user and group named."""
    for property_name, (kind, parameter) in _PRINCIPALS.items():
        for principal in call.get(property_name, []):
            yield kind, parameter, principal


class Policy(Handler):
    """AWS::IAM::Policy: an inline policy of roles, users and groups."""

    type = "AWS::IAM::Policy"
    properties = frozenset({"PolicyName", "PolicyDocument", *_PRINCIPALS})
    attributes = frozenset({"Id"})
    gone = _GONE
    updatable = properties

    def _physical_id(self, call: Call) -> str:
        return f"{call.stack_name[:4]}-{call.logical_id[:4]}-{call.random}"

    def find(self, call: Call) -> str | None:
        """By name and document, on any of those named."""
        iam = call.client("iam")
        for kind, parameter, principal in _principals(call):
            arguments = {parameter: principal, "PolicyName": call.properties["PolicyName"]}
            try:
                found = getattr(iam, f"get_{kind}_policy")(**arguments)["PolicyDocument"]
            except ClientError as error:
                if error_code(error) in _GONE:
                    continue
                raise
            if same_policy(found, call.properties["PolicyDocument"]):
                return self._physical_id(call)
        return None

    def create(self, call: Call) -> Made:
        """Put it on each."""
        iam = call.client("iam")
        for kind, parameter, principal in _principals(call):
            getattr(iam, f"put_{kind}_policy")(
                **{parameter: principal},
                PolicyName=call.properties["PolicyName"],
                PolicyDocument=as_policy(call.properties["PolicyDocument"]),
            )
        physical_id = self._physical_id(call)
        return Made(physical_id, {"Id": physical_id})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put it on each, then take it off those, or take off the name, the template says no more."""
        self.create(call)
        renamed = old.properties["PolicyName"] != call.properties["PolicyName"]
        here = set() if renamed else set(_principals(call))
        self._take_off(old, [one for one in _principals(old) if one not in here])
        return None

    def delete(self, call: Call) -> None:
        """Take it off each."""
        self._take_off(call, _principals(call))

    def _take_off(self, call: Call, principals: Iterable[tuple[str, str, str]]) -> None:
        iam, name = call.client("iam"), call.properties["PolicyName"]
        for kind, parameter, principal in principals:
            operation = getattr(iam, f"delete_{kind}_policy")
            arguments = {parameter: principal, "PolicyName": name}
            unless_gone(_GONE, operation, **arguments)


class ManagedPolicy(Handler):
    """AWS::IAM::ManagedPolicy."""

    type = "AWS::IAM::ManagedPolicy"
    properties = frozenset({"ManagedPolicyName", "PolicyDocument", "Description", "Path", *_PRINCIPALS})
    attributes = frozenset({"PolicyArn", "PolicyId", "DefaultVersionId"})
    gone = _GONE
    updatable = frozenset({"PolicyDocument", *_PRINCIPALS})
    named_by = "ManagedPolicyName"

    def _arn(self, call: Call) -> str:
        path = call.get("Path", "/")
        name = call.get("ManagedPolicyName") or call.name(128)
        return f"arn:aws:iam::{call.account_id}:policy{path}{name}"

    def find(self, call: Call) -> str | None:
        """By its ARN, if it was made after the stack and carries our tags."""
        iam, arn = call.client("iam"), self._arn(call)
        try:
            tags = iam.list_policy_tags(PolicyArn=arn)["Tags"]
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            raise
        return arn if call.owns(tags) else None

    def create(self, call: Call) -> Made:
        """Create, then attach."""
        iam = call.client("iam")
        arn = self.existing(call)
        if arn is None:
            arn = iam.create_policy(
                PolicyName=call.get("ManagedPolicyName") or call.name(128),
                PolicyDocument=as_policy(call.properties["PolicyDocument"]),
                Tags=call.tags(),
                **selected(call.properties, same("Path", "Description")),
            )["Policy"]["Arn"]
            call.made(str(arn))
        for kind, parameter, principal in _principals(call):
            getattr(iam, f"attach_{kind}_policy")(**{parameter: principal}, PolicyArn=arn)
        return self._read(call, str(arn))

    def _read(self, call: Call, arn: str) -> Made:
        policy = call.client("iam").get_policy(PolicyArn=arn)["Policy"]
        return Made(
            str(arn),
            {
                "PolicyArn": arn,
                "PolicyId": policy["PolicyId"],
                "DefaultVersionId": policy["DefaultVersionId"],
            },
        )

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """A new default version, the oldest deleted where there are five; attached to those named now."""
        iam, arn = call.client("iam"), str(call.physical_id)
        if "PolicyDocument" in changed:
            self._put_version(iam, arn, as_policy(call.properties["PolicyDocument"]))
        before, after = set(_principals(old)), set(_principals(call))
        for verb, principals in (("attach", after - before), ("detach", before - after)):
            for kind, parameter, principal in sorted(principals):
                operation = getattr(iam, f"{verb}_{kind}_policy")
                arguments: dict[str, Any] = {parameter: principal, "PolicyArn": arn}
                unless_gone(_GONE if verb == "detach" else frozenset(), operation, **arguments)
        return self._read(call, arn)

    def _put_version(self, iam: Any, arn: str, document: str) -> None:
        versions = list(pages(iam, "list_policy_versions", "Versions", PolicyArn=arn))
        default = next(version["VersionId"] for version in versions if version["IsDefaultVersion"])
        now = iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]["Document"]
        if same_policy(now, document):
            return
        if len(versions) >= _VERSIONS:
            spare = [version["VersionId"] for version in versions if not version["IsDefaultVersion"]]
            iam.delete_policy_version(PolicyArn=arn, VersionId=min(spare, key=lambda text: int(text[1:])))
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)

    def delete(self, call: Call) -> None:
        """Detach from those the template named, then delete with all versions."""
        iam, arn = call.client("iam"), call.physical_id
        for kind, parameter, principal in _principals(call):
            operation = getattr(iam, f"detach_{kind}_policy")
            arguments: dict[str, Any] = {parameter: principal, "PolicyArn": arn}
            unless_gone(_GONE, operation, **arguments)
        try:
            versions = list(pages(iam, "list_policy_versions", "Versions", PolicyArn=arn))
        except ClientError as error:
            if error_code(error) in _GONE:
                return
            raise
        for version in versions:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
        unless_gone(_GONE, iam.delete_policy, PolicyArn=arn)


class InstanceProfile(Handler):
    """AWS::IAM::InstanceProfile."""

    type = "AWS::IAM::InstanceProfile"
    properties = frozenset({"InstanceProfileName", "Path", "Roles"})
    attributes = frozenset({"Arn"})
    gone = _GONE
    named_by = "InstanceProfileName"

    def _name(self, call: Call) -> str:
        return str(call.get("InstanceProfileName") or call.name(128))

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        try:
            profile = call.client("iam").get_instance_profile(InstanceProfileName=self._name(call))
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            raise
        return self._name(call) if call.owns(profile["InstanceProfile"].get("Tags", [])) else None

    def create(self, call: Call) -> Made:
        """Create, then add the role."""
        iam, name = call.client("iam"), self._name(call)
        if self.existing(call) is None:
            iam.create_instance_profile(
                InstanceProfileName=name, Tags=call.tags(), **selected(call.properties, same("Path"))
            )
            call.made(name)
        profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        present = {role["RoleName"] for role in profile["Roles"]}
        for role in call.properties["Roles"]:
            if role not in present:
                iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
        return Made(name, {"Arn": profile["Arn"]})

    def delete(self, call: Call) -> None:
        """Take the role out, then delete."""
        iam, name = call.client("iam"), call.physical_id
        for role in call.properties["Roles"]:
            unless_gone(
                _GONE,
                iam.remove_role_from_instance_profile,
                InstanceProfileName=name,
                RoleName=role,
            )
        unless_gone(_GONE, iam.delete_instance_profile, InstanceProfileName=name)


HANDLERS: tuple[Handler, ...] = (Role(), Policy(), ManagedPolicy(), InstanceProfile())
