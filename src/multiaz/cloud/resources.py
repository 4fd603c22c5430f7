"""What a call is, in IAM's words: its action, and the ARNs it touches where they can be told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

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
    "logs": {"logGroupName": "log-group:{}:*"},
    "sns": {"TopicArn": "{}", "Name": "{}"},
    "ssm": {"Name": "parameter/{}"},
    "events": {"Name": "rule/{}"},
    "sts": {"RoleArn": "{}"},
}
"""Input member to the resource part of an ARN, per service; values that are ARNs stand as they are."""

_GLOBAL_RESOURCES: dict[str, dict[str, str]] = {
    "iam": {
        "RoleName": "role/{}",
        "UserName": "user/{}",
        "GroupName": "group/{}",
        "PolicyArn": "{}",
        "PolicyName": "policy/{}",
        "InstanceProfileName": "instance-profile/{}",
    }
}

_NONE = ("Describe", "List")
"""Reads that name nothing are about everything: IAM wants them allowed on "*"."""


def action_of(request: AwsRequest, operation: str) -> str:
    """IAM's name of the action a request performs."""
    prefix = _PREFIX.get(request.service, request.service)
    if prefix == "s3":
        plain = _S3_ACTIONS.get(operation, operation)
        if plain in _S3_VERSIONED and "versionId=" in request.query:
            plain = _S3_VERSIONED[plain]
        return f"s3:{plain}"
    if prefix == "lambda" and operation == "Invoke":
        return "lambda:InvokeFunction"
    return f"{prefix}:{operation}"


def resources_of(
    request: AwsRequest, operation: str, secret_arn: Callable[[str, str], str | None]
) -> tuple[str, ...] | None:
    """ARNs a call touches, ("*",) for one that names nothing, None if we cannot tell.

    `secret_arn(region, name)` knows the ARNs of secrets, which end in random letters.
    """
    service = model_name(request.service)
    if service == "s3":
        return _s3(request, operation)
    if service == "ec2":
        return None
    try:
        parameters = parse(service, request)
    except AwsFault:
        return None
    region = request.region
    if service == "secretsmanager":
        return _secret(region, parameters, secret_arn)
    found: list[str] = []
    for table, place in ((_RESOURCES, region), (_GLOBAL_RESOURCES, "")):
        for member, form in table.get(service, {}).items():
            value = parameters.get(member)
            if isinstance(value, str) and value:
                found.append(_arn(service, place, form, value))
    if found:
        return tuple(found)
    if operation.startswith(_NONE) and not _names_something(parameters):
        return ("*",)
    if not parameters:
        return ("*",)
    return None


def _arn(service: str, region: str, form: str, value: str) -> str:
    if value.startswith("arn:"):
        return value
    return f"arn:aws:{service}:{region}:{ACCOUNT_ID}:{form.format(value)}"


def _names_something(parameters: Mapping[str, Any]) -> bool:
    paging = {"MaxRecords", "Marker", "NextToken", "MaxResults", "MaxItems", "nextToken", "limit", "Limit"}
    return bool(parameters.keys() - paging)


def _secret(
    region: str, parameters: Mapping[str, Any], secret_arn: Callable[[str, str], str | None]
) -> tuple[str, ...] | None:
    name = parameters.get("SecretId") or parameters.get("Name")
    if not isinstance(name, str):
        return ("*",)
    if name.startswith("arn:"):
        return (name,)
    known = secret_arn(region, name)
    return (known or f"arn:aws:secretsmanager:{region}:{ACCOUNT_ID}:secret:{name}-??????",)


def _s3(request: AwsRequest, operation: str) -> tuple[str, ...] | None:
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    if not bucket:
        return ("*",)
    if operation == "DeleteObjects":
        return None
    if operation in ("CopyObject", "UploadPartCopy"):
        source = unquote(request.headers.get("x-amz-copy-source", "")).lstrip("/").partition("?")[0]
        return (f"arn:aws:s3:::{bucket}/{key}", f"arn:aws:s3:::{source}")
    return (f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}",)
