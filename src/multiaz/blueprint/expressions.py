"""Expressions several parts of the template share: names, tags, the key, the members of the fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from troposphere import GetAtt, If, Ref, Sub, Tags

PRIMARY = "PrimaryDB"
REPLICAS = ("ReadReplica1", "ReadReplica2")


@dataclass(frozen=True)
class Member:
    """One DB instance of the stack: logical id, and the part of its name between prefix and suffix."""

    logical_id: str
    short_name: str
    label: str
    class_parameter: str

    @property
    def name(self) -> str:
        """Body of a Fn::Sub: its DBInstanceIdentifier."""
        return f"ecommerce-db-{self.short_name}-${{EnvironmentSuffix}}"


MEMBERS: tuple[Member, ...] = (
    Member(PRIMARY, "primary", "primary", "DBInstanceClass"),
    Member(REPLICAS[0], "replica-1", "replica 1", "ReadReplicaInstanceClass"),
    Member(REPLICAS[1], "replica-2", "replica 2", "ReadReplicaInstanceClass"),
)


def named(body: str) -> Any:
    """`ecommerce-<body>-<suffix>`, the form of every name in the stack."""
    return Sub(f"ecommerce-{body}-${{EnvironmentSuffix}}")


def tags(body: str, **more: str) -> Any:
    """Name and Environment, as the seed tags its resources, and what else is given."""
    return Tags(Name=named(body)) + Tags(Environment=Ref("EnvironmentSuffix")) + Tags(**more)


def key_arn() -> Any:
    """ARN of the stack's own key, or of the one that was given."""
    return If("CreateKMSKey", GetAtt("DBEncryptionKey", "Arn"), Ref("KMSKeyARN"))


def statement(sid: str, actions: list[str], resources: Any, **more: Any) -> dict[str, Any]:
    """An Allow statement of a policy."""
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources, **more}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(service: str, **condition: Any) -> dict[str, Any]:
    """A trust policy that lets one service assume the role."""
    allowed: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if condition:
        allowed["Condition"] = condition
    return policy(allowed)


SAME_ACCOUNT = {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}}
"""Condition: only on behalf of this account (the confused deputy)."""
