"""The real local cloud with a real DB instance: stopped, started, killed, removed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config

from multiaz.errors import MultiazError
from multiaz.home import Home
from multiaz.local import environment, processes, remove, running_cloud, start, status, stop

PASSWORD = "Correct-Horse-9"
Eventually = Callable[..., Any]


@pytest.fixture
def home(home_folder: Path) -> Iterator[Home]:
    home = Home(home_folder / "home")
    yield home
    with contextlib.suppress(MultiazError):
        stop(home)


def rds(home: Home) -> Any:
    found = environment(home)
    return boto3.client(
        "rds",
        region_name=found["AWS_REGION"],
        endpoint_url=found["AWS_ENDPOINT_URL"],
        aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def endpoint(home: Home, eventually: Eventually) -> tuple[str, int]:
    """Where the instance is, once it is available."""
    client = rds(home)

    def available() -> dict[str, Any] | None:
        found = client.describe_db_instances(DBInstanceIdentifier="shop")["DBInstances"][0]
        return found if found["DBInstanceStatus"] == "available" else None

    found = eventually(available, "the instance is available", within_s=60)
    client.close()
    return found["Endpoint"]["Address"], found["Endpoint"]["Port"]


def connect(home: Home, where: tuple[str, int]) -> psycopg.Connection[Any]:
    found = environment(home)
    return psycopg.connect(
        host=where[0],
        port=where[1],
        user="dbadmin",
        password=PASSWORD,
        dbname="shop",
        sslmode=found["PGSSLMODE"],
        sslrootcert=found["PGSSLROOTCERT"],
        autocommit=True,
        connect_timeout=30,
    )


def test_everything_is_found_as_it_was(home: Home, free_port: Callable[[], int], eventually: Eventually) -> None:
    port = free_port()
    first = start(home, port)
    client = rds(home)
    client.create_db_instance(
        DBInstanceIdentifier="shop",
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="dbadmin",
        MasterUserPassword=PASSWORD,
        DBName="shop",
    )
    client.close()
    where = endpoint(home, eventually)
    with connect(home, where) as connection:
        connection.execute("CREATE TABLE orders AS SELECT 1 AS id")

    # The endpoint alone: databases go on.
    stopped = stop(home, databases=False)
    assert stopped.endpoint == first.pid
    assert len(stopped.running) == 1
    with connect(home, where) as connection:
        connection.execute("INSERT INTO orders VALUES (2)")

    # Everything, cleanly.
    assert stop(home).instances == stopped.running
    assert processes(home).found == ()
    assert start(home).port == port
    assert endpoint(home, eventually) == where
    with connect(home, where) as connection:
        connection.execute("INSERT INTO orders VALUES (3)")

    # Everything at once, as in a reboot.
    while found := processes(home).found:
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: running_cloud(home) is None, "the killed endpoint's lock is free")
    assert start(home).port == port
    assert endpoint(home, eventually) == where
    with connect(home, where) as connection:
        assert connection.execute("SELECT id FROM orders ORDER BY id").fetchall() == [(1,), (2,), (3,)]
    assert status(home).instances[0].address == f"{where[0]}:{where[1]}"

    remove(home)
    assert processes(home).found == ()
    assert sorted(path.name for path in home.root.iterdir()) == ["home.json", "postgres"]
