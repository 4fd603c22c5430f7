"""What must survive the death of any of our processes: databases, addresses, secrets, stacks, rows."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from multiaz.files import lock_holder
from person import Person

Eventually = Callable[..., Any]
IN_REGION = ("--create-bucket-configuration", "LocationConstraint=us-west-2")
PRIMARY = "ecommerce-db-primary-dev"


@pytest.fixture(scope="module")
def person(module_home_folder: Path, free_port: Callable[[], int]) -> Iterator[Person]:
    somebody = Person(module_home_folder / "home", free_port())
    done = somebody.run("up", "--port", str(somebody.port))
    try:
        assert done.returncode == 0, done.stdout + done.stderr + somebody.logs()
        yield somebody
    finally:
        somebody.run("down", "--all", "--yes")


@pytest.fixture(autouse=True)
def cloud_runs(person: Person) -> None:
    """Each test begins with a running endpoint, whatever the one before it did."""
    assert person.run("local", "start").returncode == 0


@pytest.fixture
def dsn(person: Person) -> dict[str, Any]:
    """How to connect to the primary, with the secret's password."""
    return person.session("primary")


def kill(lock: Path) -> None:
    pid = lock_holder(lock)
    assert pid is not None, f"nobody holds {lock}"
    os.kill(pid, signal.SIGKILL)


def primary_of(person: Person) -> tuple[int, int]:
    """Pid of the primary's postmaster, and the epoch."""
    seen = person.observed(PRIMARY)
    assert seen["in_sync"]
    return next(m["pid"] for m in seen["members"] if m["name"] == seen["primary"]), int(seen["epoch"])


def wait_taken_over(person: Person, eventually: Eventually, epoch: int) -> None:
    def holds() -> bool:
        try:
            seen = person.observed(PRIMARY)
        except FileNotFoundError:  # a new supervisor has just begun
            return False
        return bool(seen["epoch"] > epoch and seen["in_sync"] and seen["writable"])

    eventually(holds, "the standby took over and a new one is in sync", within_s=30)


def test_databases_serve_and_fail_over_while_the_endpoint_is_down_and_it_comes_back_as_it_was(
    person: Person, dsn: dict[str, Any], eventually: Eventually
) -> None:
    stacks = person.client("cloudformation")
    before = (person.ask("status"), person.ask("psql"), stacks.describe_stacks()["Stacks"])
    with psycopg.connect(**dsn) as open_session:
        kill(person.home / "cloud.lock")
        open_session.execute("CREATE TABLE endpoint_died (x int)")
        open_session.execute("INSERT INTO endpoint_died VALUES (1)")
    postmaster, epoch = primary_of(person)
    os.kill(postmaster, signal.SIGKILL)
    wait_taken_over(person, eventually, epoch)
    with psycopg.connect(**dsn) as connection:
        assert connection.execute("SELECT x FROM endpoint_died").fetchall() == [(1,)]
        connection.execute("INSERT INTO endpoint_died VALUES (2)")
    assert person.ask("local", "start")["started"]
    after = (person.ask("status"), person.ask("psql"), stacks.describe_stacks()["Stacks"])
    assert after[1:] == before[1:]
    assert [row["address"] for row in after[0]["instances"]] == [row["address"] for row in before[0]["instances"]]
    events = person.client("rds").describe_events(SourceType="db-instance", SourceIdentifier=PRIMARY)
    assert "Multi-AZ instance failover completed" in {event["Message"] for event in events["Events"]}
    for replica in ("replica-1", "replica-2"):
        eventually(lambda name=replica: person.value(name, "SELECT count(*) FROM endpoint_died") == "2", "on replicas")


def test_open_session_continues_when_the_supervisor_dies_and_failover_works_without_the_cloud(
    person: Person, dsn: dict[str, Any], eventually: Eventually
) -> None:
    kill(person.home / "cloud.lock")
    with psycopg.connect(**dsn) as session:
        session.execute("CREATE TABLE supervisor_died (x int)")
        postmaster, epoch = primary_of(person)
        kill(person.folder(PRIMARY) / "instance.lock")
        session.execute("INSERT INTO supervisor_died VALUES (1)")
        os.kill(postmaster, signal.SIGKILL)
        wait_taken_over(person, eventually, epoch)
    with psycopg.connect(**dsn) as session:
        assert session.execute("SELECT x FROM supervisor_died").fetchall() == [(1,)]
    person.ask("local", "start")
    eventually(lambda: person.instances()["primary"]["status"] == "available", "available", within_s=30)


def test_a_relay_that_died_is_started_again(person: Person, dsn: dict[str, Any], eventually: Eventually) -> None:
    kill(person.folder(PRIMARY) / "relay.lock")

    def answers() -> bool:
        try:
            with psycopg.connect(**dsn) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    eventually(answers, "the endpoint answers again", within_s=20)


@pytest.mark.long
def test_second_stack_beside_the_first_by_aws_cloudformation_deploy_goes_without_a_trace(
    person: Person, eventually: Eventually
) -> None:
    """The unmodified template, deployed by the aws CLI; what AWS keeps (a KMS key pending deletion) is kept."""
    template = person.home.parent / "template.yaml"
    synthesised = person.run("synth", "--preset", "test", "--set", "multi_az=true")
    template.write_text(synthesised.stdout)
    before = inventory(person)
    person.aws("s3api", "create-bucket", "--bucket", "templates-of-somebody", *IN_REGION)
    deployed = person.try_aws(
        "cloudformation", "deploy", "--stack-name", "second", "--template-file", str(template),
        "--s3-bucket", "templates-of-somebody",
        "--parameter-overrides", "EnvironmentSuffix=two",
        "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND",
    )  # fmt: skip
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert person.try_aws("s3", "rb", "--force", "s3://templates-of-somebody").returncode == 0
    stack = person.aws("cloudformation", "describe-stacks", "--stack-name", "second")["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    primary = person.aws("rds", "describe-db-instances", "--db-instance-identifier", "ecommerce-db-primary-two")
    told = primary["DBInstances"][0]
    assert told["Endpoint"]["Address"] == outputs["PrimaryDBEndpoint"]
    assert (told["MultiAZ"], told["StorageEncrypted"], told["IAMDatabaseAuthenticationEnabled"]) == (True, True, True)
    assert told["ReadReplicaDBInstanceIdentifiers"] == ["ecommerce-db-replica-1-two", "ecommerce-db-replica-2-two"]
    logs = person.aws("rds", "describe-db-log-files", "--db-instance-identifier", "ecommerce-db-primary-two")
    assert logs["DescribeDBLogFiles"]
    bucket = person.aws(
        "cloudformation", "describe-stack-resource", "--stack-name", "second", "--logical-resource-id", "BackupBucket"
    )["StackResourceDetail"]["PhysicalResourceId"]
    policy = person.aws("s3api", "get-bucket-policy", "--bucket", bucket)
    assert "aws:SecureTransport" in policy["Policy"]
    alarms = {alarm["AlarmName"] for alarm in person.aws("cloudwatch", "describe-alarms")["MetricAlarms"]}
    assert sum(name.startswith("second-") for name in alarms) == len(alarms) / 2
    body = person.home.parent / "object"
    for content in ("old", "new"):
        body.write_text(content)
        person.aws("s3api", "put-object", "--bucket", bucket, "--key", "a", "--body", str(body))
    person.aws("s3api", "delete-object", "--bucket", bucket, "--key", "a")
    person.aws("cloudformation", "delete-stack", "--stack-name", "second")
    stacks = person.client("cloudformation")
    stacks.get_waiter("stack_delete_complete").wait(
        StackName=stack["StackId"], WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    by_id = stacks.describe_stacks(StackName=stack["StackId"])["Stacks"][0]
    assert by_id["StackStatus"] == "DELETE_COMPLETE"
    eventually(lambda: inventory(person) == before, f"nothing of it is left: {difference(before, inventory(person))}")


LISTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("cloudformation", "describe_stacks", {}), ("cloudformation", "list_exports", {}),
    ("rds", "describe_db_instances", {}), ("rds", "describe_db_subnet_groups", {}),
    ("rds", "describe_db_parameter_groups", {}), ("rds", "describe_event_subscriptions", {}),
    ("rds", "describe_db_snapshots", {}), ("secretsmanager", "list_secrets", {"IncludePlannedDeletion": True}),
    ("s3", "list_buckets", {}), ("sns", "list_topics", {}), ("kms", "list_aliases", {}),
    ("cloudwatch", "describe_alarms", {}), ("cloudwatch", "list_dashboards", {}),
    ("logs", "describe_log_groups", {}), ("lambda", "list_functions", {}),
    ("iam", "list_roles", {}), ("iam", "list_policies", {"Scope": "Local"}),
    ("ec2", "describe_vpcs", {}), ("ec2", "describe_subnets", {}), ("ec2", "describe_route_tables", {}),
    ("ec2", "describe_security_groups", {}), ("ec2", "describe_security_group_rules", {}),
    ("ec2", "describe_vpc_endpoints", {}), ("ec2", "describe_network_interfaces", {}),
    ("ec2", "describe_network_acls", {}),
)  # fmt: skip
CHANGING = {"LastAccessedDate", "LatestRestorableTime"}


def inventory(person: Person) -> dict[str, set[str]]:
    """Every row of every list, as text, without what changes by itself."""
    found = {}
    for service, operation, arguments in LISTS:
        told = getattr(person.client(service), operation)(**arguments)
        told.pop("ResponseMetadata")
        rows: list[Any] = [row for value in told.values() if isinstance(value, list) for row in value]
        found[f"{service} {operation}"] = {
            json.dumps({k: v for k, v in row.items() if k not in CHANGING}, sort_keys=True, default=str) for row in rows
        }
    kms = person.client("kms")
    states = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    found["kms keys"] = {state["KeyId"] for state in states if state["KeyState"] != "PendingDeletion"}
    return found


def difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, set[str]]:
    return {name: after[name] ^ before[name] for name in before if after[name] != before[name]}
