"""What people and scripts see."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from multiaz.cli.connecting import child_environment, connection_document, find_psql, pgpass_line
from multiaz.cli.looking import COLUMNS, status_rows
from multiaz.cli.output import Output
from multiaz.errors import BadInput, Missing, NotConfirmed
from multiaz.fleet.instances import Instance, InstanceStatus
from multiaz.fleet.replication import ReplicaSeen, StandbySeen
from multiaz.fleet.secrets import Credentials


def output(as_json: bool = False) -> tuple[Output, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Output(as_json, out, err), out, err


CREDENTIALS = Credentials("dbadmin", r"p:a\ss", "shop", "127.1.2.3", 5432, "arn:secret")


def instance(name: str, role: str = "primary", multi_az: bool = True) -> Instance:
    return Instance(
        name=name,
        role="primary" if role == "primary" else "replica",
        identifier=f"id-{name}",
        resource_id="db-1",
        status="available",
        zone="us-east-1a",
        standby_zone="us-east-1b" if multi_az else None,
        multi_az=multi_az,
        address="127.1.2.3",
        port=5432,
        instance_class="db.m5.large",
        engine_version="17.10",
        source=None if role == "primary" else "id-primary",
        deletion_protection=False,
    )


def test_with_json_stdout_holds_one_document_and_stderr_nothing() -> None:
    told, out, err = output(as_json=True)
    told.note("starting")
    with told.waiting("working") as say:
        say("more")
    with told.stack_progress("stack"):
        pass
    told.result({"a": 1}, lambda: pytest.fail("shown to a script"))
    assert json.loads(out.getvalue()) == {"a": 1}
    assert err.getvalue() == ""


def test_an_error_has_one_shape_in_json() -> None:
    told, out, err = output(as_json=True)
    told.error(BadInput("Cannot", "because", "do"))
    assert json.loads(out.getvalue()) == {
        "error": "BadInput",
        "what": "Cannot",
        "why": "because",
        "next": "do",
        "exit_code": 3,
        "retryable": False,
    }
    assert err.getvalue() == ""


def test_an_error_is_three_lines_on_stderr_for_people() -> None:
    told, out, err = output()
    told.error(BadInput("Cannot", "because", "do"))
    assert err.getvalue() == "Cannot\n  cause: because\n  next:  do\n"
    assert out.getvalue() == ""


def test_what_destroys_is_refused_where_nobody_can_be_asked() -> None:
    told, _, err = output()
    with pytest.raises(NotConfirmed) as caught:
        told.confirm("Remove all?", yes=False)
    assert "--yes" in caught.value.next_step
    assert err.getvalue() == ""
    told.confirm("Remove all?", yes=True)


def test_the_hidden_standby_has_a_row_of_its_own() -> None:
    rows = status_rows(
        [
            InstanceStatus(instance("primary"), standby=StandbySeen("sync", 2048)),
            InstanceStatus(instance("replica-1", "replica", multi_az=False), replica=ReplicaSeen(True, 0.25)),
            InstanceStatus(instance("replica-2", "replica", multi_az=False), replica=ReplicaSeen(False, None)),
        ]
    )
    assert [dict(zip(COLUMNS, row, strict=True))["NAME"] for row in rows] == [
        "primary",
        "standby",
        "replica-1",
        "replica-2",
    ]
    standby = dict(zip(COLUMNS, rows[1], strict=True))
    assert (standby["ZONE"], standby["ENDPOINT"], standby["LAG"], standby["SYNC"]) == (
        "us-east-1b",
        "-",
        "2 KiB",
        "sync",
    )
    assert rows[2][5] == "0.2 s"
    assert rows[3][5] == "none yet, not streaming"


def test_unknown_is_shown_as_unknown_and_not_as_none() -> None:
    rows = status_rows([InstanceStatus(instance("primary"), sql_error="down")])
    assert rows[1][5:] == ("?", "?")


def test_the_password_is_in_no_argument_and_no_variable() -> None:
    environment = child_environment(
        {"PATH": "/bin", "PGHOSTADDR": "10.0.0.1", "PGPASSWORD": "old"}, CREDENTIALS, Path("/ca.pem"), Path("/p")
    )
    assert not any(CREDENTIALS.password in value for value in environment.values())
    assert "PGHOSTADDR" not in environment
    assert environment["PGSSLMODE"] == "verify-full"
    assert environment["PGSSLROOTCERT"] == "/ca.pem"
    assert CREDENTIALS.password not in json.dumps(connection_document(CREDENTIALS, None))


def test_a_password_file_escapes_what_would_end_a_field() -> None:
    assert pgpass_line(CREDENTIALS) == "127.1.2.3:5432:*:dbadmin:p\\:a\\\\ss\n"


def test_psql_of_the_local_copy_is_used_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="psql"):
        find_psql("", tmp_path)
    program = tmp_path / "17.10-abc" / "bin" / "psql"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert find_psql("", tmp_path) == str(program)
