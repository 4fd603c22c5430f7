"""Large templates, fetched from this cloud's own S3 by every action that takes a TemplateURL, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from stacks_world import World, refused

from multiaz.home import Home
from multiaz.local import environment, start, stop

TOPICS = {f"Topic{number}": {"Type": "AWS::SNS::Topic"} for number in range(3)}
LARGE = json.dumps(
    {
        "Description": "large",
        "Metadata": {f"note{number}": "x" * 1000 for number in range(200)},
        "Parameters": {"Name": {"Type": "String", "Default": "shop"}},
        "Resources": TOPICS,
    }
)
OFTEN = {"Delay": 0.1, "MaxAttempts": 300}
"""Half a minute."""


@pytest.fixture(scope="module")
def client(module_home_folder: Path, free_port: Callable[[], int]) -> Iterator[Callable[[str], Any]]:
    """boto3 clients of a whole local cloud."""
    home = Home(module_home_folder / "home")
    start(home, free_port())
    try:
        told = environment(home)
        yield lambda service: boto3.client(
            service,
            region_name=told["AWS_REGION"],
            endpoint_url=told["AWS_ENDPOINT_URL"],
            aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
        )
    finally:
        stop(home)


@pytest.fixture(scope="module")
def urls(client: Callable[[str], Any]) -> dict[str, str]:
    """The addresses one object has."""
    s3 = client("s3")
    region, endpoint = s3.meta.region_name, s3.meta.endpoint_url
    s3.create_bucket(Bucket="templates-1", CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_object(Bucket="templates-1", Key="a b/large.json", Body=LARGE.encode())
    assert len(LARGE) > 200_000
    key = "a%20b/large.json"
    return {
        "path": f"{endpoint}/templates-1/{key}",
        "hosted": f"https://templates-1.s3.{region}.amazonaws.com/{key}",
        "global": f"https://templates-1.s3.amazonaws.com/{key}",
        "path on aws": f"https://s3.{region}.amazonaws.com/templates-1/{key}",
    }


@pytest.mark.parametrize("style", ["path", "hosted", "global", "path on aws"])
def test_every_action_takes_a_large_template_by_its_url(
    client: Callable[[str], Any], urls: dict[str, str], style: str, eventually: Callable[..., Any]
) -> None:
    cfn, where = client("cloudformation"), {"TemplateURL": urls[style]}
    assert cfn.validate_template(**where)["Description"] == "large"
    assert sorted(cfn.get_template_summary(**where)["ResourceTypes"]) == ["AWS::SNS::Topic"]
    name = f"by-{style.replace(' ', '-')}"
    made = cfn.create_change_set(StackName=name, ChangeSetName="first", ChangeSetType="CREATE", **where)["Id"]
    eventually(
        lambda: cfn.describe_change_set(ChangeSetName=made)["Status"] == "CREATE_COMPLETE", "the change set is there"
    )
    changes = cfn.describe_change_set(ChangeSetName=made)["Changes"]
    assert {change["ResourceChange"]["LogicalResourceId"] for change in changes} == set(TOPICS)
    cfn.delete_stack(StackName=name)
    stack = cfn.create_stack(StackName=f"{name}-2", **where)["StackId"]
    cfn.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig=OFTEN)
    cfn.delete_stack(StackName=stack)
    cfn.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig=OFTEN)


def test_a_url_that_leads_elsewhere_or_nowhere_is_refused(client: Callable[[str], Any], urls: dict[str, str]) -> None:
    cfn = client("cloudformation")
    for url, part in (
        ("https://example.com/templates-1/large.json", "TemplateURL must be a supported URL"),
        (urls["path"] + ".no", "S3 error"),
        (urls["hosted"].replace("templates-1", "templates-2"), "S3 error"),
        ("file:///etc/passwd", "TemplateURL must be a supported URL"),
    ):
        code, message = refused(cfn.validate_template, TemplateURL=url)
        assert (code, part in message) == ("ValidationError", True), (url, message)
    client("s3").put_object(Bucket="templates-1", Key="huge", Body=b" " * 1_048_577)
    huge = urls["hosted"].partition(".com/")[0] + ".com/huge"
    assert "1048576" in refused(cfn.create_stack, StackName="huge", TemplateURL=huge)[1]


@pytest.mark.parametrize(
    ("section", "number", "limit"),
    [("resources", 501, 500), ("outputs", 201, 200), ("parameters", 201, 200), ("mappings", 201, 200)],
)
def test_more_than_cloudformation_allows_is_refused_in_its_words(
    world: World, section: str, number: int, limit: int
) -> None:
    entries: dict[str, Any] = {
        "resources": {"Type": "AWS::SNS::Topic"},
        "outputs": {"Value": "v"},
        "parameters": {"Type": "String", "Default": "d"},
        "mappings": {"a": {"b": "c"}},
    }
    template: dict[str, Any] = {"Resources": TOPICS}
    template[section.capitalize()] = {f"X{index}": entries[section] for index in range(number)}
    message = f"Template format error: Number of {section}, {number}, is greater than maximum allowed, {limit}"
    assert refused(world.create, template=template) == ("ValidationError", message)


def test_as_many_outputs_and_exports_as_allowed_are_there(world: World) -> None:
    outputs = {f"O{n}": {"Value": f"v{n}", "Export": {"Name": f"export-{n}"}} for n in range(200)}
    stack = world.made({"Resources": TOPICS, "Outputs": outputs})
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert len(world.outputs(stack)) == 200
    pages = world.cfn.get_paginator("list_exports").paginate()
    assert sum(len(page["Exports"]) for page in pages) == 200
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
