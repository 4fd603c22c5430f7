"""The KMS key of everything that is stored, its alias, and who may use it."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Sub, kms

from multiaz.blueprint.expressions import SAME_ACCOUNT, kept_or_gone, policy, statement, tags
from multiaz.blueprint.settings import Settings

TEST_PENDING_DAYS = 7
"""Shortest wait KMS allows before a key is really deleted."""


def keys(s: Settings) -> list[Any]:
    """One key for all that is stored, rotated, and its alias; none where an ARN is given.

    Where a snapshot or the bucket is kept, the key is kept too: without it they are noise.
    """
    window = {} if s.keep_key else {"PendingWindowInDays": TEST_PENDING_DAYS}
    return [
        kms.Key(
            "DBEncryptionKey",
            Condition="CreateKMSKey",
            **kept_or_gone(s.keep_key),
            Description=Sub("Database, backups, secret, logs and alarms of ecommerce-db ${EnvironmentSuffix}"),
            EnableKeyRotation=True,
            KeyPolicy=policy(
                statement(
                    "AccountDelegatesToIAM",
                    ["kms:*"],
                    "*",
                    Principal={"AWS": Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")},
                ),
                statement(
                    "CloudWatchAlarmsPublish",
                    ["kms:Decrypt", "kms:GenerateDataKey*"],
                    "*",
                    Principal={"Service": "cloudwatch.amazonaws.com"},
                    Condition=SAME_ACCOUNT,
                ),
                statement(
                    "RDSEventsPublish",
                    ["kms:Decrypt", "kms:GenerateDataKey*"],
                    "*",
                    Principal={"Service": "events.rds.amazonaws.com"},
                ),
                statement(
                    "CloudWatchLogsEncrypt",
                    ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
                    "*",
                    Principal={"Service": Sub("logs.${AWS::Region}.${AWS::URLSuffix}")},
                    Condition={
                        "ArnLike": {
                            "kms:EncryptionContext:aws:logs:arn": Sub(
                                "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:*"
                            )
                        }
                    },
                ),
            ),
            Tags=tags("db-key"),
            **window,
        ),
        kms.Alias(
            "DBEncryptionKeyAlias",
            Condition="CreateKMSKey",
            AliasName=Sub("alias/ecommerce-db-${EnvironmentSuffix}"),
            TargetKeyId=GetAtt("DBEncryptionKey", "Arn"),
        ),
    ]
