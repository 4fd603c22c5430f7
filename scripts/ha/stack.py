"""Ours: a whole `multiaz up`, written to through its TLS endpoint; faults are signals, or `multiaz fault`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

from ha import restarts
from ha.processes import KeptDown, postmaster, server_processes, signal_all
from ha.trials import Mark, NotWell, wait_until

COMMAND = [sys.executable, "-m", "multiaz.cli"]
COMMAND_S = 600.0
"""No command takes that long, on however slow a machine: it hangs."""


class Stack:
    """A local cloud with one stack in a home of its own. Use as a context manager."""

    name = "multiaz"
    counts = "epoch"

    def __init__(self, home: Path, port: int, port_base: int | None = None) -> None:
        self._home = home
        self._ports = ["--port", str(port), *(["--port-base", str(port_base)] if port_base else [])]
        self._down: KeptDown | None = None
        self._frozen: list[int] = []

    def run(self, *arguments: str) -> Any:
        """What a `multiaz` command prints, as JSON. Raises NotWell if it fails or does not end."""
        environment = {
            key: value for key, value in os.environ.items() if key == "MULTIAZ_POSTGRES_BIN" or key[:8] != "MULTIAZ_"
        }
        environment |= {"MULTIAZ_HOME": str(self._home), "MULTIAZ_CONFIG": ""}
        try:
            done = subprocess.run(
                [*COMMAND, *arguments, "--json"], env=environment, capture_output=True, text=True, timeout=COMMAND_S
            )
        except subprocess.TimeoutExpired as error:
            raise NotWell(f"multiaz {' '.join(arguments)} did not end within {COMMAND_S:.0f} s") from error
        if done.returncode != 0:
            raise NotWell(f"multiaz {' '.join(arguments)} failed ({done.returncode}): {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def __enter__(self) -> Stack:
        self.run("up", *self._ports)
        target = self.run("psql")
        self._identifiers = {row["resource_id"]: row["identifier"] for row in self.run("status")["instances"]}
        primary = next(row for row in self.run("status")["instances"] if row["role"] == "primary")
        self.resource_id, self.identifier = primary["resource_id"], primary["identifier"]
        variables = self.run("env")
        access = {
            "endpoint_url": variables["AWS_ENDPOINT_URL"], "region_name": variables["AWS_REGION"],
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
        }  # fmt: skip
        secrets = boto3.client("secretsmanager", **access)
        self._rds = boto3.client("rds", **access)
        secret = json.loads(secrets.get_secret_value(SecretId=target["secret_arn"])["SecretString"])
        self.target = {
            "host": target["host"], "port": target["port"], "dbname": target["dbname"], "user": target["user"],
            "password": secret["password"], "sslmode": "verify-full", "sslrootcert": target["sslrootcert"],
            "gssencmode": "disable", "connect_timeout": 5, "application_name": "bench-ha",
        }  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        if (self._home / "home.json").exists():
            self.run("down", "--all", "--yes")

    # -- seeing ------------------------------------------------------------------------------------

    def _folder(self, resource_id: str) -> Path:
        return self._home / "instances" / resource_id

    def observed(self, resource_id: str | None = None) -> dict[str, Any]:
        """observed.json of an instance (by default the primary's); empty while there is none."""
        try:
            return dict(json.loads((self._folder(resource_id or self.resource_id) / "observed.json").read_text()))
        except (OSError, ValueError):
            return {}

    def mark(self) -> Mark:
        """Who serves: another value after every failover or restart."""
        now = self.observed()
        pid = next((member["pid"] for member in now.get("members", ()) if member["name"] == now["primary"]), None)
        return Mark(now.get("epoch", 0), f"{now.get('primary')} {pid}")

    def writable(self) -> bool:
        """The supervisor sees a primary that takes writes."""
        return bool(self.observed().get("writable"))

    def redundant(self) -> bool:
        """The standby has every acknowledged commit."""
        now = self.observed()
        return bool(now.get("writable") and now.get("in_sync"))

    def wait_well(self, within_s: float) -> None:
        """Wait until every instance is as it should be, replicas too. Raises NotWell."""
        deadline = time.monotonic() + within_s
        while True:
            sick = [
                name for resource_id, name in self._identifiers.items()
                if not (now := self.observed(resource_id)).get("writable") or not now["redundant"]
            ]  # fmt: skip
            if not sick and self.available(self.identifier):
                return
            if time.monotonic() > deadline:
                raise NotWell(f"not well within {within_s:.0f} s: {sick or 'DBInstanceStatus'}: {self.observed()}")
            time.sleep(0.05)

    def told(self) -> dict[str, Any] | None:
        """What is known of the latest failover, or of the latest restart in place if that was later."""
        failover: dict[str, Any] | None = self.observed().get("last_failover")
        restart = restarts.latest(self._folder(self.resource_id) / "logs" / "instance.log", self._primary_data())
        if restart is None or (failover is not None and failover["detected"] > restart["detected"]):
            return failover
        return restart

    # -- read replicas -----------------------------------------------------------------------------

    def make_replica(self, identifier: str, within_s: float) -> dict[str, Any]:
        """Make a read replica and wait until it is available; the target of its endpoint. Raises NotWell."""
        self._rds.create_db_instance_read_replica(
            DBInstanceIdentifier=identifier, SourceDBInstanceIdentifier=self.identifier
        )
        if not wait_until(lambda: self.available(identifier), within_s):
            raise NotWell(f"the read replica is not available within {within_s:.0f} s")
        endpoint = self._described(identifier)["Endpoint"]
        return {**self.target, "host": endpoint["Address"], "port": endpoint["Port"]}

    def promote(self, identifier: str) -> None:
        """Ask for it; returns at once."""
        self._rds.promote_read_replica(DBInstanceIdentifier=identifier)

    def available(self, identifier: str) -> bool:
        """As DescribeDBInstances says."""
        return bool(self._described(identifier)["DBInstanceStatus"] == "available")

    def remove(self, identifier: str, within_s: float) -> None:
        """Delete the instance, its backups too, and wait until it is gone. Raises NotWell."""
        gone = self._rds.exceptions.DBInstanceNotFoundFault
        try:
            self._rds.delete_db_instance(
                DBInstanceIdentifier=identifier, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
            )
        except gone:
            return

        def is_gone() -> bool:
            try:
                self._described(identifier)
            except gone:
                return True
            return False

        if not wait_until(is_gone, within_s):
            raise NotWell(f"{identifier} is not deleted within {within_s:.0f} s")

    def _described(self, identifier: str) -> dict[str, Any]:
        (found,) = self._rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
        return dict(found)

    # -- breaking ----------------------------------------------------------------------------------

    def strike(self, fault: str) -> None:
        """Do it; returns at once."""
        faults: dict[str, Callable[[], None]] = {
            "requested": self._request, "kill": self._kill, "hang": self._hang,
            "hang-postmaster": self._hang_postmaster, "zone": self._lose_zone,
        }  # fmt: skip
        faults[fault]()

    def _primary_data(self) -> Path:
        return self._folder(self.resource_id) / str(self.observed()["primary"]) / "data"

    def _request(self) -> None:
        self._rds.reboot_db_instance(DBInstanceIdentifier=self.identifier, ForceFailover=True)

    def _kill(self) -> None:
        pid = postmaster(self._primary_data())
        if pid is None:
            raise NotWell("there is no postmaster to kill")
        os.kill(pid, signal.SIGKILL)

    def _hang(self) -> None:
        self._frozen = server_processes(self._primary_data())
        signal_all(self._frozen, signal.SIGSTOP)

    def _hang_postmaster(self) -> None:
        pid = postmaster(self._primary_data())
        self._frozen = [] if pid is None else [pid]
        signal_all(self._frozen, signal.SIGSTOP)

    def _lose_zone(self) -> None:
        primary = self.observed()
        zone = next(member["zone"] for member in primary["members"] if member["name"] == primary["primary"])
        lost = [
            self._folder(resource_id) / member["name"] / "data"
            for resource_id in self._identifiers
            for member in self.observed(resource_id)["members"]
            if member["zone"] == zone and member["state"] != "absent"
        ]
        self._down = KeptDown(lost)

    def heal(self) -> None:
        """Take back what still lasts of the latest fault."""
        if self._down is not None:
            self._down.heal()
            self._down = None
        signal_all(self._frozen, signal.SIGCONT)
        self._frozen = []
