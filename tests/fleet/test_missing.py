"""A DB instance of a stack that others deleted or renamed is told by name, and a stack is not deleted around one."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.stub import Stubber

from multiaz.cli import looking
from multiaz.cli.output import Output
from multiaz.errors import Conflict, ExitCode
from multiaz.fleet.access import Access
from multiaz.fleet.fleet import Fleet
from multiaz.fleet.instances import FleetStatus, MissingInstance

ID = "arn:aws:cloudformation:eu-north-1:123456789012:stack/shop/1"


def resource(logical_id: str, physical_id: str, status: str = "CREATE_COMPLETE") -> dict[str, str]:
    return {
        "LogicalResourceId": logical_id,
        "PhysicalResourceId": physical_id,
        "ResourceType": "AWS::RDS::DBInstance",
        "ResourceStatus": status,
        "LastUpdatedTimestamp": "2026-11-23",
    }


def described(identifier: str, logical_id: str, stack_id: str = ID) -> dict[str, Any]:
    tags = {"aws:cloudformation:stack-id": stack_id, "aws:cloudformation:logical-id": logical_id}
    return {
        "DBInstanceIdentifier": identifier,
        "DBInstanceStatus": "available",
        "TagList": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


def shop(resources: list[dict[str, str]], there: list[dict[str, Any]]) -> tuple[Fleet, Stubber, Stubber]:
    """A fleet whose stack has `resources`, none of which RDS knows, in an account with the instances `there`."""
    fleet = Fleet(Access("eu-north-1", "http://127.0.0.1:4566", "key", "secret"), "shop")
    cloudformation, rds = (Stubber(fleet.clients.client(name)) for name in ("cloudformation", "rds"))
    stack = {"StackName": "shop", "StackId": ID, "StackStatus": "CREATE_COMPLETE", "CreationTime": "2026-11-23"}
    cloudformation.add_response("describe_stacks", {"Stacks": [stack]})
    cloudformation.add_response("list_stack_resources", {"StackResourceSummaries": resources})
    for _ in resources:
        rds.add_client_error("describe_db_instances", "DBInstanceNotFound")
    rds.add_response("describe_db_instances", {"DBInstances": there})
    return fleet, cloudformation, rds


def test_an_instance_that_is_gone_is_told_apart_from_one_that_was_renamed() -> None:
    fleet, cloudformation, rds = shop(
        [
            resource("PrimaryDB", "shop-db"),
            resource("ReadReplica1", "shop-r1"),
            resource("ReadReplica2", "shop-r2", "CREATE_IN_PROGRESS"),
        ],
        [described("other-db", "ReadReplica1", ID + "0"), described("shop-old", "PrimaryDB")],
    )
    with cloudformation, rds:
        found = fleet.status()
    assert found.missing == (
        MissingInstance("PrimaryDB", "shop-db", "shop-old"),
        MissingInstance("ReadReplica1", "shop-r1", None),
    )


def test_a_stack_with_a_renamed_instance_is_not_deleted_around_it() -> None:
    fleet, cloudformation, rds = shop([resource("PrimaryDB", "shop-db")], [described("shop-old", "PrimaryDB")])
    with cloudformation, rds, pytest.raises(Conflict, match="shop-db is now shop-old") as caught:
        fleet.destroy()  # the stub answers no DeleteStack
    assert caught.value.next_step == (
        "aws --endpoint-url http://127.0.0.1:4566 --region eu-north-1 rds modify-db-instance --apply-immediately "
        "--db-instance-identifier shop-old --new-db-instance-identifier shop-db"
    )


def test_a_stack_whose_instance_was_deleted_can_still_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, cloudformation, rds = shop([resource("PrimaryDB", "shop-db")], [])
    deleted: list[str] = []

    def delete(name: str, **_: object) -> str:
        deleted.append(name)
        return ID

    monkeypatch.setattr(fleet.stacks, "delete", delete)
    cloudformation.add_response("list_stack_resources", {"StackResourceSummaries": []})
    rds.add_response("describe_db_snapshots", {"DBSnapshots": []})
    with cloudformation, rds:
        fleet.destroy()
    assert deleted == ["shop"]


@pytest.mark.parametrize("as_json", [False, True])
def test_status_shows_what_is_missing_and_does_not_end_as_if_all_was_well(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = (MissingInstance("PrimaryDB", "shop-db", "shop-old"), MissingInstance("ReadReplica1", "shop-r1", None))

    class Shop:
        seen = FleetStatus("shop", "CREATE_COMPLETE", missing=missing)

        def status(self) -> FleetStatus:
            return self.seen

    monkeypatch.setattr(looking, "fleet_of", lambda *_, **__: Shop())
    out = io.StringIO()
    asked: dict[str, Any] = {"stack": "shop", "suffix": None, "config": None, "region": "eu-north-1"}
    assert looking.status(Output(as_json, out), **asked) == ExitCode.NOT_FOUND
    if as_json:
        assert json.loads(out.getvalue())["missing"] == [
            {"logical_id": "PrimaryDB", "identifier": "shop-db", "renamed_to": "shop-old"},
            {"logical_id": "ReadReplica1", "identifier": "shop-r1", "renamed_to": None},
        ]
    else:
        assert "shop-db is not there: renamed to shop-old" in out.getvalue()
        assert "shop-r1 is not there: deleted" in out.getvalue()
    Shop.seen = FleetStatus("shop", "CREATE_COMPLETE")
    assert looking.status(Output(as_json, out), **asked) == ExitCode.OK
