"""Inline functions whose work this local cloud does itself: template code is never run here.

A custom resource is carried out only if the function behind its ServiceToken is, byte for byte,
one of these.
"""

from __future__ import annotations

import io
import zipfile
from enum import StrEnum

CODE_TAG = "multiaz:code-sha256"
"""Tag under which the local Lambda tells the SHA-256 (hex) of a function's one source file."""
FILE_OF_RUNTIME = {"python": "index.py", "nodejs": "index.js"}
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


class Behaviour(StrEnum):
    """What a known function does."""

    EMPTY_BUCKET = "empty-bucket"
    """On Delete: remove every object version, delete marker and multipart upload of BucketName, if it has the tag."""


KNOWN_FUNCTIONS: dict[str, Behaviour] = {
    # The blueprint's function; a test holds the two together.
    "d1c77b67709ef50d61f57cb9770784096f3ba05b6b2e1ff494c09e8222990583": Behaviour.EMPTY_BUCKET,
}
"""SHA-256 of the source text to what the function does."""
EMPTIED_TAG = {"Key": "EmptyOnDeletion", "Value": "true"}
"""Without it the function leaves a bucket as it is: its custom resource may go while the bucket stays."""


def zipped(source: str, runtime: str) -> bytes:
    """Inline code as CloudFormation packs it; the same bytes for the same text.

    Raises KeyError for a runtime that has no inline code.
    """
    family = next((name for name in FILE_OF_RUNTIME if runtime.startswith(name)), runtime)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo(FILE_OF_RUNTIME[family], _FIXED_TIME)
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, source)
    return buffer.getvalue()


def find_behaviour(source_digest: str) -> Behaviour | None:
    """What the function with this source does, None if it is not known."""
    return KNOWN_FUNCTIONS.get(source_digest)
