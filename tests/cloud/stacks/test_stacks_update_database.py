"""AWS::RDS types changed by UpdateStack; the servers are pretended (see tests/cloud/rds)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from stacks_world import MortalJournal, World
from test_stacks_database import group, instances, primary, reason_of_failure, replica, template

Body = dict[str, Any]


def update(world: World, stack: dict[str, Any], body: Body, **arguments: Any) -> dict[str, Any]:
    world.cfn.update_stack(StackName=stack["StackName"], TemplateBody=json.dumps(body), **arguments)
    return world.settle(stack["StackId"], 60)


def physical(world: World, stack: dict[str, Any], name: str) -> str:
    return str(world.resources(stack["StackId"])[name]["PhysicalResourceId"])


def user_values(world: World, name: str) -> dict[str, str]:
    pages = (
        world.client("rds").get_paginator("describe_db_parameters").paginate(DBParameterGroupName=name, Source="user")
    )
    return {entry["ParameterName"]: entry["ParameterValue"] for page in pages for entry in page["Parameters"]}


BEFORE = template(
    Group=group(log_min_duration_statement=500, random_page_cost="1.1"),
    Primary=primary(
        DBParameterGroupName={"Ref": "Group"},
        MaxAllocatedStorage=100,
        EnableCloudwatchLogsExports=["postgresql"],
        Tags=[{"Key": "a", "Value": "1"}],
    ),
    Replica=replica(),
    Topic={"Type": "AWS::SNS::Topic"},
    Events={
        "Type": "AWS::RDS::EventSubscription",
        "Properties": {
            "SnsTopicArn": {"Ref": "Topic"},
            "SourceType": "db-instance",
            "EventCategories": ["failover", "failure"],
            "SourceIds": [{"Ref": "Primary"}],
        },
    },
)
AFTER = template(
    Group=group(log_min_duration_statement=250, work_mem=8192),
    Primary=primary(
        DBParameterGroupName={"Ref": "Group"},
        DBInstanceClass="db.t3.large",
        AllocatedStorage=30,
        MultiAZ=False,
        BackupRetentionPeriod=9,
        DeletionProtection=False,
        EnableIAMDatabaseAuthentication=True,
        EnableCloudwatchLogsExports=["upgrade"],
        Tags=[{"Key": "b", "Value": "2"}],
    ),
    Replica=replica(DBInstanceClass="db.t3.large", BackupRetentionPeriod=0),
    Topic={"Type": "AWS::SNS::Topic"},
    Events={
        "Type": "AWS::RDS::EventSubscription",
        "Properties": {
            "SnsTopicArn": {"Ref": "Topic"},
            "SourceType": "db-instance",
            "EventCategories": ["failover", "low storage"],
            "SourceIds": [{"Ref": "Replica"}],
            "Enabled": False,
        },
    },
)


def seen(world: World, stack: dict[str, Any]) -> dict[str, Any]:
    found = instances(world)
    one, copy = (found[physical(world, stack, name)] for name in ("Primary", "Replica"))
    (events,) = world.client("rds").describe_event_subscriptions()["EventSubscriptionsList"]
    names = ("DBInstanceClass", "AllocatedStorage", "MultiAZ", "BackupRetentionPeriod", "MaxAllocatedStorage")
    return {
        **{name: one.get(name) for name in (*names, "IAMDatabaseAuthenticationEnabled", "PendingModifiedValues")},
        "logs": one["EnabledCloudwatchLogsExports"],
        "tags": {tag["Key"]: tag["Value"] for tag in one["TagList"] if not tag["Key"].startswith("aws:")},
        "group": one["DBParameterGroups"][0]["ParameterApplyStatus"],
        "values": user_values(world, physical(world, stack, "Group")),
        "replica": copy["DBInstanceClass"],
        "events": (sorted(events["EventCategoriesList"]), events["SourceIdsList"], events["Enabled"]),
    }


def test_instances_groups_and_subscriptions_change_in_place_and_go_back(rds_world: World) -> None:
    world = rds_world
    stack = world.made(BEFORE)
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    before, ids = seen(world, stack), world.resources(stack["StackId"])
    alias = {"AliasName": "alias/wrong", "TargetKeyId": "none"}
    broken = {"Type": "AWS::KMS::Alias", "Properties": alias, "DependsOn": ["Primary", "Replica", "Events"]}
    seen_events = len(world.events(stack["StackId"]))
    stack = update(world, stack, {"Resources": {**AFTER["Resources"], "Broken": broken}})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", world.events(stack["StackId"])
    failed = [name for name, status, _ in world.events(stack["StackId"])[seen_events:] if status.endswith("_FAILED")]
    assert failed == ["Broken"], world.events(stack["StackId"])[seen_events:]
    # Storage never shrinks, and the limit of its growth was above: everything else is as it was.
    assert seen(world, stack) == {**before, "AllocatedStorage": 30}
    stack = update(world, stack, AFTER)
    assert stack["StackStatus"] == "UPDATE_COMPLETE", world.events(stack["StackId"])
    now = world.resources(stack["StackId"])
    assert {name: entry["PhysicalResourceId"] for name, entry in now.items()} == {
        name: entry["PhysicalResourceId"] for name, entry in ids.items()
    }
    assert seen(world, stack) == {
        "DBInstanceClass": "db.t3.large",
        "AllocatedStorage": 30,
        "MultiAZ": False,
        "BackupRetentionPeriod": 9,
        "MaxAllocatedStorage": None,
        "IAMDatabaseAuthenticationEnabled": True,
        "PendingModifiedValues": {},
        "logs": ["upgrade"],
        "tags": {"b": "2"},
        "group": "in-sync",
        "values": {"log_min_duration_statement": "250", "work_mem": "8192"},
        "replica": "db.t3.large",
        "events": (["failover", "low storage"], [physical(world, stack, "Replica")], False),
    }
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_static_parameter_waits_for_a_reboot_that_comes_with_a_modification_at_once(
    rds_world: World, at_once: bool
) -> None:
    world = rds_world
    own: dict[str, Any] = {"DBParameterGroupName": {"Ref": "Group"}, "ApplyImmediately": at_once}
    stack = world.made(template(Group=group(max_connections=50), Primary=primary(**own)))
    name = physical(world, stack, "Primary")
    changed = group(max_connections=60)
    stack = update(world, stack, template(Group=changed, Primary=primary(**own)))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", world.events(stack["StackId"])
    assert instances(world)[name]["DBParameterGroups"][0]["ParameterApplyStatus"] == "pending-reboot"
    stack = update(world, stack, template(Group=changed, Primary=primary(CopyTagsToSnapshot=True, **own)))
    expected = "in-sync" if at_once else "pending-reboot"
    assert instances(world)[name]["DBParameterGroups"][0]["ParameterApplyStatus"] == expected
    world.deleted(stack["StackId"])


def test_without_apply_immediately_a_new_class_waits_for_the_maintenance_window(rds_world: World) -> None:
    world = rds_world
    stack = world.made(template(Primary=primary(ApplyImmediately=False)))
    stack = update(world, stack, template(Primary=primary(ApplyImmediately=False, DBInstanceClass="db.t3.large")))
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    found = instances(world)[physical(world, stack, "Primary")]
    assert (found["DBInstanceClass"], found["PendingModifiedValues"]) == (
        "db.t3.medium",
        {"DBInstanceClass": "db.t3.large"},
    )
    stack = update(world, stack, template(Primary=primary(ApplyImmediately=False)))
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert instances(world)[physical(world, stack, "Primary")]["PendingModifiedValues"] == {}
    world.deleted(stack["StackId"])


@pytest.mark.parametrize(
    ("properties", "part"),
    [
        ({"EngineVersion": "16.9"}, "Cannot find version 16.9 for postgres"),
        ({"AllocatedStorage": 10}, "storage can't be reduced"),
        ({"DBInstanceClass": "db.huge"}, "db.huge"),
    ],
)
def test_what_rds_refuses_rolls_back_with_its_words(rds_world: World, properties: dict[str, Any], part: str) -> None:
    world = rds_world
    stack = world.made(template(Primary=primary()))
    before = instances(world)[physical(world, stack, "Primary")]
    stack = update(world, stack, template(Primary=primary(**properties)))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", world.events(stack["StackId"])
    assert part in reason_of_failure(world, stack["StackId"])
    after = instances(world)[physical(world, stack, "Primary")]
    assert {key: after[key] for key in ("DBInstanceClass", "AllocatedStorage", "EngineVersion")} == {
        key: before[key] for key in ("DBInstanceClass", "AllocatedStorage", "EngineVersion")
    }
    world.deleted(stack["StackId"])


def test_a_replaced_instance_leaves_a_snapshot_if_the_template_says_so(rds_world: World) -> None:
    world = rds_world
    zones = [zone["ZoneName"] for zone in world.client("ec2").describe_availability_zones()["AvailabilityZones"]]

    def body(zone: str) -> Body:
        one = primary(AvailabilityZone=zone, MultiAZ=False)
        return template(Primary={**one, "UpdateReplacePolicy": "Snapshot"})

    stack = world.made(body(zones[0]))
    old = physical(world, stack, "Primary")
    stack = update(world, stack, body(zones[1]))
    assert stack["StackStatus"] == "UPDATE_COMPLETE", world.events(stack["StackId"])
    new = physical(world, stack, "Primary")
    assert instances(world).keys() == {new}
    rds = world.client("rds")
    (snapshot,) = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert (snapshot["DBInstanceIdentifier"] == old, old != new) == (True, True)
    rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
    world.deleted(stack["StackId"])


def test_an_instance_with_a_name_of_its_own_is_never_replaced(rds_world: World) -> None:
    world = rds_world
    stack = world.made(template(Primary=primary(DBInstanceIdentifier="shop", DBName="orders")))
    stack = update(world, stack, template(Primary=primary(DBInstanceIdentifier="shop", DBName="other")))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "when a custom-named resource requires replacing. Rename shop" in reason_of_failure(world, stack["StackId"])
    assert instances(world).keys() == {"shop"}
    world.deleted(stack["StackId"])


def test_a_new_password_reaches_instance_and_secret_together_and_goes_back_together(rds_world: World) -> None:
    """A changed GenerateSecretString makes a new version; the reference is resolved where its holder is updated."""
    world = rds_world
    manager = world.client("secretsmanager")

    def body(length: int, **properties: Any) -> Body:
        secret = {"PasswordLength": length, "ExcludePunctuation": True}
        return template(
            Secret={"Type": "AWS::SecretsManager::Secret", "Properties": {"GenerateSecretString": secret}},
            Primary=primary(MasterUserPassword={"Fn::Sub": "{{resolve:secretsmanager:${Secret}}}"}, **properties),
        )

    def value(stack: dict[str, Any]) -> str:
        return str(manager.get_secret_value(SecretId=physical(world, stack, "Secret"))["SecretString"])

    def verifier(stack: dict[str, Any]) -> str:
        assert world.rds is not None
        name = physical(world, stack, "Primary")
        return str(world.rds.core.require("us-east-1", name).master_verifier)

    stack = world.made(body(20))
    first, kept = value(stack), verifier(stack)
    alias = {"AliasName": "alias/wrong", "TargetKeyId": "none"}
    broken = {"Type": "AWS::KMS::Alias", "Properties": alias, "DependsOn": "Primary"}
    changed = body(30, CopyTagsToSnapshot=True)
    stack = update(world, stack, {"Resources": {**changed["Resources"], "Broken": broken}})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", world.events(stack["StackId"])
    assert value(stack) == first
    stack = update(world, stack, changed)
    assert stack["StackStatus"] == "UPDATE_COMPLETE", world.events(stack["StackId"])
    assert (len(value(stack)), value(stack) != first) == (30, True)
    assert verifier(stack) != kept
    for table in ("stack", "resource", "event", "output", "update", "update_change"):
        rows = str([tuple(row) for row in world.store.rows(f"SELECT * FROM stacks_{table}")])
        assert first not in rows
        assert value(stack) not in rows
    world.deleted(stack["StackId"])


@pytest.mark.usefixtures("death_is_silent")
@pytest.mark.parametrize("writes", [2, 3, 4])
def test_a_kill_while_an_instance_is_modified_changes_it_once(rds_world: World, writes: int) -> None:
    world = rds_world
    world.restart()
    stack = world.made(template(Primary=primary()))
    name = physical(world, stack, "Primary")
    world.restart(MortalJournal(world.store, writes))
    body = template(Primary=primary(DBInstanceClass="db.t3.large"))
    world.cfn.update_stack(StackName=stack["StackName"], TemplateBody=json.dumps(body))
    assert world.services[-1].engine.wait_idle(30)
    world.restart()
    assert world.settle(stack["StackId"])["StackStatus"] == "UPDATE_COMPLETE", world.events(stack["StackId"])
    assert instances(world)[name]["DBInstanceClass"] == "db.t3.large"
    events = world.client("rds").describe_events(SourceIdentifier=name, SourceType="db-instance", Duration=60)["Events"]
    done = [
        event for event in events if event["Message"].startswith("Finished applying modification to DB instance class")
    ]
    assert len(done) == 1
    world.deleted(stack["StackId"])


def test_a_rotation_gets_other_rules_and_an_attachment_another_database(rds_world: World) -> None:
    world = rds_world

    def body(days: int, target: str) -> Body:
        options = {"SecretStringTemplate": '{"username": "shop"}', "GenerateStringKey": "password"}
        secret = {"GenerateSecretString": {**options, "ExcludePunctuation": True}}
        return {
            "Transform": "AWS::SecretsManager-2024-09-16",
            **template(
                Secret={"Type": "AWS::SecretsManager::Secret", "Properties": secret},
                Primary=primary(MasterUserPassword={"Fn::Sub": "{{resolve:secretsmanager:${Secret}::password}}"}),
                Other=primary(MasterUserPassword={"Fn::Sub": "{{resolve:secretsmanager:${Secret}::password}}"}),
                Attachment={
                    "Type": "AWS::SecretsManager::SecretTargetAttachment",
                    "Properties": {
                        "SecretId": {"Ref": "Secret"},
                        "TargetId": {"Ref": target},
                        "TargetType": "AWS::RDS::DBInstance",
                    },
                },
                Schedule={
                    "Type": "AWS::SecretsManager::RotationSchedule",
                    "DependsOn": "Attachment",
                    "Properties": {
                        "SecretId": {"Ref": "Secret"},
                        "HostedRotationLambda": {"RotationType": "PostgreSQLSingleUser"},
                        "RotationRules": {"AutomaticallyAfterDays": days},
                        "RotateImmediatelyOnUpdate": False,
                    },
                },
            ),
        }

    capabilities = {"Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]}
    stack = world.made(body(30, "Primary"), **capabilities)
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    secret = physical(world, stack, "Secret")
    manager = world.client("secretsmanager")
    stack = update(world, stack, body(60, "Other"), **capabilities)
    assert stack["StackStatus"] == "UPDATE_COMPLETE", world.events(stack["StackId"])
    assert manager.describe_secret(SecretId=secret)["RotationRules"]["AutomaticallyAfterDays"] == 60
    entries = json.loads(manager.get_secret_value(SecretId=secret)["SecretString"])
    assert entries["dbInstanceIdentifier"] == physical(world, stack, "Other")
    world.deleted(stack["StackId"])


def test_a_stack_knows_its_instance_by_name_and_leaves_it_once_others_renamed_it(
    rds_world: World, eventually: Callable[..., object]
) -> None:
    world = rds_world
    rds = world.client("rds")
    stack = world.made(template(Primary=primary()))
    name = physical(world, stack, "Primary")
    resource = instances(world)[name]["DbiResourceId"]

    def rename(old: str, new: str) -> None:
        rds.modify_db_instance(DBInstanceIdentifier=old, NewDBInstanceIdentifier=new, ApplyImmediately=True)
        eventually(lambda: instances(world).get(new, {}).get("DBInstanceStatus") == "available", f"{new}")

    rename(name, "away")
    stack = update(world, stack, template(Primary=primary(AllocatedStorage=30)))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_FAILED"
    assert f"DB instance {name} is not there any more" in reason_of_failure(world, stack["StackId"])
    rename("away", name)
    world.cfn.continue_update_rollback(StackName=stack["StackName"])
    assert world.settle(stack["StackId"], 60)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    rename(name, "away")
    # The instance counts as gone; its subnet group is held by it.
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_FAILED"
    assert world.resources(stack["StackId"])["Primary"]["ResourceStatus"] == "DELETE_COMPLETE"
    assert {one: found["DbiResourceId"] for one, found in instances(world).items()} == {"away": resource}
    rds.delete_db_instance(DBInstanceIdentifier="away", SkipFinalSnapshot=True)
    eventually(lambda: not instances(world), "the instance gone")
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
