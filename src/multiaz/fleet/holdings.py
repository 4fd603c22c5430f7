"""What a region holds that a person may want to keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from multiaz.fleet.access import AwsClients, refusals
from multiaz.fleet.instances import Instances
from multiaz.fleet.stacks import Stacks


def holdings(clients: AwsClients, services: Collection[str]) -> list[str]:
    """Data in the region of `clients`, for people; `services` are those asked besides CloudFormation and RDS.

    Where there are stacks, what else the region holds is mostly theirs: only stacks and snapshots are named.
    """
    instances = Instances(clients)
    found = [f"the stack {name}" for name in Stacks(clients).names()]
    if not found:
        found = [f"the DB instance {name}" for name in instances.all_identifiers()]
        for service, look in _LOOKS.items():
            if service in services:
                with refusals(f"Cannot list what {service} holds in {clients.access.region}"):
                    found += look(clients.client(service))
    return found + [f"the DB snapshot {name}" for name in instances.manual_snapshots()]


def buckets(clients: AwsClients) -> list[str]:
    """The buckets of all regions."""
    s3: Any = clients.client("s3")
    with refusals("Cannot list the buckets"):
        return [f"the bucket {bucket['Name']}" for bucket in s3.list_buckets()["Buckets"]]


def _pages(client: Any, action: str, result: str) -> Iterable[dict[str, Any]]:
    for page in client.get_paginator(action).paginate():
        yield from page[result]


def _secrets(client: Any) -> list[str]:
    return [f"the secret {told['Name']}" for told in _pages(client, "list_secrets", "SecretList")]


def _parameters(client: Any) -> list[str]:
    return [f"the SSM parameter {told['Name']}" for told in _pages(client, "describe_parameters", "Parameters")]


def _log_groups(client: Any) -> list[str]:
    return [f"the log group {told['logGroupName']}" for told in _pages(client, "describe_log_groups", "logGroups")]


def _keys(client: Any) -> list[str]:
    """Keys people made that are not on their way out."""
    keys = [client.describe_key(KeyId=told["KeyId"])["KeyMetadata"] for told in _pages(client, "list_keys", "Keys")]
    return [
        f"the KMS key {key['KeyId']}"
        for key in keys
        if key.get("KeyManager") == "CUSTOMER" and key["KeyState"] != "PendingDeletion"
    ]


_LOOKS: dict[str, Callable[[Any], list[str]]] = {
    "secretsmanager": _secrets,
    "ssm": _parameters,
    "logs": _log_groups,
    "kms": _keys,
}
