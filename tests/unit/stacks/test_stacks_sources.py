from __future__ import annotations

from typing import Any

import pytest

from multiaz.cloud.service import AwsFault
from multiaz.cloud.stacks.dynamic import SecretReference, SsmReference, parse_reference, references
from multiaz.cloud.stacks.faults import TemplateError
from multiaz.cloud.stacks.known_functions import Behaviour, find_behaviour, zipped
from multiaz.cloud.stacks.resources.base import Call
from multiaz.cloud.stacks.sources import bucket_and_key

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://bbb.s3.amazonaws.com/k/t.yaml", ("bbb", "k/t.yaml")),
        ("https://bbb.s3.eu-west-1.amazonaws.com/t.yaml", ("bbb", "t.yaml")),
        ("https://my.bucket.s3.amazonaws.com/t", ("my.bucket", "t")),
        ("https://s3.amazonaws.com/b/t.yaml", ("b", "t.yaml")),
        ("https://s3-eu-west-1.amazonaws.com/b/t%20x.yaml", ("b", "t x.yaml")),
        ("http://127.0.0.1:4566/b/t.yaml", ("b", "t.yaml")),
        ("http://localhost:4566/b/a/t.yaml", ("b", "a/t.yaml")),
    ],
)
def test_template_urls_name_an_object_of_our_own_s3(url: str, place: tuple[str, str]) -> None:
    assert bucket_and_key(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/b/t.yaml",
        "https://evil.com/b.s3.amazonaws.com/t",
        "file:///etc/passwd",
        "ftp://s3.amazonaws.com/b/t",
        "https://s3.amazonaws.com/b",
        "http://10.0.0.1/b/t",
        "",
    ],
)
def test_other_urls_are_refused_and_nothing_is_fetched(url: str) -> None:
    with pytest.raises(AwsFault, match="TemplateURL must be a supported URL"):
        bucket_and_key(url)


@pytest.mark.parametrize(
    ("service", "rest", "expected"),
    [
        ("secretsmanager", "db", SecretReference("db")),
        ("secretsmanager", "db:SecretString:password", SecretReference("db", "password")),
        ("secretsmanager", "db:SecretString:password:AWSPREVIOUS", SecretReference("db", "password", "AWSPREVIOUS")),
        ("secretsmanager", "db:SecretString:p::v1", SecretReference("db", "p", None, "v1")),
        ("secretsmanager", "db:SecretString:::", SecretReference("db")),
        ("secretsmanager", ARN, SecretReference(ARN)),
        ("secretsmanager", f"{ARN}:SecretString:password", SecretReference(ARN, "password")),
        ("secretsmanager", f"{ARN}:SecretString:password::", SecretReference(ARN, "password")),
        ("ssm", "/a/b", SsmReference("/a/b")),
        ("ssm", "name:3", SsmReference("name", 3)),
        ("ssm-secure", "name:3", SsmReference("name", 3, secure=True)),
    ],
)
def test_every_form_of_dynamic_reference(service: str, rest: str, expected: object) -> None:
    assert parse_reference(service, rest) == expected


@pytest.mark.parametrize(
    ("service", "rest", "part"),
    [
        ("secretsmanager", "db:SecretBinary:x", "Incorrect format"),
        ("secretsmanager", "", "Incorrect format"),
        ("secretsmanager", "db:SecretString:k:s:v:w", "Incorrect format"),
        ("secretsmanager", "db:SecretString:k:AWSCURRENT:v1", "must not both be specified"),
        ("ssm", "name:x", "Incorrect format"),
        ("ssm", "", "Incorrect format"),
        ("vault", "x", "service vault is not supported"),
    ],
)
def test_malformed_dynamic_references_are_refused(service: str, rest: str, part: str) -> None:
    with pytest.raises(TemplateError) as error:
        parse_reference(service, rest)
    assert part in error.value.message


def test_references_are_found_wherever_they_stand() -> None:
    value: dict[str, Any] = {"A": ["x{{resolve:ssm:n}}y{{resolve:secretsmanager:s}}"], "B": {"C": "{{resolve:ssm:m}}"}}
    assert list(references(value)) == [
        (("A",), SsmReference("n")),
        (("A",), SecretReference("s")),
        (("B", "C"), SsmReference("m")),
    ]


def test_the_blueprints_function_is_known() -> None:
    from multiaz.blueprint.empty_bucket import EMPTY_BUCKET_SHA256

    assert find_behaviour(EMPTY_BUCKET_SHA256) is Behaviour.EMPTY_BUCKET


def test_inline_code_is_packed_the_same_every_time() -> None:
    assert zipped("x = 1", "python3.13") == zipped("x = 1", "python3.13")
    with pytest.raises(KeyError):
        zipped("x", "java21")


@pytest.mark.parametrize("limit", [63, 64, 100, 255])
@pytest.mark.parametrize(
    ("stack", "logical"), [("s", "L"), ("s" * 128, "L" * 255), ("shop", "L" * 255), ("s" * 128, "L")]
)
def test_generated_names_fit_and_repeat(limit: int, stack: str, logical: str) -> None:
    clients: Any = None
    call = Call(clients, "us-east-1", "1", f"arn:{stack}", stack, logical, "T", token="t1")
    name = call.name(limit)
    assert len(name) <= limit
    assert name == call.name(limit)
    assert name.startswith(stack[:1])
    other = Call(clients, "us-east-1", "1", f"arn:{stack}", stack, logical, "T", token="t2")
    assert other.name(limit) != name
    assert call.name(limit, lower=True) == name.lower()
