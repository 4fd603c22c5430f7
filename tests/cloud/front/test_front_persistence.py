"""What moto serves survives kill -9, and goes on working after it: one state machine of facts per service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="module")
def killed() -> Iterator[Callable[[], Endpoint]]:
    """An endpoint; calling it kills it with SIGKILL and starts it again."""
    endpoint = Endpoint()
    try:
        endpoint.start()
        yield lambda: endpoint.kill_and_restart() or endpoint
    finally:
        endpoint.remove()


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


def test_everything_survives_kill_9_and_can_be_changed_after_it(killed: Callable[[], Endpoint]) -> None:
    endpoint = killed()
    make(endpoint, "one")
    before = facts(endpoint)
    assert len(before["bodies"]) == 4
    endpoint = killed()
    assert facts(endpoint) == before
    make(endpoint, "two")
    after = facts(endpoint)
    assert len(after["bodies"]) == 8
    endpoint = killed()
    assert facts(endpoint) == after
    assert "Traceback" not in endpoint.log()


def test_keys_still_decrypt_and_sign_after_kill_9(killed: Callable[[], Endpoint]) -> None:
    kms = killed().client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    signer = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    method = {"KeyId": signer, "Message": b"m", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
    signature = kms.sign(**method)["Signature"]
    kms = killed().client("kms")
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"secret"
    assert kms.verify(Signature=signature, **method)["SignatureValid"]
    with pytest.raises(ClientError, match="symmetric"):
        kms.get_public_key(KeyId=key)


def test_keys_of_users_and_sessions_stay_valid_after_kill_9(killed: Callable[[], Endpoint]) -> None:
    endpoint = killed()
    iam = endpoint.client("iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    role = iam.create_role(RoleName="session", AssumeRolePolicyDocument=ASSUME)["Role"]["Arn"]
    made = endpoint.client("sts").assume_role(RoleArn=role, RoleSessionName="kept")["Credentials"]
    endpoint = killed()
    user = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    session = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
        "aws_session_token": made["SessionToken"],
    }
    assert endpoint.client("sts", **user).get_caller_identity()["Arn"].endswith(":user/ann")
    assert endpoint.client("sts", **session).get_caller_identity()["Arn"].endswith("/session/kept")


def test_an_upload_in_parts_goes_on_after_kill_9(killed: Callable[[], Endpoint]) -> None:
    endpoint = killed()
    s3 = endpoint.client("s3")
    s3.create_bucket(Bucket="parts", CreateBucketConfiguration={"LocationConstraint": REGION})
    upload = {"Bucket": "parts", "Key": "big"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    first = s3.upload_part(**upload, PartNumber=1, Body=b"1" * 5_300_000)["ETag"]
    s3 = killed().client("s3")
    second = s3.upload_part(**upload, PartNumber=2, Body=b"2" * 1000)["ETag"]
    parts = [{"ETag": first, "PartNumber": 1}, {"ETag": second, "PartNumber": 2}]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    endpoint = killed()
    body = endpoint.client("s3").get_object(Bucket="parts", Key="big")["Body"].read()
    assert body == b"1" * 5_300_000 + b"2" * 1000


def test_bodies_nobody_names_are_removed(killed: Callable[[], Endpoint]) -> None:
    endpoint = killed()
    s3 = endpoint.client("s3")
    s3.create_bucket(Bucket="swept", CreateBucketConfiguration={"LocationConstraint": REGION})
    before = len(list(endpoint.home.s3.iterdir()))
    for content in (b"a", b"b", b"c"):
        s3.put_object(Bucket="swept", Key="k", Body=content)
    assert len(list(endpoint.home.s3.iterdir())) == before + 1
    (endpoint.home.s3 / "left-by-a-crash").write_bytes(b"x")
    endpoint = killed()
    assert endpoint.client("s3").get_object(Bucket="swept", Key="k")["Body"].read() == b"c"
    with pytest.raises(ClientError, match="BucketAlready"):
        endpoint.client("s3").create_bucket(Bucket="swept", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert not (endpoint.home.s3 / "left-by-a-crash").exists()
    endpoint.client("s3").delete_object(Bucket="swept", Key="k")
    endpoint.client("s3").delete_bucket(Bucket="swept")
    assert len(list(endpoint.home.s3.iterdir())) == before


def test_default_vpcs_of_a_region_only_looked_at_keep_their_ids(killed: Callable[[], Endpoint]) -> None:
    endpoint = killed()
    before = endpoint.client("ec2", region="us-west-2").describe_subnets()["Subnets"]
    assert killed().client("ec2", region="us-west-2").describe_subnets()["Subnets"] == before
