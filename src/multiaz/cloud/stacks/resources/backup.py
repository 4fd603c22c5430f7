"""AWS::Backup: vaults, plans, selections; recorded, as no plan runs here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import Call, Handler, Made, error_code, same, selected, unless_gone

_GONE = frozenset({"ResourceNotFoundException"})
_RULE = {
    **same(
        "RuleName",
        "ScheduleExpression",
        "ScheduleExpressionTimezone",
        "StartWindowMinutes",
        "CompletionWindowMinutes",
        "Lifecycle",
        "RecoveryPointTags",
        "EnableContinuousBackup",
    ),
    "TargetBackupVault": "TargetBackupVaultName",
}
_SELECTION = same("SelectionName", "IamRoleArn", "Resources", "NotResources", "ListOfTags", "Conditions")


def _tags(call: Call, own: str) -> dict[str, str]:
    return {**call.tag_map(), **call.get(own, {})}


def _request(call: Call) -> str:
    """CreatorRequestId: the same for every attempt of this resource, at most 50 characters."""
    return f"{call.token[:36]}-{call.random}"


def _owned(call: Call, arn: str) -> bool:
    tags = call.client("backup").list_tags(ResourceArn=arn)["Tags"]
    return call.owns([{"Key": key, "Value": value} for key, value in tags.items()])


def _members(given: Mapping[str, Any], names: Mapping[str, str], what: str) -> dict[str, Any]:
    """Members under their API names. Raises ResourceFailure for one that has none."""
    for name in sorted(set(given) - set(names)):
        raise ResourceFailure(f"{name} of {what} is not available in this local cloud")
    return selected(given, names)


class BackupVault(Handler):
    """AWS::Backup::BackupVault."""

    type = "AWS::Backup::BackupVault"
    properties = frozenset({"BackupVaultName", "EncryptionKeyArn", "BackupVaultTags"})
    attributes = frozenset({"BackupVaultName", "BackupVaultArn"})
    gone = _GONE
    named_by = "BackupVaultName"

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        name = call.properties["BackupVaultName"]
        try:
            found = call.client("backup").describe_backup_vault(BackupVaultName=name)
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            raise
        return str(name) if _owned(call, found["BackupVaultArn"]) else None

    def create(self, call: Call) -> Made:
        """Create."""
        client, name = call.client("backup"), call.properties["BackupVaultName"]
        if self.existing(call) is None:
            client.create_backup_vault(
                BackupVaultName=name,
                BackupVaultTags=_tags(call, "BackupVaultTags"),
                CreatorRequestId=_request(call),
                **selected(call.properties, same("EncryptionKeyArn")),
            )
        found = client.describe_backup_vault(BackupVaultName=name)
        return Made(name, {"BackupVaultName": name, "BackupVaultArn": found["BackupVaultArn"]})

    def delete(self, call: Call) -> None:
        """Delete."""
        client = call.client("backup")
        unless_gone(_GONE, client.delete_backup_vault, BackupVaultName=call.physical_id)


class BackupPlan(Handler):
    """AWS::Backup::BackupPlan."""

    type = "AWS::Backup::BackupPlan"
    properties = frozenset({"BackupPlan", "BackupPlanTags"})
    updatable = frozenset({"BackupPlan"})
    attributes = frozenset({"BackupPlanId", "BackupPlanArn", "VersionId"})
    gone = _GONE

    def find(self, call: Call) -> str | None:
        """By tags."""
        for found in call.client("backup").list_backup_plans()["BackupPlansList"]:
            if found["BackupPlanId"] != call.replaces and _owned(call, found["BackupPlanArn"]):
                return str(found["BackupPlanId"])
        return None

    def create(self, call: Call) -> Made:
        """Create; rules have other names in the API."""
        client, number = call.client("backup"), self.existing(call)
        if number is None:
            number = client.create_backup_plan(
                BackupPlan=self._plan(call),
                BackupPlanTags=_tags(call, "BackupPlanTags"),
                CreatorRequestId=_request(call),
            )["BackupPlanId"]
        return self._read(call, str(number))

    def _plan(self, call: Call) -> dict[str, Any]:
        names = {"BackupPlanName": "BackupPlanName", "BackupPlanRule": "Rules"}
        plan = _members(call.properties["BackupPlan"], names, "BackupPlan")
        plan["Rules"] = [_members(rule, _RULE, "BackupPlanRule") for rule in plan["Rules"]]
        return plan

    def _read(self, call: Call, number: str) -> Made:
        found = call.client("backup").get_backup_plan(BackupPlanId=number)
        return Made(number, {name: found[name] for name in self.attributes})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """A new version of the plan."""
        number = str(call.physical_id)
        call.client("backup").update_backup_plan(BackupPlanId=number, BackupPlan=self._plan(call))
        return self._read(call, number)

    def delete(self, call: Call) -> None:
        """Delete."""
        client = call.client("backup")
        unless_gone(_GONE, client.delete_backup_plan, BackupPlanId=call.physical_id)


class BackupSelection(Handler):
    """AWS::Backup::BackupSelection; its physical id is `selection_plan`, as one is only found with the other."""

    type = "AWS::Backup::BackupSelection"
    properties = frozenset({"BackupPlanId", "BackupSelection"})
    attributes = frozenset({"Id", "SelectionId", "BackupPlanId"})
    gone = _GONE

    def find(self, call: Call) -> str | None:
        """By the token of the call that made it."""
        plan = call.properties["BackupPlanId"]
        for found in call.client("backup").list_backup_selections(BackupPlanId=plan)["BackupSelectionsList"]:
            if found.get("CreatorRequestId") == _request(call):
                return f"{found['SelectionId']}_{plan}"
        return None

    def create(self, call: Call) -> Made:
        """Create."""
        plan, physical_id = call.properties["BackupPlanId"], self.existing(call)
        if physical_id is None:
            selection = _members(call.properties["BackupSelection"], _SELECTION, "BackupSelection")
            made = call.client("backup").create_backup_selection(
                BackupPlanId=plan, BackupSelection=selection, CreatorRequestId=_request(call)
            )
            physical_id = f"{made['SelectionId']}_{plan}"
        number = physical_id.partition("_")[0]
        return Made(physical_id, {"Id": physical_id, "SelectionId": number, "BackupPlanId": plan})

    def delete(self, call: Call) -> None:
        """Delete."""
        client = call.client("backup")
        number, _, plan = str(call.physical_id).partition("_")
        unless_gone(_GONE, client.delete_backup_selection, SelectionId=number, BackupPlanId=plan)


HANDLERS: tuple[Handler, ...] = (BackupVault(), BackupPlan(), BackupSelection())
