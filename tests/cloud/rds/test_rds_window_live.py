"""What waits for the maintenance window, and a stop: real servers, a cloud of its own process, asked with boto3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from live_cloud import PASSWORD, Watch, Writer, goes_through, next_minute, rows_of, shown, started, window_from

from multiaz.instance.records import ObservedInstance

if TYPE_CHECKING:
    from live_cloud import LiveCloud

pytestmark = pytest.mark.long

MEMORY = ("shared_buffers", "max_connections")
"""Both follow the memory of the class."""
OTHER_PASSWORD = "another-password"


@pytest.fixture(scope="module")
def shop(live: LiveCloud) -> LiveCloud:
    """The cloud, with a single-AZ instance `shop`."""
    live.make("shop", **window_from(datetime.now(UTC) + timedelta(days=3)))
    return live


def make_multi_az(cloud: LiveCloud) -> dict[str, Any]:
    """The instance, redundant; the tests before have made it so already unless they were left out."""
    if not cloud.instance("shop")["MultiAZ"]:
        cloud.modify("shop", MultiAZ=True, MasterUserPassword=OTHER_PASSWORD, ApplyImmediately=True)
        cloud.until_status("shop", "available")
    cloud.until_redundant("shop")
    return cloud.instance("shop")


def test_what_waits_survives_touches_nothing_and_is_made_in_its_window_on_the_server_itself(shop: LiveCloud) -> None:
    cloud = shop
    before = cloud.instance("shop")
    created = [("0005", "DB instance created")]
    waiting = {"DBInstanceClass": "db.t3.small", "AllocatedStorage": 30, "MultiAZ": True}
    with cloud.connect("shop") as session:
        since, small = started(session), shown(session, *MEMORY)

        begun = cloud.modify("shop", **waiting, MasterUserPassword=OTHER_PASSWORD)
        # As on RDS a password never waits. Source: API reference, ModifyDBInstance, MasterUserPassword.
        assert begun["DBInstanceStatus"] == "resetting-master-credentials"
        assert begun["PendingModifiedValues"] == {**waiting, "MasterUserPassword": "****"}
        after = cloud.until_status("shop", "available")
        assert after["PendingModifiedValues"] == waiting
        reset = [*created, ("0016", "Reset master credentials")]
        assert cloud.events("shop") == reset
        cloud.connect("shop", OTHER_PASSWORD).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            cloud.connect("shop", PASSWORD)

        cloud.kill_and_restart()
        still = cloud.until_status("shop", "available")
        assert still["PendingModifiedValues"] == waiting
        assert {name: still[name] for name in waiting} == {name: before[name] for name in waiting}
        assert (started(session), shown(session, *MEMORY)) == (since, small)  # this session is the one from before

        opens = next_minute(at_least_s=10)
        told = cloud.modify("shop", **window_from(opens))
        assert (told["DBInstanceStatus"], told["PendingModifiedValues"]) == ("available", waiting)
        with Watch(cloud, "shop") as watch:
            cloud.until(lambda: "modifying" in watch.statuses(), what="the window's changes begin")
            assert datetime.now(UTC) >= opens
            cloud.until(lambda: watch.shown[-1] == ("available", {}), what="and are made")
    assert goes_through(watch.statuses(), ["available", "modifying", "storage-optimization", "available"])
    assert watch.shown[:2] == [("available", waiting), ("modifying", waiting)]
    assert all(not pending for status, pending in watch.shown[2:] if status != "modifying")

    there = cloud.instance("shop")
    assert {name: there[name] for name in waiting} == waiting
    assert there["SecondaryAvailabilityZone"] != there["AvailabilityZone"] == before["AvailabilityZone"]
    assert there["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"
    cloud.until_redundant("shop")
    with cloud.connect("shop", OTHER_PASSWORD) as session:
        assert started(session) >= opens
        assert all(now != was for now, was in zip(shown(session, *MEMORY), small, strict=True))
    events = cloud.events("shop")[len(reset) :]
    first = [
        ("0018", "Applying modification to allocated storage"),
        ("0024", "Applying modification to convert to a Multi-AZ DB instance"),
        ("0012", "Applying modification to database instance class"),
    ]
    last = [
        ("0017", "Finished applying modification to allocated storage"),
        ("0025", "Finished applying modification to convert to a Multi-AZ DB instance"),
        ("0014", "Finished applying modification to DB instance class"),
    ]
    restart = [("0004", "DB instance shutdown"), ("0006", "DB instance restarted")]
    assert events == [*first, *restart, *last]


def test_in_an_open_window_a_multi_az_instance_gets_its_class_by_a_failover_and_no_row_is_lost(
    shop: LiveCloud,
) -> None:
    cloud = shop
    before = make_multi_az(cloud)
    kept = len(cloud.events("shop"))
    other = "db.t3.micro" if before["DBInstanceClass"] == "db.t3.small" else "db.t3.small"
    with cloud.connect("shop", OTHER_PASSWORD) as session:
        usual = shown(session, *MEMORY)
    cloud.modify("shop", **window_from(datetime.now(UTC)))
    with Watch(cloud, "shop") as watch, Writer(lambda: cloud.connect("shop", OTHER_PASSWORD)) as writer:
        writer.goes_on(cloud)
        waits = cloud.modify("shop", DBInstanceClass=other)
        assert (waits["DBInstanceStatus"], waits["PendingModifiedValues"]) == ("available", {"DBInstanceClass": other})
        cloud.until(lambda: cloud.instance("shop")["DBInstanceClass"] == other, what=f"class {other}")
        after = cloud.until_status("shop", "available")
        writer.goes_on(cloud)
    assert goes_through(watch.statuses(), ["available", "modifying", "available"])
    assert {str(pending) for status, pending in watch.shown if status == "modifying"} == {
        str({"DBInstanceClass": other})
    }
    assert after["PendingModifiedValues"] == {}
    assert after["AvailabilityZone"] == before["SecondaryAvailabilityZone"]
    cloud.until_redundant("shop")
    with cloud.connect("shop", OTHER_PASSWORD) as session:
        assert all(now != was for now, was in zip(shown(session, *MEMORY), usual, strict=True))
    assert writer.lost() == set()
    numbers = [number for number, _ in cloud.events("shop")[kept:]]
    assert (numbers[:2], numbers[-1]) == (["0012", "0013"], "0014")
    assert numbers.count("0049") == 1


def test_a_class_change_is_carried_on_by_another_process_of_the_cloud_each_step_once(shop: LiveCloud) -> None:
    cloud = shop
    before = make_multi_az(cloud)
    kept, epoch = len(cloud.events("shop")), cloud.observed("shop").epoch
    place, endpoint = cloud.place("shop"), before["Endpoint"]
    other = "db.t3.micro" if before["DBInstanceClass"] == "db.t3.small" else "db.t3.small"

    def observed() -> ObservedInstance:
        return ObservedInstance.model_validate_json(place.observed.read_bytes())

    with Writer(lambda: cloud.connect_to(endpoint["Address"], endpoint["Port"], OTHER_PASSWORD)) as writer:
        writer.goes_on(cloud)
        begun = cloud.modify("shop", DBInstanceClass=other, ApplyImmediately=True)
        assert begun["DBInstanceStatus"] == "modifying"
        cloud.until(lambda: not observed().in_sync, what="the standby is restarted")
        cloud.kill_and_restart()
        cloud.until(lambda: observed().epoch > epoch, what="the failover")
        cloud.kill_and_restart()
        after = cloud.until_status("shop", "available")
        writer.goes_on(cloud)
    assert (after["DBInstanceClass"], after["PendingModifiedValues"]) == (other, {})
    assert after["AvailabilityZone"] == before["SecondaryAvailabilityZone"]
    cloud.until_redundant("shop")
    numbers = [number for number, _ in cloud.events("shop")[kept:]]
    assert (numbers[0], numbers[-1]) == ("0012", "0014")
    assert [numbers.count(number) for number in ("0012", "0013", "0049", "0014")] == [1, 1, 1, 1]
    assert writer.lost() == set()


def test_a_stopped_multi_az_instance_serves_nobody_keeps_all_and_comes_back_redundant(shop: LiveCloud) -> None:
    cloud = shop
    before = make_multi_az(cloud)
    kept = len(cloud.events("shop"))
    with Writer(lambda: cloud.connect("shop", OTHER_PASSWORD, 2)) as writer, Watch(cloud, "shop") as watch:
        writer.goes_on(cloud)
        begun = cloud.call("StopDBInstance", DBInstanceIdentifier="shop")["DBInstance"]
        assert begun["DBInstanceStatus"] == "stopping"
        there = cloud.until_status("shop", "stopped")
    assert goes_through(watch.statuses(), ["available", "stopping", "stopped"])
    assert there["Endpoint"] == before["Endpoint"]
    assert there["AutomaticRestartTime"] > datetime.now(UTC)
    stopped = [("0004", "DB instance shutdown"), ("0087", "DB instance stopped")]
    assert cloud.events("shop")[kept:] == stopped
    with pytest.raises(psycopg.OperationalError) as refused:
        cloud.connect("shop", OTHER_PASSWORD)
    assert "the database system is not accepting connections" in str(refused.value)
    cloud.kill_and_restart()
    assert cloud.instance("shop")["DBInstanceStatus"] == "stopped"

    with Watch(cloud, "shop") as watch:
        begun = cloud.call("StartDBInstance", DBInstanceIdentifier="shop")["DBInstance"]
        assert begun["DBInstanceStatus"] == "starting"
        there = cloud.until_status("shop", "available")
    assert goes_through(watch.statuses(), ["stopped", "starting", "available"])
    assert there["Endpoint"] == before["Endpoint"]
    assert "AutomaticRestartTime" not in there
    assert cloud.events("shop")[kept:] == [*stopped, ("0088", "DB instance started")]
    with cloud.connect("shop", OTHER_PASSWORD) as session:
        assert set(writer.acknowledged) <= rows_of(session)

    cloud.until_redundant("shop")
    cloud.call("RebootDBInstance", DBInstanceIdentifier="shop", ForceFailover=True)
    after = cloud.until_status("shop", "available")
    assert after["AvailabilityZone"] == there["SecondaryAvailabilityZone"]
    assert writer.lost() == set()
