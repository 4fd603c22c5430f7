"""Who may do what through the real endpoint: keys, users, roles, presigned URLs, database tokens."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from front_harness import Endpoint

from multiaz.cloud.dbauth import PATH

ACCOUNT = "123456789012"
VERSION = "2012-10-17"


def error_of(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("service", "call", "unknown", "wrong"),
    [
        ("iam", "list_users", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        ("ec2", "describe_vpcs", "AuthFailure", "AuthFailure"),
        ("kms", "list_keys", "UnrecognizedClientException", "InvalidSignatureException"),
        ("lambda", "list_functions", "UnrecognizedClientException", "InvalidSignatureException"),
        ("cloudwatch", "describe_alarms", "InvalidClientTokenId", "SignatureDoesNotMatch"),
    ],
)
def test_unknown_keys_and_wrong_secrets_are_refused_in_the_services_words(
    endpoint: Endpoint, service: str, call: str, unknown: str, wrong: str
) -> None:
    nobody = endpoint.client(service, aws_access_key_id="AKIAIOSFODNN7EXAMPLE")
    assert error_of(getattr(nobody, call))[0] == unknown
    forger = endpoint.client(service, aws_secret_access_key="guess")
    assert error_of(getattr(forger, call))[0] == wrong


def test_an_unsigned_request_is_refused(endpoint: Endpoint) -> None:
    anonymous = endpoint.client("s3", config=Config(signature_version=UNSIGNED))
    assert error_of(anonymous.list_buckets)[0] == "AccessDenied"
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port)
    connection.request(
        "POST", "/", "Action=ListUsers&Version=2010-05-08", {"content-type": "application/x-www-form-urlencoded"}
    )
    answer = connection.getresponse()
    assert (answer.status, b"MissingAuthenticationToken" in answer.read()) == (403, True)
    connection.close()


def make_user(endpoint: Endpoint, name: str, *statements: dict[str, Any]) -> dict[str, str]:
    """A user with an inline policy; the arguments of a client that signs as that user."""
    iam = endpoint.client("iam")
    iam.create_user(UserName=name)
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def test_a_user_may_do_what_the_policy_says_and_nothing_else(endpoint: Endpoint) -> None:
    endpoint.client("s3").create_bucket(
        Bucket="policy-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    user = make_user(
        endpoint,
        "ann",
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::policy-bucket/public/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::policy-bucket"},
        {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"},
        {"Effect": "Deny", "Action": "ec2:DescribeSubnets", "Resource": "*"},
    )
    owner = endpoint.client("s3")
    for key in ("public/a", "private/a"):
        owner.put_object(Bucket="policy-bucket", Key=key, Body=b"x")
    s3, ec2 = endpoint.client("s3", **user), endpoint.client("ec2", **user)
    assert s3.get_object(Bucket="policy-bucket", Key="public/a")["Body"].read() == b"x"
    assert s3.list_objects_v2(Bucket="policy-bucket")["KeyCount"] == 2
    assert error_of(s3.get_object, Bucket="policy-bucket", Key="private/a")[0] == "AccessDenied"
    assert error_of(s3.put_object, Bucket="policy-bucket", Key="public/a", Body=b"y")[0] == "AccessDenied"
    assert error_of(s3.delete_bucket, Bucket="policy-bucket")[0] == "AccessDenied"
    assert ec2.describe_vpcs()["Vpcs"]
    code, message = error_of(ec2.describe_subnets)
    assert code == "UnauthorizedOperation"
    assert "with an explicit deny in an identity-based policy" in message
    assert endpoint.client("sts", **user).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/ann"


def test_policies_of_groups_and_managed_policies_count_and_inactive_keys_do_not(endpoint: Endpoint) -> None:
    iam = endpoint.client("iam")
    user = make_user(endpoint, "bob", {"Effect": "Allow", "Action": "sns:ListTopics", "Resource": "*"})
    kms = endpoint.client("kms", **user)
    assert error_of(kms.list_keys)[0] == "AccessDeniedException"
    iam.create_group(GroupName="readers")
    iam.attach_group_policy(GroupName="readers", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.add_user_to_group(GroupName="readers", UserName="bob")
    kms.list_keys()
    assert error_of(kms.create_key)[0] == "AccessDeniedException"
    iam.update_access_key(UserName="bob", AccessKeyId=user["aws_access_key_id"], Status="Inactive")
    assert error_of(kms.list_keys)[0] == "UnrecognizedClientException"


def test_secrets_are_matched_by_name_or_arn_with_their_random_letters(endpoint: Endpoint) -> None:
    owner = endpoint.client("secretsmanager")
    mine = owner.create_secret(Name="mine", SecretString="1")["ARN"]
    owner.create_secret(Name="yours", SecretString="2")
    user = make_user(endpoint, "cyd", {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": mine})
    client = endpoint.client("secretsmanager", **user)
    assert client.get_secret_value(SecretId="mine")["SecretString"] == "1"
    assert client.get_secret_value(SecretId=mine)["SecretString"] == "1"
    assert error_of(client.get_secret_value, SecretId="yours")[0] == "AccessDeniedException"
    assert error_of(client.get_secret_value, SecretId="nosuch")[0] == "AccessDeniedException"


def test_an_assumed_role_needs_trust_a_right_token_and_has_the_roles_policies(endpoint: Endpoint) -> None:
    iam, sts = endpoint.client("iam"), endpoint.client("sts")
    trust = {
        "Version": VERSION,
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    allow = {"Version": VERSION, "Statement": [{"Effect": "Allow", "Action": "sns:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=json.dumps(allow))
    made = sts.assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    session = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
        "aws_session_token": made["SessionToken"],
    }
    assert endpoint.client("sns", **session).list_topics()["Topics"] == []
    assert error_of(endpoint.client("iam", **session).list_users)[0] == "AccessDenied"
    identity = endpoint.client("sts", **session).get_caller_identity()["Arn"]
    assert identity == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/session"
    for token in ("other", None):
        thief = endpoint.client("sns", **{**session, "aws_session_token": token})
        assert error_of(thief.list_topics)[0] == "InvalidClientTokenId"
    nobody = iam.create_role(
        RoleName="closed", AssumeRolePolicyDocument=json.dumps({"Version": VERSION, "Statement": []})
    )["Role"]["Arn"]
    for arn in (nobody, f"arn:aws:iam::{ACCOUNT}:role/nosuch", "arn:aws:iam::999999999999:role/foreign"):
        assert error_of(sts.assume_role, RoleArn=arn, RoleSessionName="session")[0] == "AccessDenied"


def test_a_session_lasts_as_long_as_asked_and_the_role_allows(endpoint: Endpoint) -> None:
    iam, sts = endpoint.client("iam"), endpoint.client("sts")
    allow = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": VERSION, "Statement": [allow]})
    for name, more, longest in (("short", {}, 3600), ("long", {"MaxSessionDuration": 7200}, 7200)):
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **more)["Role"]["Arn"]
        asked = {"RoleArn": role, "RoleSessionName": "session"}
        for seconds in (900, longest):
            made = sts.assume_role(**asked, DurationSeconds=seconds)["Credentials"]
            left = (made["Expiration"] - datetime.now(UTC)).total_seconds()
            assert seconds - 60 < left <= seconds + 1
        code, message = error_of(sts.assume_role, **asked, DurationSeconds=longest + 1)
        assert (code, "MaxSessionDuration" in message) == ("ValidationError", True)


def test_ways_to_get_keys_that_nothing_here_checks_are_refused_by_name(endpoint: Endpoint) -> None:
    code, message = error_of(endpoint.client("sts").get_session_token)
    assert code == "InvalidAction"
    assert "sts:GetSessionToken is not available" in message


def test_a_presigned_url_reads_and_writes_s3_and_nothing_else(endpoint: Endpoint) -> None:
    s3 = endpoint.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    s3.create_bucket(Bucket="presigned", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    where = {"Bucket": "presigned", "Key": "a b+c"}
    put = s3.generate_presigned_url("put_object", Params=where, ExpiresIn=60)
    with urllib.request.urlopen(urllib.request.Request(put, b"content", method="PUT")) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url("get_object", Params=where, ExpiresIn=60)
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == b"content"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(get.replace("a%20b", "a%20c"))
    assert refused.value.code == 403
    refused.value.close()
    delete = s3.generate_presigned_url("delete_object", Params=where, ExpiresIn=60)
    caller = endpoint.client("sts").generate_presigned_url("get_caller_identity", ExpiresIn=60)
    for url, method in ((delete, "DELETE"), (caller, "GET")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, method=method))
        assert refused.value.code == 403
        refused.value.close()


def authorize(endpoint: Endpoint, token: str, **changes: Any) -> tuple[bool, str]:
    login = {"user": "app", "resource_id": "db-ABC", "region": "eu-west-1", "host": "127.3.2.1", "port": 5432}
    question = {"token": token} | login | changes
    status, told = ask_privately(endpoint, "POST", PATH, json.dumps(question).encode())
    assert status == 200
    return told["allowed"], told["reason"]


def ask_privately(endpoint: Endpoint, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """The answer of the socket on which the relays ask."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    with contextlib.closing(connection):
        connection.sock.connect(str(endpoint.home.judge_socket))
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_tokens_are_judged_on_a_socket_of_our_own_and_nothing_else_is_served_there(endpoint: Endpoint) -> None:
    """A TCP port could be anybody's: a relay would not know whom it shows a token."""
    assert endpoint.home.judge_socket.parent.stat().st_mode & 0o777 == 0o700
    assert ask_privately(endpoint, "GET", "/_multiaz/health")[0] == 404
    assert ask_privately(endpoint, "POST", "/", b"Action=GetCallerIdentity&Version=2011-06-15")[0] == 404
    request = urllib.request.Request(f"{endpoint.url}{PATH}", b"{}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 404
    refused.value.close()


def test_a_database_token_lets_in_exactly_whom_it_was_made_for(endpoint: Endpoint) -> None:
    rds = endpoint.client("rds")
    token = rds.generate_db_auth_token(DBHostname="127.3.2.1", Port=5432, DBUsername="app")
    assert authorize(endpoint, token) == (True, "allowed")
    for changes in ({"user": "admin"}, {"host": "127.3.2.2"}, {"port": 5433}, {"region": "us-east-1"}):
        allowed, reason = authorize(endpoint, token, **changes)
        assert not allowed, changes
        assert token not in reason
    assert not authorize(endpoint, token[:-1] + ("0" if token[-1] != "0" else "1"))[0]
    assert not authorize(endpoint, "secret password")[0]
    assert not authorize(endpoint, token.replace("X-Amz-Expires=900", "X-Amz-Expires=9000"))[0]


def test_a_database_token_of_a_user_needs_rds_db_connect_on_that_user_of_that_instance(endpoint: Endpoint) -> None:
    arn = f"arn:aws:rds-db:eu-west-1:{ACCOUNT}:dbuser:db-ABC/app"
    user = make_user(endpoint, "dba", {"Effect": "Allow", "Action": "rds-db:connect", "Resource": arn})
    rds = endpoint.client("rds", **user)
    token = rds.generate_db_auth_token(DBHostname="127.3.2.1", Port=5432, DBUsername="app")
    assert authorize(endpoint, token) == (True, "allowed")
    allowed, reason = authorize(endpoint, token, resource_id="db-XYZ")
    assert not allowed
    assert "may not rds-db:connect" in reason


def test_aws_tags_are_refused_for_clients(endpoint: Endpoint) -> None:
    tags = [{"Key": "aws:cloudformation:stack-name", "Value": "x"}]
    ec2 = endpoint.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    assert "aws:" in error_of(ec2.create_tags, Resources=[vpc], Tags=tags)[1]
    assert "aws:" in error_of(endpoint.client("secretsmanager").create_secret, Name="t", SecretString="x", Tags=tags)[1]
    kms_tags = [{"TagKey": "aws:x", "TagValue": "x"}]
    assert "aws:" in error_of(endpoint.client("kms").create_key, Tags=kms_tags)[1]
    assert "aws:" in error_of(endpoint.client("sns").create_topic, Name="t", Tags=tags)[1]
    assert "aws:" in error_of(endpoint.client("logs").create_log_group, logGroupName="t", tags={"aws:x": "y"})[1]


class StreamingAuth(S3SigV4Auth):  # type: ignore[misc]
    """Signs as SDKs do that stream: the payload's hash is a word."""

    def payload(self, request: Any) -> str:
        word: str = request.headers.get("X-Stream-As") or super().payload(request)
        return word


def put_signed(endpoint: Endpoint, url: str, host: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    """PUT `body` to the endpoint under another Host, signed as any SDK would."""
    keys = endpoint.credentials()
    signed = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method="PUT", url=url, data=body, headers={"Host": host, **signed})
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    StreamingAuth(credentials, "s3", "eu-west-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    try:
        connection.request("PUT", urlsplit(url).path, body, dict(request.headers.items()))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_virtual_hosted_buckets_and_streamed_bodies_of_other_sdks(endpoint: Endpoint) -> None:
    s3 = endpoint.client("s3")
    s3.create_bucket(Bucket="hosted", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    host = f"hosted.localhost:{endpoint.port}"
    assert put_signed(endpoint, f"http://{host}/a/b", host, b"plain")[0] == 200
    assert s3.get_object(Bucket="hosted", Key="a/b")["Body"].read() == b"plain"
    wrapped = AwsChunkedWrapper(
        BytesIO(b"streamed"), Crc32Checksum, checksum_name="x-amz-checksum-crc32", chunk_size=3
    ).read()
    streaming = {
        "X_Stream_As": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X_Amz_Sdk_Checksum_Algorithm": "CRC32",
        "X_Amz_Trailer": "x-amz-checksum-crc32",
        "X_Amz_Decoded_Content_Length": "8",
        "Content_Encoding": "aws-chunked",
    }
    assert put_signed(endpoint, f"http://{host}/s", host, wrapped, **streaming) == (200, b"")
    told = s3.get_object(Bucket="hosted", Key="s", ChecksumMode="ENABLED")
    assert (told["Body"].read(), told.get("ContentEncoding")) == (b"streamed", None)
    assert told["ChecksumCRC32"]
    status, body = put_signed(endpoint, f"http://{host}/s", host, wrapped.replace(b"str", b"STR"), **streaming)
    assert (status, b"BadDigest" in body) == (400, True)


def test_a_region_there_is_not_is_refused_by_name(endpoint: Endpoint) -> None:
    for service, call in (("sns", "list_topics"), ("lambda", "list_functions")):
        assert "'mars-north-1'" in error_of(getattr(endpoint.client(service, region="mars-north-1"), call))[1]


def test_many_callers_at_once_are_all_answered(endpoint: Endpoint) -> None:
    sns = endpoint.client("sns", config=Config(max_pool_connections=40))
    with ThreadPoolExecutor(40) as threads:
        made = list(threads.map(lambda number: sns.create_topic(Name=f"many-{number}")["TopicArn"], range(80)))
    listed = {topic["TopicArn"] for topic in sns.list_topics()["Topics"]}
    assert set(made) <= listed
