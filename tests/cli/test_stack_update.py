"""UpdateStack of our own template, unmodified but for what is changed, on a real local cloud with real servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from multiaz.cloud.stacks.document import parse_document
from person import Person

STACK = "ecommerce-dev"
Eventually = Callable[..., Any]


@pytest.fixture(scope="module")
def person(module_home_folder: Any, free_port: Callable[[], int]) -> Iterator[Person]:
    """Somebody who has typed `multiaz up`, with changes that are made at once."""
    somebody = Person(module_home_folder / "home", free_port())
    settings = ("--set", "read_replicas=1", "--set", "apply_immediately=true")
    done = somebody.run("up", "--port", str(somebody.port), *settings)
    try:
        assert done.returncode == 0, done.stdout + done.stderr + somebody.logs()
        yield somebody
    finally:
        somebody.run("down", "--all", "--yes")


def template(person: Person) -> dict[str, Any]:
    body = person.client("cloudformation").get_template(StackName=STACK)["TemplateBody"]
    return parse_document(body) if isinstance(body, str) else dict(body)  # boto3 reads JSON itself


def update(person: Person, body: dict[str, Any], eventually: Eventually, **values: str) -> str:
    """UpdateStack through a bucket, as the template is too long for the call; the status it ends in."""
    s3, cfn = person.client("s3"), person.client("cloudformation")
    if "templates" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket="templates", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    s3.put_object(Bucket="templates", Key="t.json", Body=json.dumps(body).encode())
    parameters = [
        {"ParameterKey": name, "ParameterValue": values[name]}
        if name in values
        else {"ParameterKey": name, "UsePreviousValue": True}
        for name in body["Parameters"]
    ]
    cfn.update_stack(
        StackName=STACK,
        TemplateURL=f"https://templates.s3.{s3.meta.region_name}.amazonaws.com/t.json",
        Parameters=parameters,
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    )

    def ended() -> str | None:
        status = str(cfn.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"])
        return None if status.endswith("_IN_PROGRESS") else status

    return str(eventually(ended, "the update ends", within_s=180))


def events(person: Person) -> list[str]:
    pages = person.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=STACK)
    return [
        f"{event['LogicalResourceId']} {event['ResourceStatus']} {event.get('ResourceStatusReason', '')}"
        for page in pages
        for event in page["StackEvents"]
    ]


def threshold(person: Person, logical_id: str) -> float:
    found = person.client("cloudformation").describe_stack_resource(StackName=STACK, LogicalResourceId=logical_id)
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    (alarm,) = person.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return float(alarm["Threshold"])


@pytest.mark.long
def test_parameter_threshold_and_class_change_and_the_data_stays(person: Person, eventually: Eventually) -> None:
    done = person.sql("primary", "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
    assert done.returncode == 0, done.stderr
    assert person.value("primary", "SHOW work_mem") == "16MB"
    body = template(person)
    body["Resources"]["DBParameterGroup"]["Properties"]["Parameters"]["work_mem"] = "32768"
    body["Resources"]["PrimaryDBCPUAlarm"]["Properties"]["Threshold"] = 77
    status = update(person, body, eventually, DBInstanceClass="db.t4g.large")
    assert status == "UPDATE_COMPLETE", "\n".join(events(person)) + person.logs()
    assert person.value("primary", "SHOW work_mem") == "32MB"
    assert person.value("primary", "SELECT count(*) FROM kept") == "1000"
    assert threshold(person, "PrimaryDBCPUAlarm") == 77
    (primary,) = [
        one
        for one in person.client("rds").describe_db_instances()["DBInstances"]
        if one["DBInstanceIdentifier"] == "ecommerce-db-primary-dev"
    ]
    assert (primary["DBInstanceClass"], primary["DBInstanceStatus"]) == ("db.t4g.large", "available")
    assert template(person)["Resources"]["PrimaryDBCPUAlarm"]["Properties"]["Threshold"] == 77


@pytest.mark.long
def test_a_failed_update_gives_the_servers_their_old_values_back(person: Person, eventually: Eventually) -> None:
    before = person.value("primary", "SHOW work_mem"), threshold(person, "PrimaryDBCPUAlarm")
    body = template(person)
    body["Resources"]["DBParameterGroup"]["Properties"]["Parameters"]["work_mem"] = "65536"
    body["Resources"]["PrimaryDBCPUAlarm"]["Properties"]["Threshold"] = 55
    body["Resources"]["Wrong"] = {
        "Type": "AWS::KMS::Alias",
        "Properties": {"AliasName": "alias/wrong", "TargetKeyId": "none"},
        "DependsOn": ["PrimaryDB", "PrimaryDBCPUAlarm"],
    }
    status = update(person, body, eventually)
    assert status == "UPDATE_ROLLBACK_COMPLETE", "\n".join(events(person)) + person.logs()
    assert person.value("primary", "SHOW work_mem") == before[0]
    assert threshold(person, "PrimaryDBCPUAlarm") == before[1]
    assert "Wrong" not in template(person)["Resources"]
