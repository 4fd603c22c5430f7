"""The commands a person types, one after the other, against a real local cloud and real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from multiaz.blueprint.reserved_words import RESERVED
from multiaz.errors import ExitCode
from person import Person


@pytest.fixture(scope="module")
def person(module_home_folder: Path, free_port: Callable[[], int]) -> Iterator[Person]:
    """Somebody who has typed `multiaz up`."""
    somebody = Person(module_home_folder / "home", free_port())
    done = somebody.run("up", "--port", str(somebody.port))
    try:
        assert done.returncode == 0, done.stdout + done.stderr + somebody.logs()
        assert "created in" in done.stdout
        yield somebody
    finally:
        somebody.run("down", "--all", "--yes")


def below(folder: Path) -> list[int]:
    """Pids of processes that work below `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            where = (entry / "cwd").readlink()
        except OSError:
            continue
        if folder in (where, *where.parents):
            found.append(int(entry.name))
    return found


def test_three_instances_are_up_in_zones_of_their_own_and_the_standby_is_in_sync(person: Person) -> None:
    found = person.instances()
    assert list(found) == ["primary", "replica-1", "replica-2"]
    assert all(told["status"] == "available" and told["sql_error"] is None for told in found.values())
    primary = found["primary"]
    assert primary["standby_sync"] in ("sync", "quorum")
    assert primary["standby_zone"] not in (None, primary["zone"])
    assert found["replica-1"]["zone"] != found["replica-2"]["zone"]
    assert all(found[name]["streaming"] for name in ("replica-1", "replica-2"))
    assert len({(told["address"], told["port"]) for told in found.values()}) == 3


def test_a_second_up_says_it_is_there_and_changes_nothing(person: Person) -> None:
    before = person.ask("status")
    again = person.run("up")
    assert again.returncode == 0
    assert "already there" in again.stdout
    assert person.ask("up")["created"] is False
    after = person.ask("status")
    steady = ("identifier", "resource_id", "address", "port", "status")
    for old, new in zip(before["instances"], after["instances"], strict=True):
        assert [old[key] for key in steady] == [new[key] for key in steady]


def test_an_up_that_asks_for_something_else_is_refused_with_the_difference(person: Person) -> None:
    told = person.ask("up", "--parameter", "DBName=other", code=ExitCode.CONFLICT)
    assert "DBName is ecommercedb, not other" in told["why"]
    told = person.ask("up", "--set", "db_port=5433", code=ExitCode.CONFLICT)
    assert "its template differs in Parameters/DBPort/Default" in told["why"]


def test_the_words_we_call_reserved_are_those_the_server_reserves(person: Person) -> None:
    told = person.value("primary", "select string_agg(word, ' ') from pg_get_keywords() where catcode in ('R', 'T')")
    assert set(told.split()) == RESERVED


def test_each_server_is_told_with_its_instance_role_and_zone(person: Person) -> None:
    told = person.ask("local", "status")["instances"]
    found = {
        (instance["identifier"], server["role"]): (server["zone"], server["pid"])
        for instance in told
        for server in instance["servers"]
    }
    primary = person.instances()["primary"]
    assert sorted(role for _, role in found) == ["primary", "replica", "replica", "standby"]
    zone, pid = found[primary["identifier"], "primary"]
    data = Path(f"/proc/{pid}/cwd").readlink()
    assert zone == primary["zone"]
    assert data.parent.parent == person.folder(primary["identifier"])
    assert found[primary["identifier"], "standby"][0] == primary["standby_zone"]


def test_an_up_on_another_port_is_refused(person: Person) -> None:
    told = person.ask("up", "--port", str(person.port + 1), code=ExitCode.CONFLICT)
    assert str(person.port) in told["why"]


def test_what_is_written_on_the_primary_is_read_on_both_replicas(
    person: Person, eventually: Callable[..., object]
) -> None:
    person.value("primary", "create table if not exists seen (n int primary key)")
    person.value("primary", "insert into seen values (1) on conflict do nothing")
    for name in ("replica-1", "replica-2"):
        eventually(lambda name=name: rows_seen(person, name) == "1", f"the row on {name}")


def rows_seen(person: Person, instance: str) -> str:
    try:
        return person.value(instance, "select count(*) from seen")
    except psycopg.errors.UndefinedTable:  # it has not arrived either
        return ""


def test_a_write_on_a_replica_is_refused_and_psql_says_so_by_its_code(person: Person) -> None:
    done = person.sql("replica-1", "create table refused (n int)")
    assert done.returncode == 1
    assert "read-only transaction" in done.stderr


def test_psql_gets_the_arguments_after_the_dashes(person: Person) -> None:
    done = person.run("psql", "--", "-X", "-c", "select 40 + 2 as answer", "--csv")
    assert done.stdout.split() == ["answer", "42"]


def test_the_password_is_nowhere_while_psql_runs(person: Person) -> None:
    """Not in the arguments of any process, not in psql's environment."""
    secret = json.loads(
        person.aws("secretsmanager", "get-secret-value", "--secret-id", person.ask("psql")["secret_arn"])[
            "SecretString"
        ]
    )
    with tempfile.TemporaryFile() as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "multiaz.cli", "psql", "--", "-X", "-c", "select pg_sleep(30)"],
            env=person.environment,
            stdout=out,
            stderr=out,
        )
        try:
            seen = child_of(running.pid)
            for pid in (running.pid, seen):
                told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
                assert secret["password"].encode() not in told
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) != 0


def child_of(parent: int) -> int:
    """The psql that `parent` has started."""
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            name, _, rest = stat.partition(" (")[2].rpartition(") ")
            if name == "psql" and int(rest.split()[1]) == parent:
                return int(entry.name)
        time.sleep(0.02)
    pytest.fail("psql was not started")


def test_plain_text_connections_are_refused(person: Person) -> None:
    done = person.sql("primary", "select 1", "-d", "sslmode=disable")
    assert done.returncode == 2


def test_an_unknown_instance_is_answered_with_those_there_are(person: Person) -> None:
    told = person.ask("psql", "replica-9", code=ExitCode.NOT_FOUND)
    assert "primary, replica-1, replica-2" in told["why"]


def test_an_unknown_stack_is_not_found(person: Person) -> None:
    for command in ("status", "psql", "failover"):
        assert person.ask(command, "--stack", "nope", code=ExitCode.NOT_FOUND)["error"] == "NotFound"


def test_env_points_the_aws_cli_at_the_local_cloud(person: Person) -> None:
    told = person.aws("rds", "describe-db-instances")
    assert len(told["DBInstances"]) == 3


def test_failover_swaps_the_zones_loses_nothing_and_says_for_how_long_writes_stopped(person: Person) -> None:
    before = person.instances()["primary"]
    report = person.ask("failover")
    assert (report["zone_before"], report["standby_zone_before"]) == (before["zone"], before["standby_zone"])
    assert (report["zone_after"], report["standby_zone_after"]) == (before["standby_zone"], before["zone"])
    assert report["rows_lost"] == 0
    assert report["rows_acknowledged"] > 40
    assert 0 < report["write_outage_s"] < 30
    assert report["in_sync_after_s"] is not None
    assert list(report["steps_s"]) == ["detect", "fence", "record", "promote", "endpoint", "first_commit"]
    after = person.instances()["primary"]
    assert after["zone"] == before["standby_zone"]
    assert after["standby_sync"] in ("sync", "quorum")
    assert (after["address"], after["port"]) == (before["address"], before["port"])


def test_down_asks_and_where_nobody_can_answer_nothing_happens(person: Person) -> None:
    assert person.ask("down", code=ExitCode.CONFIRM)["error"] == "NotConfirmed"
    assert person.ask("status")["stack_status"] == "CREATE_COMPLETE"


def test_after_everything_was_killed_at_once_start_finds_it_all_again(
    person: Person, eventually: Callable[..., object]
) -> None:
    person.value("primary", "create table if not exists kept (n int primary key)")
    person.value("primary", "insert into kept values (7) on conflict do nothing")
    before = person.ask("psql")
    while pids := below(person.home):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        eventually(lambda killed=pids: not set(killed) & set(living(person.home)), "killed processes are gone")
    told = person.ask("status", code=ExitCode.NOT_FOUND)
    assert "multiaz local start" in told["next"]
    assert person.ask("local", "start")["started"] is True
    eventually(lambda: person.sql("primary", "select n from kept").stdout.strip() == "7", "the row", within_s=60)
    assert person.ask("psql") == before

    def in_sync() -> bool:
        try:
            return bool(person.observed("ecommerce-db-primary-dev")["in_sync"])
        except FileNotFoundError:  # a new supervisor has just begun
            return False

    eventually(in_sync, "the primary has its standby again", within_s=60)

    def well() -> bool:
        found = person.instances()
        return (
            all(told["status"] == "available" for told in found.values())
            and found["primary"]["standby_sync"] in ("sync", "quorum")
            and all(found[name]["streaming"] for name in ("replica-1", "replica-2"))
        )

    eventually(well, "all is well again", within_s=60, pause_s=0.5)


def living(folder: Path) -> list[int]:
    """As `below`, zombies left out."""
    found = []
    for pid in below(folder):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


def test_stopped_and_started_it_is_as_before(person: Person, eventually: Callable[..., object]) -> None:
    before = person.ask("psql")
    stopped = person.ask("local", "stop")
    assert len(stopped["instances"]) == 3
    assert living(person.home) == []
    assert person.ask("local", "status")["endpoint"] is None
    person.ask("local", "start")
    assert person.ask("psql") == before
    eventually(lambda: person.sql("primary", "select 1").returncode == 0, "the primary answers", within_s=60)


def test_down_leaves_no_process_and_no_data(home_folder: Path, free_port: Callable[[], int]) -> None:
    somebody = Person(home_folder / "home", free_port())
    made = somebody.ask("up", "--port", str(somebody.port), "--suffix", "gone", "--set", "read_replicas=0")
    assert made["created"]
    assert made["stack"] == "ecommerce-gone"
    told = somebody.ask("down", "--suffix", "gone", "--yes")
    assert told["stack"] == "ecommerce-gone"
    assert told["home_removed"] == str(somebody.home)
    assert living(somebody.home) == []
    left = {path.name for path in somebody.home.iterdir()}
    assert left <= {"home.json", "postgres"}
    assert somebody.ask("down", "--suffix", "gone", "--yes", code=ExitCode.NOT_FOUND)["error"] == "NotFound"


def buckets_of(person: Person, stack: str) -> list[str]:
    described = person.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    return [each["PhysicalResourceId"] for each in described if each["ResourceType"] == "AWS::S3::Bucket"]


def fill(person: Person, bucket: str) -> None:
    """All that keeps a bucket from being deleted: objects, old versions, delete markers, an unfinished upload."""
    s3 = person.client("s3")
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"export/{number}", Body=b"first")
        s3.put_object(Bucket=bucket, Key=f"export/{number}", Body=b"second")
    s3.delete_object(Bucket=bucket, Key="export/0")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="export/unfinished")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="export/unfinished", UploadId=upload, PartNumber=1, Body=b"part")
    found = s3.list_object_versions(Bucket=bucket)
    assert (len(found["Versions"]), len(found["DeleteMarkers"])) == (6, 1)
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1


def test_a_small_stack_goes_alone_and_the_local_cloud_stays_for_the_other(person: Person) -> None:
    stacks = person.client("cloudformation")
    resources = {"Topic": {"Type": "AWS::SNS::Topic"}, "Bucket": {"Type": "AWS::S3::Bucket"}}
    stacks.create_stack(StackName="ecommerce-small", TemplateBody=json.dumps({"Resources": resources}))
    stacks.get_waiter("stack_create_complete").wait(StackName="ecommerce-small", WaiterConfig={"Delay": 1})
    told = person.ask("down", "--suffix", "small", "--yes")
    assert (told["stack"], told["home_removed"]) == ("ecommerce-small", None)
    assert told["local_cloud_kept_for"] == ["the stack ecommerce-dev"]
    assert [stack["StackName"] for stack in stacks.describe_stacks()["Stacks"]] == ["ecommerce-dev"]
    assert person.value("primary", "select 1") == "1"


@pytest.mark.long
def test_a_second_stack_stands_beside_the_first_and_goes_alone_with_all_its_buckets_hold(person: Person) -> None:
    before = person.ask("psql")
    assert person.ask("up", "--suffix", "two", "--set", "read_replicas=0")["created"]
    assert person.ask("psql", "--suffix", "two")["host"] != before["host"]
    kept, going = buckets_of(person, "ecommerce-dev"), buckets_of(person, "ecommerce-two")
    assert (len(kept), len(going)) == (2, 2)
    for bucket in (kept[0], *going):
        fill(person, bucket)
    told = person.ask("down", "--suffix", "two", "--yes")
    assert (told["stack"], told["home_removed"]) == ("ecommerce-two", None)
    assert told["local_cloud_kept_for"] == ["the stack ecommerce-dev"]
    assert any("KMS key" in what for what in told["kept"])
    s3 = person.client("s3")
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == set(kept)
    assert len(s3.list_object_versions(Bucket=kept[0])["Versions"]) == 6, "the other stack's are untouched"
    assert person.ask("psql") == before
    assert person.value("primary", "select 1") == "1"


@pytest.mark.long
def test_what_any_region_holds_keeps_the_local_cloud(home_folder: Path, free_port: Callable[[], int]) -> None:
    """Also what no stack stands for, and where no stack ever was."""
    somebody = Person(home_folder / "home", free_port())
    somebody.ask("local", "start", "--port", str(somebody.port))
    try:
        far = ("--region", "eu-west-1")
        somebody.aws("secretsmanager", "create-secret", "--name", "kept", "--secret-string", "x", *far)
        somebody.aws("ssm", "put-parameter", "--name", "kept", "--value", "x", "--type", "String", *far)
        somebody.aws("logs", "create-log-group", "--log-group-name", "kept", *far)
        key = somebody.aws("kms", "create-key", *far)["KeyMetadata"]["KeyId"]
        refused = somebody.ask("down", "--yes", code=ExitCode.NOT_FOUND)
        for thing in ("the secret kept", "the SSM parameter kept", "the log group kept", f"the KMS key {key}"):
            assert f"{thing} in eu-west-1" in refused["why"]
        somebody.aws("secretsmanager", "delete-secret", "--secret-id", "kept", "--force-delete-without-recovery", *far)
        somebody.aws("ssm", "delete-parameter", "--name", "kept", *far)
        somebody.aws("logs", "delete-log-group", "--log-group-name", "kept", *far)
        somebody.aws("kms", "schedule-key-deletion", "--key-id", key, *far)
        assert somebody.ask("down", "--yes")["home_removed"] == str(somebody.home)
    finally:
        somebody.run("down", "--all", "--yes")


@pytest.mark.long
def test_what_a_protected_stack_was_told_to_keep_keeps_the_local_cloud(
    home_folder: Path, free_port: Callable[[], int]
) -> None:
    somebody = Person(home_folder / "home", free_port())
    outputs = somebody.ask("up", "--port", str(somebody.port), "--preset", "prod")["outputs"]
    somebody.value("primary", "create table orders as select generate_series(1, 1000) as id")
    s3, bucket = somebody.client("s3"), outputs["BackupBucketName"]
    s3.put_object(Bucket=bucket, Key="export", Body=b"rows")
    refused = somebody.ask("down", "--yes", code=ExitCode.CONFLICT)
    assert "deletion protection is on" in refused["why"]
    assert all(told["status"] == "available" for told in somebody.instances().values()), "nothing was touched"
    assert somebody.value("primary", "select count(*) from orders") == "1000"
    assert s3.get_object(Bucket=bucket, Key="export")["Body"].read() == b"rows"
    lines = somebody.run("env").stdout + "unset AWS_ENDPOINT_URL AWS_REGION AWS_DEFAULT_REGION\n"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    advised = subprocess.run(
        ["sh", "-ec", lines + refused["next"]],
        env={**somebody.environment, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert advised.returncode == 0, advised.stderr
    told = somebody.ask("down", "--yes")
    assert told["home_removed"] is None
    assert s3.get_object(Bucket=bucket, Key="export")["Body"].read() == b"rows"
    assert any("DB snapshot" in thing for thing in told["local_cloud_kept_for"])
    assert any("bucket" in thing for thing in told["local_cloud_kept_for"])
    again = somebody.ask("down", "--yes", code=ExitCode.NOT_FOUND)
    assert "DB snapshot" in again["why"]
    assert somebody.ask("down", "--all", "--yes")["home_removed"] == str(somebody.home)
    assert not somebody.home.exists()


def test_a_port_somebody_else_holds_is_named(home_folder: Path, free_port: Callable[[], int]) -> None:
    import socket

    somebody = Person(home_folder / "home", free_port())
    with socket.socket() as other:
        other.bind(("127.0.0.1", somebody.port))
        other.listen()
        told = somebody.ask("up", "--port", str(somebody.port), code=ExitCode.CONFLICT)
    assert str(somebody.port) in told["why"]
    assert "--port" in told["next"]
    assert living(somebody.home) == []
