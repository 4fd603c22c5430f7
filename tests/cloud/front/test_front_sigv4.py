"""A signature is accepted exactly when botocore made it for that request, key and time."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from multiaz.cloud import sigv4

KEY, SECRET = "AKIAEXAMPLEEXAMPLE00", "a secret/that+is=40 characters long, yes"
HOST = "127.0.0.1:4566"


def signed_by_botocore(
    service: str, method: str, path: str, query: str, body: bytes, headers: dict[str, str], auth: Any = None
) -> tuple[sigv4.Signed, bytes]:
    """A request as botocore signs and sends it."""
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, data=body, headers={"Host": HOST, **headers})
    chosen = auth or (S3SigV4Auth if service == "s3" else SigV4Auth)
    chosen(Credentials(KEY, SECRET), service, "eu-west-1").add_auth(request)
    sent = request.prepare()
    parts = urlsplit(sent.url)
    names = {name.lower(): value for name, value in sent.headers.items()}
    return sigv4.Signed(method, parts.path, parts.query, {"host": HOST, **names}), body


def verdict(request: sigv4.Signed, body: bytes, secret: str = SECRET, now: datetime | None = None) -> str:
    """ "right", or the kind of refusal."""
    try:
        claim = sigv4.read_claim(request)
        assert claim.access_key_id == KEY
        digest = sigv4.payload_hash_of(claim, request, body)
        sigv4.check(request, claim, secret, digest, now or datetime.now(UTC))
    except sigv4.BadSignature as bad:
        return bad.kind
    return "right"


WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=6)
PATHS = st.lists(WORD, max_size=3).map(lambda parts: "/" + "/".join(quote(part, safe="~") for part in parts))
QUERIES = st.lists(st.tuples(WORD.filter(bool), WORD), max_size=3).map(lambda pairs: urlencode(pairs, quote_via=quote))
HEADERS = st.dictionaries(
    st.sampled_from(["x-amz-target", "content-type", "x-amz-meta-a", "x-amz-checksum-crc32"]),
    st.text("abc  1=", min_size=1, max_size=9).map(str.strip).filter(bool),
)


@given(st.sampled_from(["s3", "rds", "iam"]), PATHS, QUERIES, st.binary(max_size=20), HEADERS)
@settings(deadline=None, max_examples=150)
def test_every_request_botocore_signs_is_accepted_and_none_with_another_secret(
    service: str, path: str, query: str, body: bytes, headers: dict[str, str]
) -> None:
    request, sent = signed_by_botocore(service, "POST", path, query, body, headers)
    assert verdict(request, sent) == "right"
    assert verdict(request, sent, secret="another") == "mismatch"


def example(service: str = "rds") -> tuple[sigv4.Signed, bytes]:
    return signed_by_botocore(service, "POST", "/a/b", "x=1&y=2", b"Action=A", {"x-amz-target": "T"})


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/a/c"},
        {"query": "x=1&y=3"},
        {"query": "x=1&y=2&z=1"},
        {"query": "x=1"},
    ],
)
@pytest.mark.parametrize("service", ["rds", "s3"])
def test_a_request_changed_after_signing_is_refused(service: str, change: dict[str, str]) -> None:
    request, body = example(service)
    assert verdict(replace(request, **change), body) == "mismatch"


def test_a_body_changed_after_signing_is_refused() -> None:
    request, _ = example("rds")
    assert verdict(request, b"Action=B") == "mismatch"
    request, _ = example("s3")
    assert verdict(request, b"Action=B") == "payload"


def test_a_signed_header_may_not_change_and_no_aws_header_may_be_added() -> None:
    request, body = example()
    assert verdict(replace(request, headers={**request.headers, "x-amz-target": "U"}), body) == "mismatch"
    assert verdict(replace(request, headers={**request.headers, "x-amz-copy-source": "/b/k"}), body) == "mismatch"
    assert verdict(replace(request, headers={**request.headers, "user-agent": "other"}), body) == "right"


def test_only_s3_may_leave_its_payload_unsigned() -> None:
    for service, expected in (("s3", "mismatch"), ("rds", "payload")):
        request, body = example(service)
        unsigned = replace(request, headers={**request.headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
        assert verdict(unsigned, body) == expected


@pytest.mark.parametrize(("minutes", "expected"), [(-16, "skewed"), (-14, "right"), (14, "right"), (16, "skewed")])
def test_a_clock_may_be_15_minutes_off(minutes: int, expected: str) -> None:
    request, body = example()
    assert verdict(request, body, now=datetime.now(UTC) + timedelta(minutes=minutes)) == expected


@pytest.mark.parametrize("auth", [SigV4QueryAuth, S3SigV4QueryAuth])
def test_a_presigned_url_is_good_until_it_expires(auth: Any) -> None:
    service = "s3" if auth is S3SigV4QueryAuth else "rds-db"
    request, body = signed_by_botocore(
        service, "GET", "/bucket/a%20b", "response-content-type=x", b"", {}, lambda *a: auth(*a, expires=60)
    )
    if service == "rds-db":
        body = b""
    assert verdict(request, body) == "right"
    assert verdict(request, body, now=datetime.now(UTC) + timedelta(seconds=59)) == "right"
    assert verdict(request, body, now=datetime.now(UTC) + timedelta(seconds=62)) == "expired"
    assert verdict(replace(request, path="/bucket/other"), body) == "mismatch"
    first_day = re.sub("%2F[0-9]{8}%2F", "%2F00010101%2F", request.query)
    first_day = re.sub("[0-9]{8}T[0-9]{6}Z", "00010101T000000Z", first_day)
    assert verdict(replace(request, query=first_day), body) == "expired"
    endless = request.query.replace("X-Amz-Expires=60", f"X-Amz-Expires={'9' * 5000}")
    assert verdict(replace(request, query=endless), body) == "malformed"
    longer = request.query.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    assert verdict(replace(request, query=longer), body) == "mismatch"


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic abc",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=x",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/r/s, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/r/s/aws4_request, SignedHeaders=date, Signature=0",
    ],
)
def test_a_malformed_authorization_header_is_refused_as_such(authorization: str) -> None:
    headers = {"host": HOST, "authorization": authorization, "x-amz-date": "20260101T000000Z"}
    assert verdict(sigv4.Signed("GET", "/", "", headers), b"") == "malformed"


def test_no_signature_at_all_is_a_missing_token() -> None:
    assert verdict(sigv4.Signed("GET", "/", "", {"host": HOST}), b"") == "missing"


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=60))
def test_no_header_or_query_whatever_is_more_than_a_bad_signature(auth: str, date: str, query: str) -> None:
    headers = {"host": HOST, "authorization": f"AWS4-HMAC-SHA256 {auth}", "x-amz-date": date}
    for request in (sigv4.Signed("GET", "/", "", headers), sigv4.Signed("GET", "/", query, {"host": HOST})):
        try:
            sigv4.read_claim(request)
        except sigv4.BadSignature:
            continue


@given(st.text(min_size=1, max_size=20))
def test_no_signature_whatever_is_more_than_a_mismatch(signature: str) -> None:
    request, body = example()
    authorization, _, right = request.headers["authorization"].rpartition("=")
    forged = replace(request, headers={**request.headers, "authorization": f"{authorization}={signature}"})
    assert signature == right or verdict(forged, body) in ("mismatch", "malformed")
