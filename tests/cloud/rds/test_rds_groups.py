"""Parameter groups, subnet groups, subscriptions, tags, log files, catalogue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Cloud

REGION = "us-east-1"


def group(cloud: Cloud, name: str = "tuned", **values: str) -> None:
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName=name, DBParameterGroupFamily="postgres17", Description="x"
    )
    if values:
        change(cloud, name, **values)


def change(cloud: Cloud, group_name: str = "tuned", method: str = "pending-reboot", **values: str) -> None:
    cloud.call(
        "ModifyDBParameterGroup",
        DBParameterGroupName=group_name,
        Parameters=[
            {"ParameterName": name, "ParameterValue": value, "ApplyMethod": method} for name, value in values.items()
        ],
    )


def show(cloud: Cloud, name: str, *settings: str) -> list[str]:
    endpoint = cloud.instance(name)["Endpoint"]
    with psycopg.connect(
        host=endpoint["Address"],
        port=endpoint["Port"],
        user="shop",
        password="correct-horse-battery",
        dbname="postgres",
        sslmode="verify-full",
        sslrootcert=str(cloud.home.pki / "ca.pem"),
    ) as connection:
        return [connection.execute(f"SHOW {one}").fetchone()[0] for one in settings]  # type: ignore[index]


def test_the_server_shows_the_groups_values_as_they_apply(real_cloud: Cloud) -> None:
    cloud = real_cloud
    group(cloud, work_mem="8192", max_connections="LEAST({DBInstanceClassMemory/9531392},77)")
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", DBParameterGroupName="tuned", **cloud.prepare())
    cloud.until_status("shop", "available")
    assert show(cloud, "shop", "work_mem", "max_connections", "rds.force_ssl") == ["8MB", "77", "1"]

    change(cloud, method="immediate", work_mem="16384")
    cloud.until(lambda: show(cloud, "shop", "work_mem") == ["16MB"])

    change(cloud, max_connections="60", random_page_cost="1.1")
    status = cloud.instance("shop")["DBParameterGroups"][0]["ParameterApplyStatus"]
    assert status == "pending-reboot"
    assert show(cloud, "shop", "max_connections", "random_page_cost") == ["77", "4"]
    cloud.call("RebootDBInstance", DBInstanceIdentifier="shop")
    cloud.until_status("shop", "available")
    assert show(cloud, "shop", "max_connections", "random_page_cost") == ["60", "1.1"]
    cloud.until(lambda: cloud.instance("shop")["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync")


def test_static_values_come_with_a_forced_failover_too(real_cloud: Cloud) -> None:
    cloud = real_cloud
    group(cloud, max_connections="70")
    params = {**cloud.prepare(), "DBParameterGroupName": "tuned", "MultiAZ": True}
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **params)
    before = cloud.until_status("shop", "available")
    change(cloud, max_connections="90")
    cloud.call("RebootDBInstance", DBInstanceIdentifier="shop", ForceFailover=True)
    after = cloud.until_status("shop", "available")
    assert after["AvailabilityZone"] != before["AvailabilityZone"]
    assert show(cloud, "shop", "max_connections") == ["90"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("log_statement", "some", "none, ddl, mod, all"),
        ("datestyle", "nonsense", "nonsense"),
        ("timezone", "Middle/Earth", "Middle/Earth"),
        ("work_mem", "1", "64-2147483647"),
        ("wal_level", "logical", "not modifiable"),
        ("frobnicate", "1", "frobnicate"),
    ],
)
def test_a_value_is_judged_by_the_real_server_and_refused_whole(cloud: Cloud, name: str, value: str, says: str) -> None:
    group(cloud)
    code, message = cloud.refusal(
        "ModifyDBParameterGroup",
        DBParameterGroupName="tuned",
        Parameters=[
            {"ParameterName": "random_page_cost", "ParameterValue": "1.1", "ApplyMethod": "immediate"},
            {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "pending-reboot"},
        ],
    )
    assert code == "InvalidParameterValue"
    assert says in message
    rows = cloud.call("DescribeDBParameters", DBParameterGroupName="tuned", Source="user")["Parameters"]
    assert rows == []


def parameter(cloud: Cloud, name: str, group_name: str = "tuned") -> dict[str, Any]:
    rows = cloud.call(
        "DescribeDBParameters",
        DBParameterGroupName=group_name,
        Filters=[{"Name": "parameter-name", "Values": [name]}],
    )["Parameters"]
    assert len(rows) == 1
    return dict(rows[0])


def test_parameters_are_described_with_type_range_unit_and_source(cloud: Cloud) -> None:
    group(cloud, work_mem="8192")
    row = parameter(cloud, "work_mem")
    assert (row["Source"], row["ParameterValue"], row["AllowedValues"]) == ("user", "8192", "64-2147483647")
    assert row["Description"].startswith("(kB) ")
    assert parameter(cloud, "log_statement")["AllowedValues"] == "none,ddl,mod,all"
    assert parameter(cloud, "max_connections")["ApplyType"] == "static"
    assert parameter(cloud, "shared_buffers", "default.postgres17")["Source"] == "system"
    defaults = cloud.call("DescribeEngineDefaultParameters", DBParameterGroupFamily="postgres17", MaxRecords=100)
    assert len(defaults["EngineDefaults"]["Parameters"]) == 100
    assert defaults["EngineDefaults"]["Marker"]


def test_reset_gives_back_what_rds_has(cloud: Cloud) -> None:
    group(cloud, work_mem="8192", max_connections="50")
    cloud.call(
        "ResetDBParameterGroup",
        DBParameterGroupName="tuned",
        Parameters=[{"ParameterName": "work_mem", "ApplyMethod": "immediate"}],
    )
    assert parameter(cloud, "work_mem")["Source"] == "engine-default"
    assert parameter(cloud, "max_connections")["Source"] == "user"
    cloud.call("ResetDBParameterGroup", DBParameterGroupName="tuned", ResetAllParameters=True)
    assert parameter(cloud, "max_connections")["Source"] == "system"


def test_a_group_in_use_and_a_default_group_stay(cloud: Cloud) -> None:
    group(cloud)
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", DBParameterGroupName="tuned", **cloud.prepare())
    used = cloud.refusal("DeleteDBParameterGroup", DBParameterGroupName="tuned")
    assert (used[0], "shop" in used[1]) == ("InvalidDBParameterGroupState", True)
    default = {"DBParameterGroupName": "default.postgres17"}
    assert cloud.refusal("DeleteDBParameterGroup", **default)[0] == "InvalidDBParameterGroupState"
    assert cloud.refusal("DeleteDBSubnetGroup", DBSubnetGroupName="nets")[0] == "InvalidDBSubnetGroupStateFault"
    cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    cloud.until_gone("shop")
    cloud.call("DeleteDBParameterGroup", DBParameterGroupName="tuned")
    cloud.call("DeleteDBSubnetGroup", DBSubnetGroupName="nets")
    assert cloud.refusal("DescribeDBParameterGroups", DBParameterGroupName="tuned")[0] == "DBParameterGroupNotFound"


def test_a_family_that_is_not_installed_is_refused_with_what_to_do(cloud: Cloud) -> None:
    named = {"DBParameterGroupName": "old", "Description": "x"}
    unknown = cloud.refusal("CreateDBParameterGroup", **named, DBParameterGroupFamily="postgres9")
    assert (unknown[0], "postgres17" in unknown[1]) == ("InvalidParameterValue", True)


def test_a_subnet_group_covers_two_zones(cloud: Cloud) -> None:
    subnets, _ = cloud.network()
    make = {"DBSubnetGroupName": "nets", "DBSubnetGroupDescription": "x"}
    assert cloud.refusal("CreateDBSubnetGroup", **make, SubnetIds=subnets[:1])[0] == (
        "DBSubnetGroupDoesNotCoverEnoughAZs"
    )
    assert cloud.refusal("CreateDBSubnetGroup", **make, SubnetIds=["subnet-404"])[0] == "InvalidSubnet"
    made = cloud.call("CreateDBSubnetGroup", **make, SubnetIds=subnets[:2])["DBSubnetGroup"]
    assert made["SubnetGroupStatus"] == "Complete"
    assert cloud.refusal("CreateDBSubnetGroup", **make, SubnetIds=subnets)[0] == "DBSubnetGroupAlreadyExists"
    changed = cloud.call("ModifyDBSubnetGroup", DBSubnetGroupName="nets", SubnetIds=subnets)["DBSubnetGroup"]
    assert len(changed["Subnets"]) == 3


def test_zones_in_use_cannot_leave_a_subnet_group(cloud: Cloud) -> None:
    params = cloud.prepare()
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **params)
    subnets = [one["SubnetIdentifier"] for one in cloud.call("DescribeDBSubnetGroups")["DBSubnetGroups"][0]["Subnets"]]
    refused = cloud.refusal("ModifyDBSubnetGroup", DBSubnetGroupName="nets", SubnetIds=subnets[1:])
    assert refused[0] == "SubnetAlreadyInUse"


def test_without_a_subnet_group_the_default_vpc_serves(cloud: Cloud) -> None:
    params = {
        key: value for key, value in cloud.prepare().items() if key not in ("DBSubnetGroupName", "VpcSecurityGroupIds")
    }
    made = cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **params)["DBInstance"]
    assert made["DBSubnetGroup"]["DBSubnetGroupName"] == "default"
    assert len(made["VpcSecurityGroups"]) == 1


def subscriber(cloud: Cloud) -> tuple[str, Any]:
    """A topic, and a function that gives the bodies it was sent."""
    topic = cloud.clients.client("sns", REGION).create_topic(Name="alarms")["TopicArn"]
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.sns.models import sns_backends

    backend = sns_backends[DEFAULT_ACCOUNT_ID][REGION]
    return topic, lambda: [json.loads(sent[1]) for sent in backend.topics[topic].sent_notifications]


def test_subscribers_are_told_of_what_they_asked_for(cloud: Cloud) -> None:
    topic, told = subscriber(cloud)
    cloud.call(
        "CreateEventSubscription",
        SubscriptionName="watch",
        SnsTopicArn=topic,
        SourceType="db-instance",
        EventCategories=["creation", "failover"],
    )
    params = cloud.prepare()
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", Tags=[{"Key": "a", "Value": "b"}], **params)
    cloud.until_status("shop", "available")
    cloud.call("RebootDBInstance", DBInstanceIdentifier="shop")
    cloud.until_status("shop", "available")
    cloud.until(lambda: told(), what="notification")
    bodies = told()
    assert [body["Event Message"] for body in bodies] == ["DB instance created"]
    assert bodies[0]["Source ID"] == "shop"
    assert bodies[0]["Event ID"].endswith("#RDS-EVENT-0005")
    assert bodies[0]["Tags"] == {"a": "b"}


def test_a_subscription_is_checked_changed_and_deleted(cloud: Cloud) -> None:
    topic, _ = subscriber(cloud)
    named = {"SubscriptionName": "watch", "SnsTopicArn": topic}
    gone = {**named, "SnsTopicArn": topic + "x"}
    assert cloud.refusal("CreateEventSubscription", **gone)[0] == "SNSTopicArnNotFound"
    assert (
        cloud.refusal("CreateEventSubscription", **named, SourceType="db-instance", EventCategories=["weather"])[0]
        == "SubscriptionCategoryNotFound"
    )
    assert (
        cloud.refusal("CreateEventSubscription", **named, SourceType="db-instance", SourceIds=["none"])[0]
        == "SourceNotFound"
    )
    assert cloud.refusal("CreateEventSubscription", **named, SourceIds=["x"])[0] == "InvalidParameterCombination"
    cloud.call("CreateEventSubscription", **named)
    assert cloud.refusal("CreateEventSubscription", **named)[0] == "SubscriptionAlreadyExist"
    changed = cloud.call("ModifyEventSubscription", SubscriptionName="watch", Enabled=False)["EventSubscription"]
    assert changed["Enabled"] is False
    cloud.call("DeleteEventSubscription", SubscriptionName="watch")
    assert cloud.refusal("DescribeEventSubscriptions", SubscriptionName="watch")[0] == "SubscriptionNotFound"


def test_a_subscription_is_changed_also_when_its_sources_are_gone(cloud: Cloud) -> None:
    topic, _ = subscriber(cloud)
    for name in ("one", "two"):
        group(cloud, name)
    cloud.call(
        "CreateEventSubscription", SubscriptionName="watch", SnsTopicArn=topic, SourceType="db-parameter-group",
        SourceIds=["one", "two"],
    )  # fmt: skip
    for name in ("one", "two"):
        cloud.call("DeleteDBParameterGroup", DBParameterGroupName=name)
    cloud.call("ModifyEventSubscription", SubscriptionName="watch", Enabled=False)
    left = cloud.call("RemoveSourceIdentifierFromSubscription", SubscriptionName="watch", SourceIdentifier="one")
    assert left["EventSubscription"]["SourceIdsList"] == ["two"]
    again = {"SubscriptionName": "watch", "SourceIdentifier": "one"}
    assert cloud.refusal("AddSourceIdentifierToSubscription", **again)[0] == "SourceNotFound"
    retyped = {"SubscriptionName": "watch", "SourceType": "db-instance"}
    assert cloud.refusal("ModifyEventSubscription", **retyped)[0] == "InvalidParameterCombination"


def test_a_notification_has_the_tags_of_what_it_tells_of(cloud: Cloud) -> None:
    topic, told = subscriber(cloud)
    cloud.call("CreateEventSubscription", SubscriptionName="watch", SnsTopicArn=topic, SourceType="db-parameter-group")
    tags = [{"Key": "of", "Value": "the instance"}]
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", Tags=tags, **cloud.prepare())
    cloud.call(
        "CreateDBParameterGroup", DBParameterGroupName="shop", DBParameterGroupFamily="postgres17", Description="x",
        Tags=[{"Key": "of", "Value": "the group"}],
    )  # fmt: skip
    change(cloud, "shop", work_mem="8192")
    cloud.until(told, what="notification")
    assert [(body["Source ID"], body["Tags"]) for body in told()] == [("shop", {"of": "the group"})]


def test_events_are_found_by_source_category_and_time(cloud: Cloud) -> None:
    group(cloud, work_mem="8192")
    found = cloud.call("DescribeEvents", SourceType="db-parameter-group", SourceIdentifier="tuned")["Events"]
    assert ["work_mem to 8192" in event["Message"] for event in found] == [True]
    assert cloud.call("DescribeEvents", EventCategories=["deletion"])["Events"] == []
    assert cloud.refusal("DescribeEvents", SourceIdentifier="tuned")[0] == "InvalidParameterCombination"
    kinds = cloud.call("DescribeEventCategories")["EventCategoriesMapList"]
    assert {"db-instance", "db-parameter-group"} <= {one["SourceType"] for one in kinds}


def test_tags_are_set_listed_and_removed_and_aws_tags_are_the_engines(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    arn = cloud.instance("shop")["DBInstanceArn"]
    own = [{"Key": "aws:cloudformation:stack-name", "Value": "s"}]
    assert cloud.refusal("AddTagsToResource", ResourceName=arn, Tags=own)[0] == "InvalidParameterValue"
    cloud.call("AddTagsToResource", internal=True, ResourceName=arn, Tags=[*own, {"Key": "Team", "Value": "x"}])
    assert len(cloud.call("ListTagsForResource", ResourceName=arn)["TagList"]) == 2
    assert cloud.refusal("RemoveTagsFromResource", ResourceName=arn, TagKeys=[own[0]["Key"]])[0] == (
        "InvalidParameterValue"
    )
    cloud.call("RemoveTagsFromResource", ResourceName=arn, TagKeys=["Team"])
    assert cloud.instance("shop")["TagList"] == own
    missing = arn.replace(":db:shop", ":db:none")
    assert cloud.refusal("ListTagsForResource", ResourceName=missing)[0] == "DBInstanceNotFound"


def test_log_files_are_listed_and_read_in_portions_and_nothing_else_is(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "available")
    files = cloud.call("DescribeDBLogFiles", DBInstanceIdentifier="shop")["DescribeDBLogFiles"]
    assert [one["LogFileName"] for one in files] == ["error/postgresql.log.2026-01-01-00"]
    named = {"DBInstanceIdentifier": "shop", "LogFileName": files[0]["LogFileName"]}
    first = cloud.call("DownloadDBLogFilePortion", **named, Marker="0", NumberOfLines=2)
    assert (first["LogFileData"], first["AdditionalDataPending"]) == ("one\ntwo\n", True)
    rest = cloud.call("DownloadDBLogFilePortion", **named, Marker=first["Marker"])
    assert (rest["LogFileData"], rest["AdditionalDataPending"]) == ("three\n", False)
    last = cloud.call("DownloadDBLogFilePortion", **named, NumberOfLines=1)
    assert last["LogFileData"] == "three\n"
    folder = cloud.folder("shop") / "a" / "log"
    (folder / "postgresql.log.2026-01-01-01").symlink_to("/etc/passwd")
    for name in (
        "error/../../../desired.json", "../desired.json", "/etc/passwd", "error/postgresql.log.2026-01-01-99/../x",
        "postgresql.log.2026-01-01-00", "error/postgresql.log.2026-01-01-01",
    ):  # fmt: skip
        code, _ = cloud.refusal("DownloadDBLogFilePortion", DBInstanceIdentifier="shop", LogFileName=name)
        assert code == "DBLogFileNotFoundFault"


def test_what_can_be_had_is_what_is_installed(cloud: Cloud) -> None:
    versions = cloud.call("DescribeDBEngineVersions", Engine="postgres")["DBEngineVersions"]
    assert "17" in {one["MajorEngineVersion"] for one in versions}
    default = cloud.call("DescribeDBEngineVersions", DefaultOnly=True)["DBEngineVersions"]
    assert [one["MajorEngineVersion"] for one in default] == ["17"]
    options = cloud.call("DescribeOrderableDBInstanceOptions", Engine="postgres", DBInstanceClass="db.m5.large")[
        "OrderableDBInstanceOptions"
    ]
    assert {"gp3", "io1"} <= {one["StorageType"] for one in options}
    certificates = cloud.call("DescribeCertificates")["Certificates"]
    assert len(certificates) == 3
    quotas = {one["AccountQuotaName"]: one for one in cloud.call("DescribeAccountAttributes")["AccountQuotas"]}
    assert quotas["DBInstances"]["Max"] == 40
