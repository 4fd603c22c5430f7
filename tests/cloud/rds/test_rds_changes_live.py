"""Storage and parameters of an instance that serves: real servers, a cloud of its own process, asked with boto3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from live_cloud import Watch, Writer, goes_through, shown, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_cloud import LiveCloud

pytestmark = pytest.mark.long

GROUP = {"DBParameterGroupName": "tuned"}


@pytest.fixture(scope="module")
def shop(live: LiveCloud) -> LiveCloud:
    """The cloud, with a single-AZ instance `shop` whose parameter group is its own."""
    live.call("CreateDBParameterGroup", **GROUP, DBParameterGroupFamily="postgres17", Description="of shop")
    live.make("shop", **GROUP)
    return live


@pytest.fixture
def session(shop: LiveCloud) -> Iterator[psycopg.Connection[Any]]:
    """A session that was there before the change."""
    with shop.connect("shop") as session:
        yield session


def set_parameter(cloud: LiveCloud, name: str, value: str, method: str) -> None:
    change = {"ParameterName": name, "ParameterValue": value, "ApplyMethod": method}
    cloud.call("ModifyDBParameterGroup", **GROUP, Parameters=[change])


def apply_status(cloud: LiveCloud) -> str:
    group = cloud.instance("shop")["DBParameterGroups"][0]
    assert group["DBParameterGroupName"] == "tuned"
    return str(group["ParameterApplyStatus"])


def test_storage_grows_at_once_without_a_restart_and_rests_for_six_hours(
    shop: LiveCloud, session: psycopg.Connection[Any]
) -> None:
    cloud, kept = shop, len(shop.events("shop"))
    since = started(session)
    with Watch(cloud, "shop") as watch:
        begun = cloud.modify("shop", AllocatedStorage=30, ApplyImmediately=True)
        assert (begun["DBInstanceStatus"], begun["AllocatedStorage"]) == ("modifying", 20)
        assert begun["PendingModifiedValues"] == {"AllocatedStorage": 30}
        after = cloud.until_status("shop", "available")
    assert (after["AllocatedStorage"], after["PendingModifiedValues"]) == (30, {})
    assert goes_through(watch.statuses(), ["available", "modifying", "storage-optimization", "available"])
    assert cloud.events("shop")[kept:] == [
        ("0018", "Applying modification to allocated storage"),
        ("0017", "Finished applying modification to allocated storage"),
    ]
    assert started(session) == since
    assert json.loads(cloud.place("shop").desired.read_text())["allocated_gib"] == 30
    cloud.kill_and_restart()
    code, message = cloud.refusal("ModifyDBInstance", DBInstanceIdentifier="shop", AllocatedStorage=40)
    assert (code, "is being optimized" in message) == ("InvalidParameterCombination", True)
    assert cloud.instance("shop")["AllocatedStorage"] == 30


def test_a_dynamic_parameter_is_in_force_in_open_sessions_without_a_restart(
    shop: LiveCloud, session: psycopg.Connection[Any]
) -> None:
    cloud, kept = shop, len(shop.events("shop"))
    since = started(session)
    assert shown(session, "work_mem") != ["8MB"]
    with Watch(cloud, "shop") as watch:
        set_parameter(cloud, "work_mem", "8192", "immediate")
        cloud.until(lambda: shown(session, "work_mem") == ["8MB"], what="work_mem in the open session")
        cloud.until(lambda: apply_status(cloud) == "in-sync", what="in-sync")
    assert watch.shown == [("available", {})]
    assert started(session) == since
    assert cloud.events("shop")[kept:] == []
    told = cloud.call("DescribeEvents", SourceIdentifier="tuned", SourceType="db-parameter-group")["Events"]
    assert [event for event in told if "work_mem" in event["Message"]]
    # taken back, it is the default again
    change = {"ParameterName": "work_mem", "ApplyMethod": "immediate"}
    cloud.call("ResetDBParameterGroup", **GROUP, Parameters=[change])
    cloud.until(lambda: shown(session, "work_mem") == ["4MB"], what="the default in the open session")
    assert started(session) == since


def test_a_static_parameter_is_pending_until_a_reboot_and_then_in_force(
    shop: LiveCloud, session: psycopg.Connection[Any]
) -> None:
    cloud, kept = shop, len(shop.events("shop"))
    since, usual = started(session), shown(session, "max_connections")
    assert usual != ["123"]
    code, _ = refusal_of_immediate(cloud)
    assert code == "InvalidParameterCombination"
    set_parameter(cloud, "max_connections", "123", "pending-reboot")
    assert apply_status(cloud) == "pending-reboot"
    # neither a dynamic change, nor another process of the cloud, nor a modification brings it
    set_parameter(cloud, "random_page_cost", "1.5", "immediate")
    cloud.until(lambda: shown(session, "random_page_cost") == ["1.5"], what="the dynamic value")
    cloud.kill_and_restart()
    cloud.modify("shop", CopyTagsToSnapshot=True, ApplyImmediately=True)
    cloud.until_status("shop", "available")
    assert apply_status(cloud) == "pending-reboot"
    assert (started(session), shown(session, "max_connections")) == (since, usual)
    assert cloud.events("shop")[kept:] == []

    with Watch(cloud, "shop") as watch:
        begun = cloud.call("RebootDBInstance", DBInstanceIdentifier="shop")["DBInstance"]
        assert begun["DBInstanceStatus"] == "rebooting"
        cloud.until_status("shop", "available")
    assert goes_through(watch.statuses(), ["available", "rebooting", "available"])
    assert apply_status(cloud) == "in-sync"
    assert cloud.events("shop")[kept:] == [("0004", "DB instance shutdown"), ("0006", "DB instance restarted")]
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    with cloud.connect("shop") as another:
        assert shown(another, "max_connections", "random_page_cost") == ["123", "1.5"]
        assert started(another) > since


def refusal_of_immediate(cloud: LiveCloud) -> tuple[str, str]:
    change = {"ParameterName": "max_connections", "ParameterValue": "123", "ApplyMethod": "immediate"}
    return cloud.refusal("ModifyDBParameterGroup", **GROUP, Parameters=[change])


def test_a_static_parameter_is_in_force_on_the_standby_too_so_failovers_keep_it(shop: LiveCloud) -> None:
    """Raised: a standby with less of it would replay nothing. Lowered: a standby keeps its primary's value at first."""
    cloud = shop
    cloud.modify("shop", MultiAZ=True, ApplyImmediately=True)
    zones = [cloud.until_status("shop", "available")["AvailabilityZone"]]
    with Writer(lambda: cloud.connect("shop")) as writer:
        for value, by_failover in (("150", False), ("90", True)):
            writer.goes_on(cloud)
            cloud.until_redundant("shop")
            set_parameter(cloud, "max_connections", value, "pending-reboot")
            cloud.until(lambda: apply_status(cloud) == "pending-reboot", what="pending")
            cloud.call("RebootDBInstance", DBInstanceIdentifier="shop", ForceFailover=by_failover)
            zones.append(cloud.until_status("shop", "available")["AvailabilityZone"])
            assert apply_status(cloud) == "in-sync"
            writer.goes_on(cloud)
            cloud.until_redundant("shop")
            cloud.call("RebootDBInstance", DBInstanceIdentifier="shop", ForceFailover=True)
            zones.append(cloud.until_status("shop", "available")["AvailabilityZone"])
            assert apply_status(cloud) == "in-sync"
            with cloud.connect("shop") as session:
                assert shown(session, "max_connections") == [value]
        writer.goes_on(cloud)
    here, there = zones[0], zones[2]
    assert here != there
    assert zones == [here, here, there, here, there]
    assert writer.lost() == set()
