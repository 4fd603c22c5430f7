"""One test for each fault of the seed and of published templates of this stack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from multiaz.blueprint import settings_from, synthesize

INSTANCES = ("PrimaryDB", "ReadReplica1", "ReadReplica2")
REPLICAS = INSTANCES[1:]
KEY = {"Fn::If": ["CreateKMSKey", {"Fn::GetAtt": ["DBEncryptionKey", "Arn"]}, {"Ref": "KMSKeyARN"}]}


def properties(document: dict[str, Any], logical_id: str) -> Any:
    return document["Resources"][logical_id]["Properties"]


def of_type(document: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: r for name, r in document["Resources"].items() if r["Type"] == kind}


def statements(document: dict[str, Any], logical_id: str) -> list[dict[str, Any]]:
    found = properties(document, logical_id)
    document_of_policy = found.get("PolicyDocument") or found.get("KeyPolicy") or found["AssumeRolePolicyDocument"]
    return list(document_of_policy["Statement"])


def actions(document: dict[str, Any], logical_id: str) -> set[str]:
    return {action for s in statements(document, logical_id) if s["Effect"] == "Allow" for action in s["Action"]}


def walk(value: Any) -> Iterator[Any]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from walk(child)


def references(value: Any) -> set[str]:
    """Logical ids a piece of the template refers to, by whatever function."""
    found: set[str] = set()
    for item in walk(value):
        if isinstance(item, dict) and len(item) == 1:
            match item:
                case {"Ref": str(name)}:
                    found.add(name)
                case {"Fn::GetAtt": [name, *_]}:
                    found.add(name)
                case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), *_]}:
                    found |= set(re.findall(r"\$\{([A-Za-z0-9]+)", text))
    return found


# The seed's five


def test_deletion_protection_is_on_in_production_and_off_in_tests(
    prod: dict[str, Any], test_stack: dict[str, Any]
) -> None:
    assert all(properties(prod, name)["DeletionProtection"] is True for name in INSTANCES)
    assert all(properties(test_stack, name)["DeletionProtection"] is False for name in INSTANCES)


def test_nothing_the_stack_makes_outlives_a_test(test_stack: dict[str, Any]) -> None:
    kept = {n for n, r in test_stack["Resources"].items() if r.get("DeletionPolicy", "Delete") != "Delete"}
    assert kept == set()


def test_outputs_are_grouped_described_and_exported(document: dict[str, Any]) -> None:
    groups = [output["Description"].split(":")[0] for output in document["Outputs"].values()]
    expected = ["Network", "Endpoints", "Credentials", "Backups", "Keys and roles", "Monitoring", "Runbook"]
    assert list(dict.fromkeys(groups)) == expected
    assert groups == sorted(groups, key=expected.index)
    exports = {o["Export"]["Name"]["Fn::Sub"] for o in document["Outputs"].values() if "Export" in o}
    assert {
        "${AWS::StackName}-PrimaryEndpoint",
        "${AWS::StackName}-Replica1Endpoint",
        "${AWS::StackName}-Replica2Endpoint",
    } <= exports


def test_parameter_groups_are_tuned(document: dict[str, Any]) -> None:
    primary = properties(document, "DBParameterGroup")["Parameters"]
    assert primary["random_page_cost"] == "1.1"
    assert primary["rds.force_ssl"] == "1"
    assert primary["shared_preload_libraries"] == "pg_stat_statements,auto_explain"


# Published templates of this stack


def test_no_short_form_function_is_text_inside_a_sub(document: dict[str, Any]) -> None:
    subs = [v["Fn::Sub"] for v in walk(document) if isinstance(v, dict) and "Fn::Sub" in v]
    texts = [sub if isinstance(sub, str) else sub[0] for sub in subs]
    assert [text for text in texts if "${!" in text or "!If" in text or "!Ref" in text] == []


@pytest.mark.parametrize(("who", "user"), [("Writer", "WriterUsername"), ("Reader", "ReaderUsername")])
def test_iam_login_is_allowed_on_every_instances_own_resource_id(document: dict[str, Any], who: str, user: str) -> None:
    connect, facts, key = statements(document, f"{who}ConnectPolicy")
    assert connect["Action"] == ["rds-db:connect"]
    place = "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:"
    assert connect["Resource"] == [{"Fn::Sub": f"{place}${{{name}.DbiResourceId}}/${{{user}}}"} for name in INSTANCES]
    assert facts["Resource"] == {"Ref": "DBConnectionSecret"}
    assert (key["Action"], key["Resource"]) == (["kms:Decrypt"], KEY)
    assert key["Condition"]["StringEquals"]["kms:EncryptionContext:SecretARN"] == {"Ref": "DBConnectionSecret"}
    assert all(properties(document, name)["EnableIAMDatabaseAuthentication"] is True for name in INSTANCES)


@pytest.mark.parametrize("who", ["Writer", "Reader"])
def test_the_roles_of_the_application_are_assumed_within_the_account(document: dict[str, Any], who: str) -> None:
    role = properties(document, f"{who}Role")
    (trusted,) = statements(document, f"{who}Role")
    assert trusted["Principal"] == {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
    assert role["ManagedPolicyArns"] == [{"Ref": f"{who}ConnectPolicy"}]
    assert "Policies" not in role


@pytest.mark.parametrize("who", ["Writer", "Reader"])
def test_a_connect_policy_for_every_replica_there_can_be_is_short_enough_for_iam(who: str) -> None:
    """A managed policy has at most 6,144 characters, white space not counted. Source: IAM quotas."""
    longest = {"read_replicas": 15, "writer_username": "w" * 63, "reader_username": "r" * 63}
    found = json.dumps(statements(synthesize(settings_from(longest)).to_dict(), f"{who}ConnectPolicy"))
    for pattern, longest_text in (
        (r"\$\{AWS::Partition\}", "aws-us-gov"),
        (r"\$\{AWS::Region\}", "ap-southeast-99"),
        (r"\$\{AWS::AccountId\}", "1" * 12),
        (r"\$\{\w+\.DbiResourceId\}", "db-" + "A" * 26),
        (r"\$\{\w+Username\}", "u" * 63),
    ):
        found = re.sub(pattern, longest_text, found)
    assert len(re.sub(r"\s", "", found)) < 6144


def test_iam_login_is_not_for_the_master_user(document: dict[str, Any]) -> None:
    parameters = document["Parameters"]
    names = {parameters[name]["Default"] for name in ("WriterUsername", "ReaderUsername", "DBMasterUsername")}
    assert len(names) == 3
    tokens = [o["Value"]["Fn::Sub"] for o in document["Outputs"].values() if "auth-token" in str(o["Value"])]
    assert tokens
    assert all("--username ${DBMasterUsername}" not in command for command in tokens)


def test_the_password_is_rotated(document: dict[str, Any]) -> None:
    rotation = properties(document, "DBSecretRotation")
    assert document["Transform"] == "AWS::SecretsManager-2024-09-16"
    assert rotation["HostedRotationLambda"]["RotationType"] == "PostgreSQLSingleUser"
    assert rotation["RotationRules"] == {"AutomaticallyAfterDays": 30}
    secret = properties(document, "DBPasswordSecret")["GenerateSecretString"]
    assert rotation["HostedRotationLambda"]["ExcludeCharacters"] == secret["ExcludeCharacters"]
    assert "Runtime" not in rotation["HostedRotationLambda"]


def test_replicas_have_logs_parameter_group_and_monitoring(document: dict[str, Any]) -> None:
    for name in REPLICAS:
        replica = properties(document, name)
        assert replica["EnableCloudwatchLogsExports"] == ["postgresql", "upgrade"]
        assert replica["DBParameterGroupName"] == {"Ref": "ReplicaParameterGroup"}
        assert replica["EnablePerformanceInsights"] is True
        assert replica["MonitoringInterval"] == {"Ref": "EnhancedMonitoringInterval"}


def test_the_key_rotates(document: dict[str, Any]) -> None:
    assert properties(document, "DBEncryptionKey")["EnableKeyRotation"] is True


def test_the_default_engine_is_not_deprecated(document: dict[str, Any]) -> None:
    assert document["Parameters"]["EngineVersion"]["Default"] == "17.10"


# Database facts


@pytest.mark.parametrize("name", REPLICAS)
def test_a_replica_states_nothing_it_inherits(document: dict[str, Any], name: str) -> None:
    replica = properties(document, name)
    forbidden = {
        *("MasterUsername", "MasterUserPassword", "ManageMasterUserPassword", "StorageEncrypted", "KmsKeyId"),
        *("CharacterSetName", "DBName", "DBSnapshotIdentifier", "DBSubnetGroupName", "BackupRetentionPeriod"),
        *("PreferredBackupWindow", "EngineLifecycleSupport", "MultiAZ"),
    }
    assert forbidden & set(replica) == set()
    assert replica["SourceDBInstanceIdentifier"] == {"Ref": "PrimaryDB"}
    assert replica["Engine"] == "postgres"


def test_a_replica_is_deleted_without_a_snapshot_nobody_can_take(document: dict[str, Any]) -> None:
    """CloudFormation's default for an instance is Snapshot, which fails on a replica."""
    for name in REPLICAS:
        assert document["Resources"][name]["DeletionPolicy"] == "Delete"
        assert document["Resources"][name]["UpdateReplacePolicy"] == "Delete"


def test_the_production_primary_is_multi_az_and_leaves_the_zone_to_rds(
    prod: dict[str, Any], test_stack: dict[str, Any]
) -> None:
    assert properties(prod, "PrimaryDB")["MultiAZ"] is True
    assert properties(test_stack, "PrimaryDB")["MultiAZ"] is False
    for document in (prod, test_stack):
        assert "AvailabilityZone" not in properties(document, "PrimaryDB")


def test_gp3_below_400_gib_sets_neither_iops_nor_throughput(document: dict[str, Any]) -> None:
    for name in INSTANCES:
        found = properties(document, name)
        assert found["StorageType"] == "gp3"
        assert {"Iops", "StorageThroughput"} & set(found) == set()
        assert found["AllocatedStorage"] == {"Ref": "AllocatedStorage"}
        assert found["MaxAllocatedStorage"] == {"Ref": "MaxAllocatedStorage"}


def test_apply_immediately_is_always_stated(document: dict[str, Any]) -> None:
    """Unset, an update of anything may reboot an instance whose parameter group waits for a reboot."""
    assert all(isinstance(properties(document, name)["ApplyImmediately"], bool) for name in INSTANCES)


def test_the_pinned_version_is_not_upgraded_behind_cloudformation(document: dict[str, Any]) -> None:
    assert all(properties(document, name)["AutoMinorVersionUpgrade"] is False for name in INSTANCES)


def test_paid_extended_support_is_not_the_default(document: dict[str, Any]) -> None:
    assert properties(document, "PrimaryDB")["EngineLifecycleSupport"] == "open-source-rds-extended-support-disabled"
    paid = synthesize(settings_from({"extended_support": True})).to_dict()
    assert properties(paid, "PrimaryDB")["EngineLifecycleSupport"] == "open-source-rds-extended-support"


def test_the_managed_password_is_not_used(document: dict[str, Any]) -> None:
    """It does not work for a PostgreSQL source of read replicas."""
    assert "ManageMasterUserPassword" not in properties(document, "PrimaryDB")


def test_names_are_the_seeds(document: dict[str, Any]) -> None:
    names = [properties(document, name)["DBInstanceIdentifier"]["Fn::Sub"] for name in INSTANCES]
    assert names == [
        "ecommerce-db-primary-${EnvironmentSuffix}",
        "ecommerce-db-replica-1-${EnvironmentSuffix}",
        "ecommerce-db-replica-2-${EnvironmentSuffix}",
    ]
    assert {"DBPasswordSecret", "BackupBucket", "VPC", "DBSecurityGroup"} <= set(document["Resources"])


def test_parameter_groups_are_unnamed_so_that_a_family_change_can_replace_them(document: dict[str, Any]) -> None:
    for name in ("DBParameterGroup", "ReplicaParameterGroup"):
        assert "DBParameterGroupName" not in properties(document, name)
        family = properties(document, name)["Family"]["Fn::Sub"]
        assert family == [
            "postgres${Major}",
            {"Major": {"Fn::Select": [0, {"Fn::Split": [".", {"Ref": "EngineVersion"}]}]}},
        ]


def test_enhanced_monitoring_off_needs_no_role(document: dict[str, Any]) -> None:
    for name in INSTANCES:
        role = properties(document, name)["MonitoringRoleArn"]["Fn::If"]
        assert role == [
            "EnableEnhancedMonitoring",
            {"Fn::GetAtt": ["EnhancedMonitoringRole", "Arn"]},
            {"Ref": "AWS::NoValue"},
        ]
    assert document["Resources"]["EnhancedMonitoringRole"]["Condition"] == "EnableEnhancedMonitoring"


# Security


def test_no_password_is_in_the_template(document: dict[str, Any]) -> None:
    primary = properties(document, "PrimaryDB")
    assert primary["MasterUserPassword"] == {
        "Fn::Sub": "{{resolve:secretsmanager:${DBPasswordSecret}:SecretString:password}}"
    }
    assert primary["MasterUsername"] == {
        "Fn::Sub": "{{resolve:secretsmanager:${DBPasswordSecret}:SecretString:username}}"
    }
    assert "resolve:" not in json.dumps(document["Outputs"])


def test_the_generated_password_suits_a_url_and_rds(document: dict[str, Any]) -> None:
    generate = properties(document, "DBPasswordSecret")["GenerateSecretString"]
    assert generate["PasswordLength"] == 32
    assert set(" /@\"'\\:?#[]%&$`") <= set(generate["ExcludeCharacters"])
    assert generate["SecretStringTemplate"] == {"Fn::Sub": '{"username": "${DBMasterUsername}"}'}
    assert generate["GenerateStringKey"] == "password"


def test_everything_stored_uses_the_customer_key(document: dict[str, Any]) -> None:
    assert properties(document, "PrimaryDB")["StorageEncrypted"] is True
    assert properties(document, "PrimaryDB")["KmsKeyId"] == KEY
    assert all(properties(document, name)["PerformanceInsightsKMSKeyId"] == KEY for name in INSTANCES)
    assert properties(document, "DBPasswordSecret")["KmsKeyId"] == KEY
    assert properties(document, "AlarmTopic")["KmsMasterKeyId"] == KEY
    groups = of_type(document, "AWS::Logs::LogGroup").values()
    assert all(g["Properties"]["KmsKeyId"] == KEY for g in groups)
    (rule,) = properties(document, "BackupBucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}


def test_what_is_kept_keeps_its_key(prod: dict[str, Any], test_stack: dict[str, Any]) -> None:
    """A final snapshot, or a kept bucket, without its key is noise."""
    assert prod["Resources"]["DBEncryptionKey"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert test_stack["Resources"]["DBEncryptionKey"]["DeletionPolicy"] == "Delete"
    only_bucket = synthesize(settings_from({"preset": "test", "keep_bucket": True})).to_dict()
    assert only_bucket["Resources"]["DBEncryptionKey"]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert of_type(only_bucket, "Custom::EmptyBucket") == {}


def test_the_key_is_made_only_if_none_is_given(document: dict[str, Any]) -> None:
    assert document["Conditions"]["CreateKMSKey"] == {"Fn::Equals": [{"Ref": "KMSKeyARN"}, ""]}
    assert {document["Resources"][n]["Condition"] for n in ("DBEncryptionKey", "DBEncryptionKeyAlias")} == {
        "CreateKMSKey"
    }


def test_the_key_policy_has_no_wildcard_principal(document: dict[str, Any]) -> None:
    principals = [s["Principal"] for s in statements(document, "DBEncryptionKey")]
    assert "*" not in principals
    assert all("*" not in str(list(p.values())) for p in principals)
    services = [p["Service"] for p in principals if "Service" in p]
    assert services == [
        "cloudwatch.amazonaws.com",
        "events.rds.amazonaws.com",
        {"Fn::Sub": "logs.${AWS::Region}.${AWS::URLSuffix}"},
    ]


def test_policies_name_their_resources(document: dict[str, Any]) -> None:
    for name in of_type(document, "AWS::IAM::ManagedPolicy"):
        for statement in statements(document, name):
            assert statement["Resource"] != "*"
            assert not {"*", "s3:*", "kms:*"} & set(statement["Action"])


def test_no_role_or_policy_has_a_name_of_ours(document: dict[str, Any]) -> None:
    """Names would need CAPABILITY_NAMED_IAM and would stand in the way of replacement."""
    for kind, name in (("AWS::IAM::Role", "RoleName"), ("AWS::IAM::ManagedPolicy", "ManagedPolicyName")):
        assert [n for n, r in of_type(document, kind).items() if name in r["Properties"]] == []
