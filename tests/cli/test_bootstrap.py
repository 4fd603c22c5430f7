"""The application's database roles, on a real local cloud: made by `multiaz bootstrap`, used with IAM tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError

from multiaz.errors import ExitCode
from multiaz.fleet.access import Access
from multiaz.fleet.bootstrap import NotBootstrapped, bootstrap, role_names
from multiaz.fleet.databases import Databases
from multiaz.fleet.fleet import Fleet
from person import Person


@pytest.fixture(scope="module")
def person(module_home_folder: Path, free_port: Callable[[], int]) -> Iterator[Person]:
    """Somebody with a table and a stack, who has typed `multiaz bootstrap`."""
    somebody = Person(module_home_folder / "home", free_port())
    done = somebody.run("up", "--port", str(somebody.port), "--set", "read_replicas=1")
    try:
        assert done.returncode == 0, done.stdout + done.stderr + somebody.logs()
        somebody.value("primary", "create table orders (id bigint generated always as identity, item text not null)")
        first = somebody.ask("bootstrap")
        assert first["changed"]
        yield somebody
    finally:
        somebody.run("down", "--all", "--yes")


def outputs(person: Person) -> dict[str, str]:
    """The stack's outputs."""
    (stack,) = person.client("cloudformation").describe_stacks(StackName="ecommerce-dev")["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


class Application:
    """A program that has assumed one of the stack's roles."""

    def __init__(self, person: Person, role: str) -> None:
        self.person = person
        told = person.client("sts").assume_role(RoleArn=outputs(person)[f"{role}Arn"], RoleSessionName="shop")
        keys = told["Credentials"]
        self.keys = {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }

    def client(self, service: str) -> Any:
        """A client that signs with the role's keys."""
        own = self.person.client(service).meta
        return boto3.client(service, endpoint_url=own.endpoint_url, region_name=own.region_name, **self.keys)

    def connect(self, user: str, instance: str = "primary", password: str | None = None) -> psycopg.Connection[Any]:
        """A verified connection; the password is a token unless one is given."""
        told = self.person.session(instance)
        assert told["sslmode"] == "verify-full"
        token = self.client("rds").generate_db_auth_token(told["host"], told["port"], user)
        return psycopg.connect(**{**told, "user": user, "password": token if password is None else password})


@pytest.fixture(scope="module")
def writer(person: Person) -> Application:
    return Application(person, "WriterRole")


@pytest.fixture(scope="module")
def reader(person: Person) -> Application:
    return Application(person, "ReaderRole")


def test_a_second_bootstrap_changes_nothing(person: Person) -> None:
    again = person.ask("bootstrap")
    assert (again["changed"], again["added"], again["removed"]) == (False, [], [])
    assert "Everything was right already" in person.run("bootstrap").stdout


def test_the_writer_writes_rows_and_no_tables(writer: Application) -> None:
    with writer.connect("app_writer") as connection:
        connection.execute("insert into orders (item) values ('a'), ('b')")
        connection.execute("update orders set item = 'c' where item = 'b'")
        connection.execute("delete from orders where item = 'c'")
        assert connection.execute("select count(*) from orders").fetchone() == (1,)
        assert connection.execute("show statement_timeout").fetchone() == ("10s",)
        for ddl in ("create table t (n int)", "truncate orders", "drop table orders", "alter table orders add n int"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(ddl)


def test_the_reader_reads_on_every_instance_and_writes_nowhere(
    reader: Application, eventually: Callable[..., object]
) -> None:
    for instance in ("primary", "replica-1"):
        with reader.connect("app_reader", instance) as connection:
            eventually(
                lambda connection=connection: connection.execute("select item from orders").fetchall() == [("a",)],
                f"the row on {instance}",
            )
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("insert into orders (item) values ('x')")
    with reader.connect("app_reader") as connection:
        connection.execute("set default_transaction_read_only = off")
        for write in ("insert into orders (item) values ('x')", "delete from orders", "create table mine (n int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(write)


def test_what_the_master_user_makes_later_is_theirs_too(
    person: Person, writer: Application, reader: Application
) -> None:
    person.value("primary", "create table later (id bigserial, item text)")
    with writer.connect("app_writer") as connection:
        connection.execute("insert into later (item) values ('l')")
    with reader.connect("app_reader") as connection:
        assert connection.execute("select item from later").fetchall() == [("l",)]
    assert person.ask("bootstrap")["changed"] is False


def test_the_writer_reads_on_a_replica_and_would_write_there_once_it_is_promoted(writer: Application) -> None:
    with writer.connect("app_writer", "replica-1") as connection:
        assert connection.execute("select pg_is_in_recovery()").fetchone() == (True,)


def test_a_role_logs_in_as_its_own_user_only(writer: Application, reader: Application) -> None:
    for role, other in ((reader, "app_writer"), (writer, "app_reader"), (writer, "dbadmin"), (reader, "dbadmin")):
        for instance in ("primary", "replica-1"):
            with pytest.raises(psycopg.OperationalError, match="authentication failed"):
                role.connect(other, instance)


def test_the_roles_learn_where_to_connect_and_not_the_master_user_s_password(
    person: Person, writer: Application, reader: Application
) -> None:
    told = outputs(person)
    for role in (writer, reader):
        secrets = role.client("secretsmanager")
        facts = json.loads(secrets.get_secret_value(SecretId=told["DBConnectionSecretArn"])["SecretString"])
        assert (facts["host"], facts["writerUsername"]) == (told["PrimaryDBEndpoint"], "app_writer")
        assert "password" not in facts
        with pytest.raises(ClientError, match="AccessDenied"):
            secrets.get_secret_value(SecretId=told["DBSecretArn"])


@pytest.mark.parametrize("user", ["app_writer", "app_reader"])
def test_nobody_logs_in_as_them_with_a_password(person: Person, writer: Application, user: str) -> None:
    person.value("primary", f"alter role {user} password 'Correct-Horse-9'")
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        writer.connect(user, password="Correct-Horse-9")
    person.ask("bootstrap")  # takes the password away again


def test_statement_costs_can_be_read(person: Person) -> None:
    assert int(person.value("primary", "select count(*) from pg_stat_statements")) > 0


@pytest.mark.long
def test_a_schema_of_the_application_is_added_by_name(person: Person, writer: Application) -> None:
    missing = person.ask("bootstrap", "--schema", "shop", code=ExitCode.NOT_FOUND)
    assert "shop" in missing["why"]
    person.value("primary", "create schema shop")
    person.value("primary", "create table shop.stock (n int)")
    told = person.ask("bootstrap", "--schema", "shop")
    assert "app_writer: DELETE, INSERT, SELECT, UPDATE on table shop.stock" in told["added"]
    with writer.connect("app_writer") as connection:
        connection.execute("insert into shop.stock values (1)")


def test_a_reader_that_could_write_stops_it_and_nothing_is_changed(person: Person) -> None:
    person.value("primary", "create table open (n int)")
    person.value("primary", "grant insert on open to public")
    person.value("primary", "revoke select on orders from app_reader")
    told = person.ask("bootstrap", code=ExitCode.FAILED)
    assert "app_reader may write to public.open" in told["why"]
    assert "REVOKE INSERT" in told["next"]
    assert person.value("primary", "select has_table_privilege('app_reader', 'orders', 'select')") == "f"
    person.value("primary", "revoke insert on open from public")
    mended = person.ask("bootstrap")
    assert "app_reader: SELECT on table public.orders" in mended["added"]
    assert "PUBLIC: INSERT on table public.open" not in mended["removed"]


@pytest.mark.long
def test_a_timeout_tuned_by_hand_stays_and_a_reader_made_to_write_is_mended(person: Person) -> None:
    person.value("primary", "alter role app_writer set statement_timeout = '20s'")
    person.value("primary", "alter role app_reader reset default_transaction_read_only")
    told = person.ask("bootstrap")
    assert told["added"] == ["app_reader has default_transaction_read_only=on"]
    assert told["removed"] == []


@pytest.mark.long
def test_what_is_printed_does_the_same_by_psql(person: Person, tmp_path: Path) -> None:
    person.value("primary", "revoke usage on schema public from app_reader")
    script = tmp_path / "bootstrap.sql"
    script.write_text(person.run("bootstrap", "--print").stdout)
    done = person.run("psql", "--", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", str(script))
    assert done.returncode == 0, done.stderr
    assert person.value("primary", "select has_schema_privilege('app_reader', 'public', 'usage')") == "t"
    assert person.ask("bootstrap")["changed"] is False


@pytest.mark.long
def test_the_master_user_made_a_member_of_the_writer_is_found_before_it_is_locked_out(person: Person) -> None:
    person.value("primary", "grant app_writer to dbadmin with inherit true")
    told = person.ask("bootstrap", code=ExitCode.FAILED)
    assert "dbadmin has the rights of app_writer" in told["why"]
    person.value("primary", told["next"].split(";")[0])
    assert person.ask("bootstrap")["changed"] is False


class OnlyOnce(Databases):
    """Lets the master user in once, as a server would whose pg_hba.conf counts it as a member of rds_iam."""

    logins = 0

    def connect(self, *arguments: Any, **more: Any) -> psycopg.Connection[Any]:
        self.logins += 1
        if self.logins > 1:
            raise psycopg.OperationalError('FATAL:  PAM authentication failed for user "dbadmin"')
        return super().connect(*arguments, **more)


def test_a_master_user_that_was_locked_out_is_let_in_again(person: Person) -> None:
    variables = person.ask("env")
    access = Access(
        variables["AWS_REGION"],
        variables["AWS_ENDPOINT_URL"],
        variables["AWS_ACCESS_KEY_ID"],
        variables["AWS_SECRET_ACCESS_KEY"],
        Path(variables["PGSSLROOTCERT"]),
    )
    credentials = Fleet(access, "ecommerce-dev").credentials()
    person.value("primary", "revoke rds_iam from app_writer")
    with pytest.raises(NotBootstrapped, match="could not log in any more, so it was revoked again: FATAL:  PAM"):
        bootstrap(OnlyOnce(access.root_certificate), credentials, "ecommerce-dev", role_names({}))
    assert person.value("primary", "select pg_has_role('app_reader', 'rds_iam', 'member')") == "t"
    assert person.value("primary", "select pg_has_role('app_writer', 'rds_iam', 'member')") == "f"
    assert "app_writer is a member of rds_iam" in person.ask("bootstrap")["added"]
    again = bootstrap(OnlyOnce(access.root_certificate), credentials, "ecommerce-dev", role_names({}))
    assert again.added == ()  # and roles that log in already are not put at risk
