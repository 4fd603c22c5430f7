"""AWS::SecretsManager: secrets, attachment to a database, rotation, policies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    as_policy,
    changed_tags,
    error_code,
    same,
    same_policy,
    selected,
    tag_list,
    unless_gone,
)
from multiaz.cloud.stacks.resources.kms import check_key

_GONE = frozenset({"ResourceNotFoundException"})
_PASSWORD_OPTIONS = same(
    "PasswordLength",
    "ExcludeCharacters",
    "ExcludeNumbers",
    "ExcludePunctuation",
    "ExcludeUppercase",
    "ExcludeLowercase",
    "IncludeSpace",
    "RequireEachIncludedType",
)
HOSTED_ROTATION_TYPE = "PostgreSQLSingleUser"
"""The one hosted rotation that is carried out here."""
HOSTED_FUNCTION_NAME = f"SecretsManager{HOSTED_ROTATION_TYPE}Rotation"
"""Name of the hosted rotation function if the template gives none."""
ROTATION_EXCLUDES = " \"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
"""What a rotated password never holds here, whatever ExcludeCharacters says."""
_ALTERNATING_USERS = ("MasterSecretArn", "MasterSecretKmsKeyArn", "SuperuserSecretArn", "SuperuserSecretKmsKeyArn")
_CONNECTION = ("engine", "host", "port", "dbname", "dbInstanceIdentifier")


class Secret(Handler):
    """AWS::SecretsManager::Secret. Deleting one forces it, as CloudFormation does."""

    type = "AWS::SecretsManager::Secret"
    properties = frozenset({"Name", "Description", "KmsKeyId", "SecretString", "GenerateSecretString", "Tags"})
    attributes = frozenset({"Id"})
    gone = _GONE
    updatable = properties - {"Name"}
    named_by = "Name"

    def _name(self, call: Call) -> str:
        return str(call.get("Name") or f"{call.logical_id[:64]}-{call.random}")

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        try:
            found = call.client("secretsmanager").describe_secret(SecretId=self._name(call))
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            raise
        if found.get("DeletedDate") or not call.owns(found.get("Tags", [])):
            return None
        return str(found["ARN"])

    def create(self, call: Call) -> Made:
        """Create with the given or a generated value."""
        arn = self.existing(call)
        if arn is None:
            if "SecretString" in call.properties and "GenerateSecretString" in call.properties:
                raise ResourceFailure(
                    "You can't specify both GenerateSecretString and SecretString. (Service: SecretsManager)"
                )
            if "KmsKeyId" in call.properties:
                check_key(call, call.properties["KmsKeyId"])
            value = self._value(call)
            arn = call.client("secretsmanager").create_secret(
                Name=self._name(call),
                Tags=call.tags(),
                ClientRequestToken=call.token,
                **selected(call.properties, same("Description", "KmsKeyId")),
                **value,
            )["ARN"]
        return Made(str(arn), {"Id": arn})

    def _value(self, call: Call) -> dict[str, Any]:
        if "SecretString" in call.properties:
            return {"SecretString": call.properties["SecretString"]}
        if "GenerateSecretString" in call.properties:
            return {"SecretString": _generated(call, call.properties["GenerateSecretString"])}
        return {}

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Description, key, tags, and a new version if the template says the value, or how it is generated, anew.

        Going back makes the value current again that was. Source: CloudFormation template reference,
        AWS::SecretsManager::Secret, which says of both properties that a change makes a new secret version.
        """
        client, arn = call.client("secretsmanager"), str(call.physical_id)
        if "SecretString" in call.properties and "GenerateSecretString" in call.properties:
            raise ResourceFailure(
                "You can't specify both GenerateSecretString and SecretString. (Service: SecretsManager)"
            )
        if changed & {"Description", "KmsKeyId"}:
            if "KmsKeyId" in call.properties:
                check_key(call, call.properties["KmsKeyId"])
            key = call.get("KmsKeyId", "alias/aws/secretsmanager")
            client.update_secret(SecretId=arn, Description=call.get("Description", ""), KmsKeyId=key)
        if changed & {"SecretString", "GenerateSecretString"}:
            if call.reverting:
                self._step_back(client, arn, call.change_token)
            elif call.change_token not in self._versions(client, arn):
                value = self._value(call)
                if value:
                    client.put_secret_value(SecretId=arn, ClientRequestToken=call.change_token, **value)
        if "Tags" in changed:
            tags, removed = changed_tags(old, call)
            if tags:
                client.tag_resource(SecretId=arn, Tags=tag_list(tags))
            if removed:
                client.untag_resource(SecretId=arn, TagKeys=removed)
        return None

    def _versions(self, client: Any, arn: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = client.describe_secret(SecretId=arn).get("VersionIdsToStages", {})
        return found

    def _step_back(self, client: Any, arn: str, version: str) -> None:
        """If `version`, which the update made, is the current one, the value before it is the current one again."""
        versions = self._versions(client, arn)
        if "AWSCURRENT" not in versions.get(version, []) or not any("AWSPREVIOUS" in it for it in versions.values()):
            return
        # A version of its own: moto's GetSecretValue does not see a label that moved.
        before = client.get_secret_value(SecretId=arn, VersionStage="AWSPREVIOUS")["SecretString"]
        token = hashlib.sha256(f"{version}/back".encode()).hexdigest()
        client.put_secret_value(SecretId=arn, SecretString=before, ClientRequestToken=token)

    def delete(self, call: Call) -> None:
        """Delete without the recovery window, so that the name is free at once."""
        client = call.client("secretsmanager")
        unless_gone(_GONE, client.delete_secret, SecretId=call.physical_id, ForceDeleteWithoutRecovery=True)


def _generated(call: Call, options: Mapping[str, Any]) -> str:
    template, key = options.get("SecretStringTemplate"), options.get("GenerateStringKey")
    if (template is None) != (key is None):
        raise ResourceFailure(
            "SecretStringTemplate and GenerateStringKey must be specified together in GenerateSecretString"
        )
    unknown = sorted(set(options) - set(_PASSWORD_OPTIONS) - {"SecretStringTemplate", "GenerateStringKey"})
    if unknown:
        raise ResourceFailure(f"Encountered unsupported property {unknown[0]}")
    password: str = call.client("secretsmanager").get_random_password(**selected(options, _PASSWORD_OPTIONS))[
        "RandomPassword"
    ]
    if template is None:
        return password
    try:
        entries = json.loads(template)
    except ValueError as error:
        raise ResourceFailure("Could not parse SecretStringTemplate JSON") from error
    if not isinstance(entries, dict):
        raise ResourceFailure("Could not parse SecretStringTemplate JSON")
    return json.dumps({**entries, str(key): password})


class SecretTargetAttachment(Handler):
    """AWS::SecretsManager::SecretTargetAttachment: writes where the database is into the secret."""

    type = "AWS::SecretsManager::SecretTargetAttachment"
    properties = frozenset({"SecretId", "TargetId", "TargetType"})
    attributes = frozenset({"Id"})
    updatable = frozenset({"TargetId", "TargetType"})

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """DB instances are the only targets here."""
        target = properties.get("TargetType")
        if isinstance(target, str) and target != "AWS::RDS::DBInstance":
            return [f"TargetType {target} is not available in this local cloud"]
        return []

    def find(self, call: Call) -> str | None:
        """By what the secret says of the database."""
        client, secret_id = call.client("secretsmanager"), call.properties["SecretId"]
        entries = _secret_entries(client, secret_id)
        if entries.get("dbInstanceIdentifier") != str(call.properties["TargetId"]).lower():
            return None
        return str(client.describe_secret(SecretId=secret_id)["ARN"])

    def create(self, call: Call) -> Made:
        """Merge the connection into the secret's JSON, the user name and password kept."""
        client, secret_id = call.client("secretsmanager"), call.properties["SecretId"]
        described = client.describe_secret(SecretId=secret_id)
        entries = _secret_entries(client, secret_id)
        database = call.client("rds").describe_db_instances(DBInstanceIdentifier=call.properties["TargetId"])[
            "DBInstances"
        ][0]
        merged = {
            **entries,
            "engine": database["Engine"],
            "host": database["Endpoint"]["Address"],
            "port": database["Endpoint"]["Port"],
            "dbInstanceIdentifier": database["DBInstanceIdentifier"],
        }
        if database.get("DBName"):
            merged["dbname"] = database["DBName"]
        merged.setdefault("username", database.get("MasterUsername"))
        if merged != entries:
            client.put_secret_value(SecretId=secret_id, SecretString=json.dumps(merged))
        arn = str(described["ARN"])
        return Made(arn, {"Id": arn})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Write where the other database is."""
        return self.create(call)

    def delete(self, call: Call) -> None:
        """Take the connection out of the secret again."""
        client, secret_id = call.client("secretsmanager"), call.physical_id
        try:
            entries = _secret_entries(client, str(secret_id))
        except ClientError as error:
            if error_code(error) in {*_GONE, "InvalidRequestException"}:
                return
            raise
        kept = {name: value for name, value in entries.items() if name not in _CONNECTION}
        if kept != entries:
            client.put_secret_value(SecretId=secret_id, SecretString=json.dumps(kept))


def _secret_entries(client: Any, secret_id: str) -> dict[str, Any]:
    text = client.get_secret_value(SecretId=secret_id).get("SecretString", "")
    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise ResourceFailure("The SecretString of the secret is not a JSON object: it cannot be attached")
    return entries


class RotationSchedule(Handler):
    """AWS::SecretsManager::RotationSchedule, hosted: a function of one's own would have to be run."""

    type = "AWS::SecretsManager::RotationSchedule"
    properties = frozenset(
        {"SecretId", "HostedRotationLambda", "RotationLambdaARN", "RotationRules", "RotateImmediatelyOnUpdate"}
    )
    attributes = frozenset({"Id"})
    updatable = frozenset({"HostedRotationLambda", "RotationRules", "RotateImmediatelyOnUpdate"})

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """One kind of hosted rotation is carried out here; no function runs, so its surroundings do not matter."""
        hosted = properties.get("HostedRotationLambda")
        if "RotationLambdaARN" in properties:
            return [
                "RotationLambdaARN is not available in this local cloud, as functions are never run (available: "
                f"HostedRotationLambda with RotationType {HOSTED_ROTATION_TYPE})"
            ]
        if not isinstance(hosted, Mapping):
            return []
        refused = [
            f"{name} of HostedRotationLambda belongs to the rotation of alternating users, which is not available in "
            "this local cloud"
            for name in _ALTERNATING_USERS
            if name in hosted
        ]
        kind, excluded = hosted.get("RotationType"), hosted.get("ExcludeCharacters", "")
        if isinstance(kind, str) and kind != HOSTED_ROTATION_TYPE:
            refused.append(
                f"HostedRotationLambda with RotationType {kind} is not available in this local cloud "
                f"(available: {HOSTED_ROTATION_TYPE})"
            )
        if isinstance(excluded, str) and set(excluded) - set(ROTATION_EXCLUDES):
            refused.append(
                f"ExcludeCharacters of HostedRotationLambda is not available in this local cloud for other characters "
                f"than {ROTATION_EXCLUDES} (those are always left out)"
            )
        return refused

    def _function(self, call: Call) -> str:
        hosted = call.get("HostedRotationLambda")
        if hosted is None:
            raise ResourceFailure("HostedRotationLambda is required")
        name = hosted.get("RotationLambdaName", HOSTED_FUNCTION_NAME)
        return f"arn:aws:lambda:{call.region}:{call.account_id}:function:{name}"

    def find(self, call: Call) -> str | None:
        """By what the secret says of its rotation."""
        found = call.client("secretsmanager").describe_secret(SecretId=call.properties["SecretId"])
        ours = found.get("RotationEnabled") and found.get("RotationLambdaARN") == self._function(call)
        return str(found["ARN"]) if ours else None

    def create(self, call: Call) -> Made:
        """Turn rotation on."""
        return self._rotate(call, at_once=call.get("RotateImmediatelyOnUpdate", True), ClientRequestToken=call.token)

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Other rules, and a rotation at once unless the template says otherwise; going back rotates nothing."""
        if call.reverting:
            return self._rotate(call, at_once=False)
        at_once = call.get("RotateImmediatelyOnUpdate", True)
        return self._rotate(call, at_once=at_once, ClientRequestToken=call.change_token)

    def _rotate(self, call: Call, *, at_once: bool, **token: str) -> Made:
        client = call.client("secretsmanager")
        arguments: dict[str, Any] = {
            "SecretId": call.properties["SecretId"],
            "RotationLambdaARN": self._function(call),
            "RotateImmediately": at_once,
            **token,
        }
        if "RotationRules" in call.properties:
            arguments["RotationRules"] = call.properties["RotationRules"]
        answer = client.rotate_secret(**arguments)
        return Made(str(answer["ARN"]), {"Id": answer["ARN"]})

    def delete(self, call: Call) -> None:
        """Turn rotation off."""
        client = call.client("secretsmanager")
        unless_gone(_GONE | {"InvalidRequestException"}, client.cancel_rotate_secret, SecretId=call.physical_id)


class ResourcePolicy(Handler):
    """AWS::SecretsManager::ResourcePolicy."""

    type = "AWS::SecretsManager::ResourcePolicy"
    properties = frozenset({"SecretId", "ResourcePolicy"})
    attributes = frozenset({"Id"})
    updatable = frozenset({"ResourcePolicy"})

    def find(self, call: Call) -> str | None:
        """By the document: a secret has one."""
        found = call.client("secretsmanager").get_resource_policy(SecretId=call.properties["SecretId"])
        ours = same_policy(found.get("ResourcePolicy", ""), call.properties["ResourcePolicy"])
        return str(found["ARN"]) if ours else None

    def create(self, call: Call) -> Made:
        """Put."""
        answer = call.client("secretsmanager").put_resource_policy(
            SecretId=call.properties["SecretId"],
            ResourcePolicy=as_policy(call.properties["ResourcePolicy"]),
        )
        return Made(str(answer["ARN"]), {"Id": answer["ARN"]})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Put again."""
        return self.create(call)

    def delete(self, call: Call) -> None:
        """Delete."""
        client = call.client("secretsmanager")
        unless_gone(_GONE, client.delete_resource_policy, SecretId=call.physical_id)


HANDLERS: tuple[Handler, ...] = (Secret(), SecretTargetAttachment(), RotationSchedule(), ResourcePolicy())
