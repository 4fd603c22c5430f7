"""Change sets as `aws cloudformation deploy` uses them, and the answers to updates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stacks_world import World, refused

TOPIC: dict[str, Any] = {
    "Parameters": {"Name": {"Type": "String", "Default": "orders"}},
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "Name"}}}},
}


def change_set(world: World, stack: str, template: dict[str, Any] = TOPIC, **arguments: Any) -> dict[str, Any]:
    answer = world.cfn.create_change_set(
        StackName=stack, ChangeSetName="deploy", TemplateBody=json.dumps(template), **arguments
    )
    found: dict[str, Any] = world.cfn.describe_change_set(ChangeSetName=answer["Id"])
    return found


def test_a_change_set_of_type_create_shows_its_plan_and_then_makes_the_stack(world: World) -> None:
    name = world.name()
    found = change_set(world, name, ChangeSetType="CREATE", Tags=[{"Key": "team", "Value": "shop"}])
    assert (found["Status"], found["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert [change["ResourceChange"]["Action"] for change in found["Changes"]] == ["Add"]
    stack = world.cfn.describe_stacks(StackName=name)["Stacks"][0]
    assert stack["StackStatus"] == "REVIEW_IN_PROGRESS"
    assert world.resources(name) == {}
    world.cfn.get_waiter("change_set_create_complete").wait(ChangeSetName="deploy", StackName=name)
    world.cfn.execute_change_set(ChangeSetName="deploy", StackName=name)
    stack = world.settle(name)
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert stack["Tags"] == [{"Key": "team", "Value": "shop"}]
    assert stack["ChangeSetId"] == found["ChangeSetId"]
    code, _ = refused(world.cfn.execute_change_set, ChangeSetName="deploy", StackName=name)
    assert code == "InvalidChangeSetStatus"
    world.deleted(name)


def test_nothing_changed_is_a_failed_change_set_with_the_words_the_cli_looks_for(world: World) -> None:
    stack = world.made(TOPIC)
    found = change_set(world, stack["StackName"], Parameters=[{"ParameterKey": "Name", "UsePreviousValue": True}])
    assert found["Status"] == "FAILED"
    assert found["ExecutionStatus"] == "UNAVAILABLE"
    assert found["StatusReason"] == (
        "The submitted information didn't contain changes. Submit different information to create a change set."
    )
    assert refused(world.cfn.update_stack, StackName=stack["StackName"], UsePreviousTemplate=True) == (
        "ValidationError",
        "No updates are to be performed.",
    )
    world.deleted(stack["StackId"])


def test_a_change_set_of_type_update_shows_what_it_would_do(world: World) -> None:
    stack = world.made(TOPIC)
    template = {**TOPIC, "Resources": {**TOPIC["Resources"], "More": {"Type": "AWS::SNS::Topic"}}}
    found = change_set(
        world, stack["StackName"], template, Parameters=[{"ParameterKey": "Name", "ParameterValue": "other"}]
    )
    changes = {change["ResourceChange"]["LogicalResourceId"]: change["ResourceChange"] for change in found["Changes"]}
    assert changes["More"]["Action"] == "Add"
    topic = changes["Topic"]
    assert (topic["Action"], topic["Replacement"], topic["Scope"]) == ("Modify", "False", ["Properties"])
    assert topic["PhysicalResourceId"] == world.resources(stack["StackId"])["Topic"]["PhysicalResourceId"]
    (detail,) = topic["Details"]
    assert detail == {
        "Target": {"Attribute": "Properties", "Name": "DisplayName", "RequiresRecreation": "Never"},
        "Evaluation": "Static",
        "ChangeSource": "ParameterReference",
        "CausingEntity": "Name",
    }
    world.deleted(stack["StackId"])


def test_change_sets_are_listed_and_forgotten(world: World) -> None:
    name = world.name()
    change_set(world, name, ChangeSetType="CREATE")
    assert refused(
        world.cfn.create_change_set,
        StackName=name,
        ChangeSetName="deploy",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps(TOPIC),
    ) == ("AlreadyExistsException", f"ChangeSet deploy already exists for stack {name}")
    assert [entry["ChangeSetName"] for entry in world.cfn.list_change_sets(StackName=name)["Summaries"]] == ["deploy"]
    world.cfn.delete_change_set(StackName=name, ChangeSetName="deploy")
    assert refused(world.cfn.describe_change_set, StackName=name, ChangeSetName="deploy") == (
        "ChangeSetNotFound",
        "ChangeSet [deploy] does not exist",
    )
    assert world.deleted(name)["StackStatus"] == "DELETE_COMPLETE"


def test_the_same_client_token_gives_the_same_change_set(world: World) -> None:
    name = world.name()
    first = change_set(world, name, ChangeSetType="CREATE", ClientToken="once")
    again = change_set(world, name, ChangeSetType="CREATE", ClientToken="once")
    assert first["ChangeSetId"] == again["ChangeSetId"]
    world.deleted(name)


def test_type_create_on_a_stack_that_is_there_and_type_update_on_one_that_is_not_are_refused(world: World) -> None:
    stack = world.made(TOPIC)
    name = stack["StackName"]
    arguments = {"ChangeSetName": "c", "TemplateBody": json.dumps(TOPIC)}
    assert refused(world.cfn.create_change_set, StackName=name, ChangeSetType="CREATE", **arguments) == (
        "ValidationError",
        f"Stack [{name}] already exists and cannot be created again with the changeSet [c].",
    )
    world.deleted(name)
    assert refused(world.cfn.create_change_set, StackName=name, **arguments) == (
        "ValidationError",
        f"Stack [{name}] does not exist",
    )
    code, message = refused(world.cfn.create_change_set, StackName=name, ChangeSetType="IMPORT", **arguments)
    assert (code, message) == ("ValidationError", "ChangeSetType IMPORT is not available in this local cloud.")


def test_a_resource_cannot_change_its_type(world: World) -> None:
    stack = world.made(TOPIC)
    template = {"Resources": {"Topic": {"Type": "AWS::KMS::Key"}}}
    _, message = refused(world.cfn.update_stack, StackName=stack["StackName"], TemplateBody=json.dumps(template))
    assert "[Topic]" in message
    world.deleted(stack["StackId"])


@pytest.mark.parametrize("action", ["detect_stack_drift", "set_stack_policy", "list_stack_sets", "list_types"])
def test_actions_that_are_not_built_are_refused_by_name(world: World, action: str) -> None:
    arguments = {"StackName": "x"} if "stack" in action and "list" not in action else {}
    _, message = refused(getattr(world.cfn, action), **arguments)
    assert "".join(part.capitalize() for part in action.split("_")) in message
