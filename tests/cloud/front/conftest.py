from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from front_harness import Endpoint


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """One endpoint process for the module's tests."""
    endpoint = Endpoint()
    try:
        endpoint.start()
        yield endpoint
    finally:
        endpoint.remove()
