"""S3's aws-chunked bodies: pieces unwrapped, their signatures and trailing checksums proved. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multiaz.cloud import crc
from multiaz.cloud.service import AwsFault
from multiaz.cloud.sigv4 import Claim, signing_key

_EMPTY = hashlib.sha256(b"").hexdigest()

CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "x-amz-checksum-crc32c": crc.crc32c,
    "x-amz-checksum-crc64nvme": crc.crc64nvme,
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
}
"""Checksums proved here; any other is refused."""
_NO_CHECKSUMS = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"})


@dataclass(frozen=True)
class Unwrapped:
    """An aws-chunked body without its wrapping."""

    body: bytes
    trailers: Mapping[str, str]
    """Lower-case names."""


def unwrap(body: bytes, mode: str, headers: Mapping[str, str], claim: Claim, secret: str) -> Unwrapped:
    """Undo aws-chunked as `mode` (the value of x-amz-content-sha256) says.

    Raises AwsFault if the wrapping, a chunk's signature, the trailer's signature or the decoded
    length is wrong.
    """
    if mode not in (
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    ):
        raise AwsFault("NotImplemented", f"The payload mode {mode} is not available here.", 501)
    chain = _Chain(claim, secret) if "AWS4-HMAC-SHA256" in mode else None
    data = bytearray()
    position = 0
    while True:
        line, position = _line(body, position)
        size_text, _, extension = line.partition(b";")
        try:
            size = int(size_text, 16)
        except ValueError as error:
            raise _broken("a chunk's size is not a hexadecimal number") from error
        piece = body[position : position + size]
        if size < 0 or len(piece) != size:
            raise _broken("a chunk is shorter than it says")
        if chain is not None:
            chain.check(piece, extension.partition(b"chunk-signature=")[2].decode("latin-1"))
        position += size
        if size == 0:
            break
        if body[position : position + 2] != b"\r\n":
            raise _broken("a chunk is longer than it says")
        position += 2
        data += piece
    trailers = _trailers(body, position)
    signature = trailers.pop("x-amz-trailer-signature", None)
    if chain is not None and mode.endswith("-TRAILER"):
        chain.check_trailer(trailers, signature or "")
    declared = headers.get("x-amz-decoded-content-length")
    if declared is not None and declared != str(len(data)):
        raise AwsFault("IncompleteBody", f"x-amz-decoded-content-length is {declared}, but {len(data)} came.")
    promised = {name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",") if name.strip()}
    if promised != trailers.keys():
        raise AwsFault("MalformedTrailerError", "The trailers sent are not those named in x-amz-trailer.")
    return Unwrapped(bytes(data), trailers)


def prove_checksums(body: bytes, headers: Mapping[str, str]) -> None:
    """Raise AwsFault (BadDigest) if a checksum in `headers` is not that of `body`, or is of a kind not known here."""
    for name in headers:
        if name.startswith("x-amz-checksum-") and name not in CHECKSUMS and name not in _NO_CHECKSUMS:
            raise AwsFault("NotImplemented", f"The checksum {name} is not available here.", 501)
    for name, compute in CHECKSUMS.items():
        sent = headers.get(name)
        if sent is not None and sent != base64.b64encode(compute(body)).decode():
            kind = name.removeprefix("x-amz-checksum-").upper()
            raise AwsFault("BadDigest", f"The {kind} you specified did not match the calculated checksum.")
    md5 = headers.get("content-md5")
    if md5 is not None:
        actual = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        if md5 != actual:
            raise AwsFault("BadDigest", "The Content-MD5 you specified did not match what we received.")


def refuse_checksums_of_parts(headers: Mapping[str, str]) -> None:
    """Raise AwsFault if CompleteMultipartUpload names a checksum of the whole object: nobody here proves it."""
    for name in headers:
        if name.startswith("x-amz-checksum-") and name not in _NO_CHECKSUMS:
            raise AwsFault("NotImplemented", f"CompleteMultipartUpload: {name} is not available here.", 501)


class _Chain:
    """Each chunk's signature covers the one before it; the first covers the request's."""

    def __init__(self, claim: Claim, secret: str) -> None:
        self._claim = claim
        self._key = signing_key(secret, claim)
        self._previous = claim.signature

    def check(self, piece: bytes, signature: str) -> None:
        digest = hashlib.sha256(piece).hexdigest()
        self._step("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY}\n{digest}", signature)

    def check_trailer(self, trailers: Mapping[str, str], signature: str) -> None:
        text = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        self._step("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(text.encode()).hexdigest(), signature)

    def _step(self, kind: str, digests: str, signature: str) -> None:
        text = "\n".join([kind, self._claim.stamp, self._claim.scope, self._previous, digests])
        expected = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise AwsFault("SignatureDoesNotMatch", "A chunk's signature does not match.", 403)
        self._previous = expected


def _line(body: bytes, position: int) -> tuple[bytes, int]:
    end = body.find(b"\r\n", position)
    if end < 0:
        raise _broken("it ends within a line")
    return body[position:end], end + 2


def _trailers(body: bytes, position: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in body[position:].split(b"\r\n"):
        text = line.strip().decode("latin-1")
        if text:
            name, colon, value = text.partition(":")
            if not colon:
                raise _broken("a trailer has no value")
            found[name.lower()] = value.strip()
    return found


def _broken(why: str) -> AwsFault:
    return AwsFault("InvalidRequest", f"The aws-chunked body is malformed: {why}.")
