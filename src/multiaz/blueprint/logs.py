"""CloudWatch log groups of everything in the stack that logs: they expire, and go when the stack goes.

Those of flow logs and of the function that empties the bucket stand beside what writes to them. RDSOSMetrics, where
Enhanced Monitoring writes, is one for the whole account, made by RDS with a retention of 30 days: a stack that made or
deleted it would take other instances' figures with it. Source: Amazon RDS user guide, "Viewing OS metrics using
CloudWatch Logs".
"""

from __future__ import annotations

from typing import Any

from troposphere import Sub, logs

from multiaz.blueprint.expressions import key_arn
from multiaz.blueprint.members import Member, members
from multiaz.blueprint.settings import Settings

EXPORTED_LOGS = ("postgresql", "upgrade")
"""Logs of an instance that RDS sends to CloudWatch."""


def log_group_id(member: Member, log: str) -> str:
    """Logical id of the log group of one log of one instance."""
    return f"{member.logical_id}{log.capitalize()}Logs"


def log_groups(s: Settings) -> list[Any]:
    """Log groups that expire and go with the stack: two for each instance, one for the password rotation function."""
    groups = [
        log_group(s, log_group_id(member, log), Sub(f"/aws/rds/instance/{member.name}/{log}"))
        for member in members(s)
        for log in EXPORTED_LOGS
    ]
    return [*groups, log_group(s, "RotationLogs", Sub("/aws/lambda/ecommerce-db-rotation-${EnvironmentSuffix}"))]


def log_group(s: Settings, logical_id: str, name: Any) -> Any:
    """A log group that expires and is encrypted by the stack's key."""
    return logs.LogGroup(
        logical_id,
        LogGroupName=name,
        RetentionInDays=s.log_retention_days,
        KmsKeyId=key_arn(),
    )
