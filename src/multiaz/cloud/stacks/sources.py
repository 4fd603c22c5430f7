"""Where a template comes from: TemplateBody, or TemplateURL in this cloud's own S3. Nothing is fetched."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import ClientError

from multiaz.cloud.service import Clients
from multiaz.cloud.stacks.document import INLINE_LIMIT_BYTES, URL_LIMIT_BYTES
from multiaz.cloud.stacks.faults import validation_error

_AWS_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com\Z")


def template_text(clients: Clients, region: str, params: dict[str, Any]) -> str:
    """The text of the template a request names. Raises ValidationError."""
    body, url = params.get("TemplateBody"), params.get("TemplateURL")
    if (body is None) == (url is None):
        raise validation_error("Either Template URL or Template Body must be specified.")
    if body is not None:
        size = len(str(body).encode())
        if size > INLINE_LIMIT_BYTES:
            raise validation_error(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have "
                f"length less than or equal to {INLINE_LIMIT_BYTES} (it has {size})"
            )
        return str(body)
    bucket, key = bucket_and_key(str(url))
    try:
        answer = clients.client("s3", region).get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        raise validation_error(f"S3 error: {error.response['Error'].get('Message', code)} ({code})") from error
    if answer["ContentLength"] > URL_LIMIT_BYTES:
        raise validation_error(
            f"Template may not exceed {URL_LIMIT_BYTES} bytes in size. ({answer['ContentLength']} bytes)"
        )
    try:
        text: str = answer["Body"].read().decode()
    except UnicodeDecodeError as error:
        raise validation_error("Template format error: the template is not UTF-8 text") from error
    return text


def bucket_and_key(url: str) -> tuple[str, str]:
    """The S3 object behind a URL, virtual-hosted or path style, on AWS's names or on this machine."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    path = unquote(parts.path).lstrip("/")
    found = _AWS_HOST.match(host)
    if parts.scheme in {"http", "https"} and found and found.group("bucket"):
        bucket, key = found.group("bucket"), path
    elif parts.scheme in {"http", "https"} and (found or _is_loopback(host)):
        bucket, _, key = path.partition("/")
    else:
        bucket, key = "", ""
    if not bucket or not key:
        raise validation_error(f"TemplateURL must be a supported URL. ({url[:200]})")
    return bucket, key


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
