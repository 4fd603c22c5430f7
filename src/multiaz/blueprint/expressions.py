"""Expressions several parts of the template share: names, tags, the key, policies."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, If, Ref, Select, Split, Sub, Tags


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


def major_version() -> Any:
    """17 of the parameter EngineVersion 17.10."""
    return Select(0, Split(".", Ref("EngineVersion")))


def kept_or_gone(kept: bool) -> dict[str, str]:
    """Policies of a resource that outlives the stack, or goes with it.

    RetainExceptOnCreate: a creation that rolls back leaves no empty bucket and no key to pay for.
    """
    if not kept:
        return {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"}
    return {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
