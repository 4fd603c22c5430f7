"""Dynamic references: `{{resolve:secretsmanager:…}}`, `{{resolve:ssm:…}}`, `{{resolve:ssm-secure:…}}`.

Resolved only while a resource is being made. What was resolved is remembered by the call that did
it, so that its own error messages can be cleaned of it, and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.service import Clients
from multiaz.cloud.stacks.faults import TemplateError

DYNAMIC = "{{resolve:"
_REFERENCE = re.compile(r"\{\{resolve:([^:{}]+):([^{}]*)\}\}")
_ARN = re.compile(r"(arn:[^:]+:secretsmanager:[^:]*:[^:]*:secret:[^:]+)(?::(.*))?\Z")
_SECURE_PROPERTIES = frozenset(
    {
        ("AWS::RDS::DBInstance", "MasterUserPassword"),
        ("AWS::RDS::DBCluster", "MasterUserPassword"),
    }
)


@dataclass(frozen=True)
class SecretReference:
    """One field, or all, of one version of a secret."""

    secret_id: str
    json_key: str | None = None
    version_stage: str | None = None
    version_id: str | None = None


@dataclass(frozen=True)
class SsmReference:
    """One SSM parameter, the latest version unless one is named."""

    name: str
    version: int | None = None
    secure: bool = False


Reference = SecretReference | SsmReference


def parse_reference(service: str, rest: str) -> Reference:
    """The reference in `{{resolve:SERVICE:REST}}`. Raises TemplateError."""
    match service:
        case "secretsmanager":
            return _parse_secret(rest)
        case "ssm" | "ssm-secure":
            name, _, version = rest.partition(":")
            if not name or (version and not version.isdecimal()):
                raise TemplateError(f"Incorrect format is used in the following SSM reference: [{rest}]")
            return SsmReference(name, int(version) if version else None, service == "ssm-secure")
        case _:
            raise TemplateError(f"Dynamic reference of service {service} is not supported")


def _parse_secret(rest: str) -> SecretReference:
    found = _ARN.match(rest)
    fields: list[str]
    if found:
        secret_id, tail = str(found.group(1)), found.group(2)
        fields = str(tail).split(":") if tail else []
    else:
        secret_id, *fields = rest.split(":")
    if not secret_id or len(fields) > 4:
        raise _malformed(rest)
    kind, key, stage, version = (*fields, *[""] * (4 - len(fields)))
    if kind not in {"", "SecretString"}:
        raise _malformed(rest)
    if stage and version:
        raise TemplateError(f"Dynamic reference [{rest}]: version-stage and version-id must not both be specified")
    return SecretReference(secret_id, key or None, stage or None, version or None)


def _malformed(rest: str) -> TemplateError:
    return TemplateError(
        f"Incorrect format is used in the following secretsmanager reference: [{rest}] "
        "(secret-id:SecretString:json-key:version-stage:version-id)"
    )


def references(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Reference]]:
    """Every dynamic reference in an evaluated value, with the path of names to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from references(item, (*path, str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from references(item, path)
    elif isinstance(value, str) and DYNAMIC in value:
        for found in _REFERENCE.finditer(value):
            yield path, parse_reference(found.group(1), found.group(2))


@dataclass
class Resolver:
    """Reads secrets and parameters for one resource."""

    clients: Clients
    region: str
    resource_type: str
    secrets: set[str] = field(default_factory=set, repr=False)
    """Values that must never be shown."""
    shown: dict[str, str] = field(default_factory=dict)
    """Non-secret references (`{{resolve:ssm:…}}` as written) and what they gave."""
    deleting: bool = False
    """Secrets are left as written, as nothing needs one to be deleted; what `shown` has is not asked again."""
    _cache: dict[SecretReference, str] = field(default_factory=dict, repr=False)

    def resolve(self, value: Any, path: tuple[str, ...] = ()) -> Any:
        """`value` with every dynamic reference replaced. Raises TemplateError."""
        if isinstance(value, dict):
            return {key: self.resolve(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, path) for item in value]
        if not isinstance(value, str) or DYNAMIC not in value:
            return value
        return _REFERENCE.sub(lambda found: self._read(found, path), value)

    def hide(self, text: str) -> str:
        """`text` without the secrets this resolver has read."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= 4:
                text = text.replace(secret, "****")
        return text

    def _read(self, found: re.Match[str], path: tuple[str, ...]) -> str:
        text = found.group(0)
        reference = parse_reference(found.group(1), found.group(2))
        match reference:
            case SsmReference(secure=False):
                if not self.deleting or text not in self.shown:
                    self.shown[text] = self._read_parameter(reference, path)
                return self.shown[text]
            case _ if self.deleting:
                return text
            case SecretReference():
                return self._read_secret(reference)
            case SsmReference():
                return self._read_parameter(reference, path)

    def _read_secret(self, reference: SecretReference) -> str:
        if reference in self._cache:
            return self._cache[reference]
        request = {"SecretId": reference.secret_id}
        if reference.version_stage:
            request["VersionStage"] = reference.version_stage
        if reference.version_id:
            request["VersionId"] = reference.version_id
        client = self.clients.client("secretsmanager", self.region)
        try:
            text: str | None = client.get_secret_value(**request).get("SecretString")
        except ClientError as error:
            reason = error.response["Error"].get("Message", "")
            raise TemplateError(f"Could not read a value from secret {reference.secret_id}: {reason}") from error
        if text is None:
            raise TemplateError(f"Secret {reference.secret_id} has no SecretString")
        value = text
        if reference.json_key is not None:
            value = _json_field(text, reference)
        self.secrets.add(value)
        self._cache[reference] = value
        return value

    def _read_parameter(self, reference: SsmReference, path: tuple[str, ...]) -> str:
        if reference.secure and (self.resource_type, path[0] if path else "") not in _SECURE_PROPERTIES:
            where = "/".join((self.resource_type, "Properties", *path))
            raise TemplateError(f"SSM Secure reference is not supported in: [{where}]")
        name = reference.name if reference.version is None else f"{reference.name}:{reference.version}"
        client = self.clients.client("ssm", self.region)
        try:
            parameter = client.get_parameter(Name=name, WithDecryption=reference.secure)["Parameter"]
        except ClientError as error:
            raise TemplateError(f"Unable to fetch parameters [{name}] from parameter store") from error
        is_secure = parameter["Type"] == "SecureString"
        if is_secure != reference.secure:
            wanted = "SecureString" if reference.secure else "non-secure"
            raise TemplateError(
                f"Parameter {name} is not of type {wanted}: use ssm{'' if not is_secure else '-secure'}"
            )
        value: str = parameter["Value"]
        if reference.secure:
            self.secrets.add(value)
        return value


def _json_field(text: str, reference: SecretReference) -> str:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise TemplateError(f"Could not parse SecretString JSON of {reference.secret_id}") from error
    value = entries.get(reference.json_key) if isinstance(entries, dict) else None
    if value is None or isinstance(value, dict | list):
        raise TemplateError(f"Could not find a value associated with JSONKey in SecretString ({reference.json_key})")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
