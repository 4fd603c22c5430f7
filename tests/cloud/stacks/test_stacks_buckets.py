"""Buckets as the complete blueprint uses them: one logs into the other, and both go with a test stack."""

from __future__ import annotations

from typing import Any

import pytest
from stacks_world import World

from multiaz.blueprint.empty_bucket import EMPTY_BUCKET_CODE

CAPABILITIES = ["CAPABILITY_NAMED_IAM"]
VERSIONED = {
    "VersioningConfiguration": {"Status": "Enabled"},
    "Tags": [{"Key": "EmptyOnDeletion", "Value": "true"}],
}
RULES: list[dict[str, Any]] = [
    {"Id": "expire", "Status": "Enabled", "ExpirationInDays": 90},
    {
        "Id": "markers",
        "Status": "Enabled",
        "ExpiredObjectDeleteMarker": True,
        "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
    },
    {"Id": "parts", "Status": "Disabled", "Prefix": "x/", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3}},
    {"Id": "tagged", "Status": "Enabled", "TagFilters": [{"Key": "k", "Value": "v"}], "ExpirationInDays": 5},
]


def pair() -> dict[str, Any]:
    """A bucket, the bucket its access logs go to with the policy that lets them in, and one function for both."""
    log_policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [{"Fn::GetAtt": ["Logs", "Arn"]}, {"Fn::Sub": "${Logs.Arn}/*"}],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Effect": "Allow",
                "Principal": {"Service": "logging.s3.amazonaws.com"},
                "Action": "s3:PutObject",
                "Resource": {"Fn::Sub": "${Logs.Arn}/*"},
                "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
            },
        ],
    }
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    return {
        "Resources": {
            "Logs": {
                "Type": "AWS::S3::Bucket",
                "Properties": {
                    **VERSIONED,
                    "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                    "LifecycleConfiguration": {"Rules": RULES},
                },
            },
            "LogsPolicy": {
                "Type": "AWS::S3::BucketPolicy",
                "Properties": {"Bucket": {"Ref": "Logs"}, "PolicyDocument": log_policy},
            },
            "Backups": {
                "Type": "AWS::S3::Bucket",
                "DependsOn": "LogsPolicy",
                "Properties": {
                    **VERSIONED,
                    "LoggingConfiguration": {"DestinationBucketName": {"Ref": "Logs"}, "LogFilePrefix": "backups/"},
                },
            },
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}},
            "Emptier": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Code": {"ZipFile": EMPTY_BUCKET_CODE},
                    "Handler": "index.handler",
                    "Runtime": "python3.13",
                    "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                },
            },
            **{
                f"Empty{name}": {
                    "Type": "Custom::EmptyBucket",
                    "Properties": {
                        "ServiceToken": {"Fn::GetAtt": ["Emptier", "Arn"]},
                        "BucketName": {"Ref": name},
                    },
                }
                for name in ("Logs", "Backups")
            },
        },
        "Outputs": {name: {"Value": {"Ref": name}} for name in ("Logs", "Backups")},
    }


def test_two_buckets_are_emptied_by_one_function_and_both_go(world: World) -> None:
    stack = world.made(pair(), Capabilities=CAPABILITIES)
    assert stack["StackStatus"] == "CREATE_COMPLETE", world.events(stack["StackId"])
    made, s3 = world.outputs(stack), world.client("s3")
    told = s3.get_bucket_logging(Bucket=made["Backups"])["LoggingEnabled"]
    assert (told["TargetBucket"], told["TargetPrefix"]) == (made["Logs"], "backups/")
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=made["Logs"])["Rules"]}
    assert list(rules) == [rule["Id"] for rule in RULES]
    assert rules["expire"]["Expiration"] == {"Days": 90}
    assert rules["markers"]["Expiration"] == {"ExpiredObjectDeleteMarker": True}
    assert rules["markers"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert (rules["parts"]["Status"], rules["parts"]["Filter"]) == ("Disabled", {"Prefix": "x/"})
    assert rules["parts"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}
    assert rules["tagged"]["Filter"] == {"Tag": {"Key": "k", "Value": "v"}}

    # More than the thousand that one list or one deletion holds, which ends within the versions of one key, after
    # many others. Put into moto itself, as each call through the front door is saved before its reply.
    backend = world.tail.backend("s3")
    for number in range(550):
        backend.put_object(made["Backups"], f"export/{number}", b"x")
        backend.put_object(made["Backups"], "same", b"x")
    for name in ("same", "backups/0"):
        backend.put_object(made["Logs"], name, b"x")
    for name in ("same", "backups/0"):
        for bucket in (made["Backups"], made["Logs"]):
            s3.delete_object(Bucket=bucket, Key=name)
    for bucket in (made["Backups"], made["Logs"]):
        for number in range(3):
            upload = s3.create_multipart_upload(Bucket=bucket, Key=f"unfinished-{number % 2}")["UploadId"]
            s3.upload_part(Bucket=bucket, Key=f"unfinished-{number % 2}", UploadId=upload, PartNumber=1, Body=b"part")

    gone = world.deleted(stack["StackId"])
    assert gone["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])[-8:]
    assert s3.list_buckets()["Buckets"] == []


def test_a_bucket_without_the_tag_is_not_emptied(world: World) -> None:
    """The function asks for it on AWS too: its custom resource may go while the bucket stays."""
    template = pair()
    del template["Resources"]["Backups"]["Properties"]["Tags"]
    stack = world.made(template, Capabilities=CAPABILITIES)
    made, s3 = world.outputs(stack), world.client("s3")
    s3.put_object(Bucket=made["Backups"], Key="k", Body=b"x")
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_FAILED"
    (version,) = s3.list_object_versions(Bucket=made["Backups"])["Versions"]
    s3.delete_object(Bucket=made["Backups"], Key="k", VersionId=version["VersionId"])
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])[-4:]


def test_a_bucket_that_holds_something_and_has_no_emptier_stays(world: World) -> None:
    template = pair()
    del template["Resources"]["EmptyLogs"]
    stack = world.made(template, Capabilities=CAPABILITIES)
    made, s3 = world.outputs(stack), world.client("s3")
    s3.put_object(Bucket=made["Logs"], Key="k", Body=b"x")
    s3.put_object(Bucket=made["Backups"], Key="k", Body=b"x")
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_FAILED"
    (failed,) = [event for event in world.events(stack["StackId"]) if event[1] == "DELETE_FAILED" and event[2]][:1]
    assert (failed[0], "BucketNotEmpty" in failed[2]) == ("Logs", True)
    assert s3.get_object(Bucket=made["Logs"], Key="k")["Body"].read() == b"x"
    s3.delete_object(Bucket=made["Logs"], Key="k", VersionId=s3.get_object(Bucket=made["Logs"], Key="k")["VersionId"])
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", world.events(stack["StackId"])[-4:]


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (
            {"NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}},
            "property NotificationConfiguration of",
        ),
        ({"ReplicationConfiguration": {"Role": "r", "Rules": []}}, "property ReplicationConfiguration of"),
        ({"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}, "property ObjectLockConfiguration of"),
        ({"LoggingConfiguration": {"DestinationBucketName": "no-such-bucket"}}, "InvalidTargetBucketForLogging"),
    ],
)
def test_what_a_bucket_cannot_have_here_is_refused_by_name(
    world: World, properties: dict[str, Any], reason: str
) -> None:
    stack = world.made({"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": properties}}})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert reason in str([event for event in world.events(stack["StackId"]) if event[1] == "CREATE_FAILED"])
    assert world.client("s3").list_buckets()["Buckets"] == []


def test_a_bucket_with_object_lock_has_versions_and_keeps_what_is_held(world: World) -> None:
    stack = world.made({"Resources": {"B": {"Type": "AWS::S3::Bucket", "Properties": {"ObjectLockEnabled": True}}}})
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    bucket, s3 = world.resources(stack["StackId"])["B"]["PhysicalResourceId"], world.client("s3")
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"
    assert s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
    assert world.deleted(stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
