"""What is read of an instance's files: also while its supervisor starts, and where a line of them is torn."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from multiaz.cloud.rds.folders import new_events
from multiaz.files import ProcessLock
from multiaz.home import Home, InstanceHome
from multiaz.instance.events import EventLog

if TYPE_CHECKING:
    from conftest import Cloud


def test_while_a_supervisor_starts_the_primary_is_where_it_was(cloud: Cloud) -> None:
    named = {"DBInstanceIdentifier": "shop"}
    cloud.call("CreateDBInstance", **named, **{**cloud.prepare(), "MultiAZ": True})
    cloud.until_status("shop", "available")
    cloud.call("RebootDBInstance", **named, ForceFailover=True)
    before = cloud.until_status("shop", "available")
    files = cloud.call("DescribeDBLogFiles", **named)
    cloud.rds.stop()
    cloud.end_supervisors()
    before["LatestRestorableTime"] = cloud.instance("shop")["LatestRestorableTime"]
    (cloud.folder("shop") / "observed.json").unlink()  # as a supervisor does that starts
    after = cloud.instance("shop")
    for name in ("AvailabilityZone", "SecondaryAvailabilityZone", "LatestRestorableTime"):
        assert after[name] == before[name]
    assert cloud.call("DescribeDBLogFiles", **named) == files


def test_what_a_dead_supervisor_saw_makes_nothing_available_while_the_next_one_begins(cloud: Cloud) -> None:
    """It holds the lock an instant before it removes what the one before saw, and its endpoint does not listen yet."""
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "available")
    cloud.rds.stop()
    cloud.end_supervisors()
    next_one = ProcessLock(cloud.folder("shop") / "instance.lock")
    assert next_one.acquire()
    try:
        assert (cloud.folder("shop") / "observed.json").exists()
        assert cloud.instance("shop")["DBInstanceStatus"] != "available"
    finally:
        next_one.release()


@pytest.fixture
def place(tmp_path: Path) -> InstanceHome:
    """The folder of an instance."""
    found = Home(tmp_path).instance("db-ONE")
    found.folder.mkdir(parents=True)
    return found


def numbers(place: InstanceHome, seen: int = 0) -> list[int]:
    return [event.number for event in new_events(place, seen)]


def test_an_event_there_is_no_room_for_leaves_nothing_behind(
    place: InstanceHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(place.events)
    log.append("RDS-EVENT-0004", "one")
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        with pytest.raises(OSError, match="No space left") as failed:
            log.append("RDS-EVENT-0007", "lost")
    assert failed.value.errno == errno.ENOSPC
    log.append("RDS-EVENT-0006", "two")
    assert [(event.number, event.message) for event in new_events(place, 0)] == [(1, "one"), (2, "two")]


def test_a_line_that_is_no_event_is_skipped_and_logged(place: InstanceHome, caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog(place.events)
    log.append("RDS-EVENT-0004", "one")
    with place.events.open("ab") as stream:
        stream.write(b'{"number":2,"at":{"number":3,"at":1.0,"code":"RDS-EVENT-0006","message":"glued"}\n')
    EventLog(place.events).append("RDS-EVENT-0006", "after")
    assert numbers(place) == [1, 2]
    assert [("is no event" in record.message) for record in caplog.records] == [True]
    assert numbers(place, seen=2) == []
    assert len(caplog.records) == 1  # not again
