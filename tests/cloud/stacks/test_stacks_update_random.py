"""Updates at random, failing or not, killed or not: what is there is always what one of the two templates says."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from stacks_world import MortalJournal, World

pytestmark = pytest.mark.usefixtures("death_is_silent")

Resources = dict[str, dict[str, Any]]
NAMES = [f"T{number}" for number in range(8)]


def some_resources(chance: random.Random, prefix: str) -> Resources:
    """Topics that refer to one another in some order, some with a name of their own, under conditions or not."""
    order = chance.sample(NAMES, chance.randint(2, len(NAMES)))
    found: Resources = {}
    for place, name in enumerate(order):
        earlier = order[:place]
        properties: dict[str, Any] = {"DisplayName": chance.choice("ab")}
        if earlier and chance.random() < 0.5:
            other = chance.choice(earlier)
            properties["DisplayName"] = chance.choice([{"Fn::GetAtt": [other, "TopicName"]}, {"Ref": other}])
        if chance.random() < 0.6:
            properties["TopicName"] = f"{prefix}-{name}-{chance.randint(1, 2)}"
        entry: dict[str, Any] = {"Type": "AWS::SNS::Topic", "Properties": properties}
        if earlier and chance.random() < 0.3:
            entry["DependsOn"] = chance.sample(earlier, 1)
        found[name] = entry
    return found


def shown(world: World, stack: dict[str, Any], resources: Resources, prefix: str) -> dict[str, Any]:
    """What there is of a stack, and what its template says there should be."""
    sns = world.client("sns")
    records = world.resources(stack["StackId"])
    arns = {name: entry["PhysicalResourceId"] for name, entry in records.items()}
    marks = (f":{stack['StackName']}-", f":{prefix}-")
    left = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
    wanted: dict[str, str] = {}
    for name, entry in resources.items():
        text = entry["Properties"]["DisplayName"]
        match text:
            case {"Ref": other}:
                wanted[name] = arns[other]
            case {"Fn::GetAtt": [other, _]}:
                wanted[name] = arns[other].rpartition(":")[2]
            case _:
                wanted[name] = text
        if "TopicName" in entry["Properties"]:
            assert arns[name].endswith(f":{entry['Properties']['TopicName']}")
    have = {name: sns.get_topic_attributes(TopicArn=arn)["Attributes"]["DisplayName"] for name, arn in arns.items()}
    assert sorted(arn for arn in left if any(mark in arn for mark in marks)) == sorted(arns.values())
    return {"have": have, "wanted": wanted}


@pytest.mark.parametrize("seed", range(60))
def test_after_any_update_one_of_the_two_templates_is_the_whole_truth(world: World, seed: int) -> None:
    chance = random.Random(seed)
    world.restart()
    prefix = f"p{seed}"
    now = some_resources(chance, prefix)
    stack = world.made({"Resources": now})
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    for _ in range(3):
        after = some_resources(chance, prefix)
        if chance.random() < 0.5:
            alias = {"AliasName": "alias/wrong", "TargetKeyId": "none"}
            needs = chance.sample(sorted(after), chance.randint(0, len(after)))
            after["Broken"] = {"Type": "AWS::KMS::Alias", "Properties": alias, "DependsOn": needs}
        killed = chance.random() < 0.6
        if killed:
            world.restart(MortalJournal(world.store, chance.randint(1, 30)))
        world.cfn.update_stack(StackName=stack["StackName"], TemplateBody=json.dumps({"Resources": after}))
        if killed:
            assert world.services[-1].engine.wait_idle(30)
            world.restart()
        stack = world.settle(stack["StackId"])
        assert stack["StackStatus"] in {"UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}, world.events(stack["StackId"])
        assert "StackStatusReason" not in stack, world.events(stack["StackId"])
        if stack["StackStatus"] == "UPDATE_COMPLETE":
            assert "Broken" not in after
            now = after
        found = shown(world, stack, now, prefix)
        assert found["have"] == found["wanted"], world.events(stack["StackId"])
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
