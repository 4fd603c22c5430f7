"""A stack deployed into a network that is there: ids given as parameters, checked as Amazon does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stacks_world import World, refused

from multiaz.files import lock_holder
from multiaz.home import Home

TEMPLATE: dict[str, Any] = {
    "Parameters": {
        "Vpc": {"Type": "AWS::EC2::VPC::Id"},
        "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>"},
        "Application": {"Type": "AWS::EC2::SecurityGroup::Id"},
        "More": {"Type": "List<AWS::EC2::SecurityGroup::Id>"},
        "Zone": {"Type": "AWS::EC2::AvailabilityZone::Name"},
        "Ranges": {"Type": "CommaDelimitedList", "Default": ""},
    },
    "Conditions": {"HasRanges": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Ranges"}]}, ""]}]}},
    "Resources": {
        "Database": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {
                "GroupDescription": "database",
                "VpcId": {"Ref": "Vpc"},
                "SecurityGroupIngress": [
                    {
                        "IpProtocol": "tcp",
                        "FromPort": 5432,
                        "ToPort": 5432,
                        "SourceSecurityGroupId": {"Fn::Select": [0, {"Ref": "More"}]},
                    }
                ],
            },
        },
        "FromApplication": {
            "Type": "AWS::EC2::SecurityGroupIngress",
            "Properties": {
                "GroupId": {"Ref": "Database"},
                "IpProtocol": "tcp",
                "FromPort": 5432,
                "ToPort": 5432,
                "SourceSecurityGroupId": {"Ref": "Application"},
                "Description": "application",
            },
        },
        "Ranges0": {
            "Type": "AWS::EC2::SecurityGroupIngress",
            "Condition": "HasRanges",
            "Properties": {
                "GroupId": {"Ref": "Database"},
                "IpProtocol": "tcp",
                "FromPort": 5432,
                "ToPort": 5432,
                "CidrIp": {"Fn::Select": [0, {"Ref": "Ranges"}]},
            },
        },
        "Group": {
            "Type": "AWS::RDS::DBSubnetGroup",
            "Properties": {"DBSubnetGroupDescription": "theirs", "SubnetIds": {"Ref": "Subnets"}},
        },
    },
    "Outputs": {
        "Database": {"Value": {"Ref": "Database"}},
        "Group": {"Value": {"Ref": "Group"}},
        "Zone": {"Value": {"Ref": "Zone"}},
    },
}


@pytest.fixture(scope="module")
def rds_world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="mzn"))
    folder.chmod(0o755)
    world = World(folder, rds=True)
    yield world
    world.close()
    for lock in Home(folder).instances.glob("*/instance.lock"):
        holder = lock_holder(lock)
        if holder is not None and holder > 0:
            os.kill(holder, signal.SIGTERM)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def network(rds_world: World) -> dict[str, str]:
    """Values of the template's parameters that name what is there."""
    ec2 = rds_world.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.5.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.5.{number}.0/24", AvailabilityZone=f"us-east-1{letter}")["Subnet"]
        for number, letter in enumerate("abc")
    ]
    groups = [
        ec2.create_security_group(GroupName=name, Description="d", VpcId=vpc)["GroupId"] for name in ("app", "tools")
    ]
    return {
        "Vpc": vpc,
        "Subnets": ",".join(subnet["SubnetId"] for subnet in subnets),
        "Application": groups[0],
        "More": f"{groups[1]}, {groups[0]}",
        "Zone": "us-east-1b",
        "Ranges": "10.9.0.0/16,10.8.0.0/16",
    }


def given(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


@pytest.mark.parametrize("ranges", ["10.9.0.0/16,10.8.0.0/16", ""])
def test_a_stack_uses_the_network_that_is_there_and_leaves_it(
    rds_world: World, network: dict[str, str], ranges: str
) -> None:
    world, ec2 = rds_world, rds_world.client("ec2")
    stack = world.made(TEMPLATE, Parameters=given(network | {"Ranges": ranges}))
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made = world.outputs(stack)
    (group,) = world.client("rds").describe_db_subnet_groups(DBSubnetGroupName=made["Group"])["DBSubnetGroups"]
    assert group["VpcId"] == network["Vpc"]
    assert {one["SubnetIdentifier"] for one in group["Subnets"]} == set(network["Subnets"].split(","))
    assert {one["SubnetAvailabilityZone"]["Name"][-1] for one in group["Subnets"]} == set("abc")
    (database,) = ec2.describe_security_groups(GroupIds=[made["Database"]])["SecurityGroups"]
    (rule,) = database["IpPermissions"]
    assert {pair["GroupId"] for pair in rule["UserIdGroupPairs"]} == set(network["More"].split(", "))
    assert [entry["CidrIp"] for entry in rule["IpRanges"]] == (["10.9.0.0/16"] if ranges else [])
    assert database["VpcId"] == network["Vpc"]
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    assert len(ec2.describe_subnets(SubnetIds=network["Subnets"].split(","))["Subnets"]) == 3
    assert world.client("rds").describe_db_subnet_groups()["DBSubnetGroups"] == []


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Vpc", "vpc-00000000000000000", "vpc-00000000000000000"),
        ("Vpc", "shop", "shop"),
        ("Vpc", "", ""),
        ("Subnets", "{Subnets},subnet-00000000000000000", "subnet-00000000000000000"),
        ("Subnets", "", ""),
        ("Application", "sg-00000000000000000", "sg-00000000000000000"),
        ("Application", "default", "default"),
        ("More", "{Application},sg-1", "sg-1"),
        ("Zone", "us-west-2a", "us-west-2a"),
    ],
)
def test_what_is_not_there_is_refused_in_amazons_words_and_nothing_is_made(
    rds_world: World, network: dict[str, str], name: str, value: str, shown: str
) -> None:
    values = network | {name: value.format(**network)}
    stack = rds_world.name()
    assert refused(rds_world.create, template=TEMPLATE, name=stack, Parameters=given(values)) == (
        "ValidationError",
        f"Parameter validation failed: parameter value {shown} for parameter name {name} does not exist",
    )
    assert refused(rds_world.cfn.describe_stacks, StackName=stack)[0] == "ValidationError"


def test_subscriptions_to_instances_parameter_groups_and_security_groups_are_made(rds_world: World) -> None:
    """Security Hub RDS.20, RDS.21 and RDS.22."""
    world, rds = rds_world, rds_world.client("rds")
    wanted = {
        "db-instance": ["maintenance", "configuration change", "failure"],
        "db-parameter-group": ["configuration change"],
        "db-security-group": ["configuration change", "failure"],
    }
    told = rds.describe_event_categories()["EventCategoriesMapList"]
    known = {entry["SourceType"]: set(entry["EventCategories"]) for entry in told}
    assert all(set(categories) <= known[kind] for kind, categories in wanted.items())

    group = {"Family": "postgres17", "Description": "d"}
    resources: dict[str, Any] = {
        "Topic": {"Type": "AWS::SNS::Topic"},
        "Group": {"Type": "AWS::RDS::DBParameterGroup", "Properties": group},
        "OneGroup": {
            "Type": "AWS::RDS::EventSubscription",
            "Properties": {
                "SnsTopicArn": {"Ref": "Topic"},
                "SourceType": "db-parameter-group",
                "SourceIds": [{"Ref": "Group"}],
                "EventCategories": wanted["db-parameter-group"],
            },
        },
    }
    for kind, categories in wanted.items():
        resources[kind.replace("-", "")] = {
            "Type": "AWS::RDS::EventSubscription",
            "Properties": {"SnsTopicArn": {"Ref": "Topic"}, "SourceType": kind, "EventCategories": categories},
        }
    outputs = {name: {"Value": {"Ref": name}} for name in resources}
    stack = world.made({"Resources": resources, "Outputs": outputs})
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made = world.outputs(stack)
    found = {one["CustSubscriptionId"]: one for one in rds.describe_event_subscriptions()["EventSubscriptionsList"]}
    for kind, categories in wanted.items():
        one = found[made[kind.replace("-", "")]]
        assert (one["SourceType"], set(one["EventCategoriesList"])) == (kind, set(categories))
        assert (one.get("SourceIdsList", []), one["Status"], one["Enabled"]) == ([], "active", True)
        assert one["SnsTopicArn"] == made["Topic"]
    assert found[made["OneGroup"]]["SourceIdsList"] == [made["Group"]]
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    assert rds.describe_event_subscriptions()["EventSubscriptionsList"] == []


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"AutomaticBackupReplicationRegion": "eu-west-1"}, "property AutomaticBackupReplicationRegion of"),
        ({"AutomaticBackupReplicationRetentionPeriod": 7}, "property AutomaticBackupReplicationRetentionPeriod of"),
        ({"StorageType": "gp3", "AllocatedStorage": "399", "Iops": 12000}, "less than 400"),
        ({"StorageType": "gp3", "AllocatedStorage": "399", "StorageThroughput": 500}, "less than 400"),
        ({"StorageType": "gp3", "AllocatedStorage": "400", "Iops": 11999}, "Invalid IOPS for storage type gp3"),
        ({"StorageType": "gp3", "AllocatedStorage": "400", "Iops": 64001}, "Invalid IOPS for storage type gp3"),
        (
            {"StorageType": "gp3", "AllocatedStorage": "400", "Iops": 12000, "StorageThroughput": 3001},
            "Invalid storage throughput for storage type gp3",
        ),
        ({"DBInstanceClass": "db.x2m.xlarge"}, "Invalid DB Instance class"),
        ({"EngineVersion": "12.1"}, "Cannot find version 12.1 for postgres"),
    ],
)
def test_an_instance_rds_or_this_machine_cannot_make_is_refused_by_name(
    rds_world: World, properties: dict[str, Any], reason: str
) -> None:
    standard = {
        "Engine": "postgres",
        "DBInstanceClass": "db.t4g.micro",
        "AllocatedStorage": "20",
        "MasterUsername": "shop",
        "MasterUserPassword": "correct-horse-battery",
        "MultiAZ": False,
    }
    resource = {"Type": "AWS::RDS::DBInstance", "Properties": {**standard, **properties}}
    stack = rds_world.made({"Resources": {"Primary": resource}})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reason in str([event for event in rds_world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"])
    assert rds_world.client("rds").describe_db_instances()["DBInstances"] == []


def test_gp3_of_400_gib_has_the_figures_asked_for(rds_world: World) -> None:
    properties = {
        "Engine": "postgres",
        "DBInstanceClass": "db.r7g.large",
        "StorageType": "gp3",
        "AllocatedStorage": "400",
        "Iops": 16000,
        "StorageThroughput": 4000,
        "MasterUsername": "shop",
        "MasterUserPassword": "correct-horse-battery",
        "MultiAZ": False,
    }
    resource = {"Type": "AWS::RDS::DBInstance", "DeletionPolicy": "Delete", "Properties": properties}
    stack = rds_world.made({"Resources": {"Primary": resource}})
    assert stack["StackStatus"] == "CREATE_COMPLETE", rds_world.events(stack["StackId"])
    (told,) = rds_world.client("rds").describe_db_instances()["DBInstances"]
    assert (told["StorageType"], told["Iops"], told["StorageThroughput"], told["MultiAZ"]) == (
        "gp3",
        16000,
        4000,
        False,
    )
    assert rds_world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"


def test_a_secret_of_endpoints_is_given_whole_and_an_attachment_keeps_what_else_it_holds(rds_world: World) -> None:
    world = rds_world
    database = {
        "Type": "AWS::RDS::DBInstance",
        "DeletionPolicy": "Delete",
        "Properties": {
            "Engine": "postgres",
            "DBInstanceClass": "db.m7g.large",
            "AllocatedStorage": "20",
            "MasterUsername": "shop",
            "MasterUserPassword": "correct-horse-battery",
        },
    }
    facts = '{"host": "${Primary.Endpoint.Address}", "port": ${Primary.Endpoint.Port}, "readerHosts": ["r"]}'
    resources = {
        "Primary": database,
        "Key": {"Type": "AWS::KMS::Key", "Properties": {}},
        "Facts": {
            "Type": "AWS::SecretsManager::Secret",
            "Properties": {
                "SecretString": {"Fn::Sub": facts},
                "KmsKeyId": {"Ref": "Key"},
                "Tags": [{"Key": "for", "Value": "applications"}],
            },
        },
        "Login": {
            "Type": "AWS::SecretsManager::Secret",
            "Properties": {"SecretString": '{"username": "shop", "password": "p", "team": "orders"}'},
        },
        "Attachment": {
            "Type": "AWS::SecretsManager::SecretTargetAttachment",
            "Properties": {
                "SecretId": {"Ref": "Login"},
                "TargetId": {"Ref": "Primary"},
                "TargetType": "AWS::RDS::DBInstance",
            },
        },
    }
    stack = world.made(
        {"Resources": resources, "Outputs": {n: {"Value": {"Ref": n}} for n in ("Facts", "Login", "Key")}}
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made, secrets = world.outputs(stack), world.client("secretsmanager")
    (there,) = world.client("rds").describe_db_instances()["DBInstances"]
    where = there["Endpoint"]
    told = json.loads(secrets.get_secret_value(SecretId=made["Facts"])["SecretString"])
    assert told == {"host": where["Address"], "port": where["Port"], "readerHosts": ["r"]}
    described = secrets.describe_secret(SecretId=made["Facts"])
    assert described["KmsKeyId"] == made["Key"]
    assert {"Key": "for", "Value": "applications"} in described["Tags"]
    login = json.loads(secrets.get_secret_value(SecretId=made["Login"])["SecretString"])
    assert (login["team"], login["password"], login["host"]) == ("orders", "p", where["Address"])
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    assert secrets.list_secrets()["SecretList"] == []
