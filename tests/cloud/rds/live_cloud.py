"""A local cloud as people have it: its own process, asked with boto3, with real supervisors and servers behind it."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError

from multiaz.files import lock_holder
from multiaz.home import Home, InstanceHome
from multiaz.instance.records import ObservedInstance
from multiaz.local import environment, start

PASSWORD = "correct-horse-battery"
PATIENCE = float(os.environ.get("MULTIAZ_TEST_PATIENCE", "1"))


class LiveCloud:
    """One home and the process that serves it."""

    def __init__(self, home: Home, port: int) -> None:
        self.home = home
        start(home, port)
        told = environment(home)
        self.rds = boto3.client(
            "rds", endpoint_url=told["AWS_ENDPOINT_URL"], region_name=told["AWS_REGION"],
            aws_access_key_id=told["AWS_ACCESS_KEY_ID"], aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip

    def kill_and_restart(self) -> None:
        """kill -9 of the AWS endpoint's process, and another one."""
        pid = lock_holder(self.home.cloud_lock)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: lock_holder(self.home.cloud_lock) is None, what="the endpoint's process is gone")
        start(self.home)

    def call(self, action: str, **params: Any) -> dict[str, Any]:
        """What boto3 gives for an action, by the action's name."""
        method = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", action).lower()
        return dict(getattr(self.rds, method)(**params))

    def modify(self, name: str, **changes: Any) -> dict[str, Any]:
        """The DBInstance that ModifyDBInstance answers."""
        return dict(self.call("ModifyDBInstance", DBInstanceIdentifier=name, **changes)["DBInstance"])

    def refusal(self, action: str, **params: Any) -> tuple[str, str]:
        """Code and message of the error with which a call is refused."""
        with pytest.raises(ClientError) as refused:
            self.call(action, **params)
        error = refused.value.response["Error"]
        return error["Code"], error["Message"]

    def make(self, name: str, **more: Any) -> dict[str, Any]:
        """A new instance, once it is available."""
        self.call(
            "CreateDBInstance", DBInstanceIdentifier=name, DBInstanceClass="db.t3.micro", Engine="postgres",
            AllocatedStorage=20, MasterUsername="shop", MasterUserPassword=PASSWORD, **more,
        )  # fmt: skip
        return self.until_status(name, "available")

    def instance(self, name: str) -> dict[str, Any]:
        return dict(self.call("DescribeDBInstances", DBInstanceIdentifier=name)["DBInstances"][0])

    def names(self) -> list[str]:
        return [one["DBInstanceIdentifier"] for one in self.call("DescribeDBInstances")["DBInstances"]]

    def until(self, condition: Callable[[], Any], seconds: float = 120, what: str = "") -> Any:
        """The first true value of `condition`; fails with the instances' logs after the deadline."""
        deadline = time.monotonic() + seconds * PATIENCE
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}\n{self.logs()}"
            time.sleep(0.03)
        return value

    def until_status(self, name: str, status: str) -> dict[str, Any]:
        """The instance, once it shows that status."""

        def shows() -> dict[str, Any] | None:
            found = self.instance(name)
            return found if found["DBInstanceStatus"] == status else None

        return dict(self.until(shows, what=f"{name} {status}"))

    def place(self, name: str) -> InstanceHome:
        return self.home.instance(self.instance(name)["DbiResourceId"])

    def observed(self, name: str) -> ObservedInstance:
        """What the instance's supervisor publishes."""
        return ObservedInstance.model_validate_json(self.place(name).observed.read_bytes())

    def until_redundant(self, name: str) -> None:
        """Until the standby has every commit, with the parameters the primary has."""
        path = self.place(name).observed

        def whole() -> bool:
            seen = ObservedInstance.model_validate_json(path.read_bytes())
            return seen.in_sync and seen.redundant and not seen.pending_restart

        self.until(whole, what=f"{name} redundant")

    def events(self, name: str, *, backups: bool = False) -> list[tuple[str, str]]:
        """Number and text of every event of an instance, oldest first; those of backups only if asked for.

        The API tells no numbers, so they are read where the cloud keeps them; the texts must be those the API tells.
        """
        told = self.call("DescribeEvents", SourceIdentifier=name, SourceType="db-instance", Duration=600)["Events"]
        with closing(sqlite3.connect(f"file:{self.home.database}?mode=ro", uri=True)) as store:
            rows = store.execute(
                "SELECT code, message FROM rds_events WHERE source_type = 'db-instance' AND source = ? "
                "ORDER BY at, number",
                (name,),
            ).fetchall()
        assert [message for _, message in rows[: len(told)]] == [event["Message"] for event in told]
        found = [(code.removeprefix("RDS-EVENT-"), message) for code, message in rows[: len(told)]]
        return [one for one in found if backups or one[0] not in ("0001", "0002")]

    def connect(self, name: str, password: str = PASSWORD, timeout_s: int = 40) -> psycopg.Connection[Any]:
        """A session of the master user by the endpoint; the timeout is above that of the endpoint itself (30 s)."""
        endpoint = self.instance(name)["Endpoint"]
        return self.connect_to(endpoint["Address"], endpoint["Port"], password, timeout_s)

    def connect_to(
        self, address: str, port: int, password: str = PASSWORD, timeout_s: int = 40
    ) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=address, port=port, user="shop", password=password, dbname="postgres", autocommit=True,
            sslmode="verify-full", sslrootcert=str(self.home.pki / "ca.pem"), connect_timeout=timeout_s,
        )  # fmt: skip

    def as_admin(self, name: str) -> psycopg.Connection[Any]:
        """The superuser, by the instance's own socket."""
        link = self.place(name).primary_link
        return psycopg.connect(host=str(link), port=5432, user="rdsadmin", dbname="postgres", autocommit=True)

    def logs(self) -> str:
        paths = [*self.home.instances.glob("*/logs/instance.log"), *self.home.instances.glob("*/observed.json")]
        return "\n".join(f"--- {path}\n{path.read_text()[-3000:]}" for path in paths)


class Watch:
    """What DescribeDBInstances shows of an instance meanwhile: (status, pending values), each while it stays the same.

    A thread asks again and again, and there is an answer from the beginning and from the end; what lasts shorter than
    two answers are apart may be missed.
    """

    def __init__(self, cloud: LiveCloud, *names: str) -> None:
        self._cloud, self._names = cloud, names
        self.shown: list[tuple[str, dict[str, Any]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        self._look()

    def statuses(self) -> list[str]:
        """The statuses in their order, also while pending values changed."""
        found = [status for status, _ in self.shown]
        return [status for place, status in enumerate(found) if place == 0 or found[place - 1] != status]

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            self._look()

    def _look(self) -> None:
        for one in self._cloud.call("DescribeDBInstances")["DBInstances"]:
            told = (one["DBInstanceStatus"], one["PendingModifiedValues"])
            if one["DBInstanceIdentifier"] in self._names and (not self.shown or self.shown[-1] != told):
                self.shown.append(told)


class Patient(Protocol):
    """What waits for a condition, and says what was waited for."""

    def until(self, condition: Callable[[], Any], seconds: float = ..., what: str = ...) -> Any: ...


class Writer:
    """Writes one row after the other in a thread, and remembers which were acknowledged."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], *, pause_s: float = 0.002) -> None:
        self._connect, self._pause_s = connect, pause_s
        self.acknowledged: list[int] = []
        self.cuts = 0
        self.longest_gap_s = 0.0
        self._stop = threading.Event()
        with connect() as connection:
            connection.execute("DROP TABLE IF EXISTS ledger")
            connection.execute("CREATE TABLE ledger (number int)")
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def goes_on(self, cloud: Patient, more: int = 5) -> None:
        """Wait until more is acknowledged."""
        count = len(self.acknowledged)
        cloud.until(lambda: len(self.acknowledged) >= count + more, what="acknowledged rows")

    def _run(self) -> None:
        connection, number, last = None, 0, time.monotonic()
        while not self._stop.wait(self._pause_s):
            number += 1
            try:
                if connection is None:
                    connection = self._connect()
                connection.execute("INSERT INTO ledger VALUES (%s)", (number,))
            except (psycopg.OperationalError, ClientError):  # the latter: between two names
                self.cuts += 1
                if connection is not None:
                    connection.close()
                connection = None
                continue
            self.acknowledged.append(number)
            now = time.monotonic()
            self.longest_gap_s, last = max(self.longest_gap_s, now - last), now
        if connection is not None:
            connection.close()

    def lost(self) -> set[int]:
        """Acknowledged rows that are not there."""
        with self._connect() as connection:
            return set(self.acknowledged) - rows_of(connection)


def rows_of(connection: psycopg.Connection[Any]) -> set[int]:
    """The numbers in the writer's table."""
    return {row[0] for row in connection.execute("SELECT number FROM ledger")}


def shown(connection: psycopg.Connection[Any], *settings: str) -> list[str]:
    """What SHOW says."""
    return [str(connection.execute(f"SHOW {one}").fetchone()[0]) for one in settings]  # type: ignore[arg-type, index]


def started(connection: psycopg.Connection[Any]) -> datetime:
    """When the server was started that the session is on."""
    row = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def window_from(begins: datetime) -> dict[str, str]:
    """A maintenance window of an hour that begins then (UTC), and a backup window that is not near it."""
    backup = begins + timedelta(hours=6)
    return {
        "PreferredMaintenanceWindow": f"{begins:%a:%H:%M}-{begins + timedelta(hours=1):%a:%H:%M}",
        "PreferredBackupWindow": f"{backup:%H:%M}-{backup + timedelta(hours=1):%H:%M}",
    }


def next_minute(*, at_least_s: float) -> datetime:
    """The first full minute (UTC) that is so far away."""
    earliest = datetime.now(UTC) + timedelta(seconds=at_least_s + 59.999)
    return earliest.replace(second=0, microsecond=0)


def goes_through(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """`found` begins and ends as `wanted`, and has nothing but what `wanted` has, in its order."""
    rest = iter(wanted)
    return (found[0], found[-1]) == (wanted[0], wanted[-1]) and all(one in rest for one in found)
