"""Deleting a DB instance ends: by itself, or with the reason of RDS."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from multiaz.cloud.rds.rules import snapshot_identifier
from multiaz.cloud.stacks.resources.base import Call
from multiaz.cloud.stacks.resources.database import DbInstance, snapshot_name


class _Rds:
    """RDS with one instance that goes through `states`; it can be deleted in the state `available` only."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.asked = 0

    def client(self, service: str, region: str) -> Any:
        return self

    def describe_db_instances(self, **_: Any) -> dict[str, Any]:
        state = self.states[0]
        if len(self.states) > 1:
            self.states.pop(0)
        self.now = state
        return {"DBInstances": [] if state == "gone" else [{"DBInstanceStatus": state}]}

    def delete_db_instance(self, **_: Any) -> None:
        self.asked += 1
        assert self.asked < 10, "asked for ever"
        if self.now != "available":
            raise ClientError(
                {"Error": {"Code": "InvalidDBInstanceState", "Message": "specify SkipFinalSnapshot"}},
                "DeleteDBInstance",
            )


def call(rds: Any, stack: str = "shop") -> Call:
    return Call(rds, "us-east-1", "1", "arn:s", stack, "Primary", "T", token="t", physical_id="p", snapshot=True)


@pytest.mark.parametrize("state", ["failed", "incompatible-parameters", "storage-full", "stopped", "unheard-of"])
def test_a_deletion_refused_in_a_state_that_does_not_end_by_itself_fails_with_the_reason(state: str) -> None:
    with pytest.raises(ClientError, match="specify SkipFinalSnapshot"):
        DbInstance().delete(call(_Rds(state)))


def test_a_deletion_refused_while_the_instance_is_busy_is_asked_for_again() -> None:
    rds = _Rds("creating", "rebooting", "configuring-iam-database-auth", "available", "deleting", "gone")
    DbInstance().delete(call(rds))
    assert rds.asked == 4


@pytest.mark.parametrize("stack", ["shop", "shop-", "a--b", "a---b-", "s" * 128, "a-" * 64])
def test_the_name_of_the_final_snapshot_is_one_rds_takes_whatever_the_stack_is_called(stack: str) -> None:
    name = snapshot_name(call(None, stack))
    assert snapshot_identifier(name) == name
