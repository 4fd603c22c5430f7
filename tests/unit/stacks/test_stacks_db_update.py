"""An update of a DB instance that is in a failed state: what mends it is taken, and going back ends."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import Call
from multiaz.cloud.stacks.resources.database import DbInstance


class _Rds:
    """RDS with one instance in a failed state, which takes what `mends` it (and says so at once)."""

    def __init__(self, status: str, *mends: str, size: int = 20, group: str = "in-sync") -> None:
        self.status, self.mends = status, {"DBInstanceIdentifier", "ApplyImmediately", *mends}
        self.found: dict[str, Any] = {"AllocatedStorage": size, "MultiAZ": False, "DBInstanceClass": "db.t3.small"}
        self.group, self.group_status = "bad", group
        self.modified: list[dict[str, Any]] = []
        self.reboots = 0
        self.boots = True

    def client(self, service: str, region: str) -> Any:
        return self

    def describe_events(self, **_: Any) -> dict[str, Any]:
        return {"Events": []}

    def describe_db_instances(self, **_: Any) -> dict[str, Any]:
        group = {"DBParameterGroupName": self.group, "ParameterApplyStatus": self.group_status}
        told = {"DBInstanceArn": "arn:i", "DbiResourceId": "db-1", "DBInstanceStatus": self.status}
        return {"DBInstances": [{**told, **self.found, "DBParameterGroups": [group]}]}

    def modify_db_instance(self, **arguments: Any) -> None:
        if arguments.keys() - self.mends:
            raise ClientError({"Error": {"Code": "InvalidDBInstanceState", "Message": "no"}}, "ModifyDBInstance")
        self.modified.append(arguments)
        if "DBParameterGroupName" in arguments:
            self.group, self.group_status = arguments["DBParameterGroupName"], "pending-reboot"
        elif not arguments["ApplyImmediately"]:
            self.found["PendingModifiedValues"] = {"AllocatedStorage": arguments["AllocatedStorage"]}
        else:
            self.found["AllocatedStorage"] = arguments["AllocatedStorage"]
            self.status = "available"

    def reboot_db_instance(self, **_: Any) -> None:
        self.reboots += 1
        self.group_status = "in-sync"
        self.status = "available" if self.boots else "incompatible-parameters"


def update(rds: _Rds, before: dict[str, Any], after: dict[str, Any], *, reverting: bool = False) -> None:
    def waited(_: float) -> None:
        pytest.fail("waits for what does not come")

    old, new = (
        Call(rds, "us-east-1", "1", "arn:s", "shop", "Primary", "T", token="t", physical_id="p", properties=properties)
        for properties in (before, after)
    )
    new.reverting, new.on_wait = reverting, waited
    changed = frozenset(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    DbInstance().update(new, old, changed)


def test_an_instance_whose_storage_is_full_grows_through_its_stack() -> None:
    rds = _Rds("storage-full", "AllocatedStorage")
    update(rds, {"AllocatedStorage": "20"}, {"AllocatedStorage": "30"})
    assert rds.found["AllocatedStorage"] == 30


def test_an_instance_with_incompatible_parameters_gets_another_group_and_a_reboot_through_its_stack() -> None:
    rds = _Rds("incompatible-parameters", "DBParameterGroupName")
    update(rds, {"DBParameterGroupName": "bad"}, {"DBParameterGroupName": "good"})
    assert (rds.group, rds.reboots, rds.status) == ("good", 1, "available")


def test_another_group_that_does_not_help_either_fails_the_update() -> None:
    rds = _Rds("incompatible-parameters", "DBParameterGroupName")
    rds.boots = False
    with pytest.raises(ResourceFailure, match="entered the state incompatible-parameters"):
        update(rds, {"DBParameterGroupName": "bad"}, {"DBParameterGroupName": "worse"})


def test_a_group_that_waits_for_the_operator_s_reboot_is_not_told_as_success() -> None:
    rds = _Rds("incompatible-parameters", "DBParameterGroupName")
    later = {"ApplyImmediately": False}
    with pytest.raises(ResourceFailure, match="entered the state incompatible-parameters"):
        update(rds, {"DBParameterGroupName": "bad", **later}, {"DBParameterGroupName": "good", **later})
    assert rds.reboots == 0


@pytest.mark.parametrize("status", ["storage-full", "incompatible-parameters"])
def test_what_the_failed_state_does_not_allow_is_refused_and_going_back_does_not_ask_for_it_again(status: str) -> None:
    rds = _Rds(status)
    before = {"AllocatedStorage": "20", "MultiAZ": False, "DBInstanceClass": "db.t3.small"}
    after = {"AllocatedStorage": "30", "MultiAZ": True, "DBInstanceClass": "db.t3.large"}
    with pytest.raises(ClientError, match="InvalidDBInstanceState"):
        update(rds, before, after)
    update(rds, after, before, reverting=True)
    assert rds.modified == []


def test_storage_that_would_wait_for_the_window_is_no_success_and_is_taken_back() -> None:
    rds = _Rds("storage-full", "AllocatedStorage")
    before, after = ({"AllocatedStorage": size, "ApplyImmediately": False} for size in ("20", "30"))
    with pytest.raises(ResourceFailure, match="entered the state storage-full"):
        update(rds, before, after)
    update(rds, after, before, reverting=True)
    assert [one["AllocatedStorage"] for one in rds.modified] == [30, 20]


@pytest.mark.parametrize("status", ["failed", "restore-error", "incompatible-network"])
def test_a_state_that_no_modification_ends_fails_the_update_at_once(status: str) -> None:
    rds = _Rds(status, "AllocatedStorage")
    with pytest.raises(ResourceFailure, match=status):
        update(rds, {"AllocatedStorage": "20"}, {"AllocatedStorage": "30"})
    assert rds.modified == []
