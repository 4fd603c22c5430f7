"""Alarms over alarms, log groups, topics and roles as the complete blueprint uses them."""

from __future__ import annotations

from typing import Any

import pytest
from stacks_world import World

ALARM: dict[str, Any] = {
    "Type": "AWS::CloudWatch::Alarm",
    "Properties": {
        "Namespace": "AWS/RDS",
        "MetricName": "CPUUtilization",
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 5,
        "Threshold": 90,
        "ComparisonOperator": "GreaterThanThreshold",
    },
}
CAPABILITIES = ["CAPABILITY_NAMED_IAM"]
NO_KEY = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"


def composite(rule: Any, **properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {"AlarmRule": rule, **properties}}


def failure(world: World, stack: dict[str, Any]) -> str:
    """Why the one resource that failed did."""
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE", world.events(stack["StackId"])
    reasons = [event[2] for event in world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"]
    return next(reason for reason in reasons if "cancelled" not in reason)


def test_the_shop_is_down_when_one_of_many_alarms_is(world: World) -> None:
    rule = {
        "Fn::Join": [
            " OR ",
            [{"Fn::Sub": 'ALARM("${Cpu}")'}, {"Fn::Sub": ["(OK(${a}) AND NOT ALARM(${Lag}))", {"a": {"Ref": "Lag"}}]}],
        ]
    }
    actions = {"AlarmActions": [{"Ref": "Topic"}], "OKActions": [{"Ref": "Topic"}], "ActionsEnabled": False}
    stack = world.made(
        {
            "Resources": {
                "Cpu": ALARM,
                "Lag": ALARM,
                "Topic": {"Type": "AWS::SNS::Topic"},
                "Down": composite(rule, AlarmDescription="the shop is down", **actions),
                "Page": composite({"Fn::Sub": "ALARM(${Down.Arn})"}),
            },
            "Outputs": {name: {"Value": {"Ref": name}} for name in ("Cpu", "Lag", "Topic", "Down")},
        }
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made, cloudwatch = world.outputs(stack), world.client("cloudwatch")
    told = cloudwatch.describe_alarms(AlarmNames=[made["Down"]], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"][0]
    assert told["AlarmRule"] == f'ALARM("{made["Cpu"]}") OR (OK({made["Lag"]}) AND NOT ALARM({made["Lag"]}))'
    assert (told["AlarmDescription"], told["ActionsEnabled"]) == ("the shop is down", False)
    assert told["AlarmActions"] == told["OKActions"] == [made["Topic"]]
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    left = cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert (left["MetricAlarms"], left["CompositeAlarms"]) == ([], [])


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("ALARM(nobody) OR OK(no-one)", "alarms [nobody, no-one] in the alarm rule do not exist"),
        ("ALARM(a) XOR OK(b)", "Error in AlarmRule [Unsupported token 'XOR' at char 9]"),
        ("()", "Error in AlarmRule [Unsupported token ')' at char 1]"),
    ],
)
def test_a_rule_amazon_would_refuse_is_refused(world: World, rule: str, reason: str) -> None:
    assert reason in failure(world, world.made({"Resources": {"Down": composite(rule)}}))


def test_a_suppressor_is_refused_by_name(world: World) -> None:
    stack = world.made({"Resources": {"Cpu": ALARM, "Down": composite("FALSE", ActionsSuppressor={"Ref": "Cpu"})}})
    assert "ActionsSuppressor of AWS::CloudWatch::CompositeAlarm is not available" in failure(world, stack)


def test_a_log_group_has_its_class_key_retention_and_filters(world: World) -> None:
    transformation = {
        "MetricName": "Deadlocks",
        "MetricNamespace": "Shop",
        "MetricValue": "1",
        "Unit": "Count",
        "Dimensions": [{"Key": "Instance", "Value": "$.instance"}],
    }
    stack = world.made(
        {
            "Resources": {
                "Key": {"Type": "AWS::KMS::Key", "Properties": {}},
                "Group": {
                    "Type": "AWS::Logs::LogGroup",
                    "Properties": {
                        "LogGroupClass": "INFREQUENT_ACCESS",
                        "KmsKeyId": {"Fn::GetAtt": ["Key", "Arn"]},
                        "RetentionInDays": 30,
                    },
                },
                "Filter": {
                    "Type": "AWS::Logs::MetricFilter",
                    "Properties": {
                        "LogGroupName": {"Ref": "Group"},
                        "FilterPattern": "deadlock detected",
                        "MetricTransformations": [transformation],
                    },
                },
            },
            "Outputs": {"Group": {"Value": {"Ref": "Group"}}, "Key": {"Value": {"Fn::GetAtt": ["Key", "Arn"]}}},
        }
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made, logs = world.outputs(stack), world.client("logs")
    told = logs.describe_log_groups(logGroupNamePrefix=made["Group"])["logGroups"][0]
    assert (told["logGroupClass"], told["kmsKeyId"], told["retentionInDays"]) == ("INFREQUENT_ACCESS", made["Key"], 30)
    assert told["metricFilterCount"] == 1
    (found,) = logs.describe_metric_filters(logGroupName=made["Group"])["metricFilters"]
    assert found["metricTransformations"][0]["dimensions"] == {"Instance": "$.instance"}
    assert found["filterPattern"] == "deadlock detected"
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    assert logs.describe_metric_filters()["metricFilters"] == []


def test_a_log_group_needs_a_key_there_is(world: World) -> None:
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"KmsKeyId": NO_KEY}}
    assert f"The KMS key {NO_KEY} cannot be used" in failure(world, world.made({"Resources": {"Group": group}}))
    assert world.client("logs").describe_log_groups()["logGroups"] == []


def test_a_topic_has_its_key_signature_tracing_and_subscribers(world: World) -> None:
    topic = {
        "Type": "AWS::SNS::Topic",
        "Properties": {
            "KmsMasterKeyId": {"Ref": "Key"},
            "SignatureVersion": "2",
            "TracingConfig": "Active",
            "Subscription": [{"Protocol": "https", "Endpoint": "https://ops.example.com/alarms"}],
        },
    }
    email = {"TopicArn": {"Ref": "Topic"}, "Protocol": "email", "Endpoint": "ops@example.com"}
    stack = world.made(
        {
            "Resources": {
                "Key": {"Type": "AWS::KMS::Key", "Properties": {}},
                "Topic": topic,
                "Email": {"Type": "AWS::SNS::Subscription", "Properties": email},
            },
            "Outputs": {"Topic": {"Value": {"Ref": "Topic"}}, "Key": {"Value": {"Ref": "Key"}}},
        }
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made, sns = world.outputs(stack), world.client("sns")
    shown = sns.get_topic_attributes(TopicArn=made["Topic"])["Attributes"]
    assert (shown["KmsMasterKeyId"], shown["SignatureVersion"], shown["TracingConfig"]) == (made["Key"], "2", "Active")
    subscribed = sns.list_subscriptions_by_topic(TopicArn=made["Topic"])["Subscriptions"]
    assert {entry["Protocol"]: entry["Endpoint"] for entry in subscribed} == {
        "https": "https://ops.example.com/alarms",
        "email": "ops@example.com",
    }
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    assert (sns.list_topics()["Topics"], sns.list_subscriptions()["Subscriptions"]) == ([], [])


def test_a_role_for_people_has_its_longest_session_its_boundary_and_its_conditions(world: World) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}},
                "Action": "sts:AssumeRole",
            },
            {
                "Effect": "Allow",
                "Principal": {"Service": "export.rds.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "ArnLike": {"aws:SourceArn": {"Fn::Sub": "arn:aws:rds:${AWS::Region}:${AWS::AccountId}:*"}},
                    "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
                },
            },
        ],
    }
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "rds-db:connect", "Resource": "*"}]}
    properties = {
        "AssumeRolePolicyDocument": trust,
        "MaxSessionDuration": 7200,
        "PermissionsBoundary": {"Ref": "Boundary"},
        "ManagedPolicyArns": [{"Ref": "Connect"}],
    }
    policy = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": allow}}
    stack = world.made(
        {
            "Resources": {
                "Boundary": policy,
                "Connect": policy,
                "Writer": {"Type": "AWS::IAM::Role", "Properties": properties},
            },
            "Outputs": {name: {"Value": {"Ref": name}} for name in ("Boundary", "Connect", "Writer")},
        },
        Capabilities=CAPABILITIES,
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made, iam = world.outputs(stack), world.client("iam")
    role = iam.get_role(RoleName=made["Writer"])["Role"]
    assert role["MaxSessionDuration"] == 7200
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == made["Boundary"]
    people, export = role["AssumeRolePolicyDocument"]["Statement"]
    assert people["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert export["Condition"]["ArnLike"] == {"aws:SourceArn": "arn:aws:rds:us-east-1:123456789012:*"}
    attached = iam.list_attached_role_policies(RoleName=made["Writer"])["AttachedPolicies"]
    assert [entry["PolicyArn"] for entry in attached] == [made["Connect"]]
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    assert (iam.list_roles()["Roles"], iam.list_policies(Scope="Local")["Policies"]) == ([], [])
