"""Rotation of a secret, on a real server: afterwards the secret and the server agree, whatever happens between."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from multiaz.cloud.rds.passwords import NotOurs, login_of, set_password, try_login
from multiaz.cloud.rds.repository import Repository
from multiaz.cloud.rds.rotation import SecretRotation
from multiaz.cloud.service import AwsFault, Caller, Context
from multiaz.cloud.store import Store

if TYPE_CHECKING:
    from conftest import Cloud

REGION = "us-east-1"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:hosted"
FIRST = "correct-horse-battery"


@dataclass
class Rotated:
    """An instance, its secret, and the rotation of it (not started: tests say when it works)."""

    cloud: Cloud
    arn: str
    service: SecretRotation

    def call(self, action: str, *, internal: bool = True, **params: Any) -> dict[str, Any]:
        caller = Caller("arn:aws:iam::123456789012:root", "AKIATEST", internal=internal)
        operation = self.service.operations[action]
        return dict(operation(Context(REGION, caller, "request"), {"SecretId": self.arn, **params}))

    def value(self, **which: str) -> dict[str, Any]:
        client = self.cloud.clients.client("secretsmanager", REGION)
        return dict(client.get_secret_value(SecretId=self.arn, **which))

    def password(self, **which: str) -> str:
        return str(json.loads(self.value(**which)["SecretString"])["password"])

    def logs_in(self, password: str) -> bool:
        entries = json.loads(self.value()["SecretString"])
        return try_login(login_of(self.cloud.rds.core, json.dumps({**entries, "password": password})))


@pytest.fixture(scope="module")
def shop(shared_real_cloud: Cloud) -> Cloud:
    """One instance for the tests of this file; `rotated` gives each its first password and a secret of its own."""
    cloud = shared_real_cloud
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", BackupRetentionPeriod=0, **cloud.prepare())
    cloud.until_status("shop", "available")
    return cloud


@pytest.fixture
def rotated(shop: Cloud, tmp_path: Path) -> Iterator[Rotated]:
    endpoint = shop.until_status("shop", "available")["Endpoint"]
    text = json.dumps(
        {
            "engine": "postgres",
            "host": endpoint["Address"],
            "port": endpoint["Port"],
            "username": "shop",
            "password": FIRST,
            "dbInstanceIdentifier": "shop",
        }
    )
    first = login_of(shop.rds.core, text)
    set_password(first, first)
    secrets = shop.clients.client("secretsmanager", REGION)
    arn = secrets.create_secret(Name=f"shop/{uuid.uuid4()}", SecretString=text)["ARN"]
    store = Store(tmp_path / "rotations.sqlite")  # another test's rotations are not carried on
    Repository(store)
    service = SecretRotation(store, shop.clients, shop.rds)
    yield Rotated(shop, arn, service)
    service.stop()
    store.close()


def test_rotation_changes_the_password_on_the_server_and_in_the_secret(rotated: Rotated) -> None:
    rotated.service.start()
    token = rotated.call("RotateSecret", RotationLambdaARN=FUNCTION, RotationRules={"AutomaticallyAfterDays": 30})[
        "VersionId"
    ]
    rotated.cloud.until(lambda: "LastRotatedDate" in rotated.call("DescribeSecret"))
    current = rotated.value()
    assert current["VersionId"] == token
    assert current["VersionStages"] == ["AWSCURRENT"]
    new = rotated.password()
    assert len(new) == 32
    assert rotated.logs_in(new)
    assert not rotated.logs_in(FIRST)
    assert rotated.password(VersionStage="AWSPREVIOUS") == FIRST
    told = rotated.call("DescribeSecret")
    assert told["RotationEnabled"] is True
    assert told["RotationLambdaARN"] == FUNCTION
    assert told["RotationRules"] == {"AutomaticallyAfterDays": 30}
    assert 29 < (told["NextRotationDate"] - told["LastRotatedDate"]).days + 1 <= 31
    for path in rotated.cloud.home.root.rglob("*"):
        if path.is_file() and "base" not in path.parts:
            assert new.encode() not in path.read_bytes(), path


def test_no_server_log_holds_a_verifier_whatever_is_logged(rotated: Rotated) -> None:
    cloud, entries = rotated.cloud, json.loads(rotated.value()["SecretString"])
    with psycopg.connect(
        host=entries["host"], port=entries["port"], user="shop", password=FIRST, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("CREATE ROLE clerk LOGIN")
        connection.execute("CREATE EXTENSION pg_stat_statements")
        login = login_of(cloud.rds.core, json.dumps({**entries, "username": "clerk"}))
        set_password(login, login)
        cloud.call("CreateDBParameterGroup", DBParameterGroupName="loud", DBParameterGroupFamily="postgres17",
                   Description="x")  # fmt: skip
        loud = {
            "log_statement": "ddl", "log_min_duration_statement": "0", "log_min_error_statement": "error",
            "log_transaction_sample_rate": "1", "debug_print_parse": "1", "pg_stat_statements.track": "all",
        }  # fmt: skip
        rows = [
            {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "immediate"} for name, value in loud.items()
        ]
        cloud.call("ModifyDBParameterGroup", DBParameterGroupName="loud", Parameters=rows)
        cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", DBParameterGroupName="loud")
        cloud.call("RebootDBInstance", DBInstanceIdentifier="shop")
        cloud.until_status("shop", "available")
    secrets = cloud.clients.client("secretsmanager", REGION)
    for user in ("clerk", "shop"):
        text = json.dumps({**entries, "username": user})
        secrets.put_secret_value(SecretId=rotated.arn, SecretString=text)
        rotated.call("RotateSecret", RotationLambdaARN=FUNCTION)
        rotated.service.work(time.time())
        assert rotated.password() != FIRST, user
    cloud.call("ModifyDBInstance", DBInstanceIdentifier="shop", MasterUserPassword="by-api-password")
    cloud.until_status("shop", "available")
    with psycopg.connect(
        host=entries["host"], port=entries["port"], user="shop", dbname="postgres", password="by-api-password"
    ) as connection:
        assert connection.execute("SHOW log_statement").fetchone() == ("ddl",)
        kept = connection.execute("SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%SCRAM%$%'").fetchone()
        assert kept == (0,)
    logged = b"".join(path.read_bytes() for path in cloud.home.instances.glob("*/*/log/*"))
    assert b"SHOW log_statement" in logged
    assert b"SCRAM-SHA-256$" not in logged


def test_a_rotation_changes_no_other_login_than_the_secrets_own(rotated: Rotated) -> None:
    core, entries = rotated.cloud.rds.core, json.loads(rotated.value()["SecretString"])
    own, other = (login_of(core, json.dumps({**entries, "username": user})) for user in ("shop", "rdsadmin"))
    with pytest.raises(NotOurs, match="another login"):
        set_password(own, other)


@pytest.mark.parametrize("done", ["created", "set"])
def test_an_interrupted_rotation_is_carried_on(rotated: Rotated, done: str) -> None:
    token = str(uuid.uuid4())
    rotated.call("RotateSecret", RotationLambdaARN=FUNCTION, ClientRequestToken=token)
    entries = json.loads(rotated.value()["SecretString"])
    pending = json.dumps({**entries, "password": "a-pending-password"})
    rotated.cloud.clients.client("secretsmanager", REGION).put_secret_value(
        SecretId=rotated.arn, ClientRequestToken=token, SecretString=pending, VersionStages=["AWSPENDING"]
    )
    if done == "set":
        core = rotated.cloud.rds.core
        set_password(login_of(core, json.dumps(entries)), login_of(core, pending))
    rotated.service.work(time.time())
    assert rotated.password() == "a-pending-password"
    assert rotated.logs_in("a-pending-password")
    assert rotated.password(VersionStage="AWSPREVIOUS") == FIRST


def test_an_overdue_rotation_runs_at_start_and_once(rotated: Rotated) -> None:
    rotated.call(
        "RotateSecret",
        RotationLambdaARN=FUNCTION,
        RotationRules={"AutomaticallyAfterDays": 1},
        RotateImmediately=False,
    )
    rotated.service.work(time.time())
    assert rotated.password() == FIRST
    rotated.service.work(time.time() + 2 * 86400)
    changed = rotated.password()
    assert changed != FIRST
    assert rotated.logs_in(changed)
    rotated.service.work(time.time())
    assert rotated.password() == changed


def test_a_rotation_waits_for_a_server_that_cannot_be_reached(rotated: Rotated) -> None:
    rotated.cloud.call("StopDBInstance", DBInstanceIdentifier="shop")
    rotated.cloud.until_status("shop", "stopped")
    monkey = pytest.MonkeyPatch()
    monkey.setattr("multiaz.cloud.rds.passwords.CONNECT_S", 2)
    rotated.call("RotateSecret", RotationLambdaARN=FUNCTION)
    rotated.service.work(time.time())
    monkey.undo()
    assert rotated.password() == FIRST
    rotated.cloud.call("StartDBInstance", DBInstanceIdentifier="shop")
    rotated.cloud.until_status("shop", "available")
    rotated.service.work(time.time() + 600)
    assert rotated.logs_in(rotated.password())
    assert rotated.password() != FIRST


def test_cancel_turns_rotation_off(rotated: Rotated) -> None:
    with pytest.raises(AwsFault) as refused:
        rotated.call("CancelRotateSecret")
    assert refused.value.code == "InvalidRequestException"
    rotated.call("RotateSecret", RotationLambdaARN=FUNCTION, RotationRules={"AutomaticallyAfterDays": 1})
    rotated.call("CancelRotateSecret")
    assert rotated.call("DescribeSecret")["RotationEnabled"] is False
    rotated.service.work(time.time() + 5 * 86400)
    assert rotated.password() == FIRST


def test_a_secret_that_names_no_instance_of_ours_is_left_alone(rotated: Rotated) -> None:
    secrets = rotated.cloud.clients.client("secretsmanager", REGION)
    entries = {**json.loads(rotated.value()["SecretString"]), "host": "127.0.0.1"}
    secrets.put_secret_value(SecretId=rotated.arn, SecretString=json.dumps(entries))
    rotated.call("RotateSecret", RotationLambdaARN=FUNCTION)
    rotated.service.work(time.time())
    assert rotated.password() == FIRST


@pytest.mark.parametrize(
    ("params", "internal", "code"),
    [
        ({}, True, "InvalidRequestException"),
        ({"RotationLambdaARN": FUNCTION}, False, "ResourceNotFoundException"),
        ({"RotationLambdaARN": FUNCTION, "RotationRules": {"ScheduleExpression": "daily"}}, True,
         "InvalidParameterException"),
        ({"RotationLambdaARN": FUNCTION, "ClientRequestToken": "short"}, True, "InvalidParameterException"),
        ({"RotationLambdaARN": FUNCTION, "SecretId": "none"}, True, "ResourceNotFoundException"),
    ],
)  # fmt: skip
def test_a_rotation_that_cannot_be_carried_out_is_refused(
    cloud: Cloud, params: dict[str, Any], internal: bool, code: str
) -> None:
    secrets = cloud.clients.client("secretsmanager", REGION)
    arn = secrets.create_secret(Name=f"shop/{uuid.uuid4()}", SecretString="{}")["ARN"]
    service = Rotated(cloud, arn, SecretRotation(cloud.store, cloud.clients, cloud.rds))
    with pytest.raises(AwsFault) as refused:
        service.call("RotateSecret", internal=internal, **params)
    assert refused.value.code == code
