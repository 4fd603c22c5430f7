"""What an update in place makes of each type: the same as a new stack, and going back the same as before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from stacks_world import World

Properties = dict[str, Any]
Read = Callable[[World, str], Any]


def statement(sid: str, **more: Any) -> dict[str, Any]:
    entry = {"Sid": sid, "Effect": "Allow", "Action": ["sns:Publish"], "Resource": "*", **more}
    return {"Version": "2012-10-17", "Statement": [entry]}


def trust(service: str) -> dict[str, Any]:
    entry = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [entry]}


def key_policy(sid: str) -> dict[str, Any]:
    return statement(sid, Action="kms:*", Principal={"AWS": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}})


def pair(key: str, value: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value}]


def rule(port: int, **more: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIp": "10.0.0.0/16", **more}


ALARM: Properties = {
    "Namespace": "n",
    "MetricName": "m",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "ComparisonOperator": "GreaterThanThreshold",
}
CODE = "def handler(event, context):\n    return {}\n"
HELPERS: dict[str, dict[str, Any]] = {
    "Net": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
    "SubnetA": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Net"}, "CidrBlock": "10.0.0.0/24"}},
    "SubnetB": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Net"}, "CidrBlock": "10.0.1.0/24"}},
    "Gate": {"Type": "AWS::EC2::InternetGateway"},
    "Attached": {
        "Type": "AWS::EC2::VPCGatewayAttachment",
        "Properties": {"VpcId": {"Ref": "Net"}, "InternetGatewayId": {"Ref": "Gate"}},
    },
    "Address": {"Type": "AWS::EC2::EIP", "DependsOn": "Attached"},
    "Nat": {
        "Type": "AWS::EC2::NatGateway",
        "Properties": {"SubnetId": {"Ref": "SubnetA"}, "AllocationId": {"Fn::GetAtt": ["Address", "AllocationId"]}},
    },
    "TableA": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": {"Ref": "Net"}}},
    "TableB": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": {"Ref": "Net"}}},
    "GroupA": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"VpcId": {"Ref": "Net"}, "GroupDescription": "a"}},
    "GroupB": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"VpcId": {"Ref": "Net"}, "GroupDescription": "b"}},
    "KeyA": {"Type": "AWS::KMS::Key", "Properties": {"Description": "a"}},
    "KeyB": {"Type": "AWS::KMS::Key", "Properties": {"Description": "b"}},
    "RoleA": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust("lambda.amazonaws.com")}},
    "RoleB": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust("lambda.amazonaws.com")}},
    "TopicA": {"Type": "AWS::SNS::Topic"},
    "TopicB": {"Type": "AWS::SNS::Topic"},
    "Logs": {"Type": "AWS::Logs::LogGroup"},
    "Vault": {
        "Type": "AWS::Backup::BackupVault",
        "Properties": {"BackupVaultName": {"Fn::Sub": "vault-${AWS::StackName}"}},
    },
}


def ref(name: str) -> dict[str, str]:
    return {"Ref": name}


def arn(name: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [name, "Arn"]}


# Reading: the answer of the service, without what is no property.


def drop(found: Any, *names: str) -> Any:
    """`found` without these members, however deep, lists of plain things and of tags in order."""
    if isinstance(found, dict):
        return {key: drop(value, *names) for key, value in found.items() if key not in names}
    if isinstance(found, list):
        return sorted((drop(value, *names) for value in found), key=lambda value: json.dumps(value, default=str))
    return found


def absent(call: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return drop(call(**arguments), "ResponseMetadata")
    except ClientError as error:
        return error.response["Error"]["Code"]


def described(operation: str, parameter: str, key: str, *ignored: str) -> Read:
    def read(world: World, physical: str) -> Any:
        (found,) = getattr(world.client("ec2"), operation)(**{parameter: [physical]})[key]
        return drop(found, "CreationTimestamp", "DnsEntries", "GroupName", "NetworkInterfaceIds", *ignored)

    return read


def read_vpc(world: World, physical: str) -> Any:
    ec2 = world.client("ec2")
    flags = [
        ec2.describe_vpc_attribute(VpcId=physical, Attribute=name)[name[0].upper() + name[1:]]["Value"]
        for name in ("enableDnsSupport", "enableDnsHostnames")
    ]
    (found,) = ec2.describe_vpcs(VpcIds=[physical])["Vpcs"]
    return flags, drop(found["Tags"])


def read_route(world: World, physical: str) -> Any:
    table, _, destination = physical.partition("|")
    (found,) = world.client("ec2").describe_route_tables(RouteTableIds=[table])["RouteTables"]
    return [route for route in found["Routes"] if route.get("DestinationCidrBlock") == destination]


def read_group(world: World, physical: str) -> Any:
    (found,) = world.client("ec2").describe_security_groups(GroupIds=[physical])["SecurityGroups"]
    return drop([found["IpPermissions"], found["IpPermissionsEgress"], found["Tags"]])


def read_rule(world: World, physical: str) -> Any:
    rules = world.client("ec2").describe_security_group_rules()["SecurityGroupRules"]
    return [one.get("Description") for one in rules if one["SecurityGroupRuleId"] == physical]


def read_role(world: World, physical: str) -> Any:
    iam = world.client("iam")
    role = drop(iam.get_role(RoleName=physical)["Role"], "CreateDate", "RoleId", "RoleLastUsed")
    role["Description"] = role.get("Description", "")
    names = iam.list_role_policies(RoleName=physical)["PolicyNames"]
    inline = {name: iam.get_role_policy(RoleName=physical, PolicyName=name)["PolicyDocument"] for name in names}
    return role, inline, drop(iam.list_attached_role_policies(RoleName=physical)["AttachedPolicies"])


def read_policies_of_roles(world: World, _: str) -> Any:
    iam, found = world.client("iam"), {}
    for role in iam.list_roles()["Roles"]:
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            if name.startswith("inline"):
                document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
                found[f"{role['RoleName']}/{name}"] = document
    return found


def read_managed_policy(world: World, physical: str) -> Any:
    iam = world.client("iam")
    policy = iam.get_policy(PolicyArn=physical)["Policy"]
    version = iam.get_policy_version(PolicyArn=physical, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    return version["Document"], drop(iam.list_entities_for_policy(PolicyArn=physical)["PolicyRoles"], "RoleId")


def read_key(world: World, physical: str) -> Any:
    kms = world.client("kms")
    metadata = kms.describe_key(KeyId=physical)["KeyMetadata"]
    return (
        [metadata["Description"], metadata["KeyState"]],
        json.loads(kms.get_key_policy(KeyId=physical, PolicyName="default")["Policy"]),
        kms.get_key_rotation_status(KeyId=physical)["KeyRotationEnabled"],
        drop(kms.list_resource_tags(KeyId=physical)["Tags"]),
    )


def read_alias(world: World, physical: str) -> Any:
    return world.client("kms").describe_key(KeyId=physical)["KeyMetadata"]["KeyId"]


def read_log_group(world: World, physical: str) -> Any:
    logs = world.client("logs")
    (found,) = logs.describe_log_groups(logGroupNamePrefix=physical)["logGroups"]
    return found.get("retentionInDays"), logs.list_tags_log_group(logGroupName=physical)["tags"]


def read_filter(world: World, physical: str) -> Any:
    found = world.client("logs").describe_metric_filters()["metricFilters"]
    return [drop(one, "creationTime") for one in found if one["filterName"] == physical]


_OF_AN_ALARM = ("AlarmConfigurationUpdatedTimestamp", "StateUpdatedTimestamp", "StateTransitionedTimestamp")


def read_alarm(world: World, physical: str) -> Any:
    cloudwatch = world.client("cloudwatch")
    found = cloudwatch.describe_alarms(AlarmNames=[physical], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    (one,) = found["MetricAlarms"] + found["CompositeAlarms"]
    tags = cloudwatch.list_tags_for_resource(ResourceARN=one["AlarmArn"])["Tags"]
    return drop(one, *_OF_AN_ALARM, "StateReason", "StateValue", "StateReasonData"), drop(tags)


def read_dashboard(world: World, physical: str) -> Any:
    return json.loads(world.client("cloudwatch").get_dashboard(DashboardName=physical)["DashboardBody"])


def read_event_rule(world: World, physical: str) -> Any:
    events = world.client("events")
    found = drop(events.describe_rule(Name=physical), "ResponseMetadata", "CreatedBy")
    tags = events.list_tags_for_resource(ResourceARN=found["Arn"])["Tags"]
    return found, drop(events.list_targets_by_rule(Rule=physical)["Targets"]), drop(tags)


def read_topic(world: World, physical: str) -> Any:
    sns = world.client("sns")
    found = sns.get_topic_attributes(TopicArn=physical)["Attributes"]
    names = {"DisplayName": "", "KmsMasterKeyId": "", "SignatureVersion": "1", "TracingConfig": "PassThrough"}
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=physical)["Subscriptions"]
    return (
        [found.get(name, standard) for name, standard in names.items()],
        drop(subscriptions, "SubscriptionArn"),
        drop(sns.list_tags_for_resource(ResourceArn=physical)["Tags"]),
    )


def read_topic_policies(world: World, _: str) -> Any:
    sns, found = world.client("sns"), {}
    for topic in sns.list_topics()["Topics"]:
        policy = json.loads(sns.get_topic_attributes(TopicArn=topic["TopicArn"])["Attributes"]["Policy"])
        if policy["Statement"][0]["Sid"] in {"one", "two"}:
            found[topic["TopicArn"]] = policy
    return found


def read_subscription(world: World, physical: str) -> Any:
    found = world.client("sns").get_subscription_attributes(SubscriptionArn=physical)["Attributes"]
    return found.get("RawMessageDelivery"), found.get("FilterPolicy", "{}")


def read_secret(world: World, physical: str) -> Any:
    client = world.client("secretsmanager")
    found = client.describe_secret(SecretId=physical)
    value = client.get_secret_value(SecretId=physical)["SecretString"]
    return value, found.get("Description") or None, found.get("KmsKeyId"), drop(found["Tags"])


def read_secret_policy(world: World, physical: str) -> Any:
    return json.loads(world.client("secretsmanager").get_resource_policy(SecretId=physical)["ResourcePolicy"])


def read_bucket(world: World, physical: str) -> Any:
    s3 = world.client("s3")
    operations = ("ownership_controls", "encryption", "versioning", "lifecycle_configuration", "logging", "cors")
    found = {name: absent(getattr(s3, f"get_bucket_{name}"), Bucket=physical) for name in (*operations, "tagging")}
    return {**found, "public": absent(s3.get_public_access_block, Bucket=physical)}


def read_bucket_policy(world: World, physical: str) -> Any:
    return json.loads(world.client("s3").get_bucket_policy(Bucket=physical)["Policy"])


def read_function(world: World, physical: str) -> Any:
    found = world.client("lambda").get_function(FunctionName=physical)
    return drop(found["Configuration"], "LastModified", "RevisionId"), found["Tags"]


def read_parameter(world: World, physical: str) -> Any:
    ssm = world.client("ssm")
    found = ssm.get_parameter(Name=physical)["Parameter"]
    (more,) = ssm.describe_parameters(ParameterFilters=[{"Key": "Name", "Values": [physical]}])["Parameters"]
    tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=physical)["TagList"]
    return found["Value"], more.get("Description") or None, drop(tags)


def read_backup_plan(world: World, physical: str) -> Any:
    return drop(world.client("backup").get_backup_plan(BackupPlanId=physical)["BackupPlan"], "RuleId")


def read_flow_log(world: World, physical: str) -> Any:
    (found,) = world.client("ec2").describe_flow_logs(FlowLogIds=[physical])["FlowLogs"]
    return drop(found["Tags"])


def backup_plan(days: int) -> Properties:
    entry = {
        "RuleName": "daily",
        "TargetBackupVault": ref("Vault"),
        "ScheduleExpression": "cron(0 5 ? * * *)",
        "Lifecycle": {"DeleteAfterDays": days},
    }
    return {"BackupPlan": {"BackupPlanName": {"Fn::Sub": "plan-${AWS::StackName}"}, "BackupPlanRule": [entry]}}


FULL_BUCKET: Properties = {
    "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
    "PublicAccessBlockConfiguration": {"BlockPublicAcls": True, "BlockPublicPolicy": True},
    "BucketEncryption": {
        "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    },
    "VersioningConfiguration": {"Status": "Enabled"},
    "LifecycleConfiguration": {"Rules": [{"Id": "r", "Status": "Enabled", "ExpirationInDays": 7}]},
    "CorsConfiguration": {"CorsRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]},
    "Tags": pair("a", "1"),
}
# Versioning that was on can be suspended, never be as it is in a new bucket.
OTHER_BUCKET: Properties = {
    "PublicAccessBlockConfiguration": {"BlockPublicAcls": True},
    "BucketEncryption": {
        "ServerSideEncryptionConfiguration": [
            {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn("KeyA")}}
        ]
    },
    "VersioningConfiguration": {"Status": "Suspended"},
    "LifecycleConfiguration": {"Rules": [{"Id": "r", "Status": "Enabled", "ExpirationInDays": 9}]},
    "Tags": pair("b", "2"),
}

CASES: dict[str, tuple[str, Properties, Properties, Read]] = {
    "Vpc": (
        "AWS::EC2::VPC",
        {"CidrBlock": "10.1.0.0/16", "EnableDnsHostnames": True, "Tags": pair("a", "1")},
        {"CidrBlock": "10.1.0.0/16", "EnableDnsSupport": False, "Tags": pair("b", "2")},
        read_vpc,
    ),
    "Subnet": (
        "AWS::EC2::Subnet",
        {"VpcId": ref("Net"), "CidrBlock": "10.0.9.0/24", "MapPublicIpOnLaunch": True, "Tags": pair("a", "1")},
        {"VpcId": ref("Net"), "CidrBlock": "10.0.9.0/24", "Tags": pair("a", "2")},
        described("describe_subnets", "SubnetIds", "Subnets", "SubnetArn", "AvailabilityZone", "AvailabilityZoneId"),
    ),
    "Table": (
        "AWS::EC2::RouteTable",
        {"VpcId": ref("Net"), "Tags": pair("a", "1")},
        {"VpcId": ref("Net"), "Tags": pair("b", "2")},
        described("describe_route_tables", "RouteTableIds", "RouteTables"),
    ),
    "Route": (
        "AWS::EC2::Route",
        {"RouteTableId": ref("TableA"), "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": ref("Gate")},
        {"RouteTableId": ref("TableA"), "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": ref("Nat")},
        read_route,
    ),
    "Interface": (
        "AWS::EC2::VPCEndpoint",
        {
            "VpcId": ref("Net"),
            "ServiceName": "com.amazonaws.us-east-1.secretsmanager",
            "VpcEndpointType": "Interface",
            "SubnetIds": [ref("SubnetA")],
            "SecurityGroupIds": [ref("GroupA")],
            "PolicyDocument": statement("one", Principal="*"),
        },
        {
            "VpcId": ref("Net"),
            "ServiceName": "com.amazonaws.us-east-1.secretsmanager",
            "VpcEndpointType": "Interface",
            "SubnetIds": [ref("SubnetB")],
            "SecurityGroupIds": [ref("GroupB")],
            "PolicyDocument": statement("two", Principal="*"),
            "Tags": pair("b", "2"),
        },
        described("describe_vpc_endpoints", "VpcEndpointIds", "VpcEndpoints"),
    ),
    "Gateway": (
        "AWS::EC2::VPCEndpoint",
        {
            "VpcId": ref("Net"),
            "ServiceName": "com.amazonaws.us-east-1.s3",
            "RouteTableIds": [ref("TableA")],
            "PolicyDocument": statement("one", Principal="*"),
        },
        {
            "VpcId": ref("Net"),
            "ServiceName": "com.amazonaws.us-east-1.s3",
            "RouteTableIds": [ref("TableA"), ref("TableB")],
            "PolicyDocument": statement("two", Principal="*"),
        },
        described("describe_vpc_endpoints", "VpcEndpointIds", "VpcEndpoints"),
    ),
    "Group": (
        "AWS::EC2::SecurityGroup",
        {
            "VpcId": ref("Net"),
            "GroupDescription": "g",
            "SecurityGroupIngress": [rule(1), rule(2, Description="two")],
            "SecurityGroupEgress": [rule(3)],
            "Tags": pair("a", "1"),
        },
        {
            "VpcId": ref("Net"),
            "GroupDescription": "g",
            "SecurityGroupIngress": [
                rule(2, Description="other"),
                {"IpProtocol": "tcp", "FromPort": 4, "ToPort": 5, "SourceSecurityGroupId": ref("GroupA")},
            ],
        },
        read_group,
    ),
    "Ingress": (
        "AWS::EC2::SecurityGroupIngress",
        {"GroupId": ref("GroupA"), **rule(6, Description="one")},
        {"GroupId": ref("GroupA"), **rule(6, Description="two")},
        read_rule,
    ),
    "FlowLog": (
        "AWS::EC2::FlowLog",
        {
            "ResourceId": ref("Net"),
            "ResourceType": "VPC",
            "TrafficType": "ALL",
            "LogGroupName": ref("Logs"),
            "DeliverLogsPermissionArn": arn("RoleA"),
            "Tags": pair("a", "1"),
        },
        {
            "ResourceId": ref("Net"),
            "ResourceType": "VPC",
            "TrafficType": "ALL",
            "LogGroupName": ref("Logs"),
            "DeliverLogsPermissionArn": arn("RoleA"),
            "Tags": pair("b", "2"),
        },
        read_flow_log,
    ),
    "Role": (
        "AWS::IAM::Role",
        {
            "AssumeRolePolicyDocument": trust("lambda.amazonaws.com"),
            "Description": "one",
            "MaxSessionDuration": 7200,
            "ManagedPolicyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
            "Policies": [
                {"PolicyName": "a", "PolicyDocument": statement("one")},
                {"PolicyName": "b", "PolicyDocument": statement("one")},
            ],
            "Tags": pair("a", "1"),
        },
        {
            "AssumeRolePolicyDocument": trust("rds.amazonaws.com"),
            "ManagedPolicyArns": ["arn:aws:iam::aws:policy/SecurityAudit"],
            "Policies": [{"PolicyName": "b", "PolicyDocument": statement("two")}],
            "Tags": pair("b", "2"),
        },
        read_role,
    ),
    "Policy": (
        "AWS::IAM::Policy",
        {"PolicyName": "inline-a", "PolicyDocument": statement("one"), "Roles": [ref("RoleA")]},
        {"PolicyName": "inline-b", "PolicyDocument": statement("two"), "Roles": [ref("RoleA"), ref("RoleB")]},
        read_policies_of_roles,
    ),
    "Managed": (
        "AWS::IAM::ManagedPolicy",
        {"PolicyDocument": statement("one"), "Roles": [ref("RoleA")]},
        {"PolicyDocument": statement("two"), "Roles": [ref("RoleB")]},
        read_managed_policy,
    ),
    "Key": (
        "AWS::KMS::Key",
        {
            "Description": "one",
            "EnableKeyRotation": True,
            "KeyPolicy": key_policy("one"),
            "PendingWindowInDays": 7,
            "Tags": pair("a", "1"),
        },
        {"Description": "two", "KeyPolicy": key_policy("two"), "Tags": pair("b", "2"), "PendingWindowInDays": 8},
        read_key,
    ),
    "Alias": (
        "AWS::KMS::Alias",
        {"AliasName": {"Fn::Sub": "alias/${AWS::StackName}"}, "TargetKeyId": ref("KeyA")},
        {"AliasName": {"Fn::Sub": "alias/${AWS::StackName}"}, "TargetKeyId": ref("KeyB")},
        read_alias,
    ),
    "LogGroup": (
        "AWS::Logs::LogGroup",
        {"RetentionInDays": 7, "Tags": pair("a", "1")},
        {"Tags": pair("a", "2")},
        read_log_group,
    ),
    "Filter": (
        "AWS::Logs::MetricFilter",
        {
            "LogGroupName": ref("Logs"),
            "FilterPattern": "ERROR",
            "MetricTransformations": [{"MetricName": "m", "MetricNamespace": "n", "MetricValue": "1"}],
        },
        {
            "LogGroupName": ref("Logs"),
            "FilterPattern": "FATAL",
            "MetricTransformations": [{"MetricName": "m", "MetricNamespace": "n", "MetricValue": "2"}],
        },
        read_filter,
    ),
    "Alarm": (
        "AWS::CloudWatch::Alarm",
        {**ALARM, "Threshold": 1, "AlarmActions": [ref("TopicA")], "Tags": pair("a", "1")},
        {**ALARM, "Threshold": 2, "OKActions": [ref("TopicB")], "AlarmDescription": "x", "Tags": pair("b", "2")},
        read_alarm,
    ),
    "Composite": (
        "AWS::CloudWatch::CompositeAlarm",
        {"AlarmRule": {"Fn::Sub": 'ALARM("${Alarm}")'}, "AlarmActions": [ref("TopicA")]},
        {"AlarmRule": {"Fn::Sub": 'NOT ALARM("${Alarm}")'}, "AlarmDescription": "x"},
        read_alarm,
    ),
    "Dashboard": (
        "AWS::CloudWatch::Dashboard",
        {"DashboardBody": '{"widgets":[]}'},
        {"DashboardBody": '{"widgets":[{"type":"text","properties":{"markdown":"x"}}]}'},
        read_dashboard,
    ),
    "Rule": (
        "AWS::Events::Rule",
        {
            "ScheduleExpression": "rate(5 minutes)",
            "Description": "one",
            "Targets": [{"Id": "a", "Arn": ref("TopicA")}, {"Id": "b", "Arn": ref("TopicB")}],
        },
        {
            "ScheduleExpression": "rate(9 minutes)",
            "State": "DISABLED",
            "Description": "two",
            "Targets": [{"Id": "b", "Arn": ref("TopicA")}],
            "Tags": pair("b", "2"),
        },
        read_event_rule,
    ),
    "Topic": (
        "AWS::SNS::Topic",
        {
            "DisplayName": "one",
            "KmsMasterKeyId": ref("KeyA"),
            "Subscription": [{"Protocol": "email", "Endpoint": "a@example.com"}],
            "Tags": pair("a", "1"),
        },
        {
            "SignatureVersion": "2",
            "TracingConfig": "Active",
            "Subscription": [{"Protocol": "email", "Endpoint": "b@example.com"}],
        },
        read_topic,
    ),
    "TopicPolicy": (
        "AWS::SNS::TopicPolicy",
        {"Topics": [ref("TopicA")], "PolicyDocument": statement("one", Principal="*")},
        {"Topics": [ref("TopicB")], "PolicyDocument": statement("two", Principal="*")},
        read_topic_policies,
    ),
    "Subscription": (
        "AWS::SNS::Subscription",
        {"TopicArn": ref("TopicA"), "Protocol": "email", "Endpoint": "c@example.com"},
        {
            "TopicArn": ref("TopicA"),
            "Protocol": "email",
            "Endpoint": "c@example.com",
            "FilterPolicy": {"kind": ["order"]},
        },
        read_subscription,
    ),
    "Secret": (
        "AWS::SecretsManager::Secret",
        {"SecretString": "one", "Description": "one", "KmsKeyId": ref("KeyA"), "Tags": pair("a", "1")},
        {"SecretString": "two", "Description": "two", "KmsKeyId": ref("KeyB"), "Tags": pair("b", "2")},
        read_secret,
    ),
    "SecretPolicy": (
        "AWS::SecretsManager::ResourcePolicy",
        {"SecretId": ref("Secret"), "ResourcePolicy": statement("one", Principal="*", Action="secretsmanager:*")},
        {"SecretId": ref("Secret"), "ResourcePolicy": statement("two", Principal="*", Action="secretsmanager:*")},
        read_secret_policy,
    ),
    "Bucket": ("AWS::S3::Bucket", FULL_BUCKET, OTHER_BUCKET, read_bucket),
    "BucketPolicy": (
        "AWS::S3::BucketPolicy",
        {"Bucket": ref("Bucket"), "PolicyDocument": statement("one", Principal="*", Action="s3:*")},
        {"Bucket": ref("Bucket"), "PolicyDocument": statement("two", Principal="*", Action="s3:*")},
        read_bucket_policy,
    ),
    "Function": (
        "AWS::Lambda::Function",
        {
            "Role": arn("RoleA"),
            "Runtime": "python3.12",
            "Handler": "index.handler",
            "Code": {"ZipFile": CODE},
            "Timeout": 5,
            "Environment": {"Variables": {"ONE": "1"}},
            "Tags": pair("a", "1"),
        },
        {
            "Role": arn("RoleB"),
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Code": {"ZipFile": CODE + "# more\n"},
            "Timeout": 6,
            "MemorySize": 256,
            "Environment": {"Variables": {"TWO": "2"}},
            "Tags": pair("b", "2"),
        },
        read_function,
    ),
    "Parameter": (
        "AWS::SSM::Parameter",
        {"Type": "String", "Value": "one", "Description": "one", "Tags": {"a": "1"}},
        {"Type": "String", "Value": "two", "Tags": {"b": "2"}},
        read_parameter,
    ),
    "Plan": ("AWS::Backup::BackupPlan", backup_plan(35), backup_plan(70), read_backup_plan),
}


def resources(which: int) -> dict[str, dict[str, Any]]:
    cases = {name: {"Type": case[0], "Properties": case[which]} for name, case in CASES.items()}
    return {**HELPERS, **cases}


def snapshot(world: World, stack: dict[str, Any]) -> dict[str, Any]:
    """What each case's reader sees, names and numbers of this stack masked."""
    records = world.resources(stack["StackId"])
    masks = {entry["PhysicalResourceId"]: f"<{name}>" for name, entry in records.items()}
    masks |= {stack["StackId"]: "<stack>", stack["StackName"]: "<name>"}
    found = {}
    for name, case in CASES.items():
        text = json.dumps(case[3](world, records[name]["PhysicalResourceId"]), default=str, sort_keys=True)
        for physical in sorted(masks, key=len, reverse=True):
            text = text.replace(physical, masks[physical])
        found[name] = drop(json.loads(text))
    return found


def failures(world: World, stack: dict[str, Any]) -> str:
    """What failed, and why, for the message of an assertion."""
    return "\n".join(str(event) for event in world.events(stack["StackId"]) if "FAILED" in event[1])


ARGUMENTS: dict[str, Any] = {"Capabilities": ["CAPABILITY_IAM"]}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Snapshots: before, after a failed update, after an update, after going back, and of a new stack."""
    world = World(Path(tmp_path_factory.mktemp("types")))
    found = {}

    def update(body: dict[str, dict[str, Any]], wanted: str) -> None:
        text = json.dumps({"Resources": body})
        world.cfn.update_stack(StackName=stack["StackName"], TemplateBody=text, **ARGUMENTS)
        status = world.settle(stack["StackId"])["StackStatus"]
        assert status == wanted, failures(world, stack)

    stack = world.made({"Resources": resources(1)}, **ARGUMENTS)
    assert stack["StackStatus"] == "CREATE_COMPLETE", failures(world, stack)
    physical = {name: entry["PhysicalResourceId"] for name, entry in world.resources(stack["StackId"]).items()}
    found["before"] = snapshot(world, stack)
    alias = {"AliasName": "alias/wrong", "TargetKeyId": "none"}
    broken = {"Type": "AWS::KMS::Alias", "Properties": alias, "DependsOn": list(CASES)}
    update({**resources(2), "Broken": broken}, "UPDATE_ROLLBACK_COMPLETE")
    found["rolled back"] = snapshot(world, stack)
    update(resources(2), "UPDATE_COMPLETE")
    found["after"] = snapshot(world, stack)
    update(resources(1), "UPDATE_COMPLETE")
    found["again"] = snapshot(world, stack)
    now = {name: entry["PhysicalResourceId"] for name, entry in world.resources(stack["StackId"]).items()}
    assert now == physical, "nothing was replaced"
    world.deleted(stack["StackId"])
    stack = world.made({"Resources": resources(2)}, **ARGUMENTS)
    assert stack["StackStatus"] == "CREATE_COMPLETE", failures(world, stack)
    found["new"] = snapshot(world, stack)
    yield found
    world.close()


@pytest.mark.parametrize("name", CASES)
def test_an_update_in_place_gives_what_a_new_stack_has(seen: dict[str, dict[str, Any]], name: str) -> None:
    assert seen["after"][name] != seen["before"][name]
    assert seen["after"][name] == seen["new"][name]


@pytest.mark.parametrize("name", CASES)
def test_a_failed_update_leaves_a_resource_as_it_was(seen: dict[str, dict[str, Any]], name: str) -> None:
    assert seen["rolled back"][name] == seen["before"][name]


@pytest.mark.parametrize("name", CASES)
def test_what_was_changed_can_be_changed_back(seen: dict[str, dict[str, Any]], name: str) -> None:
    assert seen["again"][name] == seen["before"][name]
