"""Every resource type but RDS: really made as the template says, really gone afterwards."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stacks_world import World, refused

from multiaz.blueprint.empty_bucket import EMPTY_BUCKET_CODE
from multiaz.cloud.stacks.resources import available_types

CAPABILITIES = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
ALLOW = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
}


def trust(service: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }


def everything(name: str) -> dict[str, Any]:
    """A template with every type that needs no database."""
    return {
        "Resources": {
            "Vpc": {
                "Type": "AWS::EC2::VPC",
                "Properties": {"CidrBlock": "10.0.0.0/16", "EnableDnsHostnames": True, "EnableDnsSupport": True},
            },
            "Subnet": {
                "Type": "AWS::EC2::Subnet",
                "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24", "MapPublicIpOnLaunch": True},
            },
            "Gateway": {"Type": "AWS::EC2::InternetGateway"},
            "Attachment": {
                "Type": "AWS::EC2::VPCGatewayAttachment",
                "Properties": {"VpcId": {"Ref": "Vpc"}, "InternetGatewayId": {"Ref": "Gateway"}},
            },
            "Routes": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": {"Ref": "Vpc"}}},
            "Out": {
                "Type": "AWS::EC2::Route",
                "DependsOn": "Attachment",
                "Properties": {
                    "RouteTableId": {"Ref": "Routes"},
                    "DestinationCidrBlock": "0.0.0.0/0",
                    "GatewayId": {"Ref": "Gateway"},
                },
            },
            "SubnetRoutes": {
                "Type": "AWS::EC2::SubnetRouteTableAssociation",
                "Properties": {"SubnetId": {"Ref": "Subnet"}, "RouteTableId": {"Ref": "Routes"}},
            },
            "Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}},
            "Nat": {
                "Type": "AWS::EC2::NatGateway",
                "Properties": {
                    "SubnetId": {"Ref": "Subnet"},
                    "AllocationId": {"Fn::GetAtt": ["Address", "AllocationId"]},
                },
            },
            "Group": {
                "Type": "AWS::EC2::SecurityGroup",
                "Properties": {"GroupDescription": "g", "VpcId": {"Ref": "Vpc"}, "GroupName": f"{name}-group"},
            },
            "RuleIn": {
                "Type": "AWS::EC2::SecurityGroupIngress",
                "Properties": {
                    "GroupId": {"Fn::GetAtt": ["Group", "GroupId"]},
                    "IpProtocol": "tcp",
                    "FromPort": 5432,
                    "ToPort": 5432,
                    "SourceSecurityGroupId": {"Ref": "Group"},
                    "Description": "itself",
                },
            },
            "RuleOut": {
                "Type": "AWS::EC2::SecurityGroupEgress",
                "Properties": {
                    "GroupId": {"Ref": "Group"},
                    "IpProtocol": "tcp",
                    "FromPort": 443,
                    "ToPort": 443,
                    "CidrIp": "10.0.0.0/16",
                },
            },
            "Endpoint": {
                "Type": "AWS::EC2::VPCEndpoint",
                "Properties": {
                    "VpcId": {"Ref": "Vpc"},
                    "ServiceName": {"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"},
                    "RouteTableIds": [{"Ref": "Routes"}],
                    "PolicyDocument": {
                        **ALLOW,
                        "Statement": [{**ALLOW["Statement"][0], "Principal": "*"}],  # type: ignore[dict-item]
                    },
                },
            },
            "FlowLogs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 14}},
            "Filter": {
                "Type": "AWS::Logs::MetricFilter",
                "Properties": {
                    "LogGroupName": {"Ref": "FlowLogs"},
                    "FilterPattern": "REJECT",
                    "MetricTransformations": [{"MetricName": "r", "MetricNamespace": "n", "MetricValue": "1"}],
                },
            },
            "FlowRole": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "AssumeRolePolicyDocument": trust("vpc-flow-logs.amazonaws.com"),
                    "Policies": [{"PolicyName": "write", "PolicyDocument": ALLOW}],
                    "MaxSessionDuration": 3600,
                },
            },
            "FlowLog": {
                "Type": "AWS::EC2::FlowLog",
                "Properties": {
                    "ResourceType": "VPC",
                    "ResourceId": {"Ref": "Vpc"},
                    "TrafficType": "ALL",
                    "LogGroupName": {"Ref": "FlowLogs"},
                    "DeliverLogsPermissionArn": {"Fn::GetAtt": ["FlowRole", "Arn"]},
                },
            },
            "Key": {
                "Type": "AWS::KMS::Key",
                "Properties": {"Description": "k", "EnableKeyRotation": True, "PendingWindowInDays": 7},
            },
            "KeyAlias": {
                "Type": "AWS::KMS::Alias",
                "Properties": {"AliasName": f"alias/{name}", "TargetKeyId": {"Ref": "Key"}},
            },
            "Secret": {
                "Type": "AWS::SecretsManager::Secret",
                "Properties": {
                    "KmsKeyId": {"Ref": "Key"},
                    "GenerateSecretString": {
                        "SecretStringTemplate": '{"username": "shop"}',
                        "GenerateStringKey": "password",
                        "PasswordLength": 32,
                        "ExcludeCharacters": "\"@/\\ '",
                    },
                },
            },
            "SecretPolicy": {
                "Type": "AWS::SecretsManager::ResourcePolicy",
                "Properties": {
                    "SecretId": {"Ref": "Secret"},
                    "ResourcePolicy": {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Deny",
                                "Principal": "*",
                                "Action": "secretsmanager:DeleteSecret",
                                "Resource": "*",
                            }
                        ],
                    },
                },
            },
            "Policy": {
                "Type": "AWS::IAM::Policy",
                "Properties": {"PolicyName": "inline", "PolicyDocument": ALLOW, "Roles": [{"Ref": "FlowRole"}]},
            },
            "Managed": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {"PolicyDocument": ALLOW, "Description": "d", "Roles": [{"Ref": "FlowRole"}]},
            },
            "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "FlowRole"}]}},
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "Properties": {
                    "BucketEncryption": {
                        "ServerSideEncryptionConfiguration": [
                            {
                                "BucketKeyEnabled": True,
                                "ServerSideEncryptionByDefault": {
                                    "SSEAlgorithm": "aws:kms",
                                    "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]},
                                },
                            }
                        ]
                    },
                    "VersioningConfiguration": {"Status": "Enabled"},
                    "LifecycleConfiguration": {
                        "Rules": [
                            {
                                "Id": "Cold",
                                "Status": "Enabled",
                                "Transitions": [
                                    {"TransitionInDays": 30, "StorageClass": "STANDARD_IA"},
                                    {"TransitionInDays": 90, "StorageClass": "GLACIER"},
                                ],
                                "ExpirationInDays": 365,
                                "NoncurrentVersionExpirationInDays": 90,
                                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                            }
                        ]
                    },
                    "PublicAccessBlockConfiguration": {
                        "BlockPublicAcls": True,
                        "BlockPublicPolicy": True,
                        "IgnorePublicAcls": True,
                        "RestrictPublicBuckets": True,
                    },
                    "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                    "Tags": [{"Key": "Name", "Value": "backups"}, {"Key": "EmptyOnDeletion", "Value": "true"}],
                },
            },
            "BucketPolicy": {
                "Type": "AWS::S3::BucketPolicy",
                "Properties": {
                    "Bucket": {"Ref": "Bucket"},
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": "export.rds.amazonaws.com"},
                                "Action": "s3:*",
                                "Resource": {"Fn::Sub": "${Bucket.Arn}/*"},
                            }
                        ],
                    },
                },
            },
            "EmptierRole": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "AssumeRolePolicyDocument": trust("lambda.amazonaws.com"),
                    "RoleName": f"{name}-emptier",
                },
            },
            "Emptier": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Code": {"ZipFile": EMPTY_BUCKET_CODE},
                    "Handler": "index.handler",
                    "Runtime": "python3.13",
                    "Role": {"Fn::GetAtt": ["EmptierRole", "Arn"]},
                    "Timeout": 300,
                },
            },
            "EmptierPermission": {
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "FunctionName": {"Ref": "Emptier"},
                    "Action": "lambda:InvokeFunction",
                    "Principal": "events.amazonaws.com",
                },
            },
            "EmptyBucket": {
                "Type": "Custom::EmptyBucket",
                "Properties": {
                    "ServiceToken": {"Fn::GetAtt": ["Emptier", "Arn"]},
                    "BucketName": {"Ref": "Bucket"},
                },
            },
            "Topic": {
                "Type": "AWS::SNS::Topic",
                "Properties": {"DisplayName": "alarms", "KmsMasterKeyId": {"Ref": "Key"}},
            },
            "TopicPolicy": {
                "Type": "AWS::SNS::TopicPolicy",
                "Properties": {
                    "Topics": [{"Ref": "Topic"}],
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": "cloudwatch.amazonaws.com"},
                                "Action": "sns:Publish",
                                "Resource": {"Ref": "Topic"},
                            }
                        ],
                    },
                },
            },
            "Subscription": {
                "Type": "AWS::SNS::Subscription",
                "Properties": {"TopicArn": {"Ref": "Topic"}, "Protocol": "email", "Endpoint": "ops@example.com"},
            },
            "Alarm": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {
                    "Namespace": "AWS/RDS",
                    "MetricName": "CPUUtilization",
                    "Statistic": "Average",
                    "Period": 60,
                    "EvaluationPeriods": 5,
                    "Threshold": "90",
                    "ComparisonOperator": "GreaterThanThreshold",
                    "TreatMissingData": "breaching",
                    "AlarmActions": [{"Ref": "Topic"}],
                    "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": "x"}],
                },
            },
            "Both": {
                "Type": "AWS::CloudWatch::CompositeAlarm",
                "Properties": {"AlarmRule": {"Fn::Sub": "ALARM(${Alarm})"}, "AlarmName": f"{name}-both"},
            },
            "Dashboard": {
                "Type": "AWS::CloudWatch::Dashboard",
                "Properties": {"DashboardBody": json.dumps({"widgets": []})},
            },
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "EventPattern": {"source": ["aws.rds"]},
                    "State": "ENABLED",
                    "Targets": [{"Id": "topic", "Arn": {"Ref": "Topic"}}],
                },
            },
            "Parameter": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Type": "String", "Value": {"Ref": "Bucket"}, "Tags": {"a": "b"}},
            },
            "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
        },
        "Outputs": {
            "Secret": {"Value": {"Ref": "Secret"}},
            "Bucket": {"Value": {"Ref": "Bucket"}},
            "Nat": {"Value": {"Ref": "Nat"}},
            "Value": {"Value": {"Fn::GetAtt": ["Parameter", "Value"]}},
        },
    }


def leftovers(world: World, name: str, stack_id: str) -> list[str]:
    """What any list still shows of a stack."""
    left: list[str] = []
    ec2 = world.client("ec2")
    filters = [{"Name": "tag:aws:cloudformation:stack-id", "Values": [stack_id]}]
    for operation, key in (
        ("describe_vpcs", "Vpcs"),
        ("describe_subnets", "Subnets"),
        ("describe_route_tables", "RouteTables"),
        ("describe_internet_gateways", "InternetGateways"),
        ("describe_security_groups", "SecurityGroups"),
        ("describe_addresses", "Addresses"),
        ("describe_flow_logs", "FlowLogs"),
    ):
        left += [str(item) for item in getattr(ec2, operation)(Filters=filters)[key]]
    left += [
        item["State"]
        for item in ec2.describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]
        if item["State"] != "deleted"
    ]
    iam = world.client("iam")
    left += [item["RoleName"] for item in iam.list_roles()["Roles"]]
    left += [item["PolicyName"] for item in iam.list_policies(Scope="Local")["Policies"]]
    left += [item["InstanceProfileName"] for item in iam.list_instance_profiles()["InstanceProfiles"]]
    left += [item["Name"] for item in world.client("secretsmanager").list_secrets()["SecretList"]]
    left += [item["Name"] for item in world.client("s3").list_buckets()["Buckets"]]
    left += [item["TopicArn"] for item in world.client("sns").list_topics()["Topics"]]
    left += [item["Endpoint"] for item in world.client("sns").list_subscriptions()["Subscriptions"]]
    alarms = world.client("cloudwatch").describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    left += [item["AlarmName"] for key in ("MetricAlarms", "CompositeAlarms") for item in alarms[key]]
    left += [item["DashboardName"] for item in world.client("cloudwatch").list_dashboards()["DashboardEntries"]]
    left += [item["logGroupName"] for item in world.client("logs").describe_log_groups()["logGroups"]]
    left += [item["FunctionName"] for item in world.client("lambda").list_functions()["Functions"]]
    left += [item["Name"] for item in world.client("events").list_rules()["Rules"]]
    left += [item["Name"] for item in world.client("ssm").describe_parameters()["Parameters"]]
    aliases = world.client("kms").list_aliases()["Aliases"]
    left += [item["AliasName"] for item in aliases if item["AliasName"] == f"alias/{name}"]
    return left


def failures(world: World, stack_id: str) -> list[tuple[str, str, str]]:
    """Events that say what went wrong."""
    return [event for event in world.events(stack_id) if "FAILED" in event[1]]


def test_every_type_is_really_made_and_really_deleted(world: World) -> None:
    name = world.name()
    template = everything(name)
    covered = {entry["Type"] for entry in template["Resources"].values()}
    rds = {kind for kind in available_types() if kind.startswith("AWS::RDS::")}
    of_its_own = {kind for kind in available_types() if kind.startswith("AWS::Backup::")}
    needs_rds = {"AWS::SecretsManager::SecretTargetAttachment", "AWS::SecretsManager::RotationSchedule"}
    assert set(available_types()) - covered == rds | needs_rds | of_its_own | {"AWS::CloudFormation::CustomResource"}

    stack_id = world.create(template, name, Capabilities=CAPABILITIES, Tags=[{"Key": "team", "Value": "shop"}])
    stack = world.settle(stack_id)
    assert stack["StackStatus"] == "CREATE_COMPLETE", [
        event for event in world.events(stack_id) if "FAILED" in event[1]
    ]
    outputs = world.outputs(stack)
    assert outputs["Value"] == outputs["Bucket"]

    secret = json.loads(world.client("secretsmanager").get_secret_value(SecretId=outputs["Secret"])["SecretString"])
    assert secret["username"] == "shop"
    assert len(secret["password"]) == 32
    assert not set(secret["password"]) & set("\"@/\\ '")

    s3, bucket = world.client("s3"), outputs["Bucket"]
    lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]
    assert lifecycle["Transitions"] == [
        {"Days": 30, "StorageClass": "STANDARD_IA"},
        {"Days": 90, "StorageClass": "GLACIER"},
    ]
    assert lifecycle["Expiration"]["Days"] == 365
    assert lifecycle["NoncurrentVersionExpiration"]["NoncurrentDays"] == 90
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert (
        json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Resource"]
        == f"arn:aws:s3:::{bucket}/*"
    )
    key = world.resources(stack_id)["Key"]["PhysicalResourceId"]
    assert world.client("kms").get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
    attached = world.client("iam").list_attached_role_policies(
        RoleName=world.resources(stack_id)["FlowRole"]["PhysicalResourceId"]
    )
    assert len(attached["AttachedPolicies"]) == 1
    nat = world.client("ec2").describe_nat_gateways(NatGatewayIds=[outputs["Nat"]])["NatGateways"][0]
    assert nat["State"] == "available"

    # The bucket is not empty, and has old versions and a delete marker: it must go all the same.
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.put_object(Bucket=bucket, Key="other", Body=b"x")
    s3.create_multipart_upload(Bucket=bucket, Key="unfinished")

    gone = world.deleted(stack_id)
    assert gone["StackStatus"] == "DELETE_COMPLETE", failures(world, stack_id)
    assert leftovers(world, name, stack_id) == []
    assert world.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert (
        world.client("ec2").describe_nat_gateways(NatGatewayIds=[outputs["Nat"]])["NatGateways"][0]["State"]
        == "deleted"
    )


def test_other_custom_resources_are_refused_because_template_code_is_never_run(world: World) -> None:
    name = world.name()
    template = everything(name)
    template["Resources"] = {key: template["Resources"][key] for key in ("EmptierRole", "Emptier", "EmptyBucket")} | {
        "Bucket": {"Type": "AWS::S3::Bucket"}
    }
    del template["Outputs"]
    template["Resources"]["Emptier"]["Properties"]["Code"]["ZipFile"] += "# changed by one byte\n"
    stack = world.made(template, Capabilities=CAPABILITIES)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    (failure,) = [event for event in world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"]
    assert failure[0] == "EmptyBucket"
    assert "template code is never run here" in failure[2]


def test_a_named_resource_of_somebody_else_is_not_taken_over_and_survives_the_rollback(world: World) -> None:
    cloudwatch, sns = world.client("cloudwatch"), world.client("sns")
    cloudwatch.put_dashboard(DashboardName="mine", DashboardBody="{}")
    sns.create_topic(Name="mine")
    world.client("s3").create_bucket(Bucket="mine-already")
    world.client("logs").create_log_group(logGroupName="mine")
    for properties in (
        {"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardName": "mine", "DashboardBody": '{"a":1}'}},
        {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "mine"}},
        {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "mine-already"}},
        {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "mine"}},
    ):
        stack = world.made({"Resources": {"X": properties}})
        assert stack["StackStatus"] == "ROLLBACK_COMPLETE", properties
        (reason,) = [event[2] for event in world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"]
        assert "already exist" in reason
    assert cloudwatch.get_dashboard(DashboardName="mine")["DashboardBody"] == "{}"
    assert sns.list_topics()["Topics"]
    world.client("s3").head_bucket(Bucket="mine-already")
    assert world.client("logs").describe_log_groups()["logGroups"]


def test_dynamic_references_are_resolved_when_called_and_secrets_are_kept_nowhere(world: World) -> None:
    word = "correct-horse-battery"
    world.client("secretsmanager").create_secret(Name="db", SecretString=json.dumps({"password": word, "n": 7}))
    world.client("ssm").put_parameter(Name="/shop/name", Type="String", Value="orders")
    template = {
        "Resources": {
            "Topic": {
                "Type": "AWS::SNS::Topic",
                "Properties": {
                    "DisplayName": "{{resolve:ssm:/shop/name}}-{{resolve:secretsmanager:db:SecretString:n}}"
                },
            },
            "Copy": {
                "Type": "AWS::SecretsManager::Secret",
                "Properties": {"SecretString": "{{resolve:secretsmanager:db:SecretString:password}}"},
            },
        },
        "Outputs": {"Topic": {"Value": {"Ref": "Topic"}}, "Copy": {"Value": {"Ref": "Copy"}}},
    }
    stack = world.made(template)
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    outputs = world.outputs(stack)
    shown = world.client("sns").get_topic_attributes(TopicArn=outputs["Topic"])["Attributes"]["DisplayName"]
    assert shown == "orders-7"
    copied = world.client("secretsmanager").get_secret_value(SecretId=outputs["Copy"])["SecretString"]
    assert copied == word
    for table in ("stack", "resource", "event", "output"):
        rows = world.store.rows(f"SELECT * FROM stacks_{table}")
        assert not any(word in str(tuple(row)) for row in rows), table
    world.deleted(stack["StackId"])


def test_a_kms_key_that_does_not_exist_is_refused_by_name(world: World) -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    encrypted = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    for kind, properties in (
        ("AWS::SecretsManager::Secret", {"SecretString": "x", "KmsKeyId": key}),
        ("AWS::S3::Bucket", {"BucketEncryption": {"ServerSideEncryptionConfiguration": [encrypted]}}),
    ):
        stack = world.made({"Resources": {"X": {"Type": kind, "Properties": properties}}})
        (reason,) = [event[2] for event in world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"]
        assert f"The KMS key {key} cannot be used" in reason


ROUTED: dict[str, Any] = {
    "Parameters": {"Word": {"Type": "String", "NoEcho": True, "Default": "d"}},
    "Resources": {
        "Gateway": {"Type": "AWS::EC2::InternetGateway"},
        "Attachment": {
            "Type": "AWS::EC2::VPCGatewayAttachment",
            "Properties": {"InternetGatewayId": {"Ref": "Gateway"}, "VpcId": "{{resolve:ssm:/net/vpc}}"},
        },
        "Route": {
            "Type": "AWS::EC2::Route",
            "DependsOn": "Attachment",
            "Properties": {
                "RouteTableId": "{{resolve:ssm:/net/table}}",
                "DestinationCidrBlock": "0.0.0.0/0",
                "GatewayId": {"Ref": "Gateway"},
            },
        },
        "Copy": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": {"Ref": "Word"}}},
    },
}


def test_what_a_dynamic_reference_named_is_deleted_whatever_the_parameter_says_since(world: World) -> None:
    ec2, ssm = world.client("ec2"), world.client("ssm")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ssm.put_parameter(Name="/net/vpc", Type="String", Value=vpc)
    ssm.put_parameter(Name="/net/table", Type="String", Value=table)
    stack = world.made(ROUTED)
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])

    def routes() -> list[str]:
        (found,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
        return [route["DestinationCidrBlock"] for route in found["Routes"]]

    assert "0.0.0.0/0" in routes()
    ssm.put_parameter(Name="/net/table", Type="String", Value="rtb-00000000000000000", Overwrite=True)
    ssm.delete_parameter(Name="/net/vpc")
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])
    assert "0.0.0.0/0" not in routes()


@pytest.mark.parametrize("fails", [False, True])
def test_values_that_are_not_echoed_are_forgotten_with_their_stack(world: World, fails: bool) -> None:
    word = f"never-echoed-{fails}"
    template: dict[str, Any] = {
        "Parameters": ROUTED["Parameters"],
        "Resources": {"Copy": ROUTED["Resources"]["Copy"]},
    }
    if fails:
        bad = {"VpcId": "vpc-00000000000000000", "CidrBlock": "10.0.0.0/24"}
        template["Resources"]["Bad"] = {"Type": "AWS::EC2::Subnet", "DependsOn": "Copy", "Properties": bad}
    stack = world.made(template, Parameters=[{"ParameterKey": "Word", "ParameterValue": word}])
    assert stack["StackStatus"] == ("ROLLBACK_COMPLETE" if fails else "CREATE_COMPLETE")
    if not fails:
        world.deleted(stack["StackId"])
    for table in ("stack", "resource", "event", "output", "change_set"):
        assert word not in str([tuple(row) for row in world.store.rows(f"SELECT * FROM stacks_{table}")]), table


def test_a_secret_in_an_error_is_hidden(world: World) -> None:
    word = "bucket-named-by-a-secret"
    world.client("s3").create_bucket(Bucket=word)
    world.client("secretsmanager").create_secret(Name="odd", SecretString=word)
    properties = {"BucketName": "{{resolve:secretsmanager:odd}}"}
    stack = world.made({"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": properties}}})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    (reason,) = [event[2] for event in world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"]
    assert word not in reason
    assert "****" in reason


def test_outputs_show_parameters_and_never_secrets(world: World) -> None:
    world.client("ssm").put_parameter(Name="/shown", Type="String", Value="seen")
    topic = {"T": {"Type": "AWS::SNS::Topic"}}
    stack = world.made({"Resources": topic, "Outputs": {"O": {"Value": "{{resolve:ssm:/shown}}"}}})
    assert world.outputs(stack) == {"O": "seen"}
    world.deleted(stack["StackId"])
    stack = world.made({"Resources": topic, "Outputs": {"O": {"Value": "{{resolve:secretsmanager:x}}"}}})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Output O must not hold a dynamic reference to a secret" in str(world.events(stack["StackId"]))


def test_a_dynamic_reference_that_leads_nowhere_is_refused_by_name(world: World) -> None:
    for text, part in (
        ("{{resolve:secretsmanager:no-such}}", "Could not read a value from secret no-such"),
        ("{{resolve:ssm:/no/such}}", "Unable to fetch parameters [/no/such]"),
        (
            "{{resolve:ssm-secure:/x}}",
            "not supported in: [AWS::SNS::Topic/Properties/DisplayName]",
        ),
        ("{{resolve:vault:x}}", "service vault is not supported"),
    ):
        stack = world.made({"Resources": {"T": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": text}}}})
        (reason,) = [event[2] for event in world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"]
        assert part in reason


def test_a_person_may_not_set_the_tags_that_say_whose_a_resource_is(world: World) -> None:
    assert (
        refused(
            world.cfn.create_stack,
            StackName=world.name(),
            TemplateBody=json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}),
            Tags=[{"Key": "aws:cloudformation:stack-id", "Value": "x"}],
        )[0]
        == "ValidationError"
    )
