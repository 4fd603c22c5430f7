"""NewDBInstanceIdentifier: the name, the ARN and the endpoint change; data, resource id, tags and replicas stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Cloud

OLD = {"DBInstanceIdentifier": "shop"}


def make(cloud: Cloud, name: str = "shop", **more: Any) -> dict[str, Any]:
    cloud.call("CreateDBInstance", DBInstanceIdentifier=name, **{**cloud.prepare(), **more})
    return cloud.until_status(name, "available")


def is_there(cloud: Cloud, name: str) -> bool:
    return name in [one["DBInstanceIdentifier"] for one in cloud.call("DescribeDBInstances")["DBInstances"]]


def renamed(cloud: Cloud, old: str, new: str) -> dict[str, Any]:
    cloud.call("ModifyDBInstance", DBInstanceIdentifier=old, NewDBInstanceIdentifier=new, ApplyImmediately=True)
    cloud.until(lambda: is_there(cloud, new), what=f"{new}")
    return cloud.until_status(new, "available")


def test_a_renamed_instance_keeps_all_but_name_arn_and_endpoint(cloud: Cloud) -> None:
    before = make(cloud, Tags=[{"Key": "Team", "Value": "shop"}])
    begun = cloud.call("ModifyDBInstance", **OLD, NewDBInstanceIdentifier="Store", ApplyImmediately=True)["DBInstance"]
    assert (begun["DBInstanceIdentifier"], begun["DBInstanceStatus"]) == ("shop", "renaming")
    assert begun["PendingModifiedValues"] == {"DBInstanceIdentifier": "store"}
    cloud.until(lambda: is_there(cloud, "store"))
    after = cloud.until_status("store", "available")
    assert cloud.refusal("DescribeDBInstances", **OLD)[0] == "DBInstanceNotFound"
    assert after["DBInstanceArn"] == before["DBInstanceArn"].replace(":db:shop", ":db:store")
    assert after["Endpoint"]["Address"] != before["Endpoint"]["Address"]
    assert after["Endpoint"]["Port"] == before["Endpoint"]["Port"]
    changed = {"DBInstanceIdentifier", "DBInstanceArn", "Endpoint", "CertificateDetails"}
    assert {name: value for name, value in after.items() if name not in changed} == {
        name: value for name, value in before.items() if name not in changed
    }
    assert cloud.refusal("ListTagsForResource", ResourceName=before["DBInstanceArn"])[0] == "DBInstanceNotFound"
    tags = cloud.call("ListTagsForResource", ResourceName=after["DBInstanceArn"])["TagList"]
    assert tags == [{"Key": "Team", "Value": "shop"}]


def test_a_name_goes_with_its_endpoint_to_whoever_has_it_next(cloud: Cloud) -> None:
    first = make(cloud)
    cloud.call("CreateDBInstance", **{**cloud_params(cloud), "DBInstanceIdentifier": "restored"})
    second = cloud.until_status("restored", "available")
    renamed(cloud, "shop", "shop-old")
    swapped = renamed(cloud, "restored", "shop")
    assert swapped["Endpoint"] == first["Endpoint"]
    assert swapped["DbiResourceId"] == second["DbiResourceId"]
    assert cloud.instance("shop-old")["DbiResourceId"] == first["DbiResourceId"]


def cloud_params(cloud: Cloud) -> dict[str, Any]:
    """As `prepare`, with the subnet group that is there."""
    return {
        "DBInstanceClass": "db.t3.micro", "Engine": "postgres", "AllocatedStorage": 20, "MasterUsername": "shop",
        "MasterUserPassword": "correct-horse-battery", "DBSubnetGroupName": "nets",
    }  # fmt: skip


def test_a_name_that_is_taken_or_promised_is_refused(cloud: Cloud) -> None:
    make(cloud)
    cloud.call("CreateDBInstance", **{**cloud_params(cloud), "DBInstanceIdentifier": "other"})
    cloud.until_status("other", "available")
    for change, code in (
        ("other", "DBInstanceAlreadyExists"),
        ("OTHER", "DBInstanceAlreadyExists"),
        ("no--name", "InvalidParameterValue"),
    ):
        assert cloud.refusal("ModifyDBInstance", **OLD, NewDBInstanceIdentifier=change)[0] == code
    cloud.call("ModifyDBInstance", **OLD, NewDBInstanceIdentifier="store", ApplyImmediately=True)
    promised = {**cloud_params(cloud), "DBInstanceIdentifier": "store"}
    assert cloud.refusal("CreateDBInstance", **promised)[0] == "DBInstanceAlreadyExists"
    other = {"DBInstanceIdentifier": "other", "NewDBInstanceIdentifier": "store", "ApplyImmediately": True}
    assert cloud.refusal("ModifyDBInstance", **other)[0] == "DBInstanceAlreadyExists"
    cloud.until(lambda: is_there(cloud, "store"))
    cloud.call("CreateDBInstance", **{**cloud_params(cloud), "DBInstanceIdentifier": "shop"})


def test_without_apply_immediately_the_name_waits_for_the_window(cloud: Cloud) -> None:
    make(cloud)
    waits = cloud.call("ModifyDBInstance", **OLD, NewDBInstanceIdentifier="store")["DBInstance"]
    assert (waits["DBInstanceStatus"], waits["PendingModifiedValues"]) == (
        "available",
        {"DBInstanceIdentifier": "store"},
    )
    taken_back = cloud.call("ModifyDBInstance", **OLD, NewDBInstanceIdentifier="shop")["DBInstance"]
    assert taken_back["PendingModifiedValues"] == {}
    cloud.call("ModifyDBInstance", **OLD, NewDBInstanceIdentifier="store")
    now = datetime.now(UTC)
    window = f"{now:%a:%H:%M}-{now + timedelta(hours=1):%a:%H:%M}"
    backup = f"{now + timedelta(hours=6):%H:%M}-{now + timedelta(hours=7):%H:%M}"
    cloud.call("ModifyDBInstance", **OLD, PreferredMaintenanceWindow=window, PreferredBackupWindow=backup)
    cloud.until(lambda: is_there(cloud, "store"))
    assert cloud.until_status("store", "available")["PendingModifiedValues"] == {}


def test_a_new_cloud_process_goes_on_renaming(cloud: Cloud) -> None:
    before = make(cloud)
    cloud.call("ModifyDBInstance", **OLD, NewDBInstanceIdentifier="store", AllocatedStorage=30, ApplyImmediately=True)
    cloud.restart()
    cloud.until(lambda: is_there(cloud, "store"))
    after = cloud.until_status("store", "available")
    assert (after["DbiResourceId"], after["AllocatedStorage"]) == (before["DbiResourceId"], 30)
    assert not is_there(cloud, "shop")


def test_events_and_subscriptions_go_by_name(cloud: Cloud) -> None:
    topic = cloud.clients.client("sns", "us-east-1").create_topic(Name="alarms")["TopicArn"]
    make(cloud)
    cloud.call(
        "CreateEventSubscription",
        SubscriptionName="watch",
        SnsTopicArn=topic,
        SourceType="db-instance",
        SourceIds=["shop"],
    )
    renamed(cloud, "shop", "store")
    assert "DB instance created" in cloud.events("shop")
    assert "DB instance created" not in cloud.events("store")
    kept = cloud.call("DescribeEventSubscriptions", SubscriptionName="watch")["EventSubscriptionsList"][0]
    assert kept["SourceIdsList"] == ["shop"]


def connect(cloud: Cloud, address: str, port: int) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=address, port=port, user="shop", password="correct-horse-battery", dbname="postgres", autocommit=True,
        sslmode="verify-full", sslrootcert=str(cloud.home.pki / "ca.pem"), connect_timeout=10,
    )  # fmt: skip


@pytest.mark.long
def test_servers_and_replicas_go_on_under_the_new_name(real_cloud: Cloud) -> None:
    cloud = real_cloud
    before = make(cloud, MultiAZ=True)
    cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="reader", SourceDBInstanceIdentifier="shop")
    reader = cloud.until_status("reader", "available")
    old, port = before["Endpoint"]["Address"], before["Endpoint"]["Port"]
    with connect(cloud, old, port) as connection:
        connection.execute("CREATE TABLE orders (id int)")
        connection.execute("INSERT INTO orders VALUES (1)")
    after = renamed(cloud, "shop", "store")
    new = after["Endpoint"]["Address"]
    with connect(cloud, new, port) as connection:
        connection.execute("INSERT INTO orders VALUES (2)")
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect(cloud, old, port)
    assert cloud.instance("reader")["ReadReplicaSourceDBInstanceIdentifier"] == "store"
    assert after["ReadReplicaDBInstanceIdentifiers"] == ["reader"]

    def rows() -> int:
        with connect(cloud, reader["Endpoint"]["Address"], port) as connection:
            row = connection.execute("SELECT count(*) FROM orders").fetchone()
        return int(row[0]) if row else 0

    cloud.until(lambda: rows() == 2, what="both rows on the replica")
    replica = renamed(cloud, "reader", "reader-2")
    cloud.until(lambda: cloud.instance("reader-2")["StatusInfos"][0]["Status"] == "replicating")
    with connect(cloud, replica["Endpoint"]["Address"], port) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2,)
    cloud.call("DeleteDBInstance", DBInstanceIdentifier="store", FinalDBSnapshotIdentifier="last")
    cloud.until_gone("store")
    assert cloud.call("DescribeDBSnapshots", DBInstanceIdentifier="store")["DBSnapshots"][0]["Status"] == "available"
