"""`kill -9` between any two steps of an update: the next process goes on forward, or goes on back."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError
from stacks_world import UPDATE_WRITES, MortalJournal, World

from multiaz.cloud.stacks.update_state import UpdateJournal

pytestmark = pytest.mark.usefixtures("death_is_silent")

VPC = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}


def rule(port: int) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIp": "10.0.0.0/16"}


def group(text: str, port: int) -> dict[str, Any]:
    return {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {"VpcId": {"Ref": "Vpc"}, "GroupDescription": text, "SecurityGroupIngress": [rule(port)]},
    }


def secret(length: int) -> dict[str, Any]:
    return {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {"GenerateSecretString": {"PasswordLength": length}},
    }


BEFORE: dict[str, Any] = {
    "Vpc": VPC,
    "Replaced": group("a", 1),
    "Changed": group("same", 1),
    "Secret": secret(20),
    "Removed": {"Type": "AWS::SNS::Topic"},
    "User": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Fn::GetAtt": ["Replaced", "GroupId"]}}},
}
AFTER: dict[str, Any] = {
    **{name: entry for name, entry in BEFORE.items() if name != "Removed"},
    "Replaced": group("b", 2),
    "Changed": group("same", 2),
    "Secret": secret(30),
    "Added": {"Type": "AWS::KMS::Key", "Properties": {"Description": "added"}},
}
BROKEN: dict[str, Any] = {
    **AFTER,
    "Broken": {
        "Type": "AWS::KMS::Alias",
        "Properties": {"AliasName": "alias/x", "TargetKeyId": "none"},
        "DependsOn": [name for name in AFTER if name != "Vpc"],
    },
}
WRITES_OF_AN_UPDATE = 22
"""At least as many as there are: death after the last changes nothing, which is a case as well."""
WRITES_OF_A_ROLLBACK = 32


def seen(world: World, stack_id: str) -> dict[str, Any]:
    """What there is of the stack: groups with their ports, keys, topics, the length of the secret."""
    name = stack_id.split("/")[1]
    filters = [{"Name": "tag:aws:cloudformation:stack-id", "Values": [stack_id]}]
    groups = world.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    kms, keys = world.client("kms"), 0
    for key in kms.list_keys()["Keys"]:
        tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
        alive = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] != "PendingDeletion"
        keys += alive and {"TagKey": "aws:cloudformation:stack-id", "TagValue": stack_id} in tags
    arns = [entry["TopicArn"] for entry in world.client("sns").list_topics()["Topics"]]
    records = world.resources(stack_id)
    manager = world.client("secretsmanager")
    value = manager.get_secret_value(SecretId=records["Secret"]["PhysicalResourceId"])["SecretString"]
    versions = manager.describe_secret(SecretId=records["Secret"]["PhysicalResourceId"])["VersionIdsToStages"]
    user = world.client("sns").get_topic_attributes(TopicArn=records["User"]["PhysicalResourceId"])["Attributes"]
    return {
        "groups": sorted((one["Description"], [entry["FromPort"] for entry in one["IpPermissions"]]) for one in groups),
        "keys": keys,
        "topics": sorted(arn.rpartition(":")[2].split("-")[1] for arn in arns if f":{name}-" in arn),
        "secret": len(value),
        "versions": len(versions),
        "user": user["DisplayName"] == records["Replaced"]["PhysicalResourceId"],
        "records": sorted(records),
    }


OLD = {
    "groups": [("a", [1]), ("same", [1])],
    "keys": 0,
    "topics": ["Removed", "User"],
    "secret": 20,
    "user": True,
    "records": sorted(BEFORE),
}
NEW = {
    "groups": [("b", [2]), ("same", [2])],
    "keys": 1,
    "topics": ["User"],
    "secret": 30,
    "versions": 2,
    "user": True,
    "records": sorted(AFTER),
}


def killed_update(world: World, template: dict[str, Any], writes: int) -> str:
    """A stack whose update was killed after so many writes."""
    world.restart()
    stack_id = str(world.made({"Resources": BEFORE})["StackId"])
    world.restart(MortalJournal(world.store, writes + 1))  # the first write is UpdateStack's own
    world.cfn.update_stack(StackName=stack_id, TemplateBody=json.dumps({"Resources": template}))
    assert world.services[-1].engine.wait_idle(30)
    return stack_id


@pytest.mark.parametrize("writes", range(WRITES_OF_AN_UPDATE))
def test_an_update_killed_anywhere_is_finished_and_nothing_is_made_twice(world: World, writes: int) -> None:
    stack_id = killed_update(world, AFTER, writes)
    world.restart()
    assert world.settle(stack_id)["StackStatus"] == "UPDATE_COMPLETE", world.events(stack_id)
    assert seen(world, stack_id) == NEW
    told = Counter((name, status) for name, status, _ in world.events(stack_id) if status.endswith("COMPLETE"))
    assert set(told.values()) == {1}
    assert world.deleted(stack_id)["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.parametrize("writes", range(WRITES_OF_A_ROLLBACK))
def test_a_failing_update_killed_anywhere_goes_back(world: World, writes: int) -> None:
    stack_id = killed_update(world, BROKEN, writes)
    world.restart()
    assert world.settle(stack_id)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", world.events(stack_id)
    found = seen(world, stack_id)
    assert found.pop("versions") in {1, 3}
    assert found == OLD
    assert world.deleted(stack_id)["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.parametrize("writes", range(2, WRITES_OF_AN_UPDATE, 4))
def test_an_update_killed_and_then_cancelled_goes_back(world: World, writes: int) -> None:
    stack_id = killed_update(world, AFTER, writes)
    world.restart(MortalJournal(world.store, 0))  # the new process dies before it can go on
    assert world.services[-1].engine.wait_idle(30)
    world.dispatcher.register("cloudformation", world.services[0].operations)
    status = world.cfn.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"]
    if status != "UPDATE_IN_PROGRESS":  # it was committed by then: no longer to be cancelled
        with pytest.raises(ClientError, match="CancelUpdateStack cannot be called"):
            world.cfn.cancel_update_stack(StackName=stack_id)
        return
    world.cfn.cancel_update_stack(StackName=stack_id)
    assert world.settle(stack_id)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", world.events(stack_id)
    found = seen(world, stack_id)
    assert found.pop("versions") in {1, 3}
    assert found == OLD
    world.deleted(stack_id)


def test_every_write_of_the_journal_of_updates_is_a_place_to_die() -> None:
    public = {name for name in vars(UpdateJournal) if not name.startswith("_")}
    assert public - UPDATE_WRITES == {"begin_update", "update", "changes"}


def test_a_clean_stop_leaves_the_update_to_the_next_process(world: World) -> None:
    world.restart()
    chain = {
        f"Topic{number}": {
            "Type": "AWS::SNS::Topic",
            "Properties": {"DisplayName": "a"},
            **({"DependsOn": f"Topic{number - 1}"} if number else {}),
        }
        for number in range(30)
    }
    stack_id = str(world.made({"Resources": chain})["StackId"])
    changed = {name: {**entry, "Properties": {"DisplayName": "b"}} for name, entry in chain.items()}
    world.cfn.update_stack(StackName=stack_id, TemplateBody=json.dumps({"Resources": changed}))
    world.services[-1].stop()
    assert world.cfn.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"] == "UPDATE_IN_PROGRESS"
    world.restart()
    assert world.settle(stack_id)["StackStatus"] == "UPDATE_COMPLETE"
    told = Counter(name for name, status, _ in world.events(stack_id) if status == "UPDATE_COMPLETE")
    assert set(told.values()) == {1}
    world.deleted(stack_id)
