"""What a call does in IAM's words: no way of naming a thing may slip past a Deny that names it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from multiaz.cloud.resources import Act, acts_of
from multiaz.cloud.service import AwsFault, AwsRequest, Caller

HERE = "eu-west-1:123456789012"
STACK = f"arn:aws:cloudformation:{HERE}:stack/s/*"


def request(service: str, method: str = "POST", path: str = "/", **more: Any) -> AwsRequest:
    return AwsRequest(
        service,
        "eu-west-1",
        Caller(arn="arn:aws:iam::123456789012:user/x", access_key_id="AKIAX"),
        method,
        path,
        more.get("query", ""),
        more.get("headers", {}),
        more.get("body", b""),
        "r-1",
    )


def form(service: str, action: str, **fields: str) -> AwsRequest:
    body = urlencode({"Action": action, **fields}).encode()
    return request(service, body=body, headers={"content-type": "application/x-www-form-urlencoded"})


def document(service: str, action: str, **fields: Any) -> AwsRequest:
    return request(service, body=json.dumps(fields).encode(), headers={"x-amz-target": f"X.{action}"})


def acts(sent: AwsRequest, operation: str) -> list[Act]:
    return acts_of(sent, operation, lambda _, name: f"arn:secret:{name}-abcdef" if name == "known" else None)


@pytest.mark.parametrize(
    ("sent", "operation", "expected"),
    [
        (form("rds", "DeleteDBInstance", DBInstanceIdentifier="P"), "DeleteDBInstance", (f"arn:aws:rds:{HERE}:db:p",)),
        (form("rds", "DescribeDBInstances", MaxRecords="20"), "DescribeDBInstances", ("*",)),
        (form("rds", "CopyDBSnapshot", SourceDBSnapshotIdentifier="s"), "CopyDBSnapshot", None),
        *(
            (
                form("rds", "RestoreDBInstanceToPointInTime", TargetDBInstanceIdentifier="t", **{source: "p"}),
                "RestoreDBInstanceToPointInTime", named,
            )
            for source, named in (
                ("SourceDBInstanceIdentifier", (f"arn:aws:rds:{HERE}:db:p", f"arn:aws:rds:{HERE}:db:t")),
                ("SourceDbiResourceId", None),
                ("SourceDBInstanceAutomatedBackupsArn", None),
            )
        ),
        (form("cloudformation", "DeleteStack", StackName="s"), "DeleteStack", (STACK,)),
        (form("iam", "DeleteRole", RoleName="admin"), "DeleteRole", None),
        (form("iam", "ListRoles"), "ListRoles", ("*",)),
        (form("ec2", "DeleteVpc", VpcId="vpc-1"), "DeleteVpc", None),
        (form("sns", "Publish", TopicArn="arn:aws:sns:t", Message="m"), "Publish", ("arn:aws:sns:t",)),
        (form("sns", "Publish", PhoneNumber="1", Message="m"), "Publish", None),
        (document("secretsmanager", "DeleteSecret", SecretId="known"), "DeleteSecret", ("arn:secret:known-abcdef",)),
        (document("secretsmanager", "BatchGetSecretValue", SecretIdList=["known"]), "BatchGetSecretValue", None),
        (document("secretsmanager", "ListSecrets"), "ListSecrets", ("*",)),
        (document("ssm", "GetParameter", Name="/a/b"), "GetParameter", (f"arn:aws:ssm:{HERE}:parameter/a/b",)),
        (document("ssm", "GetParameters", Names=["/a/b"]), "GetParameters", None),
        (document("kms", "Decrypt", KeyId="alias/x"), "Decrypt", None),
        (document("logs", "DeleteLogGroup", logGroupName="g"), "DeleteLogGroup", None),
    ],
)  # fmt: skip
def test_what_a_call_touches(sent: AwsRequest, operation: str, expected: Any) -> None:
    (act,) = acts(sent, operation)
    assert act == Act(f"{sent.service}:{operation}", expected)


@pytest.mark.parametrize("name", ["f", "function:f", "123456789012:function:f"])
def test_every_way_to_name_a_function_is_the_same_function(name: str) -> None:
    sent = request("lambda", "GET", f"/2015-03-31/functions/{name}")
    (act,) = acts(sent, "GetFunction")
    assert act.touched == (f"arn:aws:lambda:{HERE}:function:f",)


@pytest.mark.parametrize(
    ("sent", "operation", "expected"),
    [
        (request("s3", "GET"), "ListBuckets", [("s3:ListAllMyBuckets", "*")]),
        (request("s3", "GET", "/b"), "ListObjectsV2", [("s3:ListBucket", "arn:aws:s3:::b")]),
        (request("s3", "HEAD", "/b/a%20b"), "HeadObject", [("s3:GetObject", "arn:aws:s3:::b/a b")]),
        (request("s3", "GET", "/b/k", query="versionId=1"), "GetObject", [("s3:GetObjectVersion", "arn:aws:s3:::b/k")]),
        (
            request("s3", "PUT", "/b/k", headers={"x-amz-copy-source": "/src/a%20b?versionId=2"}),
            "CopyObject",
            [("s3:PutObject", "arn:aws:s3:::b/k"), ("s3:GetObjectVersion", "arn:aws:s3:::src/a b")],
        ),
        (
            request("s3", "POST", "/b", body=b"<Delete><Object><Key>a&amp;b</Key></Object><Object><Key>c</Key>"
                    b"<VersionId>1</VersionId></Object></Delete>"),
            "DeleteObjects",
            [("s3:DeleteObject", "arn:aws:s3:::b/a&b"), ("s3:DeleteObjectVersion", "arn:aws:s3:::b/c")],
        ),
    ],
)  # fmt: skip
def test_what_s3_calls_do(sent: AwsRequest, operation: str, expected: list[tuple[str, str]]) -> None:
    assert acts(sent, operation) == [Act(action, (touched,)) for action, touched in expected]


@pytest.mark.parametrize(
    "body", [b"", b"<Delete></Delete>", b"<Delete", b"<!DOCTYPE x []><Delete><Object><Key>k</Key></Object></Delete>"]
)
def test_a_delete_we_cannot_read_is_refused(body: bytes) -> None:
    with pytest.raises(AwsFault, match="MalformedXML"):
        acts(request("s3", "POST", "/b", body=body), "DeleteObjects")


@pytest.mark.parametrize("tag", ["Object", "Object ", 'Object a="b"', 'Object xmlns="http://s3.amazonaws.com/"'])
def test_an_object_to_delete_is_seen_however_its_tag_is_written(tag: str) -> None:
    body = f"<Delete><{tag}><Key><![CDATA[secret]]></Key></Object></Delete>".encode()
    (act,) = acts(request("s3", "POST", "/b", body=body), "DeleteObjects")
    assert act.touched == ("arn:aws:s3:::b/secret",)
