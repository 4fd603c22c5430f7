"""Roles and policies: Enhanced Monitoring, snapshot export, login with an IAM token."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub, iam

from multiaz.blueprint.credentials import CONNECTION
from multiaz.blueprint.expressions import SAME_ACCOUNT, key_arn, policy, statement, trust
from multiaz.blueprint.members import members
from multiaz.blueprint.settings import Settings

EXPORT_OBJECT_ACTIONS = ["s3:DeleteObject*", "s3:GetObject*", "s3:PutObject*"]
EXPORT_BUCKET_ACTIONS = ["s3:GetBucketLocation", "s3:ListBucket"]
EXPORT_KEY_ACTIONS = [
    *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"),
]


def access(s: Settings) -> list[Any]:
    """Enhanced Monitoring, snapshot export, and login with an IAM token as writer or reader on every instance."""
    return [*([] if s.monitoring_role_arn else _enhanced_monitoring()), *_snapshot_export(), *_application(s)]


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
    """What an export needs. The trust has no aws:SourceAccount: AWS documents it for exports without.

    A key the service does not send would refuse every export. Who may pass the role is decided by iam:PassRole.
    Source: Amazon RDS user guide, Exporting DB snapshot data to Amazon S3.
    """
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


def _application(s: Settings) -> list[Any]:
    """For the application: a policy and a role to write, a policy and a role to read.

    The policies are managed, to be attached to roles an application has already (an instance profile, a
    task or a function). The roles are for who has none of its own, and for people. Neither may read the
    master user's secret.
    """
    made: list[Any] = []
    for who, parameter in (("Writer", "WriterUsername"), ("Reader", "ReaderUsername")):
        made += [
            iam.ManagedPolicy(
                f"{who}ConnectPolicy",
                Description=f"Log in with an IAM token as the {parameter} of the stack, and learn where",
                PolicyDocument=policy(
                    statement("Connect", ["rds-db:connect"], _database_users(s, parameter)),
                    statement(
                        "WhereToConnect",
                        ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
                        Ref(CONNECTION),
                    ),
                    statement("ReadThatSecret", ["kms:Decrypt"], key_arn(), Condition=_of_secret(CONNECTION)),
                ),
            ),
            iam.Role(
                f"{who}Role",
                Description=f"Logs in to the databases of the stack as its {parameter}",
                AssumeRolePolicyDocument=policy(_THIS_ACCOUNT),
                ManagedPolicyArns=[Ref(f"{who}ConnectPolicy")],
            ),
        ]
    return made


def _database_users(s: Settings, parameter: str) -> list[Any]:
    """The user on every instance; each has a resource id of its own.

    The writer on replicas too: it reads there, and a replica that is promoted takes its writes at once.
    The reader on the primary too: for what must be read as it was just written.
    """
    return [
        Sub(
            "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:"
            f"${{{member.logical_id}.DbiResourceId}}/${{{parameter}}}"
        )
        for member in members(s)
    ]


def _of_secret(logical_id: str) -> dict[str, Any]:
    """Condition: Secrets Manager decrypts this very secret.

    Source: Secrets Manager user guide, "Secret encryption and decryption" (the encryption context is SecretARN).
    """
    return {
        "StringEquals": {
            "kms:ViaService": Sub("secretsmanager.${AWS::Region}.${AWS::URLSuffix}"),
            "kms:EncryptionContext:SecretARN": Ref(logical_id),
        }
    }


_THIS_ACCOUNT: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"AWS": Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")},
    "Action": "sts:AssumeRole",
}
"""Trust: principals of this account whose own policies let them assume the role; nobody else, and no service."""
