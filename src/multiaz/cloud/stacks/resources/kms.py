"""AWS::KMS: keys and aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    as_policy,
    changed_tags,
    error_code,
    error_message,
    pages,
    same,
    selected,
    tag_list,
    unless_gone,
)

_DEFAULT_PENDING_DAYS = 30


def check_key(call: Call, key: Any) -> None:
    """Raise ResourceFailure unless a key, given by id, ARN or alias, exists and can be used."""
    name = str(key)
    if name.rpartition(":")[2].startswith("alias/aws/"):
        return  # Amazon's own: it appears with its first use
    try:
        state = call.client("kms").describe_key(KeyId=name)["KeyMetadata"]["KeyState"]
    except ClientError as error:
        raise ResourceFailure(f"The KMS key {name} cannot be used: {error_message(error)}") from error
    if state != "Enabled":
        raise ResourceFailure(f"The KMS key {name} cannot be used: its state is {state}")


class Key(Handler):
    """AWS::KMS::Key. Deleting one schedules its deletion, as on AWS."""

    type = "AWS::KMS::Key"
    _PARAMETERS = same("Description", "KeySpec", "KeyUsage", "MultiRegion", "Origin")
    properties = frozenset(
        {
            *_PARAMETERS,
            "KeyPolicy",
            "EnableKeyRotation",
            "Enabled",
            "PendingWindowInDays",
            "BypassPolicyLockoutSafetyCheck",
            "Tags",
        }
    )
    attributes = frozenset({"Arn", "KeyId"})
    gone = frozenset({"NotFoundException"})
    updatable = properties - {"KeySpec", "KeyUsage", "MultiRegion", "Origin"}

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """Keys have material of their own only."""
        origin = properties.get("Origin", "AWS_KMS")
        if isinstance(origin, str) and origin != "AWS_KMS":
            return [f"Origin {origin} is not available in this local cloud (available: AWS_KMS)"]
        return []

    def find(self, call: Call) -> str | None:
        """By tags: a key has no name."""
        kms = call.client("kms")
        for key in pages(kms, "list_keys", "Keys"):
            tags = list(pages(kms, "list_resource_tags", "Tags", KeyId=key["KeyId"]))
            if key["KeyId"] != call.replaces and call.owns(tags, "TagKey", "TagValue"):
                state = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"]
                if state != "PendingDeletion":
                    return str(key["KeyId"])
        return None

    def create(self, call: Call) -> Made:
        """Create, then rotation and state."""
        kms = call.client("kms")
        key_id = self.existing(call)
        if key_id is None:
            arguments = selected(call.properties, self._PARAMETERS)
            if "KeyPolicy" in call.properties:
                arguments["Policy"] = as_policy(call.properties["KeyPolicy"])
            if "BypassPolicyLockoutSafetyCheck" in call.properties:
                arguments["BypassPolicyLockoutSafetyCheck"] = call.properties["BypassPolicyLockoutSafetyCheck"]
            key_id = kms.create_key(**arguments, Tags=call.tags("TagKey", "TagValue"))["KeyMetadata"]["KeyId"]
            call.made(str(key_id))
        if call.get("EnableKeyRotation"):
            kms.enable_key_rotation(KeyId=key_id)
        if call.get("Enabled") is False:
            kms.disable_key(KeyId=key_id)
        arn = kms.describe_key(KeyId=key_id)["KeyMetadata"]["Arn"]
        return Made(str(key_id), {"Arn": arn, "KeyId": key_id})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Policy, description, rotation, state, tags. The waiting period and the safety check matter only when used."""
        kms, key_id = call.client("kms"), str(call.physical_id)
        if "KeyPolicy" in changed:
            policy = as_policy(call.get("KeyPolicy", _default_policy(call)))
            bypass = selected(call.properties, same("BypassPolicyLockoutSafetyCheck"))
            kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=policy, **bypass)
        if "Description" in changed:
            kms.update_key_description(KeyId=key_id, Description=call.get("Description", ""))
        if "Enabled" in changed:
            (kms.disable_key if call.get("Enabled") is False else kms.enable_key)(KeyId=key_id)
        if "EnableKeyRotation" in changed:
            rotate = call.get("EnableKeyRotation", False)
            (kms.enable_key_rotation if rotate else kms.disable_key_rotation)(KeyId=key_id)
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            if tags:
                kms.tag_resource(KeyId=key_id, Tags=tag_list(tags, "TagKey", "TagValue"))
            if removed:
                kms.untag_resource(KeyId=key_id, TagKeys=removed)
        return None

    def delete(self, call: Call) -> None:
        """Schedule the deletion; one already scheduled stays."""
        kms = call.client("kms")
        days = call.get("PendingWindowInDays", _DEFAULT_PENDING_DAYS)
        try:
            kms.schedule_key_deletion(KeyId=call.physical_id, PendingWindowInDays=days)
        except ClientError as error:
            if error_code(error) not in {*self.gone, "KMSInvalidStateException"}:
                raise


def _default_policy(call: Call) -> dict[str, Any]:
    """What KMS gives a key without a policy. Source: KMS developer guide, "Default key policy"."""
    root = f"arn:aws:iam::{call.account_id}:root"
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": root},
        "Action": "kms:*",
        "Resource": "*",
    }
    return {"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]}


class Alias(Handler):
    """AWS::KMS::Alias."""

    type = "AWS::KMS::Alias"
    properties = frozenset({"AliasName", "TargetKeyId"})
    gone = frozenset({"NotFoundException"})
    updatable = frozenset({"TargetKeyId"})

    def find(self, call: Call) -> str | None:
        """By name, if it names our key."""
        name, target = call.properties["AliasName"], call.properties["TargetKeyId"]
        key_id = call.client("kms").describe_key(KeyId=target)["KeyMetadata"]["KeyId"]
        for alias in pages(call.client("kms"), "list_aliases", "Aliases"):
            if alias["AliasName"] == name and alias.get("TargetKeyId") == key_id:
                return str(name)
        return None

    def create(self, call: Call) -> Made:
        """Create."""
        name = call.properties["AliasName"]
        if not name.startswith("alias/"):
            raise ResourceFailure(
                'Alias must start with the prefix "alias/". Please see http://docs.aws.amazon.com/kms/latest/developerguide/programming-aliases.html'
            )
        if self.existing(call) is None:
            call.client("kms").create_alias(AliasName=name, TargetKeyId=call.properties["TargetKeyId"])
        return Made(name)

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Point to another key."""
        call.client("kms").update_alias(AliasName=call.physical_id, TargetKeyId=call.properties["TargetKeyId"])
        return None

    def delete(self, call: Call) -> None:
        """Delete."""
        kms = call.client("kms")
        unless_gone(self.gone, kms.delete_alias, AliasName=call.physical_id)


HANDLERS: tuple[Handler, ...] = (Key(), Alias())
