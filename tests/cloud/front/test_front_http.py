"""The endpoint as a process: who it answers, who may start it, and what it says when it cannot."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from front_harness import DEADLINE_S, Endpoint

from multiaz.cloud.frontdoor import STRANGERS_BODY_BYTES
from multiaz.cloud.serving import CONNECTIONS
from multiaz.cloud.stacks.known_functions import zipped
from multiaz.errors import ExitCode
from multiaz.files import lock_holder

TRUST = json.dumps(
    {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
)


def ask(endpoint: Endpoint, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host="host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_health_needs_no_key(endpoint: Endpoint) -> None:
    status, body = ask(endpoint, "GET", "/_multiaz/health")
    assert status == 200
    assert json.loads(body)["ready"] is True
    assert ask(endpoint, "GET", "/_multiaz/other")[0] == 404


def test_the_regions_in_use_are_told_whoever_keeps_their_state(endpoint: Endpoint) -> None:
    """`down` asks them all before it removes anything."""
    endpoint.client("logs", "ap-south-1").create_log_group(logGroupName="g")
    role = endpoint.client("iam").create_role(RoleName="regions", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    endpoint.client("lambda", "sa-east-1").create_function(
        FunctionName="f", Runtime="python3.12", Handler="a.b", Role=role, Code={"ZipFile": zipped("", "python3.12")}
    )
    status, body = ask(endpoint, "GET", "/_multiaz/regions")
    assert status == 200
    assert json.loads(body)["ap-south-1"] == ["logs"]
    assert "sa-east-1" in json.loads(body)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1", ""]
)
def test_a_foreign_host_is_refused(endpoint: Endpoint, host: str) -> None:
    assert ask(endpoint, "GET", "/_multiaz/health", host=host.format(port=endpoint.port))[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "bucket.localhost:{port}"])
def test_loopback_names_are_answered(endpoint: Endpoint, host: str) -> None:
    assert ask(endpoint, "GET", "/_multiaz/health", host=host.format(port=endpoint.port))[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
def test_what_a_web_page_sends_is_refused(endpoint: Endpoint, origin: str) -> None:
    assert ask(endpoint, "GET", "/_multiaz/health", origin=origin)[0] == 403
    assert ask(endpoint, "OPTIONS", "/", origin=origin)[0] == 403


def test_an_oversized_body_is_refused_before_it_is_read(endpoint: Endpoint) -> None:
    assert ask(endpoint, "PUT", "/b/k", content_length=str(10**12))[0] == 413


STRANGER = (
    "AWS4-HMAC-SHA256 Credential=AKIAXXXXXXXXXXXXXXXX/20260101/eu-west-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=00"
)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/b/k", {}, 403),
        ("/b/k", {"authorization": STRANGER, "x-amz-date": "20260101T000000Z"}, 403),
        ("/_multiaz/rds-db/authorize", {}, 413),
    ],
)
def test_a_large_body_of_somebody_unknown_is_not_waited_for(
    endpoint: Endpoint, path: str, headers: dict[str, str], status: int
) -> None:
    """Whoever reaches the port could fill the memory otherwise."""
    assert ask(endpoint, "PUT", path, content_length=str(STRANGERS_BODY_BYTES + 1), **headers)[0] == status


def test_a_large_body_of_somebody_known_is_read(endpoint: Endpoint) -> None:
    s3 = endpoint.client("s3")
    s3.create_bucket(Bucket="large", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    content = bytes(4 * STRANGERS_BODY_BYTES)
    s3.put_object(Bucket="large", Key="k", Body=content)
    assert s3.get_object(Bucket="large", Key="k")["Body"].read() == content


def test_connections_are_bounded_and_what_is_too_much_is_told_to_come_again(endpoint: Endpoint) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(CONNECTIONS):
            held.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=10))
        assert ask(endpoint, "GET", "/_multiaz/health")[0] == 503
    deadline = time.monotonic() + DEADLINE_S
    while ask(endpoint, "GET", "/_multiaz/health")[0] != 200:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("service", ["secretsmanager", "kms", "lambda"])
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["\\"[",'])
def test_a_body_of_too_many_levels_is_bad_input_and_no_bug(endpoint: Endpoint, service: str, opening: bytes) -> None:
    client = endpoint.client(service)
    client.meta.events.register("before-call", lambda params, **_: params.update(body=opening * 100_000))
    calls = {"secretsmanager": "list_secrets", "kms": "create_key", "lambda": "tag_resource"}
    arguments = {"Resource": "arn:aws:lambda:eu-west-1:123456789012:function:f", "Tags": {}}
    with pytest.raises(ClientError, match="levels of nesting"):
        getattr(client, calls[service])(**(arguments if service == "lambda" else {}))


def test_a_policy_of_too_many_levels_is_bad_input_and_no_bug(endpoint: Endpoint) -> None:
    sns, s3 = endpoint.client("sns"), endpoint.client("s3")
    topic = sns.create_topic(Name="t")["TopicArn"]
    with pytest.raises(ClientError, match="levels of nesting"):
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue="[" * 50_000)
    s3.create_bucket(Bucket="deep", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(ClientError, match="levels of nesting"):
        s3.put_bucket_policy(Bucket="deep", Policy="[" * 50_000)
    s3.put_object(Bucket="deep", Key="policy", Body=b"[" * 50_000)


def test_it_listens_on_loopback_only(endpoint: Endpoint) -> None:
    assert endpoint.process is not None
    inodes: set[str] = set()
    for link in Path(f"/proc/{endpoint.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a connection that has just ended
            found = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            inodes |= {found.group(1)} if found else set()
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    lines = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    listening = [line[1] for line in lines if line[9] in inodes and line[3] == "0A"]
    assert listening == [f"0100007F:{endpoint.port:04X}"]


def test_secrets_and_logs_are_for_the_owner_only(endpoint: Endpoint) -> None:
    home = endpoint.home
    for path in (home.credentials, home.logs / "cloud.log", home.database, home.cloud_ready):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in (home.moto, home.s3, home.logs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_a_second_start_is_a_conflict_that_names_the_first(endpoint: Endpoint) -> None:
    assert endpoint.process is not None
    second = endpoint.spawn()
    _, errors = second.communicate(timeout=30)
    assert second.returncode == ExitCode.CONFLICT
    assert f"process {endpoint.process.pid} serves it already" in errors.decode()
    assert ask(endpoint, "GET", "/_multiaz/health")[0] == 200


@pytest.fixture
def fresh() -> Iterator[Endpoint]:
    """An endpoint that is not started."""
    fresh = Endpoint()
    try:
        yield fresh
    finally:
        fresh.remove()


def test_a_taken_port_is_a_conflict_that_names_the_holder(fresh: Endpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = fresh.spawn(taken.getsockname()[1])
        _, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.CONFLICT
    assert f"(pid {os.getpid()}) holds it" in errors.decode()
    assert not fresh.home.cloud_ready.exists()
    assert lock_holder(fresh.home.cloud_lock) is None


def test_state_of_another_moto_is_refused_by_name(fresh: Endpoint) -> None:
    fresh.home.moto.mkdir(mode=0o700)
    path = fresh.home.moto / "ec2.state"
    path.write_bytes(b'{"format": 1, "moto": "4.2.0", "service": "ec2", "sha256": ""}\nrest')
    process = fresh.spawn()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.CONFLICT
    assert "it was written by moto 4.2.0" in errors.decode()
    assert path.read_bytes().endswith(b"rest")


def test_damaged_state_ends_the_process_and_changes_nothing(fresh: Endpoint) -> None:
    fresh.start()
    fresh.client("sns").create_topic(Name="t")
    assert fresh.stop() == ExitCode.OK
    path = fresh.home.moto / "sns.state"
    damaged = path.read_bytes()[:-1] + b"!"
    path.write_bytes(damaged)
    process = fresh.spawn()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.CONFLICT, errors.decode()
    assert "damaged" in errors.decode()
    assert path.read_bytes() == damaged


def test_sigterm_is_a_clean_stop_and_the_key_stays(fresh: Endpoint) -> None:
    fresh.start()
    before = fresh.credentials()
    assert fresh.stop(signal.SIGTERM) == ExitCode.OK
    fresh.start()
    assert fresh.credentials() == before
    assert fresh.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:user/multiaz-administrator"
