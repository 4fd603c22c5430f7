"""What we rely on inside moto, which is pinned: run this first when its version is changed."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from multiaz.cloud.clients import INTERNAL, InProcessClients
from multiaz.cloud.dispatch import Dispatcher
from multiaz.cloud.moto_patches import MESSAGES_KEPT, SETTINGS, moto_version
from multiaz.cloud.moto_tail import SERVED, MotoTail
from multiaz.cloud.service import Caller

REGION = "eu-north-1"
ALARM = {
    "MetricName": "CPUUtilization",
    "Namespace": "AWS/RDS",
    "ComparisonOperator": "GreaterThanThreshold",
    "EvaluationPeriods": 1,
    "Period": 60,
    "Threshold": 1.0,
    "Statistic": "Average",
}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


@pytest.fixture(scope="module")
def tail(module_home_folder: Path) -> MotoTail:
    folder = module_home_folder / "moto"
    folder.mkdir(mode=0o700)
    tail = MotoTail(folder, module_home_folder / "s3")
    tail.load()
    return tail


@pytest.fixture(scope="module")
def client(tail: MotoTail) -> Iterator[Callable[[str], Any]]:
    clients = InProcessClients(Dispatcher(tail, SERVED).dispatch)
    yield lambda service: clients.client(service, REGION)


def test_moto_is_the_version_we_read() -> None:
    assert moto_version() == "5.2.5"


def test_moto_reads_our_settings_from_the_environment(tail: MotoTail) -> None:
    import moto.settings as settings
    from moto.iam.models import load_iam_aws_managed_policies

    text = Path(settings.__file__).read_text()
    responses = (Path(settings.__file__).parent / "core" / "responses.py").read_text()
    for name in SETTINGS:
        assert name in text or name in responses, name
    assert load_iam_aws_managed_policies()
    assert not settings.ec2_load_default_amis()


def test_instances_are_not_kept_for_ever(client: Callable[[str], Any]) -> None:
    from moto.sns.models import Topic

    client("sns").create_topic(Name="tracked")
    assert Topic.instances_tracked == []


def test_a_symmetric_key_costs_no_rsa_key_and_an_asymmetric_one_works(client: Callable[[str], Any]) -> None:
    kms = client("kms")
    symmetric = kms.create_key()["KeyMetadata"]["KeyId"]
    with pytest.raises(ClientError, match="symmetric"):
        kms.get_public_key(KeyId=symmetric)
    signer = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")["KeyMetadata"]["KeyId"]
    assert kms.get_public_key(KeyId=signer)["PublicKey"]


def test_bodies_are_files_and_listing_versions_copies_none(client: Callable[[str], Any], tail: MotoTail) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="bodies", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="bodies", VersioningConfiguration={"Status": "Enabled"})
    for content in (b"one", b"two"):
        s3.put_object(Bucket="bodies", Key="k", Body=content)
    folder = tail._bodies.folder
    assert sorted(path.read_bytes() for path in folder.iterdir()) == [b"one", b"two"]
    assert len(s3.list_object_versions(Bucket="bodies")["Versions"]) == 2
    gc.collect()
    assert len(list(folder.iterdir())) == 2
    s3.copy_object(Bucket="bodies", Key="copy", CopySource={"Bucket": "bodies", "Key": "k"})
    assert s3.get_object(Bucket="bodies", Key="copy")["Body"].read() == b"two"


def test_an_object_whose_type_says_form_keeps_its_content(client: Callable[[str], Any]) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="forms", CreateBucketConfiguration={"LocationConstraint": REGION})
    kind = "application/x-www-form-urlencoded"
    s3.put_object(Bucket="forms", Key="k", Body=b"acl=public&x=1", ContentType=kind)
    got = s3.get_object(Bucket="forms", Key="k")
    assert (got["Body"].read(), got["ContentType"]) == (b"acl=public&x=1", kind)


def test_the_engine_may_set_tags_of_awss_own_on_everything(client: Callable[[str], Any]) -> None:
    tags = [{"Key": "aws:cloudformation:stack-name", "Value": "x"}]
    ec2, s3 = client("ec2"), client("s3")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])
    assert vpc["Vpc"]["Tags"] == tags
    s3.create_bucket(Bucket="tagged", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_tagging(Bucket="tagged", Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket="tagged")["TagSet"] == tags
    client("secretsmanager").create_secret(Name="tagged", SecretString="x", Tags=tags)
    client("kms").create_key(Tags=[{"TagKey": tags[0]["Key"], "TagValue": "x"}])
    client("sns").create_topic(Name="tagged", Tags=tags)
    client("logs").create_log_group(logGroupName="tagged", tags={tags[0]["Key"]: "x"})
    role = client("iam").create_role(RoleName="tagged", AssumeRolePolicyDocument=TRUST, Tags=tags)
    assert role["Role"]["Tags"] == tags


def test_composite_alarms_are_made_and_told_apart(client: Callable[[str], Any]) -> None:
    cloudwatch = client("cloudwatch")
    for name in ("a", "b"):
        cloudwatch.put_metric_alarm(AlarmName=name, **ALARM)
    cloudwatch.put_composite_alarm(AlarmName="any", AlarmRule="ALARM(a) OR ALARM(b)", AlarmActions=["arn:aws:sns:x"])
    told = cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"])
    assert [(a["AlarmName"], a["AlarmRule"], a["ActionsEnabled"]) for a in told["CompositeAlarms"]] == [
        ("any", "ALARM(a) OR ALARM(b)", True)
    ]
    assert told["CompositeAlarms"][0]["StateValue"] == "INSUFFICIENT_DATA"
    with pytest.raises(ClientError, match="ActionsSuppressor is not available"):
        cloudwatch.put_composite_alarm(AlarmName="any", AlarmRule="ALARM(a)", ActionsSuppressor="b")


def test_a_composite_alarm_names_alarms_there_are_and_they_stay_while_it_does(client: Callable[[str], Any]) -> None:
    cloudwatch = client("cloudwatch")
    made = ("first", "second", "upper", "lower")
    for name in made[:2]:
        cloudwatch.put_metric_alarm(AlarmName=name, **ALARM)
    arn = cloudwatch.describe_alarms(AlarmNames=["second"])["MetricAlarms"][0]["AlarmArn"]
    cloudwatch.put_composite_alarm(AlarmName="lower", AlarmRule=f'ALARM(first) OR ALARM("{arn}")')
    cloudwatch.put_composite_alarm(AlarmName="upper", AlarmRule="ALARM(lower)")
    with pytest.raises(ClientError, match=r"alarms \[x, first-\] in the alarm rule do not exist"):
        cloudwatch.put_composite_alarm(AlarmName="lower", AlarmRule="ALARM(x) AND ALARM(first) AND OK(first-)")
    with pytest.raises(ClientError, match="Error in AlarmRule"):
        cloudwatch.put_composite_alarm(AlarmName="lower", AlarmRule="ALARM(first) XOR ALARM(second)")
    for needed in ("first", "second", "lower"):
        with pytest.raises(ClientError, match=f"Cannot delete {needed} as there are composite alarm"):
            cloudwatch.delete_alarms(AlarmNames=[needed])
    with pytest.raises(ClientError, match="at most one composite alarm"):
        cloudwatch.delete_alarms(AlarmNames=["lower", "upper"])
    told = cloudwatch.describe_alarms(AlarmNames=list(made), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert {alarm["AlarmName"] for key in ("MetricAlarms", "CompositeAlarms") for alarm in told[key]} == set(made)
    for names in (["upper"], ["lower", "first"], ["second", "never-there"]):
        cloudwatch.delete_alarms(AlarmNames=names)
    told = cloudwatch.describe_alarms(AlarmNames=list(made), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert (told["MetricAlarms"], told["CompositeAlarms"]) == ([], [])


def test_filters_of_alarms_are_joined_and_composite_alarms_are_told_if_asked_for(client: Callable[[str], Any]) -> None:
    cloudwatch = client("cloudwatch")
    for name in ("shop-calm", "shop-loud", "bank-loud"):
        cloudwatch.put_metric_alarm(AlarmName=name, **ALARM)
    cloudwatch.put_composite_alarm(AlarmName="shop-down", AlarmRule="ALARM(shop-loud)")
    both = ["MetricAlarm", "CompositeAlarm"]

    def told(**asked: Any) -> list[str]:
        answer = cloudwatch.describe_alarms(**asked)
        return sorted(alarm["AlarmName"] for kind in both for alarm in answer[f"{kind}s"])

    assert told(AlarmNamePrefix="shop-", AlarmTypes=both, StateValue="ALARM") == []
    for name in ("shop-loud", "bank-loud", "shop-down"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="rehearsal")
    assert told(AlarmNamePrefix="shop-", AlarmTypes=both, StateValue="ALARM") == ["shop-down", "shop-loud"]
    assert told(AlarmNamePrefix="shop-", StateValue="ALARM") == ["shop-loud"]
    assert told(AlarmNamePrefix="shop-", AlarmTypes=["CompositeAlarm"]) == ["shop-down"]
    assert told(AlarmNames=["shop-calm", "shop-loud"], StateValue="ALARM") == ["shop-loud"]
    cloudwatch.delete_alarms(AlarmNames=["shop-down"])
    cloudwatch.delete_alarms(AlarmNames=["shop-calm", "shop-loud", "bank-loud"])


def test_a_topics_attributes_are_shown_and_unknown_ones_refused(client: Callable[[str], Any]) -> None:
    sns = client("sns")
    given = {"SignatureVersion": "2", "TracingConfig": "Active"}
    arn = sns.create_topic(Name="signed", Attributes=given)["TopicArn"]
    shown = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert given.items() <= shown.items()
    sns.set_topic_attributes(TopicArn=arn, AttributeName="SignatureVersion", AttributeValue="1")
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SignatureVersion"] == "1"
    for name, value in (("SignatureVersion", "3"), ("TracingConfig", "on"), ("Colour", "red")):
        with pytest.raises(ClientError, match=name):
            sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=value)
        with pytest.raises(ClientError, match=name):
            sns.create_topic(Name="odd", Attributes={name: value})
    assert not [topic for topic in sns.list_topics()["Topics"] if topic["TopicArn"].endswith(":odd")]


def test_log_groups_have_a_class_and_count_the_filters_that_go_with_them(client: Callable[[str], Any]) -> None:
    logs = client("logs")

    def told(name: str) -> tuple[str, int, int | None]:
        found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
        return found["logGroupClass"], found["metricFilterCount"], found.get("retentionInDays")

    logs.create_log_group(logGroupName="plain")
    logs.create_log_group(logGroupName="rare", logGroupClass="INFREQUENT_ACCESS")
    logs.create_log_group(logGroupName="passing", logGroupClass="DELIVERY")
    assert told("plain") == ("STANDARD", 0, None)
    assert told("rare") == ("INFREQUENT_ACCESS", 0, None)
    assert told("passing") == ("DELIVERY", 0, 2)
    with pytest.raises(ClientError, match="logGroupClass"):
        logs.create_log_group(logGroupName="odd", logGroupClass="CHEAP")
    counted = [{"metricName": "errors", "metricNamespace": "shop", "metricValue": "1"}]
    filtered = {"filterName": "f", "filterPattern": "ERROR", "metricTransformations": counted}
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        logs.put_metric_filter(logGroupName="nowhere", **filtered)
    logs.put_metric_filter(logGroupName="plain", **filtered)
    assert told("plain") == ("STANDARD", 1, None)
    logs.delete_log_group(logGroupName="plain")
    logs.create_log_group(logGroupName="plain")
    assert told("plain") == ("STANDARD", 0, None)


def test_awss_own_policies_exist(client: Callable[[str], Any]) -> None:
    iam = client("iam")
    iam.create_role(RoleName="monitoring", AssumeRolePolicyDocument=TRUST)
    arn = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
    iam.attach_role_policy(RoleName="monitoring", PolicyArn=arn)
    assert iam.list_attached_role_policies(RoleName="monitoring")["AttachedPolicies"][0]["PolicyArn"] == arn


def test_a_parameter_moto_would_forget_is_refused_by_name(client: Callable[[str], Any]) -> None:
    boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    with pytest.raises(ClientError, match="PermissionsBoundary is not available on the local cloud"):
        client("iam").create_user(UserName="bounded", PermissionsBoundary=boundary)


def test_an_action_moto_lacks_is_refused_by_name(client: Callable[[str], Any]) -> None:
    with pytest.raises(ClientError, match="ec2:DescribeVerifiedAccessGroups is not available on the local cloud"):
        client("ec2").describe_verified_access_groups()


def test_clients_are_kept_and_never_retry(tail: MotoTail) -> None:
    calls: list[str] = []
    dispatcher = Dispatcher(tail, SERVED)

    def count(request: Any) -> Any:
        calls.append(request.service)
        assert request.caller is INTERNAL
        return dispatcher.dispatch(request)

    clients = InProcessClients(count)
    assert clients.client("sqs", REGION) is clients.client("sqs", REGION)
    with pytest.raises(ClientError, match="The service sqs is not available"):
        clients.client("sqs", REGION).list_queues()
    assert calls == ["sqs"]


def test_a_callers_own_aws_settings_do_not_reach_the_engine(tail: MotoTail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
    clients = InProcessClients(Dispatcher(tail, SERVED).dispatch, Caller(arn="x", access_key_id="y"))
    assert clients.client("sns", REGION).list_topics()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_tags_go_with_what_they_name(client: Callable[[str], Any]) -> None:
    ec2, cloudwatch, logs, s3 = client("ec2"), client("cloudwatch"), client("logs"), client("s3")
    tags = [{"Key": "gone", "Value": "x"}]

    def spec(kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tags}]

    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=spec("vpc"))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", TagSpecifications=spec("subnet"))
    group = ec2.create_security_group(
        VpcId=vpc, GroupName="g", Description="d", TagSpecifications=spec("security-group")
    )
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=spec("route-table"))["RouteTable"]["RouteTableId"]
    gateway = ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName=f"com.amazonaws.{REGION}.s3",
        RouteTableIds=[table],
        TagSpecifications=spec("vpc-endpoint"),
    )["VpcEndpoint"]["VpcEndpointId"]
    interface = ec2.create_vpc_endpoint(
        VpcId=vpc,
        VpcEndpointType="Interface",
        ServiceName=f"com.amazonaws.{REGION}.kms",
        SubnetIds=[subnet["Subnet"]["SubnetId"]],
        TagSpecifications=spec("vpc-endpoint"),
    )["VpcEndpoint"]["VpcEndpointId"]
    mine = [{"Name": "key", "Values": ["gone"]}]
    assert len(ec2.describe_tags(Filters=mine)["Tags"]) == 6
    kinds = {one["VpcEndpointType"] for one in ec2.describe_vpc_endpoints()["VpcEndpoints"]}
    assert kinds == {"Gateway", "Interface"}
    ec2.delete_vpc_endpoints(VpcEndpointIds=[gateway, interface])
    assert ec2.describe_vpc_endpoints()["VpcEndpoints"] == []
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_security_group(GroupId=group["GroupId"])
    ec2.delete_subnet(SubnetId=subnet["Subnet"]["SubnetId"])
    ec2.delete_vpc(VpcId=vpc)
    assert ec2.describe_tags(Filters=mine)["Tags"] == []

    for attempt in (tags, []):
        logs.create_log_group(logGroupName="again", tags={tag["Key"]: tag["Value"] for tag in attempt})
        s3.create_bucket(Bucket="again", CreateBucketConfiguration={"LocationConstraint": REGION})
        if attempt:
            s3.put_bucket_tagging(Bucket="again", Tagging={"TagSet": attempt})
        cloudwatch.put_composite_alarm(AlarmName="again", AlarmRule="ALARM(a)", Tags=attempt)
        arn = cloudwatch.describe_alarms(AlarmNames=["again"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"][0]
        assert cloudwatch.list_tags_for_resource(ResourceARN=arn["AlarmArn"])["Tags"] == attempt
        group_arn = f"arn:aws:logs:{REGION}:123456789012:log-group:again"
        assert len(logs.list_tags_for_resource(resourceArn=group_arn)["tags"]) == len(attempt)
        if not attempt:
            with pytest.raises(ClientError, match="NoSuchTagSet"):
                s3.get_bucket_tagging(Bucket="again")
        logs.delete_log_group(logGroupName="again")
        s3.delete_bucket(Bucket="again")
        cloudwatch.delete_alarms(AlarmNames=["again"])


def test_offerings_of_instance_types_are_not_loaded_and_refused(
    client: Callable[[str], Any], home_folder: Path
) -> None:
    """In a process of its own: another test of this one may have imported moto without our changes."""
    program = """
import sys
from pathlib import Path
from multiaz.cloud.moto_tail import MotoTail
home = Path(sys.argv[1])
tail = MotoTail(home / "moto", home / "s3")
tail.load()
tail.backend("ec2")
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
assert INSTANCE_TYPES
assert not any(regions for kinds in INSTANCE_TYPE_OFFERINGS.values() for regions in kinds.values())
"""
    (home_folder / "moto").mkdir(mode=0o700)
    done = subprocess.run([sys.executable, "-c", program, str(home_folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ClientError, match="is not available on the local cloud"):
        client("ec2").describe_instance_type_offerings()


def test_a_deleted_vpc_leaves_no_network_acl(client: Callable[[str], Any]) -> None:
    ec2 = client("ec2")

    def acls() -> list[tuple[str, int]]:
        return [(acl["VpcId"], len(acl["Associations"])) for acl in ec2.describe_network_acls()["NetworkAcls"]]

    before = acls()
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    assert (vpc, 1) in acls()
    ec2.delete_subnet(SubnetId=subnet)
    assert (vpc, 0) in acls()
    ec2.delete_vpc(VpcId=vpc)
    assert acls() == before


def test_messages_are_recorded_and_go_nowhere(client: Callable[[str], Any], tail: MotoTail) -> None:
    from moto.sns.models import sns_backends

    sns = client("sns")
    topic = sns.create_topic(Name="loud")["TopicArn"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=address)
        for number in range(MESSAGES_KEPT + 5):
            assert sns.publish(TopicArn=topic, Message=f"message {number}")["MessageId"]
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    kept = sns_backends["123456789012"][REGION].topics[topic].sent_notifications
    assert len(kept) == MESSAGES_KEPT
    assert kept[-1][1] == f"message {MESSAGES_KEPT + 4}"


def test_an_alarm_begins_without_data_and_keeps_its_state_when_it_is_put_again(client: Callable[[str], Any]) -> None:
    cloudwatch = client("cloudwatch")
    alarm = {"AlarmName": "new", **ALARM}

    def state() -> tuple[str, str]:
        told = cloudwatch.describe_alarms(AlarmNames=["new"])["MetricAlarms"][0]
        return told["StateValue"], told["StateReason"]

    cloudwatch.put_metric_alarm(**alarm)
    assert state() == ("INSUFFICIENT_DATA", "Unchecked: Initial alarm creation")
    cloudwatch.set_alarm_state(AlarmName="new", StateValue="ALARM", StateReason="rehearsal")
    cloudwatch.put_metric_alarm(**alarm)
    assert state() == ("ALARM", "rehearsal")


def test_nobody_says_a_command_was_sent_where_no_machine_is(client: Callable[[str], Any]) -> None:
    with pytest.raises(ClientError, match="ssm:SendCommand is not available"):
        client("ssm").send_command(DocumentName="AWS-RunShellScript", InstanceIds=["i-0123456789abcdef0"])


def test_a_bucket_that_must_be_a_strangers_is_not_ours(client: Callable[[str], Any]) -> None:
    """Who names the owner is protected from writing into somebody else's bucket."""
    s3 = client("s3")
    s3.create_bucket(Bucket="owned", CreateBucketConfiguration={"LocationConstraint": REGION})
    ours, stranger = "123456789012", "210987654321"
    s3.put_object(Bucket="owned", Key="k", Body=b"x", ExpectedBucketOwner=ours)
    copy = {"Bucket": "owned", "Key": "copy", "CopySource": {"Bucket": "owned", "Key": "k"}}
    for refused in (
        lambda: s3.put_object(Bucket="owned", Key="k", Body=b"y", ExpectedBucketOwner=stranger),
        lambda: s3.get_object(Bucket="owned", Key="k", ExpectedBucketOwner=stranger),
        lambda: s3.delete_bucket(Bucket="owned", ExpectedBucketOwner=stranger),
        lambda: s3.copy_object(**copy, ExpectedSourceBucketOwner=stranger),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
    assert s3.get_object(Bucket="owned", Key="k", ExpectedBucketOwner=ours)["Body"].read() == b"x"


def test_a_flow_log_says_whether_its_log_group_and_role_are_there(client: Callable[[str], Any]) -> None:
    ec2, logs = client("ec2"), client("logs")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    role = client("iam").create_role(RoleName="flows", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    logs.create_log_group(logGroupName="flows")
    arn = logs.describe_log_groups(logGroupNamePrefix="flows")["logGroups"][0]["arn"]
    for where, permission, status in (
        ({"LogDestination": arn}, role, "SUCCESS"),
        ({"LogGroupName": "flows"}, role, "SUCCESS"),
        ({"LogDestination": arn.replace("flows", "none")}, role, "FAILED"),
        ({"LogGroupName": "other"}, role, "FAILED"),
        ({"LogGroupName": "flows"}, role + "-none", "FAILED"),
    ):
        made = ec2.create_flow_logs(
            ResourceIds=[vpc],
            ResourceType="VPC",
            TrafficType="REJECT",
            LogDestinationType="cloud-watch-logs",
            DeliverLogsPermissionArn=permission,
            MaxAggregationInterval=60,
            **where,
        )
        (told,) = ec2.describe_flow_logs(FlowLogIds=made["FlowLogIds"])["FlowLogs"]
        assert (told["DeliverLogsStatus"], told["MaxAggregationInterval"]) == (status, 60), where
        assert ("DeliverLogsErrorMessage" in told) is (status == "FAILED")
        ec2.delete_flow_logs(FlowLogIds=made["FlowLogIds"])


def test_no_access_log_is_invented(client: Callable[[str], Any]) -> None:
    s3 = client("s3")
    for name in ("logged", "logs"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    allow = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject"}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::logs/*"}
    plain = {**deny, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    enabled = {"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "p/"}}
    for resource, lets_in in (("logs/q/*", False), (["logs/q/*", "logs/p/*"], True), ("logs/*", True)):
        names = resource if isinstance(resource, list) else [resource]
        statements = [plain, {**allow, "Resource": [f"arn:aws:s3:::{name}" for name in names]}]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        s3.put_bucket_policy(Bucket="logs", Policy=document)
        if not lets_in:
            with pytest.raises(ClientError, match="InvalidTargetBucketForLogging"):
                s3.put_bucket_logging(Bucket="logged", BucketLoggingStatus=enabled)
    s3.put_bucket_logging(Bucket="logged", BucketLoggingStatus=enabled)
    s3.put_object(Bucket="logged", Key="k", Body=b"x")
    assert s3.list_objects_v2(Bucket="logged")["KeyCount"] == 1
    assert s3.list_objects_v2(Bucket="logs")["KeyCount"] == 0


def test_a_log_bucket_may_refuse_plain_http_to_everybody(client: Callable[[str], Any]) -> None:
    s3 = client("s3")
    for name in ("logged-too", "logs-too"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    refuse = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "arn:aws:s3:::logs-too/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": ["s3:PutObject"],
        "Resource": "arn:aws:s3:::logs-too/p/*",
    }
    both = [refuse, allow]
    for statements, prefix, is_taken in ((both, "p/", True), (both, "q/", False), ([refuse], "p/", False)):
        policy = {"Version": "2012-10-17", "Statement": statements}
        s3.put_bucket_policy(Bucket="logs-too", Policy=json.dumps(policy))
        s3.put_bucket_logging(Bucket="logged-too", BucketLoggingStatus={})
        enabled = {"LoggingEnabled": {"TargetBucket": "logs-too", "TargetPrefix": prefix}}
        with nullcontext() if is_taken else pytest.raises(ClientError, match="InvalidTargetBucketForLogging"):
            s3.put_bucket_logging(Bucket="logged-too", BucketLoggingStatus=enabled)
        assert ("LoggingEnabled" in s3.get_bucket_logging(Bucket="logged-too")) is is_taken


@pytest.mark.parametrize(
    ("service", "call", "arguments", "name"),
    [
        ("kms", "enable_key_rotation", {"KeyId": "k", "RotationPeriodInDays": 90}, "RotationPeriodInDays"),
        (
            "logs",
            "create_log_group",
            {"logGroupName": "g", "deletionProtectionEnabled": True},
            "deletionProtectionEnabled",
        ),
        ("ssm", "put_parameter", {"Name": "p", "Value": "v", "AllowedPattern": "w"}, "AllowedPattern"),
        (
            "secretsmanager",
            "put_resource_policy",
            {"SecretId": "s", "ResourcePolicy": "{}", "BlockPublicPolicy": True},
            "BlockPublicPolicy",
        ),
        ("ec2", "create_nat_gateway", {"SubnetId": "subnet-1", "PrivateIpAddress": "10.0.0.4"}, "PrivateIpAddress"),
    ],
)
def test_what_moto_would_take_and_forget_is_refused_by_name(
    client: Callable[[str], Any], service: str, call: str, arguments: dict[str, Any], name: str
) -> None:
    with pytest.raises(ClientError, match=f"{name} is not available"):
        getattr(client(service), call)(**arguments)
