"""What a call does, in IAM's words: its actions, and the ARNs they touch where they can be told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from multiaz.cloud.models import model_name
from multiaz.cloud.protocol import parse
from multiaz.cloud.service import ACCOUNT_ID, AwsFault, AwsRequest

_PREFIX = {"monitoring": "cloudwatch", "eventbridge": "events"}
"""IAM's prefix of a service where it is not the name in the credential scope."""

_S3_ACTIONS = {
    "ListBuckets": "ListAllMyBuckets",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListParts": "ListMultipartUploadParts",
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
}
_S3_VERSIONED = {"GetObject": "GetObjectVersion", "DeleteObject": "DeleteObjectVersion"}

_RESOURCES: dict[str, dict[str, str]] = {
    "cloudformation": {"StackName": "stack/{}/*"},
    "rds": {
        "DBInstanceIdentifier": "db:{}",
        "SourceDBInstanceIdentifier": "db:{}",
        "TargetDBInstanceIdentifier": "db:{}",
        "DBSnapshotIdentifier": "snapshot:{}",
        "DBParameterGroupName": "pg:{}",
        "DBSubnetGroupName": "subgrp:{}",
        "SubscriptionName": "es:{}",
        "ResourceName": "{}",
    },
    "lambda": {"FunctionName": "function:{}"},
    "sns": {"TopicArn": "{}", "Name": "{}"},
    "ssm": {"Name": "parameter/{}"},
    "sts": {"RoleArn": "{}"},
}
"""Input member to the resource part of an ARN, per service; values that are ARNs stand as they are.
Services that are absent name their resources in ways only their state can resolve (paths, aliases):
their policies must say "Resource": "*"."""

_OTHERWISE_NAMED = frozenset(
    {"SourceDbiResourceId", "SourceDBInstanceAutomatedBackupsArn", "DBInstanceAutomatedBackupsArn"}
)
"""Members that name a DB instance by what only the state can resolve, whatever else the call names."""
_PAGING = frozenset({"MaxRecords", "Marker", "NextToken", "MaxResults", "MaxItems", "nextToken", "limit", "Limit"})

Touched = tuple[str, ...] | None
"""ARNs a call touches; ("*",) if it names nothing, None if we cannot tell."""


@dataclass(frozen=True)
class Act:
    """One thing a call does, in IAM's words."""

    action: str
    touched: Touched


def acts_of(request: AwsRequest, operation: str, secret_arn: Callable[[str, str], str | None]) -> list[Act]:
    """All that a call does; each must be allowed.

    `secret_arn(region, name)` knows the ARNs of secrets, which end in random letters.
    """
    prefix = _PREFIX.get(request.service, request.service)
    if prefix == "s3":
        return _s3(request, operation)
    name = "InvokeFunction" if (prefix, operation) == ("lambda", "Invoke") else operation
    return [Act(f"{prefix}:{name}", _touched(request, operation, secret_arn))]


def _touched(request: AwsRequest, operation: str, secret_arn: Callable[[str, str], str | None]) -> Touched:
    service = model_name(request.service)
    if service == "ec2":
        return None
    try:
        parameters = parse(service, request)
    except AwsFault:
        return None
    if service == "secretsmanager":
        return _secret(request.region, operation, parameters, secret_arn)
    if parameters.keys() & _OTHERWISE_NAMED:
        return None
    found: list[str] = []
    for member, form in _RESOURCES.get(service, {}).items():
        value = parameters.get(member)
        if isinstance(value, str) and value:
            found.append(_arn(service, request.region, form, value))
    if found:
        return tuple(found)
    names_nothing = not parameters.keys() - _PAGING
    return ("*",) if names_nothing else None


def _arn(service: str, region: str, form: str, value: str) -> str:
    if value.startswith("arn:"):
        return value
    match service:
        case "rds":
            value = value.lower()
        case "lambda":
            value = value.rpartition("function:")[2]
        case "ssm":
            value = value.lstrip("/")
        case _:
            pass
    return f"arn:aws:{service}:{region}:{ACCOUNT_ID}:{form.format(value)}"


def _secret(
    region: str, operation: str, parameters: Mapping[str, Any], secret_arn: Callable[[str, str], str | None]
) -> Touched:
    if operation in ("ListSecrets", "GetRandomPassword"):
        return ("*",)
    name = parameters.get("SecretId") or parameters.get("Name")
    if not isinstance(name, str):
        return None
    if name.startswith("arn:"):
        return (name,)
    known = secret_arn(region, name)
    return (known or f"arn:aws:secretsmanager:{region}:{ACCOUNT_ID}:secret:{name}-??????",)


def _s3(request: AwsRequest, operation: str) -> list[Act]:
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    plain = _S3_ACTIONS.get(operation, operation)
    if not bucket:
        return [Act(f"s3:{plain}", ("*",))]
    if operation == "DeleteObjects":
        return _delete_objects(bucket, request.body)
    if "versionId=" in request.query:
        plain = _S3_VERSIONED.get(plain, plain)
    here = Act(f"s3:{plain}", (f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}",))
    if operation not in ("CopyObject", "UploadPartCopy"):
        return [here]
    source, _, version = request.headers.get("x-amz-copy-source", "").partition("?")
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    return [here, Act(action, (f"arn:aws:s3:::{unquote(source).lstrip('/')}",))]


def _delete_objects(bucket: str, body: bytes) -> list[Act]:
    """One act per object in the XML body. Raises AwsFault if it is not such a body."""
    malformed = AwsFault("MalformedXML", "The XML you provided was not well-formed or did not validate.")
    if b"<!DOCTYPE" in body:
        raise malformed
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - no document type, so no entities
    except ElementTree.ParseError as error:
        raise malformed from error
    acts = []
    for each in root:
        if _tag(each) == "Object":
            parts = {_tag(part): part.text or "" for part in each}
            action = "s3:DeleteObjectVersion" if "VersionId" in parts else "s3:DeleteObject"
            acts.append(Act(action, (f"arn:aws:s3:::{bucket}/{parts.get('Key', '')}",)))
    if not acts:
        raise malformed
    return acts


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
