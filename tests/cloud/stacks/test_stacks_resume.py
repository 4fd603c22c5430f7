"""`kill -9` between any two steps: the next process finishes what the journal says was begun."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from stacks_world import MortalJournal, World

pytestmark = pytest.mark.usefixtures("death_is_silent")

TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": True}},
        "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"}},
        "Group": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {
                "VpcId": {"Ref": "Vpc"},
                "GroupDescription": "g",
                "SecurityGroupIngress": [{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "CidrIp": "10.0.0.0/16"}],
            },
        },
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"EnableKeyRotation": True}},
        "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"GenerateSecretString": {}}},
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Topic": {"Type": "AWS::SNS::Topic"},
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "Namespace": "n",
                "MetricName": "m",
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanThreshold",
                "AlarmActions": [{"Ref": "Topic"}],
            },
        },
    },
    "Outputs": {"Vpc": {"Value": {"Ref": "Vpc"}}},
}
WRITES_OF_A_CREATION = 2 * len(TEMPLATE["Resources"])


def census(world: World, stack_id: str) -> Counter[str]:
    """How many of each kind exist that say they belong to the stack."""
    filters = [{"Name": "tag:aws:cloudformation:stack-id", "Values": [stack_id]}]
    ec2, name = world.client("ec2"), stack_id.split("/")[1]
    found = Counter(
        {
            "Vpc": len(ec2.describe_vpcs(Filters=filters)["Vpcs"]),
            "Subnet": len(ec2.describe_subnets(Filters=filters)["Subnets"]),
            "Group": len(ec2.describe_security_groups(Filters=filters)["SecurityGroups"]),
        }
    )
    kms = world.client("kms")
    for key in kms.list_keys()["Keys"]:
        tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
        alive = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] != "PendingDeletion"
        if alive and {"TagKey": "aws:cloudformation:stack-id", "TagValue": stack_id} in tags:
            found["Key"] += 1
    for secret in world.client("secretsmanager").list_secrets()["SecretList"]:
        found["Secret"] += {"Key": "aws:cloudformation:stack-id", "Value": stack_id} in secret["Tags"]
    found["Bucket"] = sum(f"{name}-" in bucket["Name"] for bucket in world.client("s3").list_buckets()["Buckets"])
    found["Topic"] = sum(f":{name}-" in topic["TopicArn"] for topic in world.client("sns").list_topics()["Topics"])
    found["Logs"] = len(world.client("logs").describe_log_groups(logGroupNamePrefix=f"{name}-")["logGroups"])
    found["Alarm"] = len(world.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"])
    return found


def die_after(world: World, writes: int) -> None:
    """A new process that dies before its n-th write."""
    world.restart(MortalJournal(world.store, writes))


def revive(world: World) -> None:
    """A new process in place of the dead one, whose threads have ended."""
    assert world.services[-1].engine.wait_idle(30)
    world.restart()


@pytest.mark.parametrize("writes", range(WRITES_OF_A_CREATION))
def test_a_creation_killed_anywhere_is_finished_and_nothing_is_made_twice(world: World, writes: int) -> None:
    die_after(world, writes)
    stack_id = world.create(TEMPLATE)
    revive(world)
    assert world.settle(stack_id)["StackStatus"] == "CREATE_COMPLETE", world.events(stack_id)
    assert census(world, stack_id) == Counter(dict.fromkeys(TEMPLATE["Resources"], 1))
    completed = Counter(event[0] for event in world.events(stack_id) if event[1] == "CREATE_COMPLETE")
    assert set(completed.values()) == {1}
    assert world.deleted(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    assert not +census(world, stack_id)


@pytest.mark.parametrize("writes", range(1, WRITES_OF_A_CREATION, 2))
def test_a_stack_deleted_after_a_kill_leaves_nothing(world: World, writes: int) -> None:
    die_after(world, writes)
    stack_id = world.create(TEMPLATE)
    assert world.services[-1].engine.wait_idle(30)
    world.restart(MortalJournal(world.store, 0))  # the new process dies before it can go on creating
    assert world.services[-1].engine.wait_idle(30)
    world.dispatcher.register("cloudformation", world.services[0].operations)
    assert world.deleted(stack_id)["StackStatus"] == "DELETE_COMPLETE", world.events(stack_id)
    assert not +census(world, stack_id)


@pytest.mark.parametrize("writes", range(0, WRITES_OF_A_CREATION, 2))
def test_a_deletion_killed_anywhere_is_finished(world: World, writes: int) -> None:
    world.restart()
    stack_id = world.made(TEMPLATE)["StackId"]
    die_after(world, writes + 1)  # the first write is DeleteStack's own
    world.cfn.delete_stack(StackName=stack_id)
    revive(world)
    assert world.settle(stack_id)["StackStatus"] == "DELETE_COMPLETE", world.events(stack_id)
    assert not +census(world, stack_id)


@pytest.mark.parametrize("writes", range(10))
def test_a_rollback_killed_anywhere_is_finished(world: World, writes: int) -> None:
    failing = {
        "Resources": {
            "Vpc": TEMPLATE["Resources"]["Vpc"],
            "Subnet": TEMPLATE["Resources"]["Subnet"],
            "Wrong": {
                "Type": "AWS::EC2::Subnet",
                "DependsOn": "Subnet",
                "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "192.168.0.0/24"},
            },
        }
    }
    die_after(world, 4 + writes)
    stack_id = world.create(failing)
    revive(world)
    assert world.settle(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE", world.events(stack_id)
    assert not +census(world, stack_id)
    world.deleted(stack_id)


def test_a_clean_stop_leaves_the_operation_to_the_next_process(world: World) -> None:
    world.restart()
    many = {"Resources": {f"Vpc{number}": TEMPLATE["Resources"]["Vpc"] for number in range(30)}}
    for number in range(1, 30):
        many["Resources"][f"Vpc{number}"] = {**many["Resources"][f"Vpc{number}"], "DependsOn": f"Vpc{number - 1}"}
    stack_id = world.create(many)
    world.services[-1].stop()
    assert world.cfn.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"] == "CREATE_IN_PROGRESS"
    world.restart()
    assert world.settle(stack_id)["StackStatus"] == "CREATE_COMPLETE"
    assert census(world, stack_id)["Vpc"] == 30
    world.deleted(stack_id)


def test_a_creation_whose_time_is_over_rolls_back(world: World) -> None:
    die_after(world, 4)
    stack_id = world.create(TEMPLATE, TimeoutInMinutes=1)
    assert world.services[-1].engine.wait_idle(30)
    with world.store.transaction() as db:
        db.execute("UPDATE stacks_stack SET created = created - 61 WHERE stack_id = ?", (stack_id,))
    world.restart()
    assert world.settle(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Stack creation time exceeded the specified timeout" in str(world.events(stack_id))
    assert not +census(world, stack_id)
    world.deleted(stack_id)


def test_a_stack_deleted_while_it_is_created_is_not_rolled_back_but_deleted(world: World) -> None:
    world.restart()
    chain = {
        f"Vpc{number}": {**TEMPLATE["Resources"]["Vpc"], **({"DependsOn": f"Vpc{number - 1}"} if number else {})}
        for number in range(20)
    }
    stack_id = world.create({"Resources": chain})
    world.cfn.delete_stack(StackName=stack_id)
    assert world.settle(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    statuses = {event[1] for event in world.events(stack_id)}
    assert "ROLLBACK_IN_PROGRESS" not in statuses
    assert census(world, stack_id)["Vpc"] == 0
