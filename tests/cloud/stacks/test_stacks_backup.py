"""AWS Backup: what a stack asks for is kept and described, checked as AWS does, and never runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from stacks_world import MortalJournal, World, refused

CAPABILITIES = ["CAPABILITY_NAMED_IAM"]
RULE: dict[str, Any] = {
    "RuleName": "daily",
    "TargetBackupVault": {"Ref": "Vault"},
    "ScheduleExpression": "cron(0 4 * * ? *)",
    "ScheduleExpressionTimezone": "UTC",
    "StartWindowMinutes": 480,
    "CompletionWindowMinutes": 1440,
    "EnableContinuousBackup": False,
    "Lifecycle": {"MoveToColdStorageAfterDays": 10, "DeleteAfterDays": 100},
    "RecoveryPointTags": {"team": "shop"},
}


def template(**rule: Any) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": "backup.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {
        "Resources": {
            "Key": {"Type": "AWS::KMS::Key", "Properties": {}},
            "Vault": {
                "Type": "AWS::Backup::BackupVault",
                "DeletionPolicy": "Delete",
                "Properties": {
                    "BackupVaultName": {"Fn::Sub": "${AWS::StackName}-vault"},
                    "EncryptionKeyArn": {"Fn::GetAtt": ["Key", "Arn"]},
                    "BackupVaultTags": {"team": "shop"},
                },
            },
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}},
            },
            "Plan": {
                "Type": "AWS::Backup::BackupPlan",
                "Properties": {"BackupPlan": {"BackupPlanName": "daily", "BackupPlanRule": [{**RULE, **rule}]}},
            },
            "Selection": {
                "Type": "AWS::Backup::BackupSelection",
                "Properties": {
                    "BackupPlanId": {"Ref": "Plan"},
                    "BackupSelection": {
                        "SelectionName": "primary",
                        "IamRoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                        "Resources": [{"Fn::Sub": "arn:aws:rds:${AWS::Region}:${AWS::AccountId}:db:primary"}],
                    },
                },
            },
        },
        "Outputs": {
            "Vault": {"Value": {"Ref": "Vault"}},
            "VaultArn": {"Value": {"Fn::GetAtt": ["Vault", "BackupVaultArn"]}},
            "Plan": {"Value": {"Ref": "Plan"}},
            "PlanArn": {"Value": {"Fn::GetAtt": ["Plan", "BackupPlanArn"]}},
            "Selection": {"Value": {"Fn::GetAtt": ["Selection", "SelectionId"]}},
            "Role": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}},
            "Key": {"Value": {"Fn::GetAtt": ["Key", "Arn"]}},
        },
    }


def nothing_left(world: World) -> bool:
    backup = world.client("backup")
    return (backup.list_backup_vaults()["BackupVaultList"], backup.list_backup_plans()["BackupPlansList"]) == ([], [])


def test_vault_plan_and_selection_are_described_and_hold_nothing(world: World) -> None:
    stack = world.made(template(), Capabilities=CAPABILITIES, Tags=[{"Key": "stage", "Value": "test"}])
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made, backup = world.outputs(stack), world.client("backup")
    vault = backup.describe_backup_vault(BackupVaultName=made["Vault"])
    assert (vault["BackupVaultArn"], vault["EncryptionKeyArn"]) == (made["VaultArn"], made["Key"])
    assert (vault["NumberOfRecoveryPoints"], vault["Locked"]) == (0, False)
    assert {"team": "shop", "stage": "test"}.items() <= backup.list_tags(ResourceArn=made["VaultArn"])["Tags"].items()
    plan = backup.get_backup_plan(BackupPlanId=made["Plan"])
    assert plan["BackupPlanArn"] == made["PlanArn"]
    (rule,) = plan["BackupPlan"]["Rules"]
    assert rule["TargetBackupVaultName"] == made["Vault"]
    for name in set(RULE) - {"TargetBackupVault"}:
        assert rule[name] == RULE[name], name
    assert [entry["BackupPlanName"] for entry in backup.list_backup_plans()["BackupPlansList"]] == ["daily"]
    (listed,) = backup.list_backup_selections(BackupPlanId=made["Plan"])["BackupSelectionsList"]
    assert (listed["SelectionName"], listed["SelectionId"]) == ("primary", made["Selection"])
    told = backup.get_backup_selection(BackupPlanId=made["Plan"], SelectionId=made["Selection"])["BackupSelection"]
    assert told["Resources"] == ["arn:aws:rds:us-east-1:123456789012:db:primary"]
    assert told["IamRoleArn"] == made["Role"]
    assert backup.list_backup_jobs()["BackupJobs"] == []
    assert backup.list_recovery_points_by_backup_vault(BackupVaultName=made["Vault"])["RecoveryPoints"] == []
    with pytest.raises(ClientError, match="StartBackupJob"):
        backup.start_backup_job(BackupVaultName=made["Vault"], ResourceArn="arn:aws:rds:x", IamRoleArn=made["Role"])
    assert "selections must be deleted" in refused(backup.delete_backup_plan, BackupPlanId=made["Plan"])[1]
    again = refused(backup.create_backup_vault, BackupVaultName=made["Vault"])
    assert again[0] == "AlreadyExistsException"
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    assert nothing_left(world)
    for call, arguments in (
        (backup.describe_backup_vault, {"BackupVaultName": made["Vault"]}),
        (backup.get_backup_plan, {"BackupPlanId": made["Plan"]}),
        (backup.list_tags, {"ResourceArn": made["VaultArn"]}),
    ):
        assert refused(call, **arguments)[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t["Vault"]["Properties"].update(LockConfiguration={"MinRetentionDays": 7}), "LockConfiguration of"),
        (lambda t: t["Vault"]["Properties"].update(BackupVaultName="a b"), "BackupVaultName"),
        (lambda t: t["Vault"]["Properties"].update(EncryptionKeyArn="alias/none"), "KMS key alias/none cannot be used"),
        (lambda t: _rule(t, CopyActions=[{"DestinationBackupVaultArn": "arn"}]), "CopyActions of BackupPlanRule"),
        (lambda t: _rule(t, TargetBackupVault="nowhere"), "Backup vault nowhere of the rule daily does not exist"),
        (lambda t: _rule(t, ScheduleExpression="daily"), "Invalid schedule expression"),
        (lambda t: _rule(t, StartWindowMinutes=30), "Invalid windows"),
        (lambda t: _rule(t, Lifecycle={"MoveToColdStorageAfterDays": 10, "DeleteAfterDays": 99}), "90 days greater"),
        (lambda t: _rule(t, EnableContinuousBackup=True), "kept 1 to 35 days"),
        (
            lambda t: t["Selection"]["Properties"]["BackupSelection"].update(
                IamRoleArn="arn:aws:iam::123456789012:role/none"
            ),
            "cannot be assumed by AWS Backup",
        ),
    ],
)
def test_what_aws_refuses_or_nothing_here_does_is_refused(
    world: World, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    changed = template()
    change(changed["Resources"])
    stack = world.made(changed, Capabilities=CAPABILITIES)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reason in str([event for event in world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"])
    assert nothing_left(world)


def _rule(resources: dict[str, Any], **changes: Any) -> None:
    resources["Plan"]["Properties"]["BackupPlan"]["BackupPlanRule"][0].update(changes)


@pytest.mark.parametrize("writes", range(10))
def test_nothing_is_made_twice_after_a_kill_at_any_write(world: World, death_is_silent: None, writes: int) -> None:
    world.restart(MortalJournal(world.store, writes))
    stack = world.create(template(), Capabilities=CAPABILITIES)
    assert world.services[-1].engine.wait_idle(30)
    world.restart()
    assert world.settle(stack)["StackStatus"] == "CREATE_COMPLETE", world.events(stack)
    backup = world.client("backup")
    assert len(backup.list_backup_vaults()["BackupVaultList"]) == 1
    (plan,) = backup.list_backup_plans()["BackupPlansList"]
    assert len(backup.list_backup_selections(BackupPlanId=plan["BackupPlanId"])["BackupSelectionsList"]) == 1
    assert world.deleted(stack)["StackStatus"] == "DELETE_COMPLETE", world.events(stack)
    assert nothing_left(world)
