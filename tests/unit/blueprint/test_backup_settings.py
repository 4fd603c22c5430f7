"""Backups beside RDS's own: two buckets, who may use them, how they go, the options of AWS."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from multiaz.blueprint import settings_from, synthesize, to_yaml
from multiaz.rules import lint

Document = dict[str, Any]

BUCKETS = ("BackupBucket", "AccessLogBucket")
KEY = {"Fn::If": ["CreateKMSKey", {"Fn::GetAtt": ["DBEncryptionKey", "Arn"]}, {"Ref": "KMSKeyARN"}]}
COPY = {
    "backup_copy_region": "eu-west-1",
    "backup_copy_kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/0f3a1b2c-1111-2222-3333-444455556666",
}
KEPT = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
"""A creation that rolls back leaves nothing that costs."""
OPTIONS: dict[str, dict[str, Any]] = {
    "AWS Backup": {"aws_backup": True},
    "a copy elsewhere": COPY,
    "all of it, in a test": {
        "preset": "test",
        "aws_backup": True,
        "final_snapshot": True,
        "access_log_retention_days": 1,
        **COPY,
    },
    "a kept bucket in a test": {"preset": "test", "keep_bucket": True},
}


def properties(document: Document, logical_id: str) -> Any:
    return document["Resources"][logical_id]["Properties"]


def statements(document: Document, logical_id: str) -> dict[str, dict[str, Any]]:
    found = properties(document, logical_id)
    policy = found.get("PolicyDocument") or found["AssumeRolePolicyDocument"]
    return {statement.get("Sid", ""): statement for statement in policy["Statement"]}


def walk(value: Any) -> Iterator[Any]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from walk(child)


def waits_for(document: Document, logical_id: str) -> set[str]:
    """Resources that are made before it and deleted after it, by reference or by DependsOn, also of others."""
    direct: dict[str, set[str]] = {}
    for name, resource in document["Resources"].items():
        depends = resource.get("DependsOn", [])
        found = {depends} if isinstance(depends, str) else set(depends)
        for item in walk(resource["Properties"]):
            match item:
                case {"Ref": str(other)} | {"Fn::GetAtt": [str(other), *_]}:
                    found.add(other)
                case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), *_]}:
                    found |= set(re.findall(r"\$\{([A-Za-z0-9]+)", text))
        direct[name] = found & document["Resources"].keys()
    reached: set[str] = set()
    pending = [logical_id]
    while pending:
        new = direct[pending.pop()] - reached
        reached |= new
        pending += new
    return reached


def made(**values: Any) -> Document:
    return synthesize(settings_from(values)).to_dict()


@pytest.mark.long
@pytest.mark.parametrize("values", OPTIONS.values(), ids=OPTIONS)
def test_cfn_lint_is_silent_with_every_option(values: dict[str, Any]) -> None:
    assert [finding.as_text() for finding in lint(to_yaml(settings_from(values)))] == []


# Both buckets


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_test_bucket_goes_and_a_production_bucket_stays(prod: Document, test_stack: Document, bucket: str) -> None:
    for attribute in ("DeletionPolicy", "UpdateReplacePolicy"):
        for name in (bucket, f"{bucket}Policy"):
            assert prod["Resources"][name][attribute] == KEPT[attribute]
            assert test_stack["Resources"][name][attribute] == "Delete"
    emptied = [r["Properties"]["BucketName"] for r in test_stack["Resources"].values() if "Custom::" in r["Type"]]
    assert {"Ref": bucket} in emptied
    assert [name for name, r in prod["Resources"].items() if "Custom::" in r["Type"]] == []


@pytest.mark.parametrize("bucket", BUCKETS)
def test_only_a_bucket_that_goes_is_tagged_to_be_emptied(prod: Document, test_stack: Document, bucket: str) -> None:
    """The function leaves a bucket without the tag full, whatever CloudFormation deletes of the custom resource."""
    tag = {"Key": "EmptyOnDeletion", "Value": "true"}
    assert tag in properties(test_stack, bucket)["Tags"]
    assert tag not in properties(prod, bucket)["Tags"]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_refuses_plain_http_old_tls_and_the_public(document: Document, bucket: str) -> None:
    denied = [s for s in statements(document, f"{bucket}Policy").values() if s["Effect"] == "Deny"]
    assert {(s["Principal"], s["Action"]) for s in denied} == {("*", "s3:*")}
    everything = [{"Fn::GetAtt": [bucket, "Arn"]}, {"Fn::Sub": f"${{{bucket}.Arn}}/*"}]
    assert all(s["Resource"] == everything for s in denied)
    assert [s["Condition"] for s in denied] == [
        {"Bool": {"aws:SecureTransport": "false"}},
        {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
    ], "and nothing that would stop the clean-up"
    found = properties(document, bucket)
    assert set(found["PublicAccessBlockConfiguration"].values()) == {True}
    assert found["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_is_unnamed_so_that_a_kept_one_is_not_in_the_way(document: Document, bucket: str) -> None:
    assert "BucketName" not in properties(document, bucket)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_versions_are_kept_and_what_is_left_of_them_goes(document: Document, bucket: str) -> None:
    found = properties(document, bucket)
    assert found["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = [r for r in found["LifecycleConfiguration"]["Rules"] if r["Id"] == "DeleteOldVersions"]
    assert rule["ExpiredObjectDeleteMarker"] is True
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


# The backup bucket


def test_the_backup_buckets_lifecycle_is_the_seeds(document: Document) -> None:
    rules = {r["Id"]: r for r in properties(document, "BackupBucket")["LifecycleConfiguration"]["Rules"]}
    assert rules["TransitionToIA"]["Transitions"] == [
        {"TransitionInDays": 30, "StorageClass": "STANDARD_IA"},
        {"TransitionInDays": 90, "StorageClass": "GLACIER"},
    ]
    assert rules["ExpireOldBackups"]["ExpirationInDays"] == 365
    assert rules["DeleteOldVersions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}


def test_the_export_role_may_do_all_an_export_needs(document: Document) -> None:
    found = statements(document, "SnapshotExportPolicy").values()
    assert {
        *("s3:GetBucketLocation", "s3:ListBucket", "s3:PutObject*", "s3:GetObject*", "s3:DeleteObject*"),
        *("kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"),
        "kms:CreateGrant",
    } <= {action for statement in found for action in statement["Action"]}
    assert "*" not in [statement["Resource"] for statement in found]


def test_the_export_roles_trust_is_the_documented_one(document: Document) -> None:
    """No condition: a key the service does not send would refuse every export."""
    (trust,) = statements(document, "SnapshotExportRole").values()
    assert trust == {
        "Effect": "Allow",
        "Principal": {"Service": "export.rds.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }


def test_the_bucket_lets_the_export_in_and_nobody_else(document: Document) -> None:
    allowed = [s for s in statements(document, "BackupBucketPolicy").values() if s["Effect"] == "Allow"]
    role = {"AWS": {"Fn::GetAtt": ["SnapshotExportRole", "Arn"]}}
    assert [s["Principal"] for s in allowed] == [role, role]
    assert "s3:GetBucketLocation" in allowed[0]["Action"]


# The access log


def test_the_backup_bucket_is_logged_and_the_log_is_not(document: Document) -> None:
    assert properties(document, "BackupBucket")["LoggingConfiguration"] == {
        "DestinationBucketName": {"Ref": "AccessLogBucket"},
        "LogFilePrefix": "backup-bucket/",
    }
    assert "LoggingConfiguration" not in properties(document, "AccessLogBucket")


def test_s3_may_write_the_log_before_it_is_told_to(document: Document) -> None:
    assert "AccessLogBucketPolicy" in waits_for(document, "BackupBucket")


def test_s3_writes_the_log_for_this_account_only_and_below_its_prefix(document: Document) -> None:
    allowed = [s for s in statements(document, "AccessLogBucketPolicy").values() if s["Effect"] == "Allow"]
    assert allowed == [
        {
            "Sid": "DeliverLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": ["s3:PutObject"],
            "Resource": {"Fn::Sub": "${AccessLogBucket.Arn}/backup-bucket/*"},
            "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
        }
    ]


def test_the_log_is_encrypted_as_log_delivery_demands(document: Document) -> None:
    """S3 delivers access logs to no bucket with SSE-KMS by default, nor to one with object lock."""
    found = properties(document, "AccessLogBucket")
    (rule,) = found["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert not {"ObjectLockEnabled", "ObjectLockConfiguration"} & found.keys()


def test_the_log_expires_as_the_setting_says() -> None:
    rules = properties(made(access_log_retention_days=90), "AccessLogBucket")["LifecycleConfiguration"]["Rules"]
    assert [r["ExpirationInDays"] for r in rules if "ExpirationInDays" in r] == [90]


# Clean-up: CloudFormation deletes what waits before what is waited for


@pytest.mark.parametrize(
    ("emptying", "bucket"), [("EmptyBackupBucket", "BackupBucket"), ("EmptyAccessLogBucket", "AccessLogBucket")]
)
def test_a_test_bucket_is_emptied_before_it_is_deleted(test_stack: Document, emptying: str, bucket: str) -> None:
    assert properties(test_stack, emptying) == {
        "ServiceToken": {"Fn::GetAtt": ["EmptyBucketFunction", "Arn"]},
        "BucketName": {"Ref": bucket},
    }
    assert bucket in waits_for(test_stack, emptying)


@pytest.mark.parametrize(
    ("emptying", "bucket", "policy"),
    [
        ("EmptyBackupBucket", "BackupBucket", "EmptyBackupBucketPolicy"),
        ("EmptyAccessLogBucket", "AccessLogBucket", "EmptyBucketPolicy"),
    ],
)
def test_the_function_has_its_rights_for_as_long_as_it_is_needed(
    test_stack: Document, emptying: str, bucket: str, policy: str
) -> None:
    assert {"EmptyBucketFunction", "EmptyBucketRole", "EmptyBucketLogs", policy} <= waits_for(test_stack, emptying)
    found = statements(test_stack, policy)
    assert set(found["List"]["Action"]) == {
        *("s3:GetBucketTagging", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions"),
    }
    assert found["List"]["Resource"] == {"Fn::GetAtt": [bucket, "Arn"]}
    assert found["Remove"]["Resource"] == {"Fn::Sub": f"${{{bucket}.Arn}}/*"}


def test_nothing_is_delivered_into_the_log_bucket_once_it_is_emptied(test_stack: Document) -> None:
    """Logs come hours late: without the policy S3 may not write any more, so the policy goes first."""
    assert "EmptyAccessLogBucket" in waits_for(test_stack, "AccessLogBucketPolicy")
    assert "EmptyAccessLogBucket" in waits_for(test_stack, "BackupBucket"), "what is logged is gone by then"


def test_nothing_waits_for_itself(test_stack: Document) -> None:
    for name in test_stack["Resources"]:
        assert name not in waits_for(test_stack, name)


def test_one_function_empties_both(test_stack: Document) -> None:
    functions = [n for n, r in test_stack["Resources"].items() if r["Type"] == "AWS::Lambda::Function"]
    assert functions == ["EmptyBucketFunction"]


# AWS Backup


def test_aws_backup_is_an_option_that_is_off(document: Document) -> None:
    assert [n for n, r in document["Resources"].items() if r["Type"].startswith("AWS::Backup::")] == []


def test_the_plan_backs_the_primary_up_daily_at_the_end_of_the_window_of_rds() -> None:
    document = made(aws_backup=True, aws_backup_retention_days=400)
    (rule,) = properties(document, "BackupPlan")["BackupPlan"]["BackupPlanRule"]
    end = {"Fn::Select": [1, {"Fn::Split": ["-", {"Ref": "PreferredBackupWindow"}]}]}
    assert rule["ScheduleExpression"] == {
        "Fn::Sub": [
            "cron(${Minute} ${Hour} * * ? *)",
            {
                "Hour": {"Fn::Select": [0, {"Fn::Split": [":", end]}]},
                "Minute": {"Fn::Select": [1, {"Fn::Split": [":", end]}]},
            },
        ]
    }
    assert rule["Lifecycle"] == {"DeleteAfterDays": 400}
    assert rule["TargetBackupVault"] == {"Ref": "BackupVault"}
    selection = properties(document, "BackupSelection")["BackupSelection"]
    assert json.dumps(selection["Resources"]).count("PrimaryDB") == 1
    assert "PrimaryDB" in waits_for(document, "BackupSelection")


def test_aws_backup_does_not_take_over_the_retention_of_rds() -> None:
    """Continuous backup would: RDS's own backups restore to a point in time already."""
    (rule,) = properties(made(aws_backup=True), "BackupPlan")["BackupPlan"]["BackupPlanRule"]
    assert rule["EnableContinuousBackup"] is False


def test_a_vault_is_kept_with_its_key() -> None:
    """AWS refuses to delete one that holds recovery points; a stack that leaves nothing may not have one."""
    prod = made(aws_backup=True)
    assert prod["Resources"]["BackupVault"]["DeletionPolicy"] == KEPT["DeletionPolicy"]
    assert prod["Resources"]["DBEncryptionKey"]["DeletionPolicy"] == KEPT["DeletionPolicy"]
    assert properties(prod, "BackupVault")["EncryptionKeyArn"] == KEY


def test_a_kept_vault_is_not_in_the_way_of_the_next_stack() -> None:
    text, values = properties(made(aws_backup=True), "BackupVault")["BackupVaultName"]["Fn::Sub"]
    assert text == "ecommerce-db-${EnvironmentSuffix}-${Unique}"
    assert "AWS::StackId" in json.dumps(values)
    longest = text.replace("${EnvironmentSuffix}", "s" * 24).replace("${Unique}", "u" * 12)
    assert len(longest) <= 50, "Source: AWS Backup API reference, CreateBackupVault"


# Copies of automated backups


def test_automated_backups_are_copied_where_the_setting_says() -> None:
    names = ("Region", "KmsKeyId", "RetentionPeriod")
    document = made(**COPY)
    primary = properties(document, "PrimaryDB")
    assert [primary[f"AutomaticBackupReplication{name}"] for name in names] == [
        COPY["backup_copy_region"],
        COPY["backup_copy_kms_key_arn"],
        {"Ref": "BackupRetentionDays"},
    ]
    assert "AutomaticBackupReplication" not in json.dumps([properties(document, "ReadReplica1"), made()])
