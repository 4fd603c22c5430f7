"""A template that is too long for a call: its way through a bucket, in a real local cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from multiaz import local
from multiaz.errors import BadInput
from multiaz.fleet.access import Access, AwsClients, AwsRefused
from multiaz.fleet.stacks import Stacks
from multiaz.fleet.templates import (
    BUCKET_PREFIX,
    INLINE_LIMIT_BYTES,
    URL_LIMIT_BYTES,
    clear_leftovers,
    object_url,
    sent_template,
)
from multiaz.home import Home

TOPIC = "Resources: {Topic: {Type: 'AWS::SNS::Topic'}}\n"
LEFTOVER = BUCKET_PREFIX + "0" * 32


def padded(template: str, size: int) -> str:
    """The template with a comment that makes it `size` bytes long."""
    return template + "#" * (size - len(template))


LONG = padded(TOPIC, INLINE_LIMIT_BYTES + 1)


@pytest.fixture(scope="module")
def access(module_home_folder: Path, free_port: Callable[[], int]) -> Iterator[Access]:
    home = Home(module_home_folder / "home")
    local.start(home, free_port())
    found = local.environment(home)
    try:
        yield Access("eu-west-1", found["AWS_ENDPOINT_URL"], found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])
    finally:
        local.remove(home, everything=True)


@pytest.fixture
def clients(access: Access) -> AwsClients:
    return AwsClients(access)


def bucket_names(clients: AwsClients) -> list[str]:
    return [told["Name"] for told in clients.client("s3").list_buckets()["Buckets"]]


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_long_template_makes_the_stack_and_leaves_no_bucket(access: Access, region: str) -> None:
    clients = AwsClients(Access(region, access.endpoint_url, access.access_key_id, access.secret_access_key))
    stacks = Stacks(clients)
    done = stacks.deploy("long", LONG, {})
    assert done.stack.status == "CREATE_COMPLETE"
    assert done.left_behind == ()
    assert stacks.template("long") == LONG
    assert bucket_names(clients) == []
    assert not stacks.deploy("long", LONG, {}).created
    stacks.delete("long")


def test_the_bucket_is_private_while_it_is_there(clients: AwsClients) -> None:
    s3 = clients.client("s3")
    with sent_template(clients, LONG) as sent:
        (name,) = bucket_names(clients)
        blocked = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        assert name in sent.argument["TemplateURL"]
        assert set(blocked.values()) == {True}
    assert bucket_names(clients) == []


def test_a_refused_creation_leaves_no_bucket(clients: AwsClients) -> None:
    with pytest.raises(AwsRefused):
        Stacks(clients).deploy("refused", padded("Resources: {T: {Type: 'No::Such::Type'}}\n", 60_000), {})
    assert bucket_names(clients) == []


def test_an_interruption_leaves_no_bucket(clients: AwsClients) -> None:
    with pytest.raises(KeyboardInterrupt), sent_template(clients, LONG):
        raise KeyboardInterrupt
    assert bucket_names(clients) == []


def test_a_bucket_of_ones_own_keeps_nothing_of_it_not_even_an_old_version(clients: AwsClients) -> None:
    s3 = clients.client("s3")
    s3.create_bucket(Bucket="of-my-own", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket="of-my-own", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="of-my-own", Key="mine", Body=b"stays")
    stacks = Stacks(clients, template_bucket="of-my-own")
    assert stacks.deploy("own", LONG, {}).created
    told = s3.list_object_versions(Bucket="of-my-own")
    assert [version["Key"] for version in told["Versions"]] == ["mine"]
    assert "DeleteMarkers" not in told
    stacks.delete("own")
    s3.delete_object(Bucket="of-my-own", Key="mine", VersionId=told["Versions"][0]["VersionId"])
    s3.delete_bucket(Bucket="of-my-own")


def test_a_bucket_that_is_not_there_is_named(clients: AwsClients) -> None:
    with pytest.raises(AwsRefused) as caught:
        Stacks(clients, template_bucket="of-nobody").deploy("shop", LONG, {})
    assert "of-nobody" in caught.value.what
    assert caught.value.code == "NoSuchBucket"


def test_what_a_killed_process_left_is_cleared_after_an_hour_and_nothing_else(clients: AwsClients) -> None:
    s3 = clients.client("s3")
    of_a_person = BUCKET_PREFIX + "of-a-person"
    for name in (LEFTOVER, of_a_person):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=LEFTOVER, Key="t", Body=b"x")
    assert clear_leftovers(s3) == []
    assert bucket_names(clients) == [LEFTOVER, of_a_person]  # it may be in use
    assert clear_leftovers(s3, datetime.now(UTC) + timedelta(hours=1, minutes=1)) == []
    assert bucket_names(clients) == [of_a_person]
    s3.delete_bucket(Bucket=of_a_person)


def test_the_limits_are_cloudformations(clients: AwsClients) -> None:
    with sent_template(clients, padded(TOPIC, INLINE_LIMIT_BYTES)) as sent:
        assert list(sent.argument) == ["TemplateBody"]
    with sent_template(clients, padded(TOPIC, URL_LIMIT_BYTES)) as sent:
        assert list(sent.argument) == ["TemplateURL"]
    with (
        pytest.raises(BadInput, match=f"{URL_LIMIT_BYTES + 1} bytes"),
        sent_template(clients, padded(TOPIC, URL_LIMIT_BYTES + 1)),
    ):
        pytest.fail("it was sent")


class Scripted:
    """An S3 whose answers are written down, checked by botocore against S3's model."""

    def __init__(self) -> None:
        self.clients = AwsClients(Access("us-east-1", "http://127.0.0.1:1", "key", "secret"))
        self.stub = Stubber(self.clients.client("s3"))

    def sent(self) -> None:
        self.stub.add_client_error("list_buckets", "AccessDenied")
        self.stub.add_response("create_bucket", {}, {"Bucket": ANY})
        self.stub.add_response("put_public_access_block", {})
        self.stub.add_response("put_object", {})

    def kept(self) -> None:
        self.stub.add_response("delete_object", {})
        self.stub.add_client_error("delete_bucket", "AccessDenied", "not you")


def test_a_bucket_that_cannot_be_removed_is_named_and_stops_nothing() -> None:
    scripted = Scripted()
    scripted.sent()
    scripted.kept()
    with scripted.stub:
        with sent_template(scripted.clients, LONG) as sent:
            pass
        scripted.stub.assert_no_pending_responses()
    (left,) = sent.left_behind
    assert left.startswith(f"the bucket {BUCKET_PREFIX}")
    assert "not you" in left


def test_a_refusal_names_the_bucket_that_could_not_be_removed() -> None:
    scripted = Scripted()
    scripted.sent()
    scripted.kept()
    with scripted.stub, pytest.raises(AwsRefused) as caught, sent_template(scripted.clients, LONG):
        raise AwsRefused("Cannot create the stack", "ValidationError", "no")
    assert f"remove the bucket {BUCKET_PREFIX}" in caught.value.next_step


def test_a_bucket_that_cannot_be_made_private_is_removed_unused() -> None:
    scripted = Scripted()
    scripted.stub.add_response("list_buckets", {"Buckets": []})
    scripted.stub.add_response("create_bucket", {}, {"Bucket": ANY})
    scripted.stub.add_client_error("put_public_access_block", "AccessDenied", "not you")
    scripted.stub.add_response("delete_bucket", {})
    with scripted.stub:
        with pytest.raises(AwsRefused, match="not you"), sent_template(scripted.clients, LONG):
            pytest.fail("it was sent")
        scripted.stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("bucket", "region", "endpoint", "url"),
    [
        ("b", "us-east-1", None, "https://b.s3.us-east-1.amazonaws.com/k%20y"),
        ("b", "cn-north-1", None, "https://b.s3.cn-north-1.amazonaws.com.cn/k%20y"),
        ("b", "us-gov-west-1", None, "https://b.s3.us-gov-west-1.amazonaws.com/k%20y"),
        ("a.b", "eu-west-1", None, "https://s3.eu-west-1.amazonaws.com/a.b/k%20y"),
        ("b", "eu-west-1", "http://127.0.0.1:4566/", "http://127.0.0.1:4566/b/k%20y"),
    ],
)
def test_the_url_is_the_one_of_the_bucket_s_region(bucket: str, region: str, endpoint: Any, url: str) -> None:
    assert object_url(bucket, "k y", region, endpoint) == url
