"""Somebody at a shell: types commands into a home, and reads what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from multiaz.errors import ExitCode


@dataclass
class Person:
    """Somebody at a shell with MULTIAZ_HOME set."""

    home: Path
    port: int
    _variables: dict[str, Any] | None = None
    _lines: str = ""
    _sessions: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG", "MULTIAZ_"))}
        return kept | {"MULTIAZ_HOME": str(self.home), "MULTIAZ_CONFIG": ""}

    def run(self, *arguments: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        """Longer than the command itself waits for progress, so that it can say what is stuck."""
        try:
            return subprocess.run(
                [sys.executable, "-m", "multiaz.cli", *arguments],
                capture_output=True,
                text=True,
                env=self.environment,
                timeout=timeout_s,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            pytest.fail(f"multiaz {' '.join(arguments)}: no end within {timeout_s:g} s{self.logs()}")

    def ask(self, *arguments: str, code: int = ExitCode.OK) -> dict[str, Any]:
        """The JSON a command prints; fails unless it ends with `code`."""
        done = self.run(*arguments, "--json")
        assert done.returncode == code, done.stdout + done.stderr + self.logs()
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def sql(self, instance: str, text: str, *more: str) -> subprocess.CompletedProcess[str]:
        return self.run("psql", instance, "--", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text, *more)

    def value(self, instance: str, text: str) -> str:
        """The first value of a statement of the master user, as text; "" if it gives no row.

        A connection made here: `multiaz psql` is two processes and several requests each time. It has tests of its own.
        """
        with psycopg.connect(**self.session(instance)) as connection:
            result = connection.execute(text).pgresult
            assert result is not None
            first = result.get_value(0, 0) if result.ntuples else None
            return "" if first is None else first.decode()

    def session(self, instance: str) -> dict[str, Any]:
        """How psycopg connects to an instance as the master user; asked once, as endpoint and secret stay."""
        if instance not in self._sessions:
            told = self.ask("psql", instance)
            kept = self.client("secretsmanager").get_secret_value(SecretId=told["secret_arn"])
            self._sessions[instance] = {
                **{name: told[name] for name in ("host", "port", "dbname", "user", "sslmode", "sslrootcert")},
                "password": json.loads(kept["SecretString"])["password"],
                "autocommit": True,
                "connect_timeout": 20,
            }
        return self._sessions[instance]

    def instances(self) -> dict[str, dict[str, Any]]:
        return {told["name"]: told for told in self.ask("status")["instances"]}

    def aws(self, *arguments: str) -> Any:
        """What the aws CLI answers with the variables `multiaz env` prints; None if it prints nothing."""
        done = self.try_aws(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def try_aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The aws CLI with the variables `multiaz env` prints, and a foreign profile in its environment."""
        program = Path(sys.executable).with_name("aws")
        return subprocess.run(
            ["sh", "-c", f'eval "$LINES_OF_ENV"; exec "{program}" "$@"', "sh", *arguments, "--output", "json"],
            env={**self.environment, "LINES_OF_ENV": self.lines_of_env(), "AWS_PROFILE": "of-somebody-else"},
            capture_output=True,
            text=True,
            check=False,
        )

    def lines_of_env(self) -> str:
        """What `multiaz env` prints; asked once, as address and keys of a home stay."""
        if not self._lines:
            told = self.run("env")
            assert told.returncode == 0, told.stderr
            self._lines = told.stdout
        return self._lines

    def client(self, service: str) -> Any:
        """A boto3 client of the local cloud, with the administrator's key."""
        told = self.ask("env") if self._variables is None else self._variables
        self._variables = told
        return boto3.client(
            service,
            endpoint_url=told["AWS_ENDPOINT_URL"],
            region_name=told["AWS_REGION"],
            aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
        )

    def observed(self, name: str) -> dict[str, Any]:
        """What the supervisor of an instance publishes."""
        found = json.loads((self.folder(name) / "observed.json").read_text())
        assert isinstance(found, dict)
        return found

    def folder(self, name: str) -> Path:
        """The folder of an instance, found without the cloud: by its identifier."""
        for path in (self.home / "instances").glob("*/desired.json"):
            if json.loads(path.read_text())["identifier"] == name:
                return path.parent
        raise AssertionError(f"no instance {name}")

    def logs(self) -> str:
        """The ends of all logs of the home, for a failed test."""
        parts = [
            f"\n== {path.relative_to(self.home)}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted([*self.home.glob("logs/*"), *self.home.glob("instances/*/logs/*")])
            if path.is_file()
        ]
        return "".join(parts)
