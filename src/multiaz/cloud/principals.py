"""Who may sign: the administrator of this home, and the users and assumed roles moto's IAM knows.

The only module that reads moto's IAM and STS models; a contract test pins what it reads.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

from multiaz.cloud.service import ACCOUNT_ID, PARTITION, Caller
from multiaz.errors import Conflict
from multiaz.files import write_atomically

ADMINISTRATOR_ARN = f"arn:{PARTITION}:iam::{ACCOUNT_ID}:user/multiaz-administrator"
DEFAULT_REGION = "us-west-2"


@dataclass(frozen=True)
class Principal:
    """Somebody who can sign requests, and what decides what they may do."""

    caller: Caller
    user_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """Session token that must come with the signature; None for long-term keys."""
    expires: datetime | None = None
    policies: tuple[Mapping[str, Any], ...] = ()
    boundary: Mapping[str, Any] | None = None


class Tail(Protocol):
    """What `Principals` needs of moto's tail."""

    lock: RLock

    def backend(self, service: str) -> Any:
        """moto's backend of a service that is not regional."""


def load_or_create_administrator(path: Path) -> Principal:
    """The administrator's key of this home, made at random the first time (0600, durable)."""
    if not path.exists():
        alphabet = string.ascii_uppercase + "234567"
        key_id = "AKIA" + "".join(secrets.choice(alphabet) for _ in range(16))
        record = {
            "access_key_id": key_id,
            "secret_access_key": secrets.token_urlsafe(30),
            "region": DEFAULT_REGION,
            "account_id": ACCOUNT_ID,
        }
        write_atomically(path, json.dumps(record, indent=2) + "\n", mode=0o600)
    try:
        record = json.loads(path.read_text())
        key_id, secret = str(record["access_key_id"]), str(record["secret_access_key"])
    except (ValueError, KeyError, TypeError) as error:
        raise Conflict(
            f"Cannot read {path}",
            f"it does not hold an access key ({type(error).__name__})",
            "restore it from a backup, or remove it: a new key is made, and old `multiaz env` lines stop working",
        ) from error
    caller = Caller(arn=ADMINISTRATOR_ARN, access_key_id=key_id, administrator=True)
    return Principal(caller, user_id="AIDAMULTIAZADMINISTR", secret=secret)


class Principals:
    """Finds principals by access key id."""

    def __init__(self, administrator: Principal, tail: Tail) -> None:
        self._administrator = administrator
        self._tail = tail

    def find(self, access_key_id: str) -> Principal | None:
        """The principal of a key that exists and is active; None otherwise."""
        if access_key_id == self._administrator.caller.access_key_id:
            return self._administrator
        with self._tail.lock:
            return self._user(access_key_id) or self._assumed_role(access_key_id)

    def _user(self, access_key_id: str) -> Principal | None:
        iam = self._tail.backend("iam")
        for user in list(iam.users.values()):
            for key in user.access_keys:
                if key.access_key_id == access_key_id and key.status == "Active":
                    groups = iam.get_groups_for_user(user.name)
                    policies = [*_documents(user), *(d for group in groups for d in _documents(group))]
                    caller = Caller(arn=user.arn, access_key_id=access_key_id)
                    return Principal(caller, user_id=user.id, secret=key.secret_access_key, policies=tuple(policies))
        return None

    def _assumed_role(self, access_key_id: str) -> Principal | None:
        session = self._tail.backend("sts").get_assumed_role_from_access_key(access_key_id)
        role = self.role(session.role_arn) if session is not None else None
        if session is None or role is None:
            return None
        boundary = None
        if role.permissions_boundary_arn:
            boundary = _parse(_default_version(self._tail.backend("iam").get_policy(role.permissions_boundary_arn)))
        return Principal(
            Caller(arn=session.arn, access_key_id=access_key_id),
            user_id=session.user_id,
            secret=session.secret_access_key,
            token=session.session_token,
            expires=session.expiration.replace(tzinfo=UTC),
            policies=tuple(_documents(role)),
            boundary=boundary,
        )

    def role(self, arn: str) -> Any | None:
        """moto's role of that ARN, or None."""
        with self._tail.lock:
            roles = self._tail.backend("iam").roles.values()
            return next((role for role in roles if role.arn == arn), None)


def _documents(owner: Any) -> list[Mapping[str, Any]]:
    """Inline and attached policies of a user, group or role."""
    inline = [_parse(document) for document in owner.policies.values()]
    return inline + [_parse(_default_version(policy)) for policy in owner.managed_policies.values()]


def _default_version(policy: Any) -> str:
    """The document of a managed policy that is in force."""
    return next(str(version.document) for version in policy.versions if version.is_default)


def _parse(document: str | Mapping[str, Any]) -> Mapping[str, Any]:
    parsed: Mapping[str, Any] = json.loads(document) if isinstance(document, str) else document
    return parsed
