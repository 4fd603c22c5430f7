"""Every command of the runbook, run exactly as the deployed stack prints it, by somebody at a shell.

What this cloud has no API for yet must fail by saying so, not by succeeding.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from multiaz.blueprint import settings_from
from multiaz.blueprint.runbook import commands
from person import Person

NOT_YET = {
    "SnapshotCommand": "CreateDBSnapshot",
    "ExportCommand": "StartExportTask",
}
"""Output to the operation this cloud refuses by name."""
BEFORE = {
    "ConnectPrimaryCommand": "PasswordCommand",
    "ConnectReplica1Command": "PasswordCommand",
    "ConnectReplica2Command": "PasswordCommand",
}
"""Commands that use what another put into the shell."""
SQL = "select current_user || ' ' || pg_is_in_recovery()"
EXPECTED = {
    "ConnectPrimaryCommand": "dbadmin false",
    "ConnectReplica1Command": "dbadmin true",
    "ConnectReplica2Command": "dbadmin true",
    "BootstrapCommand": "app_writer writes, app_reader reads",
    "IAMTokenCommand": "X-Amz-Signature=",
    "ConnectWriterCommand": "app_writer false",
    "ConnectReaderCommand": "app_reader true",
    "AllowDeletionCommand": "DeletionProtection",
    "FailoverCommand": "ecommerce-db-primary-dev",
    "EventsCommand": "Events",
    "RestoreCommand": '"DBInstanceStatus": "creating"',
}
"""What each prints, among other things; psql is asked SQL."""
SILENT = {
    "CertificatesCommand": 'test "$PGSSLROOTCERT" = "$MULTIAZ_HOME/pki/ca.pem" && test -s "$PGSSLROOTCERT"',
    "PasswordCommand": 'test "${#PGPASSWORD}" -ge 30 && export -p | grep -q " PGPASSWORD="',
    "AlarmsCommand": "true",
}
"""Commands that print nothing, and what holds in the shell afterwards; nothing rings in a stack that is well."""


class Shell:
    """A shell with what `multiaz env` prints, the project's programs on its path, and nothing else of ours."""

    def __init__(self, person: Person) -> None:
        psql = next((person.home / "postgres").glob("*/bin/psql"))
        folders = (Path(sys.executable).parent, psql.parent)
        path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
        self._lines = person.lines_of_env() + f"export PATH={shlex.quote(path)}\n"
        self._environment = person.environment
        self.alarms = person.client("cloudwatch")
        self.rds = person.client("rds")
        stack = person.client("cloudformation").describe_stacks(StackName="ecommerce-dev")["Stacks"][0]
        self.outputs = {told["OutputKey"]: told["OutputValue"] for told in stack["Outputs"]}

    def run(self, name: str, then: str = "") -> subprocess.CompletedProcess[str]:
        """The output's command, letter by letter, after the one it needs; psql reads SQL. `then` is run after it."""
        needed = self.outputs[BEFORE[name]] + "\n" if name in BEFORE else ""
        return subprocess.run(
            ["sh", "-c", self._lines + needed + self.outputs[name] + (f" && {then}" if then else "")],
            input=SQL if "psql " in self.outputs[name] else "",
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def shell(module_home_folder: Path, free_port: Callable[[], int]) -> Iterator[Shell]:
    """Somebody's shell after `multiaz up`."""
    somebody = Person(module_home_folder / "home", free_port())
    done = somebody.run("up", "--port", str(somebody.port))
    try:
        assert done.returncode == 0, done.stdout + done.stderr + somebody.logs()
        yield Shell(somebody)
    finally:
        somebody.run("down", "--all", "--yes")


NAMES = [command.name for command in commands(settings_from({"preset": "test"}))]


def test_every_command_of_the_runbook_is_run_here() -> None:
    assert sorted(NAMES) == sorted(EXPECTED | SILENT | NOT_YET)


@pytest.mark.parametrize("name", [name for name in NAMES if name in EXPECTED])
def test_it_runs_as_printed(shell: Shell, name: str) -> None:
    done = shell.run(name)
    assert done.returncode == 0, shell.outputs[name] + "\n" + done.stderr
    assert EXPECTED[name] in done.stdout


def test_what_the_restore_makes_becomes_an_instance_like_its_source_and_can_be_deleted(shell: Shell) -> None:
    there = {one["DBInstanceIdentifier"]: one for one in shell.rds.describe_db_instances()["DBInstances"]}
    made = [name for name in there if name.startswith("ecommerce-db-primary-dev-")]
    if not made:  # this test alone
        done = shell.run("RestoreCommand")
        assert done.returncode == 0, done.stderr
        made = [json.loads(done.stdout)["DBInstance"]["DBInstanceIdentifier"]]
    (name,) = made
    shell.rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier=name, WaiterConfig={"Delay": 1})
    found = shell.rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
    source = there["ecommerce-db-primary-dev"]
    for same in ("DBInstanceClass", "MultiAZ", "DBSubnetGroup", "VpcSecurityGroups", "DBParameterGroups", "DBName"):
        assert found[same] == source[same], same
    # It is in the stack's subnets: what somebody rehearsed, he deletes before the stack.
    shell.rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    shell.rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier=name, WaiterConfig={"Delay": 1})


@pytest.mark.parametrize("name", [name for name in NAMES if name in SILENT])
def test_it_says_nothing_and_has_its_effect(shell: Shell, name: str) -> None:
    done = shell.run(name, SILENT[name])
    assert (done.returncode, done.stdout) == (0, ""), shell.outputs[name] + "\n" + done.stderr


def test_an_alarm_that_rings_is_listed_alone(shell: Shell) -> None:
    names = [told["AlarmName"] for told in shell.alarms.describe_alarms()["MetricAlarms"]]
    assert len(names) > 1
    shell.alarms.set_alarm_state(AlarmName=names[0], StateValue="ALARM", StateReason="rehearsal")
    done = shell.run("AlarmsCommand")
    assert done.stdout == f"{names[0]}\trehearsal\n", done.stderr
    shell.alarms.set_alarm_state(AlarmName=names[0], StateValue="OK", StateReason="rehearsal")


@pytest.mark.parametrize("name", [name for name in NAMES if name in NOT_YET])
def test_what_this_cloud_cannot_do_yet_is_refused_by_name(shell: Shell, name: str) -> None:
    done = shell.run(name)
    assert done.returncode != 0
    assert re.search(rf"when calling the {NOT_YET[name]} operation: .*not available", done.stderr), done.stderr
