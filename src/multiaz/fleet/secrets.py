"""The master user's credentials, from the secret the stack made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from multiaz.errors import NotFound
from multiaz.fleet.access import AwsClients, refusals
from multiaz.fleet.stacks import StackResource

SECRET_TYPE = "AWS::SecretsManager::Secret"  # noqa: S105 - the name of a resource type


@dataclass(frozen=True)
class Credentials:
    """How the master user logs in."""

    user: str
    password: str = field(repr=False)
    database: str
    host: str
    port: int
    secret_arn: str

    def at(self, host: str, port: int) -> Credentials:
        """The same user at another endpoint."""
        return replace(self, host=host, port=port)


def credentials_in(text: str, arn: str) -> Credentials | None:
    """Credentials in the JSON of a database secret, or None if this is another kind of secret.

    Source: Secrets Manager user guide, "JSON structure of database credential secrets".
    """
    try:
        told = json.loads(text)
    except ValueError:
        return None
    if not isinstance(told, dict) or not {"username", "password", "host"} <= told.keys():
        return None
    return Credentials(
        user=told["username"],
        password=told["password"],
        database=told.get("dbname") or "postgres",
        host=told["host"],
        port=int(told.get("port") or 5432),
        secret_arn=arn,
    )


def read_credentials(clients: AwsClients, stack: str, resources: Iterable[StackResource]) -> Credentials:
    """The current credentials of the stack's database; raises NotFound if no secret holds any."""
    client: Any = clients.client("secretsmanager")
    for resource in resources:
        if resource.resource_type != SECRET_TYPE or not resource.physical_id:
            continue
        with refusals(f"Cannot read the secret {resource.logical_id} of {stack}"):
            told = client.get_secret_value(SecretId=resource.physical_id)
        found = credentials_in(told.get("SecretString", ""), told["ARN"])
        if found is not None:
            return found
    raise NotFound(
        f"The stack {stack} has no database credentials",
        "none of its secrets is attached to a DB instance",
        "wait until the stack is complete, or deploy it again",
    )
