"""A client of an instance's endpoint that waits, and what its statements take."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
from harness import PASSWORD, Instance


def by_the_endpoint(instance: Instance, timeout_s: int = 30) -> psycopg.Connection[tuple[object, ...]]:
    """A connection through the endpoint process; fails after `timeout_s` without one."""
    return psycopg.connect(
        host="127.0.0.1", port=instance.desired.endpoint.port, user="dbadmin", password=PASSWORD, dbname="shop",
        connect_timeout=timeout_s, autocommit=True,
    )  # fmt: skip


def seconds_of(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began
