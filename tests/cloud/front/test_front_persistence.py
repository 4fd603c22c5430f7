"""What moto serves survives kill -9, and goes on working after it: one state machine of facts per service."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from front_harness import Endpoint

REGION = "eu-west-1"
ASSUME = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def plain(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def make(endpoint: Endpoint, tag: str) -> None:
    """Something of every service, named by `tag`; more of it in what an earlier tag made."""
    c = {name: endpoint.client(name) for name in SERVICES}
    vpc = c["ec2"].create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        c["ec2"].create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{z}")["Subnet"][
            "SubnetId"
        ]
        for n, z in enumerate("abc")
    ]
    group = c["ec2"].create_security_group(VpcId=vpc, GroupName=tag, Description=tag)["GroupId"]
    c["ec2"].authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}],
    )
    table = c["ec2"].create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    c["ec2"].associate_route_table(RouteTableId=table, SubnetId=subnets[0])
    c["ec2"].create_vpc_endpoint(VpcId=vpc, ServiceName=f"com.amazonaws.{REGION}.s3", RouteTableIds=[table])
    c["iam"].create_role(RoleName=tag, AssumeRolePolicyDocument=ASSUME)
    c["iam"].attach_role_policy(
        RoleName=tag, PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
    )
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sns:*", "Resource": "*"}]}
    c["iam"].put_role_policy(RoleName=tag, PolicyName="inline", PolicyDocument=json.dumps(document))
    key = c["kms"].create_key(Description=tag)["KeyMetadata"]["KeyId"]
    c["kms"].create_alias(AliasName=f"alias/{tag}", TargetKeyId=key)
    c["kms"].enable_key_rotation(KeyId=key)
    c["kms"].create_key(Description=f"{tag} signs", KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    c["secretsmanager"].create_secret(Name=tag, SecretString=f"first of {tag}", KmsKeyId=key)
    c["secretsmanager"].put_secret_value(SecretId=tag, SecretString=f"second of {tag}")
    c["s3"].create_bucket(Bucket=f"bucket-{tag}", CreateBucketConfiguration={"LocationConstraint": REGION})
    c["s3"].put_bucket_versioning(Bucket=f"bucket-{tag}", VersioningConfiguration={"Status": "Enabled"})
    topic = c["sns"].create_topic(Name=tag)["TopicArn"]
    c["sns"].subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com")
    c["cloudwatch"].put_metric_alarm(
        AlarmName=tag,
        Namespace="AWS/RDS",
        MetricName="ReplicaLag",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=10,
        Threshold=60,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[topic],
    )
    c["cloudwatch"].put_composite_alarm(AlarmName=f"{tag}-any", AlarmRule=f"ALARM({tag})")
    c["cloudwatch"].put_dashboard(DashboardName=tag, DashboardBody=json.dumps({"widgets": []}))
    c["logs"].create_log_group(logGroupName=f"/{tag}")
    c["logs"].put_retention_policy(logGroupName=f"/{tag}", retentionInDays=30)
    c["events"].put_rule(Name=tag, ScheduleExpression="rate(1 day)")
    c["ssm"].put_parameter(Name=f"/{tag}", Value=f"value of {tag}", Type="SecureString")
    for number in range(3):
        c["s3"].put_object(Bucket="bucket-one", Key="versioned", Body=f"{tag} {number}".encode())
    c["s3"].put_object(Bucket="bucket-one", Key=f"{tag}/a b+c", Body=b"\x00" * 100_000, Metadata={"my_key": tag})
    c["s3"].delete_object(Bucket="bucket-one", Key="versioned")


def facts(endpoint: Endpoint) -> dict[str, Any]:
    """All of it, as the APIs tell it."""
    c = {name: endpoint.client(name) for name in SERVICES}
    keys = sorted(key["KeyId"] for key in c["kms"].list_keys()["Keys"])
    versions = plain(c["s3"].list_object_versions(Bucket="bucket-one"))
    return {
        "vpcs": c["ec2"].describe_vpcs()["Vpcs"],
        "subnets": c["ec2"].describe_subnets()["Subnets"],
        "groups": c["ec2"].describe_security_groups()["SecurityGroups"],
        "rules": c["ec2"].describe_security_group_rules()["SecurityGroupRules"],
        "tables": c["ec2"].describe_route_tables()["RouteTables"],
        "endpoints": c["ec2"].describe_vpc_endpoints()["VpcEndpoints"],
        "roles": [{k: v for k, v in role.items() if k != "RoleLastUsed"} for role in c["iam"].list_roles()["Roles"]],
        "attached": [
            c["iam"].list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
            for role in c["iam"].list_roles()["Roles"]
        ],
        "keys": [c["kms"].describe_key(KeyId=key)["KeyMetadata"] for key in keys],
        "rotation": [c["kms"].get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] for key in keys],
        "aliases": sorted(alias["AliasName"] for alias in c["kms"].list_aliases()["Aliases"]),
        "secrets": [
            plain(c["secretsmanager"].get_secret_value(SecretId=secret["ARN"], VersionStage=stage))
            for secret in c["secretsmanager"].list_secrets()["SecretList"]
            for stage in ("AWSCURRENT", "AWSPREVIOUS")
        ],
        "buckets": plain(c["s3"].list_buckets()),
        "versions": versions,
        "bodies": [
            c["s3"].get_object(Bucket="bucket-one", Key=v["Key"], VersionId=v["VersionId"])["Body"].read()
            for v in versions.get("Versions", [])
        ],
        "topics": plain(c["sns"].list_topics()),
        "subscriptions": plain(c["sns"].list_subscriptions()),
        "alarms": plain(c["cloudwatch"].describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])),
        "dashboards": c["cloudwatch"].list_dashboards()["DashboardEntries"],
        "log groups": c["logs"].describe_log_groups()["logGroups"],
        "rules of events": plain(c["events"].list_rules()),
        "parameters": plain(c["ssm"].get_parameters_by_path(Path="/", Recursive=True, WithDecryption=True)),
    }


SERVICES = ("ec2", "iam", "kms", "secretsmanager", "s3", "sns", "cloudwatch", "logs", "events", "ssm", "sts")


class Story:
    """Three lives of one endpoint, ended twice by SIGKILL; every test reads a part of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        make(endpoint, "one")
        self.prepare(endpoint)
        looked_at = endpoint.client("ec2", region="us-west-2").describe_subnets()["Subnets"]
        endpoint.kill_and_restart()
        self.restored = facts(endpoint)
        self.region_kept = endpoint.client("ec2", region="us-west-2").describe_subnets()["Subnets"] == looked_at
        make(endpoint, "two")
        self.go_on(endpoint)
        endpoint.kill_and_restart()
        self.restored_again = facts(endpoint)
        self.finish(endpoint)
        self.log = endpoint.log()

    def prepare(self, endpoint: Endpoint) -> None:
        """Things whose effect is seen in a later life."""
        kms, s3, iam = endpoint.client("kms"), endpoint.client("s3"), endpoint.client("iam")
        self.sealed = kms.encrypt(KeyId="alias/one", Plaintext=b"secret")["CiphertextBlob"]
        signer = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
        self.method = {"KeyId": signer, "Message": b"m", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
        self.signature = kms.sign(**self.method)["Signature"]
        iam.create_user(UserName="ann")
        key = iam.create_access_key(UserName="ann")["AccessKey"]
        role = iam.get_role(RoleName="one")["Role"]["Arn"]
        made = endpoint.client("sts").assume_role(RoleArn=role, RoleSessionName="kept")["Credentials"]
        self.user = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        self.session = {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
            "aws_session_token": made["SessionToken"],
        }
        s3.create_bucket(Bucket="parts", CreateBucketConfiguration={"LocationConstraint": REGION})
        self.upload = {"Bucket": "parts", "Key": "big"}
        self.upload["UploadId"] = s3.create_multipart_upload(**self.upload)["UploadId"]
        self.first = s3.upload_part(**self.upload, PartNumber=1, Body=b"1" * 5_300_000)["ETag"]
        for content in (b"a", b"b", b"c"):
            s3.put_object(Bucket="parts", Key="overwritten", Body=content)
        (endpoint.home.s3 / "left-by-a-crash").write_bytes(b"x")
        self.before = facts(endpoint)

    def go_on(self, endpoint: Endpoint) -> None:
        """What began in the first life, continued in the second."""
        kms, s3 = endpoint.client("kms"), endpoint.client("s3")
        self.opened = kms.decrypt(CiphertextBlob=self.sealed)["Plaintext"]
        self.verified = kms.verify(Signature=self.signature, **self.method)["SignatureValid"]
        self.names = [endpoint.client("sts", **keys).get_caller_identity()["Arn"] for keys in (self.user, self.session)]
        self.crash_left = (endpoint.home.s3 / "left-by-a-crash").exists()
        with pytest.raises(ClientError, match="BucketAlready"):
            s3.create_bucket(Bucket="parts", CreateBucketConfiguration={"LocationConstraint": REGION})
        second = s3.upload_part(**self.upload, PartNumber=2, Body=b"2" * 1000)["ETag"]
        parts = [{"ETag": self.first, "PartNumber": 1}, {"ETag": second, "PartNumber": 2}]
        s3.complete_multipart_upload(**self.upload, MultipartUpload={"Parts": parts})
        self.changed = facts(endpoint)

    def finish(self, endpoint: Endpoint) -> None:
        s3 = endpoint.client("s3")
        self.big = s3.get_object(Bucket="parts", Key="big")["Body"].read()
        self.overwritten = s3.get_object(Bucket="parts", Key="overwritten")["Body"].read()
        for key in ("big", "overwritten"):
            s3.delete_object(Bucket="parts", Key=key)
        s3.delete_bucket(Bucket="parts")
        self.left = len(list(endpoint.home.s3.iterdir()))


@pytest.fixture(scope="module")
def story(endpoint: Endpoint) -> Story:
    return Story(endpoint)


def test_everything_survives_kill_9(story: Story) -> None:
    assert len(story.before["bodies"]) == 4
    assert story.restored == story.before


def test_what_was_restored_can_be_changed_and_survives_again(story: Story) -> None:
    assert len(story.changed["bodies"]) == 8
    assert story.restored_again == story.changed
    assert "Traceback" not in story.log


def test_keys_still_decrypt_and_verify_after_kill_9(story: Story) -> None:
    assert story.opened == b"secret"
    assert story.verified


def test_keys_of_users_and_sessions_stay_valid_after_kill_9(story: Story) -> None:
    assert story.names == [
        "arn:aws:iam::123456789012:user/ann",
        "arn:aws:sts::123456789012:assumed-role/one/kept",
    ]


def test_an_upload_in_parts_goes_on_after_kill_9(story: Story) -> None:
    assert story.big == b"1" * 5_300_000 + b"2" * 1000


def test_bodies_nobody_names_are_removed(story: Story) -> None:
    assert story.overwritten == b"c"
    assert not story.crash_left
    assert story.left == len(story.changed["bodies"])


def test_default_vpcs_of_a_region_only_looked_at_keep_their_ids(story: Story) -> None:
    assert story.region_kept
