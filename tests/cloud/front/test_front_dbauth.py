"""What an IAM token says is read as it was signed, and one that says nonsense is a refusal, never a failure."""

from __future__ import annotations

import json
from typing import Any, cast

import boto3
import pytest

from multiaz.cloud.dbauth import DatabaseLogins, Login
from multiaz.cloud.door import Door, HttpRequest
from multiaz.cloud.principals import Principal, Principals
from multiaz.cloud.service import Caller

KEY, SECRET = "AKIAEXAMPLE", "secret"
HOST, PORT, REGION = "127.3.2.1", 5432, "eu-west-1"


class People:
    def find(self, access_key_id: str) -> Principal | None:
        caller = Caller(arn="arn:aws:iam::123456789012:user/root", access_key_id=KEY, administrator=True)
        return Principal(caller, user_id="AIDA", secret=SECRET) if access_key_id == KEY else None


LOGINS = DatabaseLogins(cast(Principals, People()), cast(Door, None))
"""An administrator's tokens: nothing but the token decides."""


def token_for(user: str) -> str:
    rds: Any = boto3.client("rds", REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET)
    return str(rds.generate_db_auth_token(DBHostname=HOST, Port=PORT, DBUsername=user))


def refusal(token: str, user: str) -> str | None:
    return LOGINS.refusal(Login(token, user, "db-ABC", REGION, HOST, PORT))


@pytest.mark.parametrize("user", ["app", "a+b", "a b", "a&b=c", "grün", "100%25"])
def test_a_token_is_good_for_its_user_whatever_the_name(user: str) -> None:
    assert refusal(token_for(user), user) is None


def test_a_plus_in_a_token_is_no_space() -> None:
    """The signature covers a plus: read as a space, it let the user "a b" in with a token signed for "a+b"."""
    rewritten = token_for("a+b").replace("DBUser=a%2Bb", "DBUser=a+b")
    assert refusal(rewritten, "a+b") is None
    assert refusal(rewritten, "a b") == "the token is for another user"


def test_a_user_that_is_named_twice_is_nobody() -> None:
    assert refusal(f"{token_for('app')}&DBUser=admin", "app") == "the token is for another user"
    assert refusal(f"{token_for('app')}&DB%55ser=admin", "admin") == "the token is for another user"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("X-Amz-Expires", "9" * 5000),
        ("X-Amz-Expires", "-1"),
        ("X-Amz-Date", "yesterday"),
        ("X-Amz-Signature", "\udcff"),
        ("X-Amz-Signature", "ä"),
        ("X-Amz-Credential", "nobody"),
    ],
)
def test_a_malformed_token_is_refused_as_that(field: str, value: str) -> None:
    kept = [piece for piece in token_for("app").split("&") if not piece.startswith(f"{field}=")]
    assert refusal("&".join([*kept, f"{field}={value}"]), "app") == "the token is malformed"


@pytest.mark.parametrize("password", ["s3cret", "s3cret/?", "s3cret/?x=y", "s3crét/?x"])
def test_a_password_is_not_repeated_in_the_refusal(password: str) -> None:
    """It would be in the endpoint's log."""
    assert "s3cr" not in str(refusal(password, "app"))


@pytest.mark.parametrize("changes", [{"port": float("inf")}, {"port": "x"}, {"token": None, "port": None}])
def test_a_question_that_cannot_be_read_is_answered_no(changes: dict[str, Any]) -> None:
    question = {"token": "t", "user": "u", "resource_id": "db", "region": REGION, "host": HOST, "port": PORT} | changes
    for body in (json.dumps(question).encode(), b"[" * 100_000, b"[]"):
        answer = LOGINS.answer(HttpRequest("POST", "/", "", {}, body))
        assert (answer.status, json.loads(answer.body)["allowed"]) == (400, False)
