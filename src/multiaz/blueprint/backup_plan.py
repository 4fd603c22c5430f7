"""AWS Backup besides RDS's own backups: a vault, a daily plan, the primary in it."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Select, Split, Sub, backup, iam

from multiaz.blueprint.expressions import kept_or_gone, key_arn, trust
from multiaz.blueprint.members import PRIMARY
from multiaz.blueprint.settings import Settings

START_WINDOW_MINUTES = 480
COMPLETION_WINDOW_MINUTES = 1440
"""AWS Backup waits in these while RDS is busy with a backup or maintenance of its own."""


def backup_plan(s: Settings) -> list[Any]:
    """Vault, role, plan and selection.

    Snapshots, not continuous backup: RDS restores to a point in time already, and AWS Backup would take over the
    instance's retention and window, which are the template's. Source: AWS Backup developer guide, Continuous backups
    and point-in-time recovery.

    The vault is kept: AWS refuses to delete one that holds recovery points.
    """
    return [
        backup.BackupVault(
            "BackupVault",
            **kept_or_gone(True),
            BackupVaultName=Sub("ecommerce-db-${EnvironmentSuffix}-${Unique}", Unique=_unique()),
            EncryptionKeyArn=key_arn(),
        ),
        iam.Role(
            "BackupRole",
            AssumeRolePolicyDocument=trust("backup.amazonaws.com"),
            ManagedPolicyArns=[
                Sub("arn:${AWS::Partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup")
            ],
        ),
        backup.BackupPlan(
            "BackupPlan",
            BackupPlan=backup.BackupPlanResourceType(
                BackupPlanName=Sub("ecommerce-db-${EnvironmentSuffix}"),
                BackupPlanRule=[
                    backup.BackupRuleResourceType(
                        RuleName="daily",
                        TargetBackupVault=Ref("BackupVault"),
                        ScheduleExpression=_at_the_end_of_the_window(),
                        ScheduleExpressionTimezone="UTC",
                        StartWindowMinutes=START_WINDOW_MINUTES,
                        CompletionWindowMinutes=COMPLETION_WINDOW_MINUTES,
                        EnableContinuousBackup=False,
                        Lifecycle=backup.LifecycleResourceType(DeleteAfterDays=s.aws_backup_retention_days),
                    )
                ],
            ),
        ),
        backup.BackupSelection(
            "BackupSelection",
            BackupPlanId=Ref("BackupPlan"),
            BackupSelection=backup.BackupSelectionResourceType(
                SelectionName="primary",
                IamRoleArn=GetAtt("BackupRole", "Arn"),
                Resources=[
                    Sub(
                        "arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:db:${Primary}",
                        Primary=Ref(PRIMARY),
                    )
                ],
            ),
        ),
    ]


def _unique() -> Any:
    """The last part of the stack's own id: a kept vault must not stand in the way of the next stack of that name."""
    return Select(4, Split("-", Select(2, Split("/", Ref("AWS::StackId")))))


def _at_the_end_of_the_window() -> Any:
    """Daily, when RDS's own backup is over: 03:00-04:00 is 04:00. Follows the parameter."""
    end = Select(1, Split("-", Ref("PreferredBackupWindow")))
    return Sub("cron(${Minute} ${Hour} * * ? *)", Hour=Select(0, Split(":", end)), Minute=Select(1, Split(":", end)))
