"""`kill -9` between any two steps: the next process finishes what the journal says was begun."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from stacks_world import MortalJournal, World

from multiaz.cloud.stacks.perform import Performer
from multiaz.cloud.stacks.state import Journal

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
        found["Secret"] += {"Key": "aws:cloudformation:stack-id", "Value": stack_id} in secret.get("Tags", [])
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


def surroundings(world: World) -> tuple[dict[str, Any], Callable[[], list[bool]]]:
    """A template of policies on things that are no stack's, and which of those things have one."""
    name, trust = world.name(), {"Version": "2012-10-17", "Statement": []}
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Sid": name, "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}],
    }
    iam, s3, sns, secrets = (world.client(service) for service in ("iam", "s3", "sns", "secretsmanager"))
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    s3.create_bucket(Bucket=f"outside-{name}")
    topic = sns.create_topic(Name=f"outside-{name}")["TopicArn"]
    secret = secrets.create_secret(Name=f"outside-{name}", SecretString="{}")["ARN"]
    properties: dict[str, dict[str, Any]] = {
        "AWS::IAM::Policy": {"PolicyName": "p", "PolicyDocument": document, "Roles": [name]},
        "AWS::S3::BucketPolicy": {"Bucket": f"outside-{name}", "PolicyDocument": document},
        "AWS::SNS::TopicPolicy": {"Topics": [topic], "PolicyDocument": document},
        "AWS::SecretsManager::ResourcePolicy": {"SecretId": secret, "ResourcePolicy": document},
    }

    def left() -> list[bool]:
        bucket = True
        try:
            s3.get_bucket_policy(Bucket=f"outside-{name}")
        except ClientError:
            bucket = False
        return [
            bool(iam.list_role_policies(RoleName=name)["PolicyNames"]),
            bucket,
            f'"{name}"' in sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"],
            bool(secrets.get_resource_policy(SecretId=secret).get("ResourcePolicy")),
        ]

    resources = {
        kind.split(":")[2] + kind.split(":")[4]: {"Type": kind, "Properties": entry}
        for kind, entry in properties.items()
    }
    return {"Resources": resources}, left


@pytest.mark.parametrize("writes", range(1, 7))
def test_policies_put_before_a_kill_are_found_and_taken_away(world: World, writes: int) -> None:
    world.restart()
    template, left = surroundings(world)
    die_after(world, writes)
    stack_id = world.create(template, Capabilities=["CAPABILITY_IAM"])
    assert world.services[-1].engine.wait_idle(30)
    if writes == 1:
        assert left() == [True] * 4, "they were made, and the journal does not know"
    world.restart(MortalJournal(world.store, 0))
    assert world.services[-1].engine.wait_idle(30)
    world.dispatcher.register("cloudformation", world.services[0].operations)
    assert world.deleted(stack_id)["StackStatus"] == "DELETE_COMPLETE", world.events(stack_id)
    assert left() == [False] * 4


def test_what_was_made_before_an_error_nobody_foresaw_is_rolled_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.restart()
    change = Journal.change_resource

    def fail(self: Journal, stack: Any, record: Any, status: str, **arguments: Any) -> None:
        if status == "CREATE_COMPLETE":
            raise TypeError("unforeseen")
        change(self, stack, record, status, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "change_resource", fail)
        stack_id = world.create({"Resources": {"Vpc": TEMPLATE["Resources"]["Vpc"]}})
        assert world.settle(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert not +census(world, stack_id)
    world.deleted(stack_id)


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


def test_what_a_dead_process_made_is_removed_also_if_the_next_one_is_cancelled_before_it_looks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its creation failed without a physical id: it stayed behind when the stack was gone."""
    die_after(world, 1)  # the intent is journalled; the alarm is made, and its id is not
    alarm = {**TEMPLATE["Resources"]["Alarm"]["Properties"], "AlarmActions": []}
    template = {"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}}}
    stack_id = world.create(template, TimeoutInMinutes=1)
    assert world.services[-1].engine.wait_idle(30)
    assert census(world, stack_id)["Alarm"] == 1
    with world.store.transaction() as db:
        db.execute("UPDATE stacks_stack SET created = created - 61 WHERE stack_id = ?", (stack_id,))
    wait = Performer._wait_for_creation
    monkeypatch.setattr(Performer, "_wait_for_creation", lambda performer, _: wait(performer, 30))  # until cancelled
    world.restart()
    assert world.settle(stack_id)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert not +census(world, stack_id)


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
