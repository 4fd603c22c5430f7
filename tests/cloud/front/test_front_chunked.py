"""aws-chunked bodies: AWS's own worked example, botocore's wrapper, and everything that may be wrong."""

from __future__ import annotations

import base64
import zlib
from io import BytesIO

import pytest
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud import chunked, crc
from multiaz.cloud.service import AwsFault
from multiaz.cloud.sigv4 import Claim

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

# Source: S3 API reference, "Signature calculations for the Authorization header: transferring payload in
# multiple chunks", the example that puts 65 kB of the letter a.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CLAIM = Claim(
    "AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", "s3", ("host",), SEED, "20130524T000000Z", None, presigned=False
)
SIGNATURES = (
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)


def published_body(fill: bytes = b"a") -> bytes:
    pieces = (fill * 65536, fill * 1024, b"")
    return b"".join(
        f"{len(piece):x};chunk-signature={signature}\r\n".encode() + piece + b"\r\n"
        for piece, signature in zip(pieces, SIGNATURES, strict=True)
    )


def test_awss_worked_example_is_accepted() -> None:
    headers = {"x-amz-decoded-content-length": "66560"}
    assert chunked.unwrap(published_body(), SIGNED, headers, CLAIM, SECRET).body == b"a" * 66560


def test_a_changed_chunk_is_refused() -> None:
    with pytest.raises(AwsFault) as refused:
        chunked.unwrap(published_body(b"b"), SIGNED, {}, CLAIM, SECRET)
    assert refused.value.code == "SignatureDoesNotMatch"


@given(st.binary(max_size=400), st.integers(1, 100))
def test_what_botocore_wraps_is_unwrapped(content: bytes, chunk_size: int) -> None:
    wrapper = AwsChunkedWrapper(
        BytesIO(content), Crc32Checksum, checksum_name="x-amz-checksum-crc32", chunk_size=chunk_size
    )
    headers = {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": str(len(content))}
    unwrapped = chunked.unwrap(wrapper.read(), UNSIGNED, headers, CLAIM, SECRET)
    assert unwrapped.body == content
    chunked.prove_checksums(unwrapped.body, unwrapped.trailers)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "InvalidRequest"),
        (b"zz\r\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        (b"5\r\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        (b"2\r\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        (b"-1\r\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        (b"3\r\nabc\r\n0\r\nnonsense\r\n\r\n", "InvalidRequest"),
        (b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n", "MalformedTrailerError"),
        (b"2\r\nab\r\n0\r\n\r\n", "IncompleteBody"),
    ],
)
def test_a_malformed_body_is_refused_by_name(body: bytes, code: str) -> None:
    with pytest.raises(AwsFault) as refused:
        chunked.unwrap(body, UNSIGNED, {"x-amz-decoded-content-length": "3"}, CLAIM, SECRET)
    assert refused.value.code == code


def test_an_unknown_payload_mode_is_refused_by_name() -> None:
    with pytest.raises(AwsFault) as refused:
        chunked.unwrap(b"", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", {}, CLAIM, SECRET)
    assert "ECDSA" in refused.value.message


@pytest.mark.parametrize(("kind", "check"), [("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")])
def test_checksums_python_has_not_are_proved_by_their_published_check_value(kind: str, check: str) -> None:
    headers = {f"x-amz-checksum-{kind}": base64.b64encode(bytes.fromhex(check)).decode()}
    chunked.prove_checksums(b"123456789", headers)
    for wrong in (b"123456780", b"12345678", b""):
        with pytest.raises(AwsFault) as refused:
            chunked.prove_checksums(wrong, headers)
        assert refused.value.code == "BadDigest"


@given(st.binary(max_size=40))
def test_eight_bytes_at_a_time_are_what_one_at_a_time_is(data: bytes) -> None:
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    assert crc.crc32c(data) == (remainder ^ 0xFFFFFFFF).to_bytes(4, "big")


@pytest.mark.parametrize("kind", ["xxhash64", "sha512", "md5", "crc128"])
def test_a_checksum_nobody_proves_is_refused_by_name(kind: str) -> None:
    with pytest.raises(AwsFault, match=f"x-amz-checksum-{kind} is not available"):
        chunked.prove_checksums(b"", {f"x-amz-checksum-{kind}": "eA=="})
    with pytest.raises(AwsFault, match="CompleteMultipartUpload"):
        chunked.refuse_checksums_of_parts({"x-amz-checksum-type": "FULL_OBJECT", "x-amz-checksum-crc32": "eA=="})


def test_a_wrong_checksum_is_a_bad_digest() -> None:
    right = base64.b64encode(zlib.crc32(b"abc").to_bytes(4, "big")).decode()
    chunked.prove_checksums(b"abc", {"x-amz-checksum-crc32": right})
    for headers in ({"x-amz-checksum-crc32": right}, {"content-md5": "kAFQmDzST7DWlj99KOF/cg=="}):
        with pytest.raises(AwsFault) as refused:
            chunked.prove_checksums(b"abd", headers)
        assert refused.value.code == "BadDigest"
