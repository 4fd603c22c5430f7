"""How a template reaches CloudFormation: in the call itself, or through a bucket if it is too long for that."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import botocore.session
from botocore.exceptions import ClientError

from multiaz.errors import BadInput, MultiazError
from multiaz.fleet.access import AwsClients, refusals

INLINE_LIMIT_BYTES = 51_200
"""Longest TemplateBody. Source: CloudFormation user guide, "CloudFormation quotas"."""
URL_LIMIT_BYTES = 1_048_576
"""Longest template in a bucket: 1 MB. Source: the same."""
BUCKET_PREFIX = "multiaz-template-"
_OWN_BUCKET = re.compile(rf"{BUCKET_PREFIX}[0-9a-f]{{32}}")
LEFTOVER_AFTER = timedelta(hours=1)
"""A temporary bucket lives for seconds: one of this age was left by a process that was killed."""


@dataclass
class SentTemplate:
    """A template CloudFormation can read, for the time of one call."""

    argument: dict[str, str]
    """TemplateBody or TemplateURL, for CreateStack and its like."""
    left_behind: list[str] = field(default_factory=list)
    """What could not be removed again and why, for people; complete when the context has ended."""


@contextmanager
def sent_template(clients: AwsClients, template: str, bucket: str | None = None) -> Iterator[SentTemplate]:
    """Make the template readable for CloudFormation inside the block.

    Up to 51,200 bytes nothing is done: it goes in the call. A longer one is put into `bucket`, or
    into a private bucket that is made for it, and object and bucket are removed at the end of the
    block, whatever happens in it. CloudFormation reads the object during the call, so the end may
    come as soon as the call has returned. A removal that fails is told, not raised: in
    `left_behind`, and in the `next_step` of the MultiazError that leaves the block.
    Raises BadInput above 1 MB, AwsRefused if the bucket cannot be made or written.
    """
    body = template.encode()
    if len(body) > URL_LIMIT_BYTES:
        raise BadInput(
            "Cannot send the template",
            f"it has {len(body)} bytes, and CloudFormation takes at most {URL_LIMIT_BYTES} (1 MB)",
            "make it smaller: leave out what is switched off by a setting, or split it into nested stacks",
        )
    if len(body) <= INLINE_LIMIT_BYTES:
        yield SentTemplate({"TemplateBody": template})
        return
    upload = _Upload(clients, bucket)
    try:
        yield upload.sent(body)
    except MultiazError as error:
        upload.remove()
        if upload.left_behind:
            error.next_step += f"; remove {', '.join(upload.left_behind)}"
        raise
    finally:
        upload.remove()


class _Upload:
    """One object in a bucket of the person's own, or in one that exists for it alone."""

    def __init__(self, clients: AwsClients, bucket: str | None) -> None:
        self._clients = clients
        self._temporary = bucket is None
        self._bucket = bucket or BUCKET_PREFIX + secrets.token_hex(16)
        # Not guessable, and not another deployment's: a bucket of one's own may be shared.
        self._key = f"{BUCKET_PREFIX}{secrets.token_hex(16)}.template"
        self._undo: list[tuple[str, Callable[[], Any]]] = []
        self.left_behind: list[str] = []

    @property
    def _s3(self) -> Any:
        return self._clients.client("s3")

    def sent(self, body: bytes) -> SentTemplate:
        """Put the template there; the URL it has."""
        access = self._clients.access
        region = access.region
        if self._temporary:
            with refusals("Cannot look for buckets that earlier commands left"):
                self.left_behind += clear_leftovers(self._s3)
            self._create_bucket(region)
        else:
            region = _region_of(self._s3, self._bucket) or region
        with refusals(f"Cannot put the template into the bucket {self._bucket}"):
            put = self._s3.put_object(Bucket=self._bucket, Key=self._key, Body=body, ContentType="text/plain")
        # With its version: else a versioned bucket would keep it, behind a delete marker.
        version = {"VersionId": put["VersionId"]} if put.get("VersionId") else {}
        self._undo.append(
            (
                f"the object s3://{self._bucket}/{self._key}",
                lambda: self._s3.delete_object(Bucket=self._bucket, Key=self._key, **version),
            )
        )
        url = object_url(self._bucket, self._key, region, access.endpoint_url)
        return SentTemplate({"TemplateURL": url}, self.left_behind)

    def _create_bucket(self, region: str) -> None:
        # us-east-1 is the one region that must not be named. Source: S3 API reference, CreateBucket.
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with refusals(
            "Cannot make a bucket for the template, which is too long for a call; --template-bucket names another"
        ):
            self._s3.create_bucket(Bucket=self._bucket, **where)
            self._undo.append((f"the bucket {self._bucket}", lambda: self._s3.delete_bucket(Bucket=self._bucket)))
            # Encryption needs no call: S3 encrypts every new object (SSE-S3) since January 2023.
            self._s3.put_public_access_block(
                Bucket=self._bucket,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )

    def remove(self) -> None:
        """Undo what was done, last first; a second call does nothing."""
        while self._undo:
            what, undo = self._undo.pop()
            try:
                with refusals(f"Cannot remove {what}"):
                    undo()
            except MultiazError as error:
                self.left_behind.append(f"{what} ({error.why})")


def clear_leftovers(s3: Any, now: datetime | None = None) -> list[str]:
    """Remove temporary buckets of this account that killed processes left; what could not be removed.

    Ours are those whose name is our prefix and 32 hexadecimal digits. Who may not list the account's
    buckets does without: it is not what was asked for.
    """
    before = (now or datetime.now(UTC)) - LEFTOVER_AFTER
    failed: list[str] = []
    try:
        buckets = s3.list_buckets(Prefix=BUCKET_PREFIX)["Buckets"]
    except ClientError:
        return failed
    for bucket in buckets:
        name = bucket["Name"]
        if not _OWN_BUCKET.fullmatch(name) or bucket["CreationDate"] > before:
            continue
        try:
            for told in s3.list_objects_v2(Bucket=name).get("Contents", ()):
                s3.delete_object(Bucket=name, Key=told["Key"])
            s3.delete_bucket(Bucket=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchBucket":  # another process was quicker
                failed.append(f"the bucket {name} ({error})")
    return failed


def object_url(bucket: str, key: str, region: str, endpoint_url: str | None) -> str:
    """Where CloudFormation finds an object: at `endpoint_url`, or at the regional S3 of AWS if that is None.

    A bucket with dots in its name goes into the path: the certificate of S3 covers one label.
    Source: S3 user guide, "Virtual hosting of general purpose buckets".
    """
    path = quote(key)
    if endpoint_url is not None:
        return f"{endpoint_url.rstrip('/')}/{bucket}/{path}"
    host = f"s3.{region}.{_domain(region)}"
    return f"https://{host}/{bucket}/{path}" if "." in bucket else f"https://{bucket}.{host}/{path}"


def _domain(region: str) -> str:
    """amazonaws.com, or what the partition of the region has instead."""
    session = botocore.session.get_session()
    with refusals(f"Cannot name S3 in the region {region}"):
        partition = session.get_partition_for_region(region)
        known = session.get_data("partitions")["partitions"]
    return next(str(told["outputs"]["dnsSuffix"]) for told in known if told["id"] == partition)


def _region_of(s3: Any, bucket: str) -> str | None:
    """The region of a bucket, which S3 tells even those it refuses; None if it does not."""
    try:
        told = s3.head_bucket(Bucket=bucket)["ResponseMetadata"]
    except ClientError as error:
        told = error.response.get("ResponseMetadata", {})
    region: str | None = told.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return region
