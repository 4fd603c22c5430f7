"""Lambda functions are recorded exactly, described as AWS would, and never run."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from multiaz.cloud.clients import InProcessClients
from multiaz.cloud.dispatch import Dispatcher
from multiaz.cloud.lambda_ import CODE_TAG, LambdaService
from multiaz.cloud.moto_tail import SERVED, MotoTail
from multiaz.cloud.service import Caller
from multiaz.cloud.store import Store

REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/runner"
SOURCE = b"def handler(event, context):\n    return 1\n"


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.py", (1980, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()


@pytest.fixture(scope="module")
def cloud(module_home_folder: Path) -> Iterator[Dispatcher]:
    (module_home_folder / "moto").mkdir()
    dispatcher = Dispatcher(MotoTail(module_home_folder / "moto", module_home_folder / "s3"), SERVED)
    store = Store(module_home_folder / "cloud.sqlite")
    clients = InProcessClients(dispatcher.dispatch)
    service = LambdaService(store, clients)
    dispatcher.register(service.name, service.operations)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam = clients.client("iam", REGION)
    iam.create_role(RoleName="runner", AssumeRolePolicyDocument=json.dumps(trust))
    iam.create_role(RoleName="other", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
    yield dispatcher
    store.close()


@pytest.fixture(scope="module")
def client(cloud: Dispatcher) -> Any:
    caller = Caller(arn="arn:aws:iam::123456789012:user/x", access_key_id="AKIAX")
    return InProcessClients(cloud.dispatch, caller).client("lambda", REGION)


def create(client: Any, name: str, **more: Any) -> dict[str, Any]:
    arguments = {
        "FunctionName": name,
        "Role": ROLE,
        "Runtime": "python3.13",
        "Handler": "index.handler",
        "Code": {"ZipFile": zipped(index=SOURCE)},
    }
    made: dict[str, Any] = client.create_function(**arguments | more)
    return made


def test_a_function_is_described_as_it_was_made(client: Any) -> None:
    made = create(
        client,
        "full",
        Timeout=60,
        MemorySize=256,
        Description="d",
        Environment={"Variables": {"A": "b"}},
        Tags={"k": "v"},
    )
    package = zipped(index=SOURCE)
    assert made["FunctionArn"] == f"arn:aws:lambda:{REGION}:123456789012:function:full"
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    assert made["CodeSize"] == len(package)
    assert (made["State"], made["LastUpdateStatus"], made["Version"]) == ("Active", "Successful", "$LATEST")
    for name in ("full", made["FunctionArn"], "123456789012:function:full"):
        told = client.get_function(FunctionName=name)
        assert {key: told["Configuration"][key] for key in ("Timeout", "MemorySize", "Environment", "Role")} == {
            "Timeout": 60, "MemorySize": 256, "Environment": {"Variables": {"A": "b"}}, "Role": ROLE,
        }  # fmt: skip
        assert told["Tags"] == {"k": "v", CODE_TAG: hashlib.sha256(SOURCE).hexdigest()}
        assert "Location" not in told["Code"]
    assert client.list_tags(Resource=made["FunctionArn"])["Tags"] == {"k": "v"}


def test_a_package_of_several_files_has_no_digest_of_its_one_file(client: Any) -> None:
    create(client, "two", Code={"ZipFile": zipped(index=SOURCE, other=b"")})
    assert CODE_TAG not in client.get_function(FunctionName="two")["Tags"]


def test_code_and_configuration_are_updated_and_a_stale_revision_is_refused(client: Any) -> None:
    made = create(client, "updated")
    changed = client.update_function_code(FunctionName="updated", ZipFile=zipped(index=b"pass\n"))
    assert changed["CodeSha256"] != made["CodeSha256"]
    told = client.get_function(FunctionName="updated")
    assert told["Tags"][CODE_TAG] == hashlib.sha256(b"pass\n").hexdigest()
    client.update_function_configuration(FunctionName="updated", Timeout=9, RevisionId=changed["RevisionId"])
    assert client.get_function_configuration(FunctionName="updated")["Timeout"] == 9
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_function_configuration(FunctionName="updated", Timeout=10, RevisionId=changed["RevisionId"])


def test_code_may_come_from_s3(client: Any, cloud: Dispatcher) -> None:
    s3 = InProcessClients(cloud.dispatch).client("s3", REGION)
    s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="code", Key="f.zip", Body=zipped(index=SOURCE))
    create(client, "stored", Code={"S3Bucket": "code", "S3Key": "f.zip"})
    assert client.get_function(FunctionName="stored")["Tags"][CODE_TAG] == hashlib.sha256(SOURCE).hexdigest()
    with pytest.raises(ClientError, match="S3 Error Code: NoSuchKey"):
        create(client, "unstored", Code={"S3Bucket": "code", "S3Key": "none.zip"})


def test_functions_are_listed_by_name_a_page_at_a_time(client: Any) -> None:
    for number in range(5):
        create(client, f"listed-{number}")
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    names = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert [name for name in names if name.startswith("listed-")] == [f"listed-{n}" for n in range(5)]
    assert names == sorted(names)


def test_permissions_make_a_policy(client: Any) -> None:
    create(client, "permitted")
    principal = {"FunctionName": "permitted", "StatementId": "s", "Principal": "secretsmanager.amazonaws.com"}
    client.add_permission(Action="lambda:InvokeFunction", SourceAccount="123456789012", **principal)
    (statement,) = json.loads(client.get_policy(FunctionName="permitted")["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "secretsmanager.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"AWS:SourceAccount": "123456789012"}}
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.add_permission(Action="lambda:InvokeFunction", **principal)
    client.remove_permission(FunctionName="permitted", StatementId="s")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_policy(FunctionName="permitted")


def test_a_deleted_function_is_gone_and_its_name_is_free(client: Any) -> None:
    create(client, "gone")
    with pytest.raises(client.exceptions.ResourceConflictException):
        create(client, "gone")
    client.delete_function(FunctionName="gone")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="gone")
    create(client, "gone")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"Role": "arn:aws:iam::123456789012:role/nosuch"}, "cannot be assumed by Lambda"),
        ({"Role": "arn:aws:iam::123456789012:role/other"}, "cannot be assumed by Lambda"),
        ({"Role": "arn:aws:iam::999999999999:role/runner"}, "cannot be assumed by Lambda"),
        ({"Code": {"ZipFile": b"not a zip"}}, "Could not unzip uploaded file"),
        ({"Code": {}}, "Please provide a source for function code"),
        ({"Runtime": "cobol85"}, "Member must satisfy enum value set"),
        ({"Layers": ["arn:aws:lambda:eu-west-1:123456789012:layer:x:1"]}, "Layers is not available on the local cloud"),
        ({"Publish": True}, "Publish is not available on the local cloud"),
        ({"PackageType": "Image"}, "PackageType Image is not available"),
        ({"Tags": {"aws:x": "y"}}, "reserved for system use"),
    ],
)
def test_what_cannot_be_recorded_is_refused_by_name(client: Any, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ClientError, match=named):
        create(client, "refused", **arguments)


def test_nothing_is_ever_invoked(client: Any) -> None:
    create(client, "idle")
    with pytest.raises(ClientError, match="recorded on the local cloud, never executed"):
        client.invoke(FunctionName="idle", Payload=b"{}")


@pytest.mark.parametrize("damage", ["content", "method", "name", "end"])
def test_a_damaged_package_is_bad_input_and_no_bug(client: Any, damage: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.py", SOURCE * 10)
    package = bytearray(stream.getvalue())
    directory = package.rindex(b"PK\x01\x02")
    match damage:
        case "content":
            package[38:48] = b"\xff" * 10
        case "method":
            package[8:10] = package[directory + 10 : directory + 12] = (14).to_bytes(2, "little")
        case "name":
            package[directory + 46] = package[30] = 0xFF
            package[directory + 8 : directory + 10] = package[6:8] = (0x800).to_bytes(2, "little")
        case _:
            package[directory + 42 : directory + 46] = b"\xff" * 4
    with pytest.raises(ClientError, match="Could not unzip uploaded file"):
        client.create_function(
            FunctionName="damaged",
            Runtime="python3.12",
            Handler="index.handler",
            Role=ROLE,
            Code={"ZipFile": bytes(package)},
        )
