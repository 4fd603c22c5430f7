"""AWS::RDS types through the engine and the RDS API; the servers are pretended (see tests/cloud/rds)."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from stacks_world import MortalJournal, World

from multiaz.blueprint import settings_from, synthesize

NETWORK: dict[str, Any] = {
    "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
    **{
        f"Subnet{number}": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": {"Ref": "Vpc"},
                "CidrBlock": f"10.0.{number}.0/24",
                "AvailabilityZone": {"Fn::Select": [number, {"Fn::GetAZs": ""}]},
            },
        }
        for number in range(3)
    },
    "Subnets": {
        "Type": "AWS::RDS::DBSubnetGroup",
        "Properties": {
            "DBSubnetGroupDescription": "three zones",
            "SubnetIds": [{"Ref": f"Subnet{number}"} for number in range(3)],
        },
    },
}


def group(**parameters: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::RDS::DBParameterGroup",
        "Properties": {"Family": "postgres17", "Description": "d", "Parameters": parameters},
    }


def primary(policy: str = "Delete", **properties: Any) -> dict[str, Any]:
    standard = {
        "Engine": "postgres",
        "EngineVersion": "17.10",
        "DBInstanceClass": "db.t3.medium",
        "AllocatedStorage": 20,
        "DBName": "orders",
        "MasterUsername": "shop",
        "MasterUserPassword": "correct-horse-battery",
        "DBSubnetGroupName": {"Ref": "Subnets"},
        "BackupRetentionPeriod": "7",
        "MultiAZ": True,
        "Port": 5432,
    }
    return {"Type": "AWS::RDS::DBInstance", "DeletionPolicy": policy, "Properties": {**standard, **properties}}


def replica(**properties: Any) -> dict[str, Any]:
    standard = {"SourceDBInstanceIdentifier": {"Ref": "Primary"}, "DBInstanceClass": "db.t3.medium"}
    return {"Type": "AWS::RDS::DBInstance", "Properties": {**standard, **properties}}


def template(outputs: dict[str, Any] | None = None, **resources: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"Resources": {**NETWORK, **resources}}
    if outputs:
        found["Outputs"] = {name: {"Value": value} for name, value in outputs.items()}
    return found


def instances(world: World) -> dict[str, dict[str, Any]]:
    found = world.client("rds").describe_db_instances()["DBInstances"]
    return {instance["DBInstanceIdentifier"]: instance for instance in found}


def reason_of_failure(world: World, stack_id: str) -> str:
    return next(event[2] for event in world.events(stack_id) if event[1].endswith("_FAILED"))


def test_a_primary_and_a_replica_with_groups_secret_and_events(rds_world: World) -> None:
    world = rds_world
    secret = {
        "SecretStringTemplate": '{"username": "shop"}',
        "GenerateStringKey": "password",
        "ExcludePunctuation": True,
    }
    stack = world.made(
        template(
            {
                "Address": {"Fn::GetAtt": ["Primary", "Endpoint.Address"]},
                "Port": {"Fn::GetAtt": ["Primary", "Endpoint.Port"]},
                "Arn": {"Fn::GetAtt": ["Primary", "DBInstanceArn"]},
                "Resource": {"Fn::GetAtt": ["Replica", "DbiResourceId"]},
            },
            Secret={"Type": "AWS::SecretsManager::Secret", "Properties": {"GenerateSecretString": secret}},
            Group=group(log_min_duration_statement=500, random_page_cost="1.1"),
            ReplicaGroup=group(max_standby_streaming_delay=30000),
            Primary=primary(
                DBInstanceIdentifier="Shop-Primary",
                DBParameterGroupName={"Ref": "Group"},
                MasterUserPassword={"Fn::Sub": "{{resolve:secretsmanager:${Secret}:SecretString:password}}"},
            ),
            Replica=replica(
                DBParameterGroupName={"Ref": "ReplicaGroup"},
                MaxAllocatedStorage=100,
                AllocatedStorage="20",
                Engine="postgres",
                EngineVersion="17",
                PreferredMaintenanceWindow="sun:04:00-sun:05:00",
            ),
            Attachment={
                "Type": "AWS::SecretsManager::SecretTargetAttachment",
                "Properties": {
                    "SecretId": {"Ref": "Secret"},
                    "TargetId": {"Ref": "Primary"},
                    "TargetType": "AWS::RDS::DBInstance",
                },
            },
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
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    outputs, resources = world.outputs(stack), world.resources(stack["StackId"])
    assert resources["Primary"]["PhysicalResourceId"] == "shop-primary"
    name = resources["Replica"]["PhysicalResourceId"]
    assert name.startswith(f"{stack['StackName']}-replica-")
    found = instances(world)
    assert found["shop-primary"]["Endpoint"] == {
        "Address": outputs["Address"],
        "Port": int(outputs["Port"]),
        "HostedZoneId": found["shop-primary"]["Endpoint"]["HostedZoneId"],
    }
    assert outputs["Arn"].endswith(":db:shop-primary")
    assert outputs["Resource"] == found[name]["DbiResourceId"]
    assert found[name]["ReadReplicaSourceDBInstanceIdentifier"] == "shop-primary"
    (applied,) = found[name]["DBParameterGroups"]
    assert applied["DBParameterGroupName"] == resources["ReplicaGroup"]["PhysicalResourceId"]
    assert applied["ParameterApplyStatus"] == "in-sync"
    assert found[name]["MaxAllocatedStorage"] == 100
    assert found[name]["PreferredMaintenanceWindow"] == "sun:04:00-sun:05:00"
    tags = {tag["Key"]: tag["Value"] for tag in found[name]["TagList"]}
    assert tags["aws:cloudformation:logical-id"] == "Replica"

    value = world.client("secretsmanager").get_secret_value(SecretId=resources["Secret"]["PhysicalResourceId"])
    entries = json.loads(value["SecretString"])
    assert {key: entries[key] for key in ("engine", "host", "port", "dbname", "dbInstanceIdentifier", "username")} == {
        "engine": "postgres",
        "host": outputs["Address"],
        "port": int(outputs["Port"]),
        "dbname": "orders",
        "dbInstanceIdentifier": "shop-primary",
        "username": "shop",
    }
    for table in ("stack", "resource", "event", "output"):
        assert entries["password"] not in str([tuple(row) for row in world.store.rows(f"SELECT * FROM stacks_{table}")])
    rds = world.client("rds")
    parameters = rds.get_paginator("describe_db_parameters").paginate(
        DBParameterGroupName=resources["Group"]["PhysicalResourceId"], Source="user"
    )
    assert {entry["ParameterName"]: entry["ParameterValue"] for page in parameters for entry in page["Parameters"]} == {
        "log_min_duration_statement": "500",
        "random_page_cost": "1.1",
    }
    order = [event[0] for event in world.events(stack["StackId"]) if event[1] == "CREATE_COMPLETE"]
    assert order.index("Primary") < order.index("Replica")

    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    assert instances(world) == {}
    assert rds.describe_db_subnet_groups()["DBSubnetGroups"] == []
    assert rds.describe_event_subscriptions()["EventSubscriptionsList"] == []
    groups = rds.describe_db_parameter_groups()["DBParameterGroups"]
    assert [entry for entry in groups if not entry["DBParameterGroupName"].startswith("default.")] == []
    assert rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"] == []


def test_what_needs_no_database_is_made_while_the_database_is(rds_world: World) -> None:
    world = rds_world
    stack = world.made(template(Primary=primary(), Topic={"Type": "AWS::SNS::Topic"}, Replica=replica()))
    order = [event[0] for event in world.events(stack["StackId"]) if event[1] == "CREATE_COMPLETE"]
    begun = [event[0] for event in world.events(stack["StackId"]) if event[1] == "CREATE_IN_PROGRESS"]
    assert begun.index("Subnets") < begun.index("Topic")
    assert order.index("Topic") < order.index("Primary")
    world.deleted(stack["StackId"])


def test_policy_snapshot_leaves_a_final_snapshot_of_the_primary_and_none_of_a_replica(rds_world: World) -> None:
    world = rds_world
    stack = world.made(template(Primary=primary("Snapshot"), Replica=replica()))
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    source = world.resources(stack["StackId"])["Primary"]["PhysicalResourceId"]
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    rds = world.client("rds")
    (snapshot,) = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert snapshot["DBInstanceIdentifier"] == source
    assert snapshot["DBSnapshotIdentifier"].startswith(f"{stack['StackName']}-snapshot-primary-")
    rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])


def test_a_protected_instance_fails_the_deletion_with_the_reason_and_goes_once_it_is_unprotected(
    rds_world: World,
) -> None:
    world = rds_world
    stack = world.made(template(Primary=primary(DeletionProtection=True)))
    name = world.resources(stack["StackId"])["Primary"]["PhysicalResourceId"]
    failed = world.deleted(stack["StackId"])
    assert failed["StackStatus"] == "DELETE_FAILED"
    assert "Cannot delete protected DB Instance" in reason_of_failure(world, stack["StackId"])
    world.client("rds").modify_db_instance(DBInstanceIdentifier=name, DeletionProtection=False, ApplyImmediately=True)
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


@pytest.mark.parametrize(
    ("properties", "part"),
    [
        ({"EngineVersion": "12.1"}, "Cannot find version 12.1 for postgres"),
        ({"AllocatedStorage": "plenty"}, "AllocatedStorage"),
        ({"DBInstanceClass": "db.huge"}, "db.huge"),
        ({"MasterUserPassword": "short"}, "MasterUserPassword"),
        ({"DBSnapshotIdentifier": "snap"}, "property DBSnapshotIdentifier of AWS::RDS::DBInstance is not available"),
    ],
)
def test_an_instance_that_is_refused_rolls_the_stack_back_and_says_why(
    rds_world: World, properties: dict[str, Any], part: str
) -> None:
    stack = rds_world.made(template(Primary=primary(**properties)))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert part in reason_of_failure(rds_world, stack["StackId"])
    assert "correct-horse-battery" not in str(rds_world.events(stack["StackId"]))
    assert instances(rds_world) == {}


def test_a_template_restores_to_a_point_in_time_also_from_what_a_deleted_stack_has_retained(rds_world: World) -> None:
    """Source: the type's registry schema, SourceDBInstanceIdentifier together with UseLatestRestorableTime."""
    world, rds = rds_world, rds_world.client("rds")
    copy = {
        "SourceDBInstanceIdentifier": {"Ref": "Primary"},
        "UseLatestRestorableTime": "true",
        "DBSubnetGroupName": {"Ref": "Subnets"},
        "DBParameterGroupName": {"Ref": "Group"},
        "MasterUserPassword": "another-horse-battery",
        "PreferredMaintenanceWindow": "sun:04:00-sun:05:00",
        "BackupRetentionPeriod": 3,
        "EngineVersion": "17",
    }
    stack = world.made(
        template(
            Group=group(random_page_cost="1.1"),
            Primary=primary(DeleteAutomatedBackups=False, MultiAZ=False, PreferredBackupWindow="12:00-13:00"),
            Copy={"Type": "AWS::RDS::DBInstance", "DeletionPolicy": "Delete", "Properties": copy},
        )
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    names = {key: one["PhysicalResourceId"] for key, one in world.resources(stack["StackId"]).items()}
    made = instances(world)[names["Copy"]]
    assert "ReadReplicaSourceDBInstanceIdentifier" not in made
    assert (made["DBInstanceClass"], made["BackupRetentionPeriod"]) == ("db.t3.medium", 3)
    assert made["DBParameterGroups"][0]["DBParameterGroupName"] == names["Group"]
    assert made["PreferredMaintenanceWindow"] == "sun:04:00-sun:05:00"
    assert {"Key": "aws:cloudformation:logical-id", "Value": "Copy"} in made["TagList"]
    told = rds.describe_events(SourceIdentifier=names["Copy"], SourceType="db-instance")["Events"]
    messages = [event["Message"] for event in told]
    assert f"Restored from DB instance {names['Primary']} to {names['Copy']}" in messages
    assert "Reset master credentials" in messages
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    (kept,) = rds.describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"]
    assert (kept["DBInstanceIdentifier"], kept["Status"]) == (names["Primary"], "retained")

    again = {
        "SourceDbiResourceId": kept["DbiResourceId"],
        "RestoreTime": kept["RestoreWindow"]["EarliestTime"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "DBSubnetGroupName": {"Ref": "Subnets"},
    }
    stack = world.made(
        template(Again={"Type": "AWS::RDS::DBInstance", "DeletionPolicy": "Delete", "Properties": again})
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    rds.delete_db_instance_automated_backup(DbiResourceId=kept["DbiResourceId"])
    assert rds.describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"] == []


def test_a_replica_of_another_engine_is_refused(rds_world: World) -> None:
    stack = rds_world.made(template(Primary=primary(), Replica=replica(Engine="mysql")))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Engine mysql differs from the source's, postgres" in reason_of_failure(rds_world, stack["StackId"])
    assert instances(rds_world) == {}


def test_a_stack_deleted_while_its_database_is_created_leaves_none(rds_world: World) -> None:
    world = rds_world
    stack_id = world.create(template(Primary=primary()))
    deadline = time.monotonic() + 20
    while not instances(world):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    world.cfn.delete_stack(StackName=stack_id)
    assert world.settle(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    assert instances(world) == {}


@pytest.mark.usefixtures("death_is_silent")
def test_a_kill_while_a_database_is_created_makes_no_second_one(rds_world: World) -> None:
    world = rds_world
    # Six resources before it are begun and made; then the journal dies.
    world.restart(MortalJournal(world.store, 11))
    stack_id = world.create(template(Primary=primary()))
    assert world.services[-1].engine.wait_idle(30)
    world.restart()
    assert world.settle(stack_id)["StackStatus"] == "CREATE_COMPLETE", world.events(stack_id)
    assert len(instances(world)) == 1
    assert world.deleted(stack_id)["StackStatus"] == "DELETE_COMPLETE"


def test_the_blueprints_alarms_events_and_dashboard_are_made_as_written(rds_world: World) -> None:
    """Composite alarms, metric math and thresholds by class, on instances with the blueprint's names."""
    world, blueprint = rds_world, synthesize(settings_from({"read_replicas": 1}))
    document = blueprint.to_dict()
    watching = {
        name: document["Resources"][name]
        for name in blueprint.resource_sections["Monitoring"]
        if not name.startswith("AlarmTopic")
    }
    parameters = document["Parameters"]
    classes = {parameters[name]["Default"] for name in ("DBInstanceClass", "ReadReplicaInstanceClass")}
    facts = {name: document["Mappings"]["InstanceClass"][name] for name in classes}
    stack = world.made(
        {
            # Without the classes nobody chose: CreateStack takes 51,200 bytes.
            "Parameters": {
                name: {"Type": told["Type"], "Default": told["Default"]} for name, told in parameters.items()
            },
            "Mappings": {"InstanceClass": facts},
            "Resources": {
                **NETWORK,
                "DBParameterGroup": group(),
                "ReplicaParameterGroup": group(),
                "PrimaryDB": primary(),
                "ReadReplica1": {
                    **replica(SourceDBInstanceIdentifier={"Ref": "PrimaryDB"}),
                    "DeletionPolicy": "Delete",
                },
                "AlarmTopic": {"Type": "AWS::SNS::Topic"},
                "AlarmTopicPolicy": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
                **watching,
            },
        }
    )
    found = world.client("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    named = {a["AlarmDescription"]: a for a in found["MetricAlarms"]}
    ids = world.resources(stack["StackId"])
    (down,) = (a for a in found["CompositeAlarms"] if a["AlarmName"] == ids["ShopDownAlarm"]["PhysicalResourceId"])
    assert f'ALARM("{ids["ReadReplica1SilentAlarm"]["PhysicalResourceId"]}")' in down["AlarmRule"]
    assert down["AlarmActions"] == down["OKActions"] == [ids["AlarmTopic"]["PhysicalResourceId"]]
    load = next(a for text, a in named.items() if text.startswith("critical: primary: more active sessions"))
    vcpu = facts[parameters["DBInstanceClass"]["Default"]]["VCPU"]
    assert load["Threshold"] == vcpu
    (dashboard,) = (e["DashboardName"] for e in world.client("cloudwatch").list_dashboards()["DashboardEntries"])
    body = json.loads(world.client("cloudwatch").get_dashboard(DashboardName=dashboard)["DashboardBody"])
    lines = [
        line for widget in body["widgets"] for line in widget["properties"].get("annotations", {}).get("horizontal", ())
    ]
    assert all(isinstance(line["value"], int | float) for line in lines)
    assert {"label": "alarm: Load, primary", "value": vcpu} in lines
    subscriptions = world.client("rds").describe_event_subscriptions()["EventSubscriptionsList"]
    assert {s["SourceType"] for s in subscriptions} >= {"db-instance", "db-parameter-group", "db-security-group"}
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    left = world.client("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert left["MetricAlarms"] == left["CompositeAlarms"] == []
