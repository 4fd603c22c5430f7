"""IAM tokens from end to end: aws CLI or boto3 → token → psql → relay → front door → policy → server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest

from multiaz.errors import MultiazError
from multiaz.home import Home
from multiaz.local import environment, start, stop
from multiaz.postgres.installations import find_installation

PASSWORD = "Correct-Horse-9"
ACCOUNT = "123456789012"
WRITER, READER = "shop_writer", "shop_reader"
Keys = dict[str, str]


@dataclass
class Shop:
    """A local cloud with a primary and a read replica; their users are made by SQL, as a person makes them."""

    home: Home
    variables: dict[str, str]
    psql: str
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def region(self) -> str:
        return self.variables["AWS_REGION"]

    def client(self, service: str, keys: Keys | None = None) -> Any:
        own = {
            "aws_access_key_id": self.variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.variables["AWS_SECRET_ACCESS_KEY"],
        }
        return boto3.client(
            service, region_name=self.region, endpoint_url=self.variables["AWS_ENDPOINT_URL"], **(keys or own)
        )

    def resource(self, name: str, user: str) -> str:
        """What a policy names: one user of one instance."""
        return f"arn:aws:rds-db:{self.region}:{ACCOUNT}:dbuser:{self.instances[name]['DbiResourceId']}/{user}"

    def role(self, name: str, *resources: str) -> str:
        """A role people of this account may assume, allowed to connect as `resources` say; its ARN."""
        iam = self.client("iam")
        trust = statement(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, Action="sts:AssumeRole")
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if resources:
            policy = iam.create_policy(
                PolicyName=f"{name}-connect",
                PolicyDocument=statement(Action="rds-db:connect", Resource=list(resources)),
            )["Policy"]["Arn"]
            iam.attach_role_policy(RoleName=name, PolicyArn=policy)
        return str(arn)

    def person(self, name: str, **allowed: Any) -> Keys:
        """A user with access keys of its own."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if allowed:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=statement(**allowed))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def assumed(self, keys: Keys, role: str) -> Keys:
        """The temporary keys of a role somebody assumes."""
        made = self.client("sts", keys).assume_role(RoleArn=role, RoleSessionName="on-call")["Credentials"]
        return {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
            "aws_session_token": made["SessionToken"],
        }

    def token(self, keys: Keys, name: str, user: str) -> str:
        """What `aws rds generate-db-auth-token` prints for somebody with these keys."""
        where = self.instances[name]["Endpoint"]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("aws")), "rds", "generate-db-auth-token",
                "--hostname", where["Address"], "--port", str(where["Port"]), "--username", user,
            ],
            env=clean
            | {name.upper(): value for name, value in keys.items()}
            | {"AWS_DEFAULT_REGION": self.region, "AWS_CONFIG_FILE": os.devnull},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def connect(self, name: str, user: str, password: str, sql: str = "SELECT current_user") -> tuple[str, str]:
        """(standard output, standard error) of psql."""
        where = self.instances[name]["Endpoint"]
        done = subprocess.run(
            [self.psql, "-XAt", "-v", "ON_ERROR_STOP=1", "-c", sql],
            env={
                "PATH": os.environ["PATH"],
                "PGHOST": where["Address"],
                "PGPORT": str(where["Port"]),
                "PGUSER": user,
                "PGDATABASE": "shop",
                "PGPASSWORD": password,
                "PGSSLMODE": self.variables["PGSSLMODE"],
                "PGSSLROOTCERT": self.variables["PGSSLROOTCERT"],
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout.strip(), done.stderr

    def refusal(self, name: str, user: str, password: str) -> str:
        """What psql says when it is not let in; the token is in no log."""
        out, err = self.connect(name, user, password)
        assert out == ""
        assert "PAM authentication failed" in err
        logs = [*self.home.logs.glob("*"), *self.home.instances.glob("*/logs/*")]
        signature = password.rpartition("X-Amz-Signature=")[2]
        assert signature
        assert [path for path in logs if signature in path.read_text(errors="replace")] == []
        return err


def statement(**members: Any) -> str:
    """A policy document of one statement that allows."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **members}]})


@pytest.fixture(scope="module")
def shop(module_home_folder: Path, free_port: Callable[[], int], eventually: Callable[..., Any]) -> Iterator[Shop]:
    home = Home(module_home_folder / "home")
    try:
        start(home, free_port())
        psql = find_installation(home.root / "postgres", 17).bin_folder / "psql"
        shop = Shop(home, environment(home), str(psql))
        rds = shop.client("rds")

        def available(name: str) -> None:
            def probe() -> Any:
                found = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
                return found if found["DBInstanceStatus"] == "available" else None

            shop.instances[name] = eventually(probe, f"{name} is available", within_s=90)

        rds.create_db_instance(
            DBInstanceIdentifier="shop",
            DBInstanceClass="db.t4g.micro",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="dbadmin",
            MasterUserPassword=PASSWORD,
            DBName="shop",
            BackupRetentionPeriod=1,
            EnableIAMDatabaseAuthentication=True,
        )
        available("shop")
        rds.create_db_instance_read_replica(
            DBInstanceIdentifier="shop-reader",
            SourceDBInstanceIdentifier="shop",
            EnableIAMDatabaseAuthentication=True,
        )
        available("shop-reader")
        made = "; ".join(f"CREATE USER {user}; GRANT rds_iam TO {user}" for user in (WRITER, READER))
        out, err = shop.connect("shop", "dbadmin", PASSWORD, made)
        assert (out.splitlines()[-1:], err) == (["GRANT ROLE"], "")
        probe = "SELECT count(*) FROM pg_roles WHERE rolname IN ('shop_writer', 'shop_reader')"
        eventually(lambda: shop.connect("shop-reader", "dbadmin", PASSWORD, probe)[0] == "2", "the replica has them")
        yield shop
    finally:
        with contextlib.suppress(MultiazError):
            stop(home)


def test_a_person_assumes_the_writer_role_and_connects_with_its_token(shop: Shop) -> None:
    """The session token of the temporary keys travels in the presigned URL."""
    role = shop.role("writer", *(shop.resource(name, WRITER) for name in shop.instances))
    person = shop.person("ada", Action="sts:AssumeRole", Resource=role)
    keys = shop.assumed(person, role)
    token = shop.token(keys, "shop", WRITER)
    assert "X-Amz-Security-Token=" in token
    assert shop.connect("shop", WRITER, token) == (WRITER, "")
    # One role, both instances, a token for each; the replica asks as well.
    assert shop.connect("shop-reader", WRITER, shop.token(keys, "shop-reader", WRITER)) == (WRITER, "")
    # boto3 makes the same.
    rds, where = shop.client("rds", keys), shop.instances["shop"]["Endpoint"]
    token = rds.generate_db_auth_token(DBHostname=where["Address"], Port=where["Port"], DBUsername=WRITER)
    assert shop.connect("shop", WRITER, token) == (WRITER, "")

    stolen = {**keys, "aws_session_token": "another"}
    assert "lacks the session token" in shop.refusal("shop", WRITER, shop.token(stolen, "shop", WRITER))
    without = {name: value for name, value in keys.items() if name != "aws_session_token"}
    assert "lacks the session token" in shop.refusal("shop", WRITER, shop.token(without, "shop", WRITER))


def test_a_token_of_a_user_is_refused_to_every_other_user_instance_and_policy(shop: Shop) -> None:
    reader = shop.person("bob", Action="rds-db:connect", Resource=shop.resource("shop", READER))
    token = shop.token(reader, "shop", READER)
    assert shop.connect("shop", READER, token) == (READER, "")

    assert "for another user" in shop.refusal("shop", WRITER, token)
    wrong_user = shop.refusal("shop", WRITER, shop.token(reader, "shop", WRITER))
    assert f"may not rds-db:connect to {shop.resource('shop', WRITER)}" in wrong_user
    other_instance = shop.refusal("shop-reader", READER, shop.token(reader, "shop-reader", READER))
    assert f"may not rds-db:connect to {shop.resource('shop-reader', READER)}" in other_instance
    replayed = shop.refusal("shop-reader", READER, token)
    assert "the token is for" in replayed
    nobody = shop.person("cyd")
    assert "may not rds-db:connect" in shop.refusal("shop", READER, shop.token(nobody, "shop", READER))


def test_a_role_without_the_policy_and_one_whose_policy_was_taken_away_are_refused(shop: Shop) -> None:
    person = shop.person("dee", Action="sts:AssumeRole", Resource="*")
    bare = shop.assumed(person, shop.role("bare"))
    assert "may not rds-db:connect" in shop.refusal("shop", READER, shop.token(bare, "shop", READER))

    role = shop.role("lent", shop.resource("shop", READER))
    token = shop.token(shop.assumed(person, role), "shop", READER)
    assert shop.connect("shop", READER, token) == (READER, "")
    iam = shop.client("iam")
    iam.detach_role_policy(RoleName="lent", PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/lent-connect")
    assert "may not rds-db:connect" in shop.refusal("shop", READER, token)


def test_an_expired_token_and_a_deleted_key_are_refused(shop: Shop) -> None:
    person = shop.person("eve", Action="rds-db:connect", Resource=shop.resource("shop", READER))
    rds, where = shop.client("rds", person), shop.instances["shop"]["Endpoint"]
    arguments = {"DBHostname": where["Address"], "Port": where["Port"], "DBUsername": READER}
    for minutes, refused in ((14, False), (16, True)):
        then = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=minutes)
        with mock.patch("botocore.auth.get_current_datetime", return_value=then):
            token = rds.generate_db_auth_token(**arguments)
        if refused:
            assert "has expired" in shop.refusal("shop", READER, token)
        else:
            assert shop.connect("shop", READER, token) == (READER, "")
    token = rds.generate_db_auth_token(**arguments)
    shop.client("iam").delete_access_key(UserName="eve", AccessKeyId=person["aws_access_key_id"])
    assert "unknown access key" in shop.refusal("shop", READER, token)


def test_a_member_of_rds_iam_has_no_password_and_others_have_no_token(shop: Shop) -> None:
    administrator = {name: shop.variables[name.upper()] for name in ("aws_access_key_id", "aws_secret_access_key")}
    shop.connect("shop", "dbadmin", PASSWORD, f"ALTER USER {READER} PASSWORD 'a-password'")
    out, err = shop.connect("shop", READER, "a-password")
    assert (out, "not an IAM token" in err) == ("", True)
    out, err = shop.connect("shop", "dbadmin", shop.token(administrator, "shop", "dbadmin"))
    assert (out, "password authentication failed" in err) == ("", True)
