"""Roles and policies: Enhanced Monitoring, snapshot export, login with an IAM token."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub, iam

from multiaz.blueprint.expressions import SAME_ACCOUNT, key_arn, policy, statement, trust
from multiaz.blueprint.members import members
from multiaz.blueprint.settings import Settings

EXPORT_OBJECT_ACTIONS = ["s3:DeleteObject*", "s3:GetObject*", "s3:PutObject*"]
EXPORT_BUCKET_ACTIONS = ["s3:GetBucketLocation", "s3:ListBucket"]
EXPORT_KEY_ACTIONS = [
    *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"),
]


def access(s: Settings) -> list[Any]:
    """Every role and policy but those of the bucket's clean-up."""
    return [*([] if s.monitoring_role_arn else _enhanced_monitoring()), *_snapshot_export(), _connect(s)]


def _enhanced_monitoring() -> list[Any]:
    """The role and what AWS's own AmazonRDSEnhancedMonitoringRole allows, for this account and region."""
    logs = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:RDS*"
    return [
        iam.ManagedPolicy(
            "EnhancedMonitoringPolicy",
            Condition="EnableEnhancedMonitoring",
            PolicyDocument=policy(
                statement("LogGroups", ["logs:CreateLogGroup", "logs:PutRetentionPolicy"], Sub(logs)),
                statement(
                    "LogStreams",
                    [
                        *("logs:CreateLogStream", "logs:DescribeLogStreams"),
                        *("logs:GetLogEvents", "logs:PutLogEvents"),
                    ],
                    Sub(f"{logs}:log-stream:*"),
                ),
            ),
        ),
        iam.Role(
            "EnhancedMonitoringRole",
            Condition="EnableEnhancedMonitoring",
            AssumeRolePolicyDocument=trust("monitoring.rds.amazonaws.com", **SAME_ACCOUNT),
            ManagedPolicyArns=[Ref("EnhancedMonitoringPolicy")],
        ),
    ]


def monitoring_role(s: Settings) -> Any:
    """ARN of the role of Enhanced Monitoring: the stack's own, or the one that was given."""
    return s.monitoring_role_arn or GetAtt("EnhancedMonitoringRole", "Arn")


def _snapshot_export() -> list[Any]:
    bucket = GetAtt("BackupBucket", "Arn")
    return [
        iam.ManagedPolicy(
            "SnapshotExportPolicy",
            PolicyDocument=policy(
                statement("Bucket", EXPORT_BUCKET_ACTIONS, bucket),
                statement("Objects", EXPORT_OBJECT_ACTIONS, Sub("${BackupBucket.Arn}/*")),
                statement("Key", EXPORT_KEY_ACTIONS, key_arn()),
                statement(
                    "Grant",
                    ["kms:CreateGrant"],
                    key_arn(),
                    Condition={"Bool": {"kms:GrantIsForAWSResource": "true"}},
                ),
            ),
        ),
        iam.Role(
            "SnapshotExportRole",
            AssumeRolePolicyDocument=trust("export.rds.amazonaws.com"),
            ManagedPolicyArns=[Ref("SnapshotExportPolicy")],
        ),
    ]


def _connect(s: Settings) -> Any:
    """For the application's own roles. Each instance has a resource id of its own: all are named."""
    return iam.ManagedPolicy(
        "DBConnectPolicy",
        PolicyDocument=policy(
            statement(
                "Connect",
                ["rds-db:connect"],
                [
                    Sub(
                        "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:"
                        f"${{{member.logical_id}.DbiResourceId}}/${{WriterUsername}}"
                    )
                    for member in members(s)
                ],
            )
        ),
    )
