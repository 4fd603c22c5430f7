"""UpdateStack: what changes, in which order, what becomes of what is replaced or removed, how an update goes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from stacks_world import World, refused

from multiaz.blueprint.empty_bucket import EMPTY_BUCKET_CODE
from multiaz.cloud.stacks.known_functions import EMPTIED_TAG
from multiaz.cloud.stacks.resources.base import Call
from multiaz.cloud.stacks.resources.sns import Topic

Resources = dict[str, dict[str, Any]]
QUIET: dict[str, Any] = {
    "Namespace": "n",
    "MetricName": "m",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanThreshold",
}


def topic(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::SNS::Topic", "Properties": properties}


def alarm(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": {**QUIET, **properties}}


def queue_name(world: World) -> str:
    return f"topic-{world.name()}"


def update(world: World, stack: dict[str, Any], resources: Resources, **arguments: Any) -> dict[str, Any]:
    """UpdateStack with these resources, settled."""
    body = {"Resources": resources, **arguments.pop("sections", {})}
    world.cfn.update_stack(StackName=stack["StackName"], TemplateBody=json.dumps(body), **arguments)
    return world.settle(stack["StackId"])


def since(world: World, stack: dict[str, Any], seen: int = 0) -> list[tuple[str, str]]:
    """(logical id, status) of the events after the first `seen`."""
    return [(name, status) for name, status, _ in world.events(stack["StackId"])[seen:]]


def physical(world: World, stack: dict[str, Any], name: str) -> str:
    return str(world.resources(stack["StackId"])[name]["PhysicalResourceId"])


def topic_attributes(world: World, arn: str) -> dict[str, str] | None:
    try:
        return dict(world.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"])
    except ClientError:
        return None


def broken(**more: Any) -> dict[str, Any]:
    """A resource whose creation fails when it is made, not before."""
    return {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": "alias/wrong", "TargetKeyId": "no-such-key"}, **more}


@pytest.fixture
def held_topics(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Updates of topics wait for the event, as slow resources do."""
    go = threading.Event()
    plain = Topic.update

    def held(self: Topic, call: Call, old: Call, changed: frozenset[str]) -> Any:
        while not go.is_set():
            call.wait(0.005)
        return plain(self, call, old, changed)

    monkeypatch.setattr(Topic, "update", held)
    yield go
    go.set()


def test_a_change_in_place_keeps_the_physical_resource_and_tells_its_events_in_order(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic(DisplayName="a"), "Other": topic()}})
    before, seen = physical(world, stack, "Topic"), len(world.events(stack["StackId"]))
    stack = update(world, stack, {"Topic": topic(DisplayName="b"), "Other": topic()})
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert "LastUpdatedTime" in stack
    assert physical(world, stack, "Topic") == before
    assert (topic_attributes(world, before) or {})["DisplayName"] == "b"
    assert since(world, stack, seen) == [
        (stack["StackName"], "UPDATE_IN_PROGRESS"),
        ("Topic", "UPDATE_IN_PROGRESS"),
        ("Topic", "UPDATE_COMPLETE"),
        (stack["StackName"], "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
        (stack["StackName"], "UPDATE_COMPLETE"),
    ]
    world.deleted(stack["StackId"])


def test_a_replacement_is_made_first_followed_by_what_refers_to_it_and_the_old_one_goes_last(world: World) -> None:
    name, other = queue_name(world), queue_name(world)
    resources = {"Topic": topic(TopicName=name), "Alarm": alarm(AlarmActions=[{"Ref": "Topic"}])}
    stack = world.made({"Resources": resources})
    old, seen = physical(world, stack, "Topic"), len(world.events(stack["StackId"]))
    stack = update(world, stack, {**resources, "Topic": topic(TopicName=other)})
    new = physical(world, stack, "Topic")
    assert new.endswith(other)
    assert topic_attributes(world, old) is None
    (found,) = world.client("cloudwatch").describe_alarms(AlarmNames=[physical(world, stack, "Alarm")])["MetricAlarms"]
    assert found["AlarmActions"] == [new]
    assert since(world, stack, seen) == [
        (stack["StackName"], "UPDATE_IN_PROGRESS"),
        ("Topic", "UPDATE_IN_PROGRESS"),
        ("Topic", "UPDATE_IN_PROGRESS"),
        ("Topic", "UPDATE_COMPLETE"),
        ("Alarm", "UPDATE_IN_PROGRESS"),
        ("Alarm", "UPDATE_COMPLETE"),
        (stack["StackName"], "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"),
        ("Topic", "DELETE_IN_PROGRESS"),
        ("Topic", "DELETE_COMPLETE"),
        (stack["StackName"], "UPDATE_COMPLETE"),
    ]
    reasons = [reason for _, _, reason in world.events(stack["StackId"])[seen:]]
    assert "Requested update requires the creation of a new physical resource; hence creating one." in reasons
    world.deleted(stack["StackId"])


def test_an_unnamed_replacement_gets_a_random_name_of_its_own(world: World) -> None:
    group = {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "a"}}
    stack = world.made({"Resources": {"Group": group}})
    old = physical(world, stack, "Group")
    stack = update(world, stack, {"Group": {**group, "Properties": {"GroupDescription": "b"}}})
    assert stack["StackStatus"] == "UPDATE_COMPLETE", world.events(stack["StackId"])
    assert physical(world, stack, "Group") != old
    groups = world.client("ec2").describe_security_groups()["SecurityGroups"]
    assert [one["Description"] for one in groups if stack["StackName"] + "-" in one["GroupName"]] == ["b"]
    world.deleted(stack["StackId"])


def test_a_custom_named_resource_cannot_be_replaced(world: World) -> None:
    group = {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "a", "GroupName": world.name()}}
    stack = world.made({"Resources": {"Group": group}})
    old = physical(world, stack, "Group")
    changed = {**group, "Properties": {**group["Properties"], "GroupDescription": "b"}}
    stack = update(world, stack, {"Group": changed})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert physical(world, stack, "Group") == old
    assert (
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename "
        f"{group['Properties']['GroupName']} and update the stack again."
    ) in [reason for _, _, reason in world.events(stack["StackId"])]
    world.deleted(stack["StackId"])


def test_what_is_added_is_made_and_what_is_removed_goes_once_everything_else_is_done(world: World) -> None:
    vpc = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}
    subnet = {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"}}
    stack = world.made({"Resources": {"Vpc": vpc, "Subnet": subnet, "Kept": topic()}})
    seen = len(world.events(stack["StackId"]))
    stack = update(world, stack, {"Kept": topic(), "New": topic()})
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert world.resources(stack["StackId"]).keys() == {"Kept", "New"}
    told = since(world, stack, seen)
    order = [("New", "CREATE_COMPLETE"), (stack["StackName"], "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")]
    order += [("Subnet", "DELETE_COMPLETE"), ("Vpc", "DELETE_IN_PROGRESS"), ("Vpc", "DELETE_COMPLETE")]
    places = [told.index(event) for event in order]
    assert places == sorted(places)
    filters = [{"Name": "tag:aws:cloudformation:stack-id", "Values": [stack["StackId"]]}]
    assert world.client("ec2").describe_vpcs(Filters=filters)["Vpcs"] == []
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_retain_keeps_what_is_removed_or_replaced(world: World, how: str) -> None:
    policy = "DeletionPolicy" if how == "removed" else "UpdateReplacePolicy"
    before = {**topic(TopicName=queue_name(world)), policy: "Retain"}
    stack = world.made({"Resources": {"Topic": before, "Other": topic()}})
    old = physical(world, stack, "Topic")
    after = {"Topic": {**before, "Properties": {"TopicName": queue_name(world)}}} if how == "replaced" else {}
    stack = update(world, stack, {"Other": topic(), **after})
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert topic_attributes(world, old) is not None
    assert ("Topic", "DELETE_SKIPPED") in since(world, stack)
    world.deleted(stack["StackId"])


def test_a_failed_update_goes_back_and_the_old_template_stays_the_truth(world: World) -> None:
    sections = {
        "Parameters": {"Shown": {"Type": "String", "Default": "a"}},
        "Outputs": {"Shown": {"Value": {"Ref": "Shown"}}, "Arn": {"Value": {"Ref": "Named"}}},
    }
    name = queue_name(world)
    resources = {"Topic": topic(DisplayName={"Ref": "Shown"}), "Named": topic(TopicName=name)}
    template = {**sections, "Resources": resources}
    stack = world.made(template, Tags=[{"Key": "team", "Value": "shop"}])
    old, seen = world.resources(stack["StackId"]), len(world.events(stack["StackId"]))
    new_name = queue_name(world)
    changed = {
        "Topic": topic(DisplayName={"Ref": "Shown"}),
        "Named": topic(TopicName=new_name),
        "Added": topic(),
        "Broken": broken(DependsOn=["Topic", "Named", "Added"]),
    }
    failed = update(
        world,
        stack,
        changed,
        sections=sections,
        Parameters=[{"ParameterKey": "Shown", "ParameterValue": "b"}],
        Tags=[{"Key": "team", "Value": "other"}],
    )
    assert failed["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    for member in ("Parameters", "Tags", "Outputs"):
        assert failed[member] == stack[member]
    assert json.loads(json.dumps(world.cfn.get_template(StackName=stack["StackId"])["TemplateBody"])) == template
    now = world.resources(stack["StackId"])
    assert {key: entry["PhysicalResourceId"] for key, entry in now.items()} == {
        key: entry["PhysicalResourceId"] for key, entry in old.items()
    }
    assert (topic_attributes(world, now["Topic"]["PhysicalResourceId"]) or {})["DisplayName"] == "a"
    arns = [entry["TopicArn"] for entry in world.client("sns").list_topics()["Topics"]]
    assert not [arn for arn in arns if arn.endswith(new_name) or f"{stack['StackName']}-Added" in arn]
    told = since(world, stack, seen)
    order = [
        (stack["StackName"], "UPDATE_IN_PROGRESS"),
        ("Broken", "CREATE_FAILED"),
        (stack["StackName"], "UPDATE_ROLLBACK_IN_PROGRESS"),
        (stack["StackName"], "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"),
        ("Added", "DELETE_COMPLETE"),
        (stack["StackName"], "UPDATE_ROLLBACK_COMPLETE"),
    ]
    places = [told.index(event) for event in order]
    assert places == sorted(places)
    reasons = [
        reason for key, status, reason in world.events(stack["StackId"]) if status.endswith("ROLLBACK_IN_PROGRESS")
    ]
    assert reasons == ["The following resource(s) failed to create: [Broken]. "]
    tags = world.client("sns").list_tags_for_resource(ResourceArn=now["Topic"]["PhysicalResourceId"])["Tags"]
    assert {"Key": "team", "Value": "shop"} in tags
    again = update(
        world, stack, resources, sections=sections, Parameters=[{"ParameterKey": "Shown", "ParameterValue": "c"}]
    )
    assert again["StackStatus"] == "UPDATE_COMPLETE"
    world.deleted(stack["StackId"])


def test_new_resources_marked_retain_are_kept_by_a_rollback_unless_the_call_says_otherwise(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic()}})
    name = queue_name(world)
    added = {"Topic": topic(), "Added": {**topic(TopicName=name), "DeletionPolicy": "Retain"}}
    stack = update(world, stack, {**added, "Broken": broken(DependsOn="Added")}, RetainExceptOnCreate=True)
    arns = [entry["TopicArn"] for entry in world.client("sns").list_topics()["Topics"]]
    assert not [arn for arn in arns if arn.endswith(name)]
    stack = update(world, stack, {**added, "Broken": broken(DependsOn="Added")})
    arns = [entry["TopicArn"] for entry in world.client("sns").list_topics()["Topics"]]
    assert [arn for arn in arns if arn.endswith(name)]
    assert world.resources(stack["StackId"]).keys() == {"Topic"}
    world.deleted(stack["StackId"])


def test_a_property_that_cannot_be_changed_in_place_is_refused_by_name_before_anything_is_touched(world: World) -> None:
    key = {"Type": "AWS::KMS::Key", "Properties": {"KeySpec": "SYMMETRIC_DEFAULT"}}
    stack = world.made({"Resources": {"Key": key, "Topic": topic(DisplayName="a")}})
    seen = len(world.events(stack["StackId"]))
    body = {
        "Resources": {
            "Key": {**key, "Properties": {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}},
            "Topic": topic(DisplayName="b"),
        }
    }
    answer = refused(world.cfn.update_stack, StackName=stack["StackName"], TemplateBody=json.dumps(body))
    assert answer == (
        "ValidationError",
        "Key: updating properties KeySpec, KeyUsage of AWS::KMS::Key is not available in this local cloud",
    )
    assert len(world.events(stack["StackId"])) == seen
    world.deleted(stack["StackId"])


def test_previous_template_and_previous_values_are_used_and_secrets_stay_hidden(world: World) -> None:
    template = {
        "Parameters": {
            "Shown": {"Type": "String"},
            "Word": {"Type": "String", "NoEcho": True},
        },
        "Resources": {
            "Topic": topic(DisplayName={"Ref": "Shown"}),
            "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"SecretString": {"Ref": "Word"}}},
        },
    }
    values = [
        {"ParameterKey": "Shown", "ParameterValue": "a"},
        {"ParameterKey": "Word", "ParameterValue": "a-very-secret-word"},
    ]
    stack = world.made(template, Parameters=values)
    world.cfn.update_stack(
        StackName=stack["StackName"],
        UsePreviousTemplate=True,
        Parameters=[
            {"ParameterKey": "Shown", "ParameterValue": "b"},
            {"ParameterKey": "Word", "UsePreviousValue": True},
        ],
    )
    stack = world.settle(stack["StackId"])
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    shown = {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack["Parameters"]}
    assert shown == {"Shown": "b", "Word": "****"}
    assert (topic_attributes(world, physical(world, stack, "Topic")) or {})["DisplayName"] == "b"
    assert ("Secret", "UPDATE_IN_PROGRESS") not in since(world, stack)
    values[1]["ParameterValue"] = "another-secret-word"
    world.cfn.update_stack(StackName=stack["StackName"], UsePreviousTemplate=True, Parameters=values)
    world.settle(stack["StackId"])
    secret = world.client("secretsmanager").get_secret_value(SecretId=physical(world, stack, "Secret"))
    assert secret["SecretString"] == "another-secret-word"
    assert "secret-word" not in json.dumps(world.cfn.describe_stack_events(StackName=stack["StackId"]), default=str)
    rows = world.store.rows("SELECT * FROM stacks_update")
    assert [row for row in rows if row["stack_id"] == stack["StackId"]] == []
    world.deleted(stack["StackId"])


def test_stack_tags_are_given_to_every_resource_that_has_tags_and_taken_away_again(world: World) -> None:
    resources = {"Topic": topic(), "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}}
    stack = world.made({"Resources": resources}, Tags=[{"Key": "team", "Value": "shop"}])
    stack = update(world, stack, resources, Tags=[{"Key": "cost", "Value": "7"}])
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert stack["Tags"] == [{"Key": "cost", "Value": "7"}]
    tags = world.client("sns").list_tags_for_resource(ResourceArn=physical(world, stack, "Topic"))["Tags"]
    (vpc,) = world.client("ec2").describe_vpcs(VpcIds=[physical(world, stack, "Vpc")])["Vpcs"]
    for found in (tags, vpc["Tags"]):
        kept = {entry["Key"]: entry["Value"] for entry in found}
        assert (kept.get("cost"), kept.get("team")) == ("7", None)
        assert kept["aws:cloudformation:logical-id"] in resources
    world.deleted(stack["StackId"])


def test_an_export_in_use_can_neither_change_nor_go_and_imports_follow_the_template(world: World) -> None:
    export, name = f"e{world.name()}", queue_name(world)
    outputs = {"Outputs": {"Arn": {"Value": {"Ref": "Topic"}, "Export": {"Name": export}}}}
    stack = world.made({"Resources": {"Topic": topic(TopicName=name)}, **outputs})
    user = world.made({"Resources": {"Topic": topic(DisplayName={"Fn::ImportValue": export})}})
    renamed = {"Topic": topic(TopicName=queue_name(world))}
    for sections, verb in ((outputs, "updated"), ({}, "deleted")):
        stack = update(world, stack, renamed, sections=sections)
        assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
        reason = f"Export {export} cannot be {verb} as it is in use by {user['StackName']}"
        assert reason in [told for _, _, told in world.events(stack["StackId"])]
        assert physical(world, stack, "Topic").endswith(name)
        assert world.outputs(stack)["Arn"].endswith(name)
    update(world, user, {"Topic": topic(DisplayName="free")})
    stack = update(world, stack, renamed)
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert export not in [entry["Name"] for entry in world.cfn.list_exports()["Exports"]]
    world.deleted(user["StackId"])
    world.deleted(stack["StackId"])


def test_outputs_alone_are_an_update(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic()}})
    stack = update(world, stack, {"Topic": topic()}, sections={"Outputs": {"Word": {"Value": "x"}}})
    assert (stack["StackStatus"], world.outputs(stack)) == ("UPDATE_COMPLETE", {"Word": "x"})
    world.deleted(stack["StackId"])


def test_the_same_request_token_updates_once(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic()}})
    body = json.dumps({"Resources": {"Topic": topic(DisplayName="b")}})
    arguments = {"StackName": stack["StackName"], "TemplateBody": body, "ClientRequestToken": "once"}
    assert world.cfn.update_stack(**arguments)["StackId"] == stack["StackId"]
    world.settle(stack["StackId"])
    assert world.cfn.update_stack(**arguments)["StackId"] == stack["StackId"]
    assert since(world, stack).count((stack["StackName"], "UPDATE_IN_PROGRESS")) == 1
    events = world.cfn.describe_stack_events(StackName=stack["StackId"])["StackEvents"]
    assert {event.get("ClientRequestToken") for event in events[:5]} == {"once"}
    world.deleted(stack["StackId"])


def test_a_change_set_is_executed_as_shown_and_the_others_are_gone_or_obsolete(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic()}})
    name = stack["StackName"]
    for change, text in (("one", "1"), ("two", "2")):
        body = json.dumps({"Resources": {"Topic": topic(DisplayName=text)}})
        world.cfn.create_change_set(StackName=name, ChangeSetName=change, TemplateBody=body)
    update(world, stack, {"Topic": topic(DisplayName="direct")})
    assert world.cfn.describe_change_set(StackName=name, ChangeSetName="one")["ExecutionStatus"] == "OBSOLETE"
    code, _ = refused(world.cfn.execute_change_set, StackName=name, ChangeSetName="one")
    assert code == "InvalidChangeSetStatus"
    for change in ("three", "four"):
        body = json.dumps({"Resources": {"Topic": topic(DisplayName=change), "New": topic()}})
        world.cfn.create_change_set(StackName=name, ChangeSetName=change, TemplateBody=body)
    shown = world.cfn.describe_change_set(StackName=name, ChangeSetName="three")
    world.cfn.execute_change_set(StackName=name, ChangeSetName="three")
    stack = world.settle(stack["StackId"])
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert stack["ChangeSetId"] == shown["ChangeSetId"]
    assert (topic_attributes(world, physical(world, stack, "Topic")) or {})["DisplayName"] == "three"
    assert [one["ChangeSetName"] for one in world.cfn.list_change_sets(StackName=name)["Summaries"]] == ["three"]
    world.deleted(stack["StackId"])


def test_without_rollback_a_failed_update_stays_and_can_be_taken_back_or_deleted(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic(DisplayName="a")}})
    changed = {"Topic": topic(DisplayName="b"), "Added": topic(), "Broken": broken(DependsOn=["Topic", "Added"])}
    for _ in range(2):
        stack = update(world, stack, changed, DisableRollback=True)
        assert stack["StackStatus"] == "UPDATE_FAILED"
        assert (topic_attributes(world, physical(world, stack, "Topic")) or {})["DisplayName"] == "b"
        _, message = refused(
            world.cfn.update_stack, StackName=stack["StackName"], TemplateBody=json.dumps({"Resources": changed})
        )
        assert message == f"Stack:{stack['StackId']} is in UPDATE_FAILED state and can not be updated."
        world.cfn.rollback_stack(StackName=stack["StackName"])
        stack = world.settle(stack["StackId"])
        assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
        assert (topic_attributes(world, physical(world, stack, "Topic")) or {})["DisplayName"] == "a"
    update(world, stack, changed, DisableRollback=True)
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    arns = [entry["TopicArn"] for entry in world.client("sns").list_topics()["Topics"]]
    assert not [arn for arn in arns if f":{stack['StackName']}-" in arn]


def test_an_update_can_be_cancelled_and_nobody_may_delete_or_update_meanwhile(
    world: World, held_topics: threading.Event
) -> None:
    stack = world.made({"Resources": {"Topic": topic(DisplayName="a")}})
    body = json.dumps({"Resources": {"Topic": topic(DisplayName="b"), "More": {**topic(), "DependsOn": "Topic"}}})
    name, stack_id = stack["StackName"], stack["StackId"]
    world.cfn.update_stack(StackName=name, TemplateBody=body)
    assert refused(world.cfn.delete_stack, StackName=name) == (
        "ValidationError",
        f"Stack [{stack_id}] cannot be deleted while in status UPDATE_IN_PROGRESS",
    )
    assert refused(world.cfn.update_stack, StackName=name, TemplateBody=body) == (
        "ValidationError",
        f"Stack:{stack_id} is in UPDATE_IN_PROGRESS state and can not be updated.",
    )
    world.cfn.cancel_update_stack(StackName=name)
    held_topics.set()
    stack = world.settle(stack_id)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert world.resources(stack_id).keys() == {"Topic"}
    assert (topic_attributes(world, physical(world, stack, "Topic")) or {})["DisplayName"] == "a"
    code, _ = refused(world.cfn.cancel_update_stack, StackName=name)
    assert code == "ValidationError"
    world.deleted(stack_id)


def test_a_rollback_that_fails_can_be_continued(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = world.made({"Resources": {"Topic": topic(DisplayName="a")}})
    plain = Topic.update

    def stubborn(self: Topic, call: Call, old: Call, changed: frozenset[str]) -> Any:
        if call.reverting:
            raise ClientError({"Error": {"Code": "InternalError", "Message": "not now"}}, "SetTopicAttributes")
        return plain(self, call, old, changed)

    changed = {"Topic": topic(DisplayName="b"), "Broken": broken(DependsOn="Topic")}
    with monkeypatch.context() as patch:
        patch.setattr(Topic, "update", stubborn)
        stack = update(world, stack, changed)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_FAILED"
    assert stack["StackStatusReason"] == "The following resource(s) failed to update: [Topic]. "
    world.cfn.continue_update_rollback(StackName=stack["StackName"])
    stack = world.settle(stack["StackId"])
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert (topic_attributes(world, physical(world, stack, "Topic")) or {})["DisplayName"] == "a"
    code, _ = refused(world.cfn.continue_update_rollback, StackName=stack["StackName"])
    assert code == "ValidationError"
    world.deleted(stack["StackId"])


def test_what_cannot_be_cleaned_up_is_told_and_the_update_is_complete_all_the_same(world: World) -> None:
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {}}
    stack = world.made({"Resources": {"Bucket": bucket, "Topic": topic()}})
    name = physical(world, stack, "Bucket")
    world.client("s3").put_object(Bucket=name, Key="k", Body=b"x")
    stack = update(world, stack, {"Topic": topic()})
    assert (stack["StackStatus"], stack["StackStatusReason"]) == (
        "UPDATE_COMPLETE",
        "One or more resources could not be deleted.",
    )
    assert ("Bucket", "DELETE_FAILED") in since(world, stack)
    assert world.client("s3").get_object(Bucket=name, Key="k")["Body"].read() == b"x"
    assert world.resources(stack["StackId"]).keys() == {"Topic"}
    world.deleted(stack["StackId"])


def test_a_resource_whose_reference_turns_out_the_same_is_left_alone(world: World) -> None:
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}, "Description": "a"},
    }
    user = topic(DisplayName={"Fn::GetAtt": ["Role", "RoleId"]})
    arguments: dict[str, Any] = {"Capabilities": ["CAPABILITY_IAM"]}
    stack = world.made({"Resources": {"Role": role, "Topic": user}}, **arguments)
    changed = {**role, "Properties": {**role["Properties"], "Description": "b"}}
    body = json.dumps({"Resources": {"Role": changed, "Topic": user}})
    world.cfn.create_change_set(StackName=stack["StackName"], ChangeSetName="c", TemplateBody=body, **arguments)
    shown = world.cfn.describe_change_set(StackName=stack["StackName"], ChangeSetName="c")["Changes"]
    (dynamic,) = [one["ResourceChange"] for one in shown if one["ResourceChange"]["LogicalResourceId"] == "Topic"]
    assert dynamic["Replacement"] == "False"
    (detail,) = dynamic["Details"]
    assert (detail["Evaluation"], detail["ChangeSource"]) == ("Dynamic", "ResourceAttribute")
    stack = update(world, stack, {"Role": changed, "Topic": user}, **arguments)
    assert ("Role", "UPDATE_COMPLETE") in since(world, stack)
    assert ("Topic", "UPDATE_IN_PROGRESS") not in since(world, stack)
    world.deleted(stack["StackId"])


def test_a_new_template_with_a_wrong_property_touches_nothing(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic(DisplayName="a")}})
    wrong = {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 8}}
    stack = update(world, stack, {"Topic": topic(DisplayName="b"), "Wrong": wrong})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert ("Topic", "UPDATE_IN_PROGRESS") not in since(world, stack)
    world.deleted(stack["StackId"])


def test_resources_and_outputs_can_be_deleted_in_the_order_of_the_new_template(world: World) -> None:
    first = {"Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}, "Topic": topic()}
    stack = world.made({"Resources": first})
    subnet = {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"}}
    stack = update(world, stack, {**first, "Subnet": subnet, "Topic": {**topic(), "DependsOn": "Subnet"}})
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    seen = len(world.events(stack["StackId"]))
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    gone = [name for name, status in since(world, stack, seen) if status == "DELETE_COMPLETE"]
    assert gone.index("Topic") < gone.index("Subnet") < gone.index("Vpc")


def emptier(code: str = EMPTY_BUCKET_CODE, bucket: str = "First") -> Resources:
    """Two buckets, and a custom resource that empties one of them."""
    entry = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [entry]}},
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Code": {"ZipFile": code},
                "Handler": "index.handler",
                "Runtime": "python3.13",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            },
        },
        "First": {"Type": "AWS::S3::Bucket", "Properties": {"Tags": [EMPTIED_TAG]}},
        "Second": {"Type": "AWS::S3::Bucket", "Properties": {"Tags": [EMPTIED_TAG]}},
        "Empty": {
            "Type": "Custom::EmptyBucket",
            "Properties": {"ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]}, "BucketName": {"Ref": bucket}},
        },
    }


IAM: dict[str, Any] = {"Capabilities": ["CAPABILITY_IAM"]}


def test_a_custom_resource_with_another_bucket_empties_the_old_one_in_the_clean_up(world: World) -> None:
    stack = world.made({"Resources": emptier()}, **IAM)
    buckets = [physical(world, stack, name) for name in ("First", "Second")]
    s3 = world.client("s3")
    for bucket in buckets:
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    stack = update(world, stack, emptier(bucket="Second"), **IAM)
    assert stack["StackStatus"] == "UPDATE_COMPLETE", world.events(stack["StackId"])
    assert [s3.list_objects_v2(Bucket=bucket)["KeyCount"] for bucket in buckets] == [0, 1]
    assert physical(world, stack, "Empty") == buckets[1]
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


def test_a_rollback_empties_no_bucket_that_holds_something(world: World) -> None:
    stack = world.made({"Resources": emptier()}, **IAM)
    first = physical(world, stack, "First")
    world.client("s3").put_object(Bucket=first, Key="k", Body=b"x")
    stack = update(world, stack, {**emptier(bucket="Second"), "Broken": broken(DependsOn="Empty")}, **IAM)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert world.client("s3").list_objects_v2(Bucket=first)["KeyCount"] == 1
    assert physical(world, stack, "Empty") == first
    world.deleted(stack["StackId"])


def test_code_whose_work_is_done_here_is_not_replaced_by_code_that_never_runs(world: World) -> None:
    stack = world.made({"Resources": emptier()}, **IAM)
    stack = update(world, stack, emptier(code=EMPTY_BUCKET_CODE + "# more\n"), **IAM)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "template code is never run here" in str(world.events(stack["StackId"]))
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


def test_metadata_and_policies_alone_are_an_update_that_calls_nothing(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic()}})
    stack = update(world, stack, {"Topic": {**topic(), "Metadata": {"a": 1}, "DeletionPolicy": "Retain"}})
    assert ("Topic", "UPDATE_COMPLETE") in since(world, stack)
    found = world.cfn.describe_stack_resource(StackName=stack["StackId"], LogicalResourceId="Topic")
    assert json.loads(found["StackResourceDetail"]["Metadata"]) == {"a": 1}
    arn = physical(world, stack, "Topic")
    world.deleted(stack["StackId"])
    assert topic_attributes(world, arn) is not None, "the new policy was to retain it"


def test_a_condition_that_turns_adds_and_removes(world: World) -> None:
    sections = {
        "Parameters": {"Size": {"Type": "String"}},
        "Conditions": {"Big": {"Fn::Equals": [{"Ref": "Size"}, "big"]}},
    }
    resources = {"Topic": topic(), "More": {**topic(), "Condition": "Big"}}
    small, big = ([{"ParameterKey": "Size", "ParameterValue": text}] for text in ("small", "big"))
    stack = world.made({**sections, "Resources": resources}, Parameters=small)
    stack = update(world, stack, resources, sections=sections, Parameters=big)
    assert world.resources(stack["StackId"]).keys() == {"Topic", "More"}
    stack = update(world, stack, resources, sections=sections, Parameters=small)
    assert world.resources(stack["StackId"]).keys() == {"Topic"}
    world.deleted(stack["StackId"])


def test_a_depends_on_turned_round_is_cleaned_up_all_the_same(world: World) -> None:
    def pair(first: str, second: str) -> Resources:
        return {
            "A": {**topic(TopicName=first), "DependsOn": []},
            "B": {**topic(TopicName=second), "DependsOn": "A"},
        }

    names = [queue_name(world) for _ in range(4)]
    stack = world.made({"Resources": pair(*names[:2])})
    turned = pair(*names[2:])
    turned["A"]["DependsOn"], turned["B"]["DependsOn"] = "B", []
    stack = update(world, stack, turned)
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    arns = [entry["TopicArn"] for entry in world.client("sns").list_topics()["Topics"]]
    left = [name for name in names if any(arn.endswith(f":{name}") for arn in arns)]
    assert left == names[2:]
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


def test_a_change_set_that_is_to_do_nothing_on_failure_leaves_the_stack_failed(world: World) -> None:
    stack = world.made({"Resources": {"Topic": topic()}})
    arguments = {"StackName": stack["StackName"], "ChangeSetName": "c"}
    body = json.dumps({"Resources": {"Topic": topic(), "Broken": broken()}})
    assert refused(world.cfn.create_change_set, **arguments, TemplateBody=body, OnStackFailure="DELETE") == (
        "ValidationError",
        "OnStackFailure DELETE can only be specified for a change set of type CREATE.",
    )
    world.cfn.create_change_set(**arguments, TemplateBody=body, OnStackFailure="DO_NOTHING")
    world.cfn.execute_change_set(**arguments)
    assert world.settle(stack["StackId"])["StackStatus"] == "UPDATE_FAILED"
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


def test_stack_tags_alone_are_an_update(world: World) -> None:
    handle = {"Type": "AWS::CloudFormation::WaitConditionHandle"}
    stack = world.made({"Resources": {"Handle": handle}})
    stack = update(world, stack, {"Handle": handle}, Tags=[{"Key": "team", "Value": "shop"}])
    assert (stack["StackStatus"], stack["Tags"]) == ("UPDATE_COMPLETE", [{"Key": "team", "Value": "shop"}])
    world.deleted(stack["StackId"])
