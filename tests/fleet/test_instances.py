"""What RDS and SQL say of instances, put into words for people."""

from __future__ import annotations

from typing import Any

import pytest

from multiaz.errors import BadInput, Conflict, NotFound
from multiaz.fleet.databases import Databases
from multiaz.fleet.failover import check_can_fail_over, say_what_it_waits_for
from multiaz.fleet.fleet import choose
from multiaz.fleet.instances import Instance, InstanceStatus, instance_of, named
from multiaz.fleet.replication import SqlUnavailable, StandbySeen, replica_seen
from multiaz.fleet.secrets import Credentials, credentials_in
from multiaz.fleet.writer import longest_gap


def instance(identifier: str, **more: Any) -> Instance:
    told = {
        "DBInstanceIdentifier": identifier,
        "DBInstanceStatus": "available",
        "AvailabilityZone": "us-east-1a",
        "Endpoint": {"Address": "127.1.2.3", "Port": 5432},
        **more,
    }
    return instance_of(told)


def replica(identifier: str) -> Instance:
    return instance(identifier, ReadReplicaSourceDBInstanceIdentifier="p")


def test_names_follow_roles_and_the_order_of_logical_ids() -> None:
    found = named([("ReadReplica2", replica("x")), ("PrimaryDB", instance("p")), ("ReadReplica1", replica("y"))])
    assert [(i.name, i.identifier) for i in found] == [("primary", "p"), ("replica-1", "y"), ("replica-2", "x")]


def test_two_primaries_of_one_stack_are_told_apart() -> None:
    found = named([("A", instance("a")), ("B", instance("b"))])
    assert [i.name for i in found] == ["primary-1", "primary-2"]


def test_an_instance_without_endpoint_yet_has_none() -> None:
    told = instance_of({"DBInstanceIdentifier": "p", "DBInstanceStatus": "creating"})
    assert told.endpoint is None
    assert told.zone is None


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(NotFound, match="primary, replica-1"):
        choose(named([("A", instance("a")), ("B", replica("b"))]), "replica-9", "shop")


def test_an_instance_is_found_by_its_identifier_as_well() -> None:
    assert choose([instance("a")], "a", "shop").identifier == "a"


def test_an_idle_source_is_no_lag() -> None:
    """Nothing is committed, so the last replayed commit grows old; nothing is missing."""
    seen = replica_seen("streaming", True, 3600.0)
    assert (seen.streaming, seen.lag_s) == (True, 0.0)


def test_a_broken_stream_is_a_lag_even_if_all_that_came_was_replayed() -> None:
    seen = replica_seen(None, True, 12.5)
    assert (seen.streaming, seen.lag_s) == (False, 12.5)


def test_a_replica_that_replays_tells_the_age_of_its_last_commit() -> None:
    assert replica_seen("streaming", False, 2.0).lag_s == 2.0
    assert replica_seen("streaming", False, None).lag_s is None


def test_failover_of_a_single_az_instance_is_refused() -> None:
    with pytest.raises(BadInput, match="not Multi-AZ"):
        check_can_fail_over(instance("p", MultiAZ=False))


def test_failover_of_an_instance_at_work_is_refused() -> None:
    with pytest.raises(Conflict, match="rebooting"):
        check_can_fail_over(instance("p", MultiAZ=True, DBInstanceStatus="rebooting"))


@pytest.mark.parametrize(
    ("sync", "said"),
    [("none", True), ("async", True), ("potential", True), ("sync", False), ("quorum", False), (None, False)],
)
def test_a_failover_that_waits_for_its_standby_says_so(sync: str | None, said: bool) -> None:
    class Asked(Databases):
        def standby_seen(self, primary: Credentials) -> StandbySeen:
            if sync is None:
                raise SqlUnavailable("Cannot ask", "it is failing over", "wait")
            return StandbySeen(sync, 0)

    told: list[str] = []
    say_what_it_waits_for(Asked(None), Credentials("u", "", "shop", "127.1.2.3", 5432, "arn"), told.append)
    assert ["the standby is not in sync" in line for line in told] == ([True] if said else [])


def test_the_outage_is_the_longest_pause_that_ends_after_the_request() -> None:
    times = [0.0, 5.0, 5.1, 5.2, 5.5, 5.6]
    outage = longest_gap(times, since=5.15)
    assert outage is not None
    assert outage.seconds == pytest.approx(0.3)
    assert (outage.last_before, outage.first_after) == (5.2, 5.5)


def test_a_pause_that_began_before_the_request_counts_from_its_beginning() -> None:
    outage = longest_gap([0.0, 1.0, 1.9], since=1.5)
    assert outage is not None
    assert outage.seconds == pytest.approx(0.9)


def test_without_an_acknowledgement_after_the_request_there_is_no_figure() -> None:
    assert longest_gap([0.0, 1.0], since=2.0) is None


def test_a_secret_that_is_not_a_database_login_is_passed_over() -> None:
    assert credentials_in("not json", "arn") is None
    assert credentials_in('["a"]', "arn") is None
    assert credentials_in('{"username": "u", "password": "p"}', "arn") is None


def test_a_password_is_in_no_representation() -> None:
    found = credentials_in('{"username": "u", "password": "hunter2", "host": "h", "port": "5432"}', "arn")
    assert isinstance(found, Credentials)
    assert found.port == 5432
    assert "hunter2" not in repr(found)


def test_the_json_of_an_instance_has_every_field_also_when_sql_was_silent() -> None:
    told = InstanceStatus(instance("p", MultiAZ=True), sql_error="down").as_dict()
    assert told["standby_sync"] is None
    assert told["sql_error"] == "down"
    assert told.keys() == InstanceStatus(replica("r")).as_dict().keys()


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"Status": "error", "Normal": False, "Message": "replay is paused"}, "replay is paused"),
        ({"Status": "terminated", "Normal": False}, "terminated"),
        ({"Status": "replicating", "Normal": True}, None),
        ({"Status": "connecting", "Normal": False}, None),
    ],
)
def test_broken_replication_is_what_rds_calls_so(told: dict[str, object], error: str | None) -> None:
    found = instance_of(
        {
            "DBInstanceIdentifier": "r",
            "DBInstanceStatus": "available",
            "ReadReplicaSourceDBInstanceIdentifier": "p",
            "StatusInfos": [{"StatusType": "read replication", **told}],
        }
    )
    assert found.replication_error == error
    assert InstanceStatus(found).as_dict()["replication_error"] == error
