"""Signature Version 4, checked: who signed this request, for what, and is the signature right. Pure.

Source: AWS, "Signature Version 4 signing process" and "Authenticating requests (S3)".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = timedelta(minutes=15)
"""How far a client's clock may be off."""
LONGEST_PRESIGN_S = 7 * 24 * 3600
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-"
_STAMP = "%Y%m%dT%H%M%SZ"


class BadSignature(Exception):
    """A request that is not authenticated: `kind` says why, the message is for the caller.

    Kinds: missing, malformed, skewed, expired, mismatch, payload.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Claim:
    """What a request says of its signer; nothing of it is proved yet."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    stamp: str
    """Time of signing, as sent."""
    token: str | None
    presigned: bool
    expires_s: int = 0

    @property
    def scope(self) -> str:
        """The credential scope."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Signed:
    """The parts of an HTTP request a signature covers, as they were sent."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Lower-case names; values of repeated headers joined by commas."""


def read_claim(request: Signed) -> Claim:
    """The claim of a request, from its Authorization header or its query string.

    Raises BadSignature (missing, malformed).
    """
    authorization = request.headers.get("authorization", "")
    if authorization:
        return _from_header(request, authorization)
    fields = dict(parse_qsl(request.query, keep_blank_values=True))
    if "X-Amz-Signature" in fields or "X-Amz-Credential" in fields:
        return _from_query(fields)
    raise BadSignature("missing", "Request is missing Authentication Token")


def _from_header(request: Signed, authorization: str) -> Claim:
    algorithm, _, rest = authorization.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise BadSignature("malformed", f"Unsupported authorization type: {algorithm[:40]}")
    parts: dict[str, str] = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        parts[name] = value
    missing = {"Credential", "SignedHeaders", "Signature"} - parts.keys()
    if missing:
        raise BadSignature("malformed", f"Authorization header requires {', '.join(sorted(missing))} parameter.")
    stamp = request.headers.get("x-amz-date", "")
    if not stamp:
        raise BadSignature("malformed", "Authorization header requires existence of 'X-Amz-Date' header.")
    return _claim(
        parts["Credential"],
        parts["SignedHeaders"],
        parts["Signature"],
        stamp,
        request.headers.get("x-amz-security-token"),
        None,
    )


def _from_query(fields: Mapping[str, str]) -> Claim:
    names = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")
    missing = [name for name in (*names, "X-Amz-Signature") if name not in fields]
    if missing:
        raise BadSignature("malformed", f"Query-string authentication requires {', '.join(missing)}.")
    if fields["X-Amz-Algorithm"] != ALGORITHM:
        raise BadSignature("malformed", "X-Amz-Algorithm only supports AWS4-HMAC-SHA256.")
    expires = fields["X-Amz-Expires"]
    if not re.fullmatch("[0-9]{1,9}", expires) or not 0 < int(expires) <= LONGEST_PRESIGN_S:
        raise BadSignature("malformed", f"X-Amz-Expires must be between 1 and {LONGEST_PRESIGN_S} seconds.")
    return _claim(
        fields["X-Amz-Credential"],
        fields["X-Amz-SignedHeaders"],
        fields["X-Amz-Signature"],
        fields["X-Amz-Date"],
        fields.get("X-Amz-Security-Token"),
        int(expires),
    )


def _claim(credential: str, names: str, signature: str, stamp: str, token: str | None, expires_s: int | None) -> Claim:
    pieces = credential.split("/")
    if len(pieces) != 5 or pieces[4] != "aws4_request" or not all(pieces):
        raise BadSignature("malformed", "Credential must be of the form KEY/YYYYMMDD/REGION/SERVICE/aws4_request.")
    key, date, region, service, _ = pieces
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", stamp):
        raise BadSignature("malformed", "Date must be in ISO-8601 'basic format'.")
    if not stamp.startswith(date):
        raise BadSignature("mismatch", f"Date in Credential scope does not match YYYYMMDD of {stamp}.")
    headers = tuple(name for name in names.lower().split(";") if name)
    if "host" not in headers:
        raise BadSignature("malformed", "'Host' must be a 'SignedHeader'.")
    return Claim(key, date, region, service, headers, signature, stamp, token, expires_s is not None, expires_s or 0)


def check(request: Signed, claim: Claim, secret: str, payload_hash: str, now: datetime) -> None:
    """Raise BadSignature (skewed, expired, mismatch) unless `secret` signed `request` at a time
    that is acceptable `now`. `payload_hash` is the hash the signer wrote, proved elsewhere."""
    _check_time(claim, now)
    unsigned = unsigned_headers(request, claim)
    if unsigned:
        raise BadSignature("mismatch", f"Headers must be signed: {', '.join(unsigned)}")
    expected = signature_of(request, claim, secret, payload_hash)
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise BadSignature(
            "mismatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )


def unsigned_headers(request: Signed, claim: Claim) -> list[str]:
    """Headers that change what a request means and must therefore be covered by its signature.

    botocore, the Go and Java SDKs sign all X-Amz-* headers; only a transport's own may be left out.
    """
    free = {"x-amz-content-sha256"} if claim.presigned else set()
    return sorted(
        name
        for name in request.headers
        if name.startswith("x-amz-") and name not in claim.signed_headers and name not in free
    )


def _check_time(claim: Claim, now: datetime) -> None:
    signed_at = _moment(claim.stamp)
    if claim.presigned:
        if signed_at > now + SKEW:
            raise BadSignature("skewed", "Request is not valid yet")
        if now > signed_at + timedelta(seconds=claim.expires_s):
            raise BadSignature("expired", "Request has expired")
        return
    if abs(now - signed_at) > SKEW:
        relation = "expired" if signed_at < now else "not yet current"
        raise BadSignature("skewed", f"Signature {relation}: {claim.stamp} is more than 15 minutes from {now:{_STAMP}}")


def _moment(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError as error:
        raise BadSignature("malformed", "Date must be in ISO-8601 'basic format'.") from error


def signature_of(request: Signed, claim: Claim, secret: str, payload_hash: str) -> str:
    """The signature `secret` gives to `request` under the claim's scope and header list."""
    digest = hashlib.sha256(canonical(request, claim, payload_hash).encode()).hexdigest()
    text = "\n".join([ALGORITHM, claim.stamp, claim.scope, digest])
    return _hmac(signing_key(secret, claim), text).hex()


def signing_key(secret: str, claim: Claim) -> bytes:
    """The key of one day, region and service, derived from a secret."""
    return _derive(secret, claim.date, claim.region, claim.service)


@lru_cache(maxsize=64)
def _derive(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def canonical(request: Signed, claim: Claim, payload_hash: str) -> str:
    """The canonical request of SigV4."""
    headers = "".join(f"{name}:{_trim(request.headers.get(name, ''))}\n" for name in claim.signed_headers)
    return "\n".join(
        [
            request.method,
            _canonical_path(request.path, claim.service),
            _canonical_query(request.query, presigned=claim.presigned),
            headers,
            ";".join(claim.signed_headers),
            payload_hash,
        ]
    )


def _trim(value: str) -> str:
    return re.sub(r"\s+", " ", value.strip())


def _canonical_path(path: str, service: str) -> str:
    if service == "s3":  # signed as sent; a slash within a key may be encoded
        return "/".join(quote(unquote(part), safe="~-._") for part in (path or "/").split("/"))
    kept: list[str] = []
    for part in (path or "/").split("/"):
        if part == "..":
            if kept:
                kept.pop()
        elif part not in (".", ""):
            kept.append(part)
    normal = "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
    return quote(normal, safe="/~-._")


def _canonical_query(query: str, *, presigned: bool) -> str:
    pairs: list[tuple[str, str]] = []
    for piece in query.split("&") if query else ():
        name, _, value = piece.partition("=")
        if not piece or (presigned and name == "X-Amz-Signature"):
            continue
        pairs.append((_encode(name), _encode(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encode(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def joined_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name; values of a repeated header joined by commas."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


def payload_hash_of(claim: Claim, request: Signed, body: bytes) -> str:
    """The payload hash a signature must have covered.

    Raises BadSignature (payload) if the body is not the one that was hashed, or if only S3 may
    leave it unsigned.
    """
    named = request.headers.get("x-amz-content-sha256")
    if claim.presigned:
        named = named or (UNSIGNED if claim.service == "s3" else None)
    actual = hashlib.sha256(body).hexdigest()
    if named is None:
        return actual
    if named == UNSIGNED or named.startswith(STREAMING):
        if claim.service != "s3":
            raise BadSignature("payload", f"{named} is accepted by S3 only.")
        return named
    if not hmac.compare_digest(named.encode(), actual.encode()):
        raise BadSignature("payload", "The provided 'x-amz-content-sha256' header does not match what was computed.")
    return named
