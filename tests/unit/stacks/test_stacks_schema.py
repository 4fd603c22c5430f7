from __future__ import annotations

from typing import Any

import pytest

from multiaz.cloud.stacks.perform import property_problems
from multiaz.cloud.stacks.resources import available_types, handler_for
from multiaz.cloud.stacks.resources.secrets import ROTATION_EXCLUDES
from multiaz.cloud.stacks.schema import attribute_names, find_schema, pointer_names, typed_properties
from multiaz.cloud.stacks.template import ResourceDefinition
from multiaz.cloud.stacks.values import Unknown

REGION = "us-east-1"


def problems(kind: str, properties: dict[str, Any]) -> str | None:
    return property_problems(REGION, ResourceDefinition("X", kind), properties)


@pytest.mark.parametrize(
    ("kind", "properties", "part"),
    [
        ("AWS::EC2::VPC", {"CidrBlok": "10.0.0.0/16"}, "#: extraneous key [CidrBlok] is not permitted"),
        ("AWS::EC2::VPC", {}, "exactly one of [CidrBlock, Ipv4IpamPoolId] is required"),
        ("AWS::EC2::VPC", {"CidrBlock": ["x"]}, "#/CidrBlock: expected type: String, found: JSONArray"),
        (
            "AWS::EC2::VPC",
            {"CidrBlock": "10.0.0.0/16", "EnableDnsSupport": "maybe"},
            "#/EnableDnsSupport: expected type: Boolean, found: String",
        ),
        ("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16", "VpcId": "v"}, "extraneous key [VpcId] is not permitted"),
        ("AWS::EC2::RouteTable", {}, "#: required key [VpcId] not found"),
        (
            "AWS::EC2::VPC",
            {"CidrBlock": "10.0.0.0/16", "Tags": [{"Key": "a"}]},
            "#/Tags/0: required key [Value] not found",
        ),
        (
            "AWS::S3::Bucket",
            {"VersioningConfiguration": {"Status": "On"}},
            "#/VersioningConfiguration/Status: On is not a valid enum value",
        ),
        ("AWS::IAM::Policy", {"PolicyName": "p", "PolicyDocument": {}}, "no subschema matched"),
        ("AWS::KMS::Key", {"PendingWindowInDays": 3}, "#/PendingWindowInDays: 3 is not greater or equal to 7"),
        # AWS has these, this local cloud has not: refused by name, never skipped.
        (
            "AWS::S3::Bucket",
            {"ReplicationConfiguration": {"Role": "r", "Rules": []}},
            "property ReplicationConfiguration of AWS::S3::Bucket is not available in this local cloud",
        ),
        ("AWS::EC2::VPC", {"Ipv4IpamPoolId": "p", "Ipv4NetmaskLength": 20}, "property Ipv4IpamPoolId"),
        (
            "AWS::RDS::DBInstance",
            {"SourceDBInstanceIdentifier": "p", "MasterUsername": "u"},
            "MasterUsername must not be set together with SourceDBInstanceIdentifier",
        ),
        (
            "AWS::RDS::DBInstance",
            {"SourceDbiResourceId": "db-P", "UseLatestRestorableTime": True, "MasterUsername": "u"},
            "MasterUsername must not be set together with a restore to a point in time",
        ),
        (
            "AWS::RDS::DBInstance",
            {"SourceDBInstanceIdentifier": "p", "LicenseModel": "postgresql-license"},
            "LicenseModel must not be set together with SourceDBInstanceIdentifier",
        ),
        (
            "AWS::RDS::DBInstance",
            {"SourceDBInstanceIdentifier": "p", "EngineLifecycleSupport": "open-source-rds-extended-support"},
            "EngineLifecycleSupport must not be set together with SourceDBInstanceIdentifier",
        ),
        (
            "AWS::SecretsManager::RotationSchedule",
            {"SecretId": "s", "HostedRotationLambda": {"RotationType": "MySQLSingleUser"}},
            "RotationType MySQLSingleUser is not available",
        ),
        (
            "AWS::SecretsManager::RotationSchedule",
            {
                "SecretId": "s",
                "HostedRotationLambda": {"RotationType": "PostgreSQLSingleUser", "ExcludeCharacters": "abc"},
            },
            "ExcludeCharacters of HostedRotationLambda is not available",
        ),
        (
            "AWS::SecretsManager::RotationSchedule",
            {
                "SecretId": "s",
                "HostedRotationLambda": {"RotationType": "PostgreSQLSingleUser", "SuperuserSecretArn": "arn:x"},
            },
            "SuperuserSecretArn of HostedRotationLambda belongs to",
        ),
        (
            "AWS::SecretsManager::SecretTargetAttachment",
            {"SecretId": "s", "TargetId": "t", "TargetType": "AWS::RDS::DBCluster"},
            "TargetType AWS::RDS::DBCluster is not available",
        ),
        (
            "AWS::Lambda::Function",
            {"Code": {"S3Bucket": "bbb", "S3Key": "k"}, "Role": "arn:aws:iam::123456789012:role/r"},
            "Code other than an inline ZipFile",
        ),
        (
            "AWS::Lambda::Function",
            {
                "Code": {"ZipFile": "x", "SourceKMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k"},
                "Role": "arn:aws:iam::123456789012:role/r",
                "Runtime": "python3.13",
            },
            "SourceKMSKeyArn of Code beside ZipFile is not available",
        ),
        (
            "AWS::SSM::Parameter",
            {"Type": "String", "Value": "x-{{resolve:secretsmanager:s:SecretString:password}}"},
            "a dynamic reference to a secret in Value",
        ),
        (
            "AWS::SSM::Parameter",
            {"Type": "String", "Value": "x", "AllowedPattern": "y"},
            "property AllowedPattern of AWS::SSM::Parameter is not available",
        ),
        (
            "AWS::SecretsManager::RotationSchedule",
            {"SecretId": "s", "RotationLambdaARN": "arn:aws:lambda:us-east-1:123456789012:function:f"},
            "RotationLambdaARN is not available in this local cloud, as functions are never run",
        ),
        (
            "AWS::SecretsManager::ResourcePolicy",
            {"SecretId": "s", "ResourcePolicy": {}, "BlockPublicPolicy": True},
            "property BlockPublicPolicy of AWS::SecretsManager::ResourcePolicy is not available",
        ),
        (
            "AWS::KMS::Key",
            {"RotationPeriodInDays": 90},
            "property RotationPeriodInDays of AWS::KMS::Key is not available",
        ),
        ("AWS::KMS::Key", {"Origin": "EXTERNAL"}, "Origin EXTERNAL is not available"),
        (
            "AWS::Logs::LogGroup",
            {"DeletionProtectionEnabled": True},
            "property DeletionProtectionEnabled of AWS::Logs::LogGroup is not available",
        ),
        (
            "AWS::EC2::NatGateway",
            {"SubnetId": "s", "ConnectivityType": "private", "PrivateIpAddress": "10.0.0.9"},
            "property PrivateIpAddress of AWS::EC2::NatGateway is not available",
        ),
        (
            "AWS::S3::Bucket",
            {
                "LifecycleConfiguration": {
                    "Rules": [{"Status": "Enabled", "ExpirationInDays": 1, "ObjectSizeGreaterThan": "9"}]
                }
            },
            "property ObjectSizeGreaterThan of a bucket is not available",
        ),
        (
            "AWS::S3::Bucket",
            {
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Status": "Enabled",
                            "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2},
                        }
                    ]
                }
            },
            "property NewerNoncurrentVersions of a bucket is not available",
        ),
        (
            "AWS::S3::Bucket",
            {
                "LoggingConfiguration": {
                    "DestinationBucketName": "bbb",
                    "TargetObjectKeyFormat": {"SimplePrefix": {}},
                }
            },
            "property TargetObjectKeyFormat of a bucket is not available",
        ),
        ("Custom::Thing", {}, "required key [ServiceToken] not found"),
        ("Custom::Thing", {"ServiceToken": "t", "Foo": 1}, "property Foo of Custom::Thing is not available"),
    ],
)
def test_wrong_properties_are_refused_by_name(kind: str, properties: dict[str, Any], part: str) -> None:
    found = problems(kind, properties)
    assert found is not None
    assert part in found
    assert "resource X" in found


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("AWS::EC2::VPC", {"CidrBlock": "10.0.0.0/16", "EnableDnsSupport": "true"}),
        ("AWS::EC2::Subnet", {"VpcId": Unknown(("Ref", "Vpc")), "CidrBlock": Unknown(("x",))}),
        ("AWS::RDS::DBInstance", {"Engine": "postgres", "MasterUserPassword": "{{resolve:secretsmanager:s}}"}),
        ("AWS::KMS::Key", {"KeyPolicy": {"Any": ["thing"]}, "EnableKeyRotation": True}),
        ("Custom::EmptyBucket", {"ServiceToken": "arn", "BucketName": "b"}),
        ("AWS::CloudFormation::WaitConditionHandle", {}),
    ],
)
def test_right_properties_pass(kind: str, properties: dict[str, Any]) -> None:
    assert problems(kind, properties) is None


def test_rotation_leaves_out_the_characters_we_say_it_does() -> None:
    from multiaz.cloud.rds.passwords import EXCLUDED_CHARACTERS

    assert set(ROTATION_EXCLUDES) == set(EXCLUDED_CHARACTERS)


def test_scalars_get_the_types_the_schema_asks_for() -> None:
    schema = find_schema(REGION, "AWS::RDS::DBInstance")
    assert schema is not None
    typed, found = typed_properties(
        schema,
        {
            "AllocatedStorage": 100,
            "BackupRetentionPeriod": "7",
            "MultiAZ": "true",
            "Port": 5432,
            "MonitoringInterval": 60.0,
            "Tags": [{"Key": "n", "Value": 7}],
        },
    )
    assert found == []
    assert typed == {
        "AllocatedStorage": "100",
        "BackupRetentionPeriod": 7,
        "MultiAZ": True,
        "Port": "5432",
        "MonitoringInterval": 60,
        "Tags": [{"Key": "n", "Value": "7"}],
    }


def test_unknown_types_have_no_schema() -> None:
    assert find_schema(REGION, "AWS::EC2::Nothing") is None
    assert find_schema(REGION, "../../etc/passwd") is None
    assert find_schema("../../etc", "AWS::EC2::VPC") is not None


@pytest.mark.parametrize("kind", available_types())
def test_handlers_name_only_what_aws_has(kind: str) -> None:
    """A property or attribute that AWS lacks would let a template pass here that fails there."""
    handler, schema = handler_for(kind), find_schema(REGION, kind)
    assert handler is not None
    assert schema is not None
    if kind != "AWS::CloudFormation::CustomResource":
        assert handler.properties <= set(schema["properties"])
    known = attribute_names(schema) | set(schema["properties"]) | {"Ipv6CidrBlocks"}
    assert {name.split(".")[0] for name in handler.attributes} <= known | {"Type", "Arn", "TopicName"}
    writable = set(schema["properties"]) - pointer_names(schema, "readOnlyProperties")
    assert handler.properties <= writable | {"BucketName", "ServiceToken"}


def test_schemas_are_those_cfn_lint_itself_uses() -> None:
    """We read cfn-lint's data files directly, because importing it costs a second."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    for kind in available_types():
        assert find_schema(REGION, kind) == PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
