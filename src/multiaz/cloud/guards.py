"""What must not reach moto: tags only the engine may set, and parameters moto would silently ignore. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from multiaz.cloud.models import form_of, is_form, model_name
from multiaz.cloud.service import ACCOUNT_ID, AwsFault, AwsRequest

_FORM_TAG = re.compile(r"(?:^|\.)(?:Tag|Tags|TagSet|TagSpecification|TagKeys)\.(?:.*\.)?(?:Key|member\.\d+|key)$")
"""Names of form fields that hold the key of a tag, of EC2, IAM, SNS, CloudWatch and the like."""

IGNORED: dict[tuple[str, str], frozenset[str]] = {
    ("iam", "CreateUser"): frozenset({"PermissionsBoundary"}),
    ("kms", "EnableKeyRotation"): frozenset({"RotationPeriodInDays"}),
    ("logs", "CreateLogGroup"): frozenset({"deletionProtectionEnabled"}),
    ("logs", "PutMetricFilter"): frozenset(
        {"applyOnTransformedLogs", "emitSystemFieldDimensions", "fieldSelectionCriteria"}
    ),
    ("ssm", "PutParameter"): frozenset({"AllowedPattern"}),
    ("secretsmanager", "PutResourcePolicy"): frozenset({"BlockPublicPolicy"}),
    ("ec2", "CreateNatGateway"): frozenset({"PrivateIpAddress"}),
    ("cloudwatch", "PutCompositeAlarm"): frozenset(
        {"ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod"}
    ),
}
"""Parameters moto takes and forgets, by service and action: refused by name."""


LACKING = frozenset({("ec2", "DescribeInstanceTypeOfferings"), ("ssm", "SendCommand")})
"""Actions moto would answer wrongly as we run it: no machine is managed here that a command could reach."""

_OWNERS = ("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner")
"""S3 headers that say whose a bucket must be; moto reads none of them."""


def check(request: AwsRequest, operation: str) -> None:
    """Raise AwsFault for a call that moto must not see."""
    service = model_name(request.service)
    if not request.caller.internal:
        for key in tag_keys(request, operation):
            if key.lower().startswith("aws:"):
                raise _reserved(service, key)
    if (service, operation) in LACKING:
        raise AwsFault("InvalidAction", f"{service}:{operation} is not available on the local cloud.")
    ignored = IGNORED.get((service, operation))
    if ignored:
        for name in _names(request):
            if name in ignored:
                raise AwsFault(
                    "InvalidParameterValue", f"{service}:{operation}: {name} is not available on the local cloud."
                )
    if service == "s3" and any(request.headers.get(name, ACCOUNT_ID) != ACCOUNT_ID for name in _OWNERS):
        raise AwsFault("AccessDenied", "Access Denied", 403)
    if service == "s3" and operation == "CreateBucket" and b"<Tag>" in request.body:
        raise AwsFault("NotImplemented", "CreateBucket: Tags is not available here; use PutBucketTagging.", 501)


def tag_keys(request: AwsRequest, operation: str) -> Iterator[str]:
    """Keys of all tags a call would set or remove."""
    if request.service == "s3":
        yield from (key for key, _ in parse_qsl(request.headers.get("x-amz-tagging", "")))
        if operation.endswith("Tagging") or operation == "CreateBucket":
            yield from (key.decode(errors="replace") for key in re.findall(rb"<Key>\s*([^<]*?)\s*</Key>", request.body))
    elif is_form(request):
        yield from (value for name, value in form_of(request).fields if _FORM_TAG.search(name))
    elif "x-amz-target" in request.headers:
        try:
            document = json.loads(request.body or b"{}")
        except ValueError:
            return
        for name, value in document.items() if isinstance(document, dict) else ():
            if name.lower() in ("tags", "tagkeys"):
                yield from _keys(value)


def _keys(tags: Any) -> Iterator[str]:
    if isinstance(tags, Mapping):
        yield from (str(key) for key in tags)
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, str):
            yield tag
        elif isinstance(tag, Mapping):
            yield from (str(value) for name, value in tag.items() if name.lower() in ("key", "tagkey"))


def _names(request: AwsRequest) -> Iterable[str]:
    """Top-level names of a call's parameters."""
    if is_form(request):
        return {name.partition(".")[0] for name, _ in form_of(request).fields}
    try:
        document = json.loads(request.body or b"{}")
    except ValueError:
        return ()
    return tuple(document) if isinstance(document, dict) else ()


def _reserved(service: str, key: str) -> AwsFault:
    message = f"Tag keys starting with 'aws:' are reserved for internal use: {key}"
    match service:
        case "ec2" | "sns":
            return AwsFault("InvalidParameterValue" if service == "ec2" else "InvalidParameter", message)
        case "iam":
            return AwsFault("InvalidInput", message)
        case "kms":
            return AwsFault("TagException", message)
        case "secretsmanager" | "logs":
            code = "InvalidParameterException" if service == "logs" else "InvalidRequestException"
            return AwsFault(code, message)
        case "s3":
            return AwsFault("InvalidTag", f"System tags cannot be added/updated by requester: {key}")
        case _:
            return AwsFault("ValidationException" if service in ("events", "ssm") else "ValidationError", message)
