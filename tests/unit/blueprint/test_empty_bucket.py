"""The function that empties a bucket: run as it stands, against an S3 that keeps versions."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.s3.models import s3_backends

from multiaz.blueprint import settings_from, to_yaml
from multiaz.blueprint.empty_bucket import (
    EMPTY_BUCKET_CODE,
    EMPTY_BUCKET_SHA256,
    EMPTY_ON_DELETION,
    INLINE_CODE_LIMIT,
)
from multiaz.cloud import moto_patches
from multiaz.cloud.bodies import Bodies
from multiaz.cloud.service import ACCOUNT_ID
from multiaz.cloud.stacks import known_functions

BUCKET = "shop-backups"
TAG = {"Key": EMPTY_ON_DELETION, "Value": "true"}


class Answers(ModuleType):
    """Stands for the module `cfnresponse` of Lambda's inline functions."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"

    def __init__(self) -> None:
        super().__init__("cfnresponse")
        self.sent: list[dict[str, Any]] = []

    def send(
        self,
        event: dict[str, Any],
        _context: object,
        status: str,
        _data: dict[str, Any],
        physical_id: str | None = None,
        no_echo: bool = False,
        reason: str | None = None,
    ) -> None:
        self.sent.append({"request": event["RequestType"], "status": status, "id": physical_id, "reason": reason})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Answers]:
    """The module the function answers by, and an S3: moto as this project patches it, whatever ran before."""
    moto_patches.apply(Bodies(tmp_path / "s3"))
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    made = Answers()
    monkeypatch.setitem(sys.modules, "cfnresponse", made)
    with mock_aws():
        yield made


def invoke(request: str, bucket: str = BUCKET, remaining_ms: int = 900_000) -> None:
    """One invocation of the inline code."""
    module: dict[str, Any] = {}
    exec(compile(EMPTY_BUCKET_CODE, "index.py", "exec"), module)
    event = {"RequestType": request, "ResourceProperties": {"ServiceToken": "arn", "BucketName": bucket}}
    module["handler"](event, SimpleNamespace(get_remaining_time_in_millis=lambda: remaining_ms))


def full_bucket(objects: int) -> Any:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [TAG]})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    backend = s3_backends[ACCOUNT_ID]["aws"]  # a thousand calls of boto3 would take seconds
    for number in range(objects):
        backend.put_object(BUCKET, f"export/{number:05}", b"1")
    s3.put_object(Bucket=BUCKET, Key="export/00000", Body=b"2")
    s3.delete_object(Bucket=BUCKET, Key="export/00001")
    s3.create_multipart_upload(Bucket=BUCKET, Key="unfinished")
    return s3


@pytest.mark.parametrize("objects", [2, 1100], ids=["one page", "two pages"])
def test_versions_markers_and_uploads_go(answers: Answers, objects: int) -> None:
    s3 = full_bucket(objects)
    invoke("Delete")
    assert answers.sent == [{"request": "Delete", "status": "SUCCESS", "id": BUCKET, "reason": None}]
    left = s3.list_object_versions(Bucket=BUCKET)
    assert left.get("Versions", []) + left.get("DeleteMarkers", []) == []
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []
    s3.delete_bucket(Bucket=BUCKET)


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_nothing_is_removed_before_the_deletion(answers: Answers, request_type: str) -> None:
    s3 = full_bucket(2)
    invoke(request_type)
    assert answers.sent[0]["status"] == "SUCCESS"
    assert len(s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 3


@pytest.mark.parametrize("tags", [[], [{"Key": "Name", "Value": "x"}], [{**TAG, "Value": "false"}]], ids=str)
def test_a_bucket_without_the_tag_is_left_as_it_is(answers: Answers, tags: list[dict[str, str]]) -> None:
    """The custom resource goes also when keep_bucket is turned on, and when turning it off is rolled back."""
    s3 = full_bucket(2)
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": tags}) if tags else s3.delete_bucket_tagging(Bucket=BUCKET)
    invoke("Delete")
    assert answers.sent == [{"request": "Delete", "status": "SUCCESS", "id": BUCKET, "reason": None}]
    assert len(s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 3


def test_a_refused_question_for_the_tags_is_told(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither emptied nor taken for done."""
    s3 = full_bucket(2)
    real = boto3.resource

    def refusing(service: str) -> Any:
        resource = real(service)

        def refuse(**_: Any) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetBucketTagging")

        resource.meta.client.meta.events.register("before-call.s3.GetBucketTagging", refuse)
        return resource

    monkeypatch.setattr(boto3, "resource", refusing)
    invoke("Delete")
    assert answers.sent[0]["status"] == "FAILED"
    assert "AccessDenied" in answers.sent[0]["reason"]
    assert len(s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 3


def test_the_buckets_name_is_the_physical_id_so_that_a_replaced_bucket_is_emptied_too(answers: Answers) -> None:
    full_bucket(2)
    invoke("Create")
    invoke("Update", bucket="another")
    assert [sent["id"] for sent in answers.sent] == [BUCKET, "another"]


def test_an_empty_bucket_is_fine(answers: Answers) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [TAG]})
    invoke("Delete")
    assert answers.sent[0]["status"] == "SUCCESS"


def test_a_bucket_that_is_gone_is_fine(answers: Answers) -> None:
    invoke("Delete")
    assert answers.sent[0]["status"] == "SUCCESS"


def test_too_little_time_is_told_instead_of_leaving_cloudformation_waiting(answers: Answers) -> None:
    full_bucket(2)
    invoke("Delete", remaining_ms=10_000)
    (sent,) = answers.sent
    assert sent["status"] == "FAILED"
    assert sent["reason"] == f"{BUCKET}: objects remain: delete the stack again"


def test_a_refused_object_is_told(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    full_bucket(2)
    real = boto3.resource

    def refusing(service: str) -> Any:
        resource = real(service)
        resource.meta.client.meta.events.register(
            "after-call.s3.DeleteObjects",
            lambda parsed, **_: parsed.update(Errors=[{"Key": "export/00000", "Code": "AccessDenied"}]),
        )
        return resource

    monkeypatch.setattr(boto3, "resource", refusing)
    invoke("Delete")
    assert answers.sent[0]["status"] == "FAILED"
    assert "AccessDenied" in answers.sent[0]["reason"]


def test_the_code_fits_inline() -> None:
    assert len(EMPTY_BUCKET_CODE) < INLINE_CODE_LIMIT


def test_the_template_carries_the_code_byte_for_byte(decode: Callable[[str], Any]) -> None:
    template = decode(to_yaml(settings_from({"preset": "test"})))
    code = template["Resources"]["EmptyBucketFunction"]["Properties"]["Code"]["ZipFile"]
    assert hashlib.sha256(code.encode()).hexdigest() == EMPTY_BUCKET_SHA256


def test_the_local_cloud_knows_the_function() -> None:
    """A changed function is refused there: list its new hash in known_functions in the same commit."""
    assert hashlib.sha256(EMPTY_BUCKET_CODE.encode()).hexdigest() == EMPTY_BUCKET_SHA256
    behaviour = known_functions.find_behaviour(EMPTY_BUCKET_SHA256)
    assert behaviour is known_functions.Behaviour.EMPTY_BUCKET
    assert TAG == known_functions.EMPTIED_TAG
