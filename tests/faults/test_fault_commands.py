"""`multiaz fault` as a person uses it, on a whole local cloud: what RDS and `status` say of each fault, and `down`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from endpoint_client import seconds_of
from test_disk_full import may_mount

from multiaz.errors import ExitCode
from multiaz.files import lock_holder
from person import Person

Eventually = Callable[..., Any]
PRIMARY = "ecommerce-db-primary-dev"
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def person(module_home_folder: Path, free_port: Callable[[], int]) -> Iterator[Person]:
    somebody = Person(module_home_folder / "home", free_port())
    done = somebody.run("up", "--port", str(somebody.port))
    try:
        assert done.returncode == 0, done.stdout + done.stderr + somebody.logs()
        yield somebody
    finally:
        somebody.run("down", "--all", "--yes")


@pytest.fixture(autouse=True)
def healed_after(person: Person) -> Iterator[None]:
    """A test that fails leaves no fault to the next."""
    yield
    if (person.home / "instances").exists():
        person.run("fault", "heal", "--all")


def observed(person: Person) -> dict[str, Any]:
    try:
        return person.observed(PRIMARY)
    except FileNotFoundError:
        return {"in_sync": False, "writable": False, "epoch": 0, "primary": None, "storage_full": False}


def allocated(person: Person) -> int:
    told = person.aws("rds", "describe-db-instances", "--db-instance-identifier", PRIMARY)
    return int(told["DBInstances"][0]["AllocatedStorage"])


def wait_well(person: Person, eventually: Eventually) -> dict[str, Any]:
    eventually(
        lambda: observed(person)["in_sync"] and observed(person)["writable"], "in sync and writable", within_s=60
    )
    eventually(lambda: person.instances()["primary"]["status"] == "available", "available", within_s=60)
    return observed(person)


def test_a_lost_zone_is_seen_in_status_and_ends_with_heal(person: Person, eventually: Eventually) -> None:
    before = person.instances()["primary"]
    person.run("psql", "--", "-c", "CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)")
    told = person.ask("fault", "zone-loss", before["zone"], "primary")
    assert told["instances"] == [PRIMARY]
    eventually(lambda: observed(person)["epoch"] > 1 and observed(person)["writable"], "failed over", within_s=60)
    status = person.ask("status")
    assert [fault["kind"] for fault in status["faults"]] == ["zone-loss"]
    assert "Fault in force: Availability Zone" in person.run("status").stdout
    assert person.value("primary", "SELECT x FROM kept") == "1"
    person.ask("fault", "heal", "zone-loss")
    wait_well(person, eventually)
    after = person.instances()["primary"]
    assert (after["zone"], after["standby_zone"]) == (before["standby_zone"], before["zone"])
    events = person.aws("rds", "describe-events", "--source-type", "db-instance", "--source-identifier", PRIMARY)
    assert "Multi-AZ instance failover completed" in {event["Message"] for event in events["Events"]}


def test_the_aws_endpoint_that_was_killed_is_started_by_heal_and_by_start(person: Person) -> None:
    for comes_back in (("fault", "heal", "cloud-endpoint"), ("local", "start")):
        person.ask("fault", "cloud-endpoint")
        assert lock_holder(person.home / "cloud.lock") is None
        assert [one["kind"] for one in person.ask("fault", "list")["faults"]] == ["cloud-endpoint"]
        person.ask("fault", "kill", "replica-1")  # found without the endpoint
        person.ask(*comes_back)
        assert person.ask("fault", "list")["faults"] == []
        assert person.instances()["primary"]["name"] == "primary"


def test_a_frozen_aws_endpoint_does_not_answer_until_it_is_healed(person: Person, eventually: Eventually) -> None:
    person.ask("fault", "cloud-endpoint", "--freeze")
    holder = lock_holder(person.home / "cloud.lock")
    person.ask("fault", "cloud-endpoint", "--freeze", code=ExitCode.CONFLICT)
    for command in (("status",), ("failover",), ("local", "start")):  # at once: requests would wait for minutes
        told = person.ask(*command, code=ExitCode.TIMEOUT)
        assert f"process {holder} is stopped" in told["why"] and "fault heal cloud-endpoint" in told["next"]
    healed = person.ask("fault", "heal", "--all")["healed"]
    assert [one["thawed"] for one in healed] == [[holder]]
    wait_well(person, eventually)


def test_those_hang_that_the_options_name_and_heal_lets_them_go_on(person: Person, eventually: Eventually) -> None:
    """While the supervisor is frozen, so that nobody ends them before."""
    before = wait_well(person, eventually)
    postmasters = {one["name"]: one["pid"] for one in before["members"]}
    primary = before["primary"]
    standby = "b" if primary == "a" else "a"
    person.ask("fault", "supervisor", "primary", "--freeze")
    for options, whose, alone in (
        (("--member", "standby"), standby, True),
        (("--member", "standby", "--all-processes"), standby, False),
        ((), primary, True),
        (("--all-processes",), primary, False),
    ):
        stopped = person.ask("fault", "hang", "primary", *options)["processes"]
        assert postmasters[whose] in stopped
        assert (len(stopped) == 1) is alone, options
        (healed,) = person.ask("fault", "heal", "primary", "hang")["healed"]
        assert sorted(healed["thawed"]) == sorted(stopped)
        assert person.value("primary", "CREATE TABLE goes_on (x int); DROP TABLE goes_on") == "", "it commits"
    person.ask("fault", "heal", "primary", "supervisor")
    since = time.time()
    eventually(lambda: observed(person)["written_at"] > since + 2, "the supervisor has looked at it for a while")
    after = wait_well(person, eventually)
    assert {one["name"]: one["pid"] for one in after["members"]} == postmasters
    assert (after["epoch"], after["primary"]) == (before["epoch"], primary)


def test_clients_reach_well_servers_whose_supervisor_is_frozen_and_whose_endpoint_process_died(
    person: Person, eventually: Eventually
) -> None:
    """The cloud starts another one."""
    wait_well(person, eventually)
    person.value("primary", "SELECT 1")
    person.ask("fault", "supervisor", "primary", "--freeze")
    (killed,) = person.ask("fault", "relay", "primary")["processes"]
    lock = person.folder(PRIMARY) / "relay.lock"
    eventually(lambda: lock_holder(lock) not in (None, killed), "another one holds its lock", within_s=60)
    eventually(lambda: json.loads((lock.parent / "relay.ready").read_text())["pid"] == lock_holder(lock), "it listens")
    assert person.value("primary", "SELECT 'reached'") == "reached"
    person.ask("fault", "heal", "--all")
    wait_well(person, eventually)


def test_a_failover_without_a_standby_is_abandoned_and_the_command_says_so(
    person: Person, eventually: Eventually
) -> None:
    one = "commits have one copy, and a failover must wait until they have two."
    two = "commits have two copies."

    def told_of_copies() -> list[str]:
        events = person.aws("rds", "describe-events", "--source-type", "db-instance", "--source-identifier", PRIMARY)
        return [event["Message"].split(": ")[1] for event in events["Events"] if "commits have" in event["Message"]]

    wait_well(person, eventually)
    eventually(lambda: told_of_copies()[-1:] != [one], "what went before is told to its end")
    before = told_of_copies()
    person.ask("fault", "standby-loss")
    eventually(lambda: not observed(person)["in_sync"], "the standby is struck off")
    told = person.ask("failover", code=ExitCode.CONFLICT)
    assert "the standby is not in sync" in told["why"]
    assert told_of_copies() == [*before, one]
    person.ask("fault", "heal", "standby-loss")
    wait_well(person, eventually)
    eventually(lambda: told_of_copies() == [*before, one, two], "the standby is back, and it is told")


def test_a_failover_asked_for_without_a_standby_happens_once_that_is_healed(
    person: Person, eventually: Eventually
) -> None:
    before = wait_well(person, eventually)
    person.ask("fault", "standby-loss")
    eventually(lambda: not observed(person)["in_sync"], "the standby is struck off")
    person.aws("rds", "reboot-db-instance", "--db-instance-identifier", PRIMARY, "--force-failover")
    assert person.instances()["primary"]["status"] == "rebooting"
    person.value("primary", "CREATE TABLE served_meanwhile (x int)")
    assert observed(person)["epoch"] == before["epoch"], "it waits"
    person.ask("fault", "heal", "standby-loss")
    eventually(lambda: observed(person)["epoch"] > before["epoch"], "it happens", within_s=60)
    assert wait_well(person, eventually)["primary"] != before["primary"]
    assert person.value("primary", "SELECT count(*) FROM served_meanwhile") == "0"


def test_a_fault_outlives_local_stop_and_what_is_frozen_ends_with_it(person: Person, eventually: Eventually) -> None:
    wait_well(person, eventually)
    why = person.ask("fault", "standby-loss")["why"]
    person.ask("fault", "supervisor", "replica-1", "--freeze")
    person.ask("local", "stop")
    assert [one["kind"] for one in person.ask("fault", "list")["faults"]] == ["standby-loss"]
    person.ask("local", "start")
    eventually(lambda: observed(person)["writable"], "it serves", within_s=60)
    eventually(lambda: observed(person).get("reason") == why, "the standby is still held")
    assert not observed(person)["in_sync"]
    assert [one["kind"] for one in person.ask("fault", "heal", "--all")["healed"]] == ["standby-loss"]
    wait_well(person, eventually)


def test_the_pace_reaches_instances_that_run(person: Person, eventually: Eventually) -> None:
    def desired() -> str:
        return (person.folder(PRIMARY) / "desired.json").read_text()

    person.ask("local", "start", "--pace", "rds", "--pace-seconds", "5")
    eventually(lambda: '"endpoint_down_s": 5.0' in desired(), "the instance follows")
    report = person.ask("failover")
    assert report["write_outage_s"] >= 4.5
    assert report["rows_lost"] == 0
    person.ask("local", "start", "--pace", "instant")
    eventually(lambda: '"endpoint_down_s": 0.0' in desired(), "the instance follows")
    wait_well(person, eventually)


def test_a_slow_network_takes_clients_the_stated_time_until_it_is_healed(
    person: Person, eventually: Eventually
) -> None:
    """Late, then narrow: what a client asks, sends and gets takes at least what the figures say."""
    wait_well(person, eventually)
    with (
        psycopg.connect(**person.session("primary")) as session,
        psycopg.connect(**person.session("replica-1")) as elsewhere,
    ):

        def ask() -> object:
            return session.execute("SELECT 1").fetchone()

        def log_in() -> None:
            psycopg.connect(**person.session("primary")).close()

        told = person.ask("fault", "slow-network", "primary", "--delay", "250")
        assert (told["instances"], told["lasts"]) == ([PRIMARY], True)
        assert "250 ms late" in person.run("status").stdout
        assert seconds_of(ask) >= 0.5, "there and back"
        assert seconds_of(log_in) >= 1.5, "TLS, startup and SCRAM: three round trips at the least"
        eventually(lambda: seconds_of(lambda: elsewhere.execute("SELECT 1")) < 0.5, "other instances are as fast")
        person.ask("fault", "slow-network", "primary", "--bandwidth", "256", code=ExitCode.CONFLICT)
        assert len(person.ask("fault", "heal", "primary", "slow-network")["healed"]) == 1
        eventually(lambda: seconds_of(ask) < 0.5, "the open session is as fast as before")

        text = "x" * 512 * 1024
        person.ask("fault", "slow-network", "primary", "--bandwidth", "256")
        assert seconds_of(lambda: session.execute("SELECT repeat('x', 512 * 1024)")) >= 2, "512 KiB at 256 KiB/s"
        assert seconds_of(lambda: session.execute("SELECT length(%s)", (text,))) >= 2, "the other direction too"
        assert len(person.ask("fault", "heal", "slow-network")["healed"]) == 1
        eventually(lambda: seconds_of(lambda: session.execute("SELECT length(%s)", (text,))) < 2, "as wide as before")
    assert person.ask("fault", "list")["faults"] == []


@pytest.mark.skipif(not may_mount(), reason="file systems cannot be mounted here")
def test_full_storage_is_what_rds_says_it_is(person: Person, eventually: Eventually) -> None:
    wait_well(person, eventually)
    person.ask("fault", "disk-full", "primary")
    eventually(lambda: observed(person)["storage_full"], "full", within_s=60)
    eventually(lambda: person.instances()["primary"]["status"] == "storage-full", "storage-full", within_s=30)

    def told() -> set[str]:
        events = person.aws("rds", "describe-events", "--source-type", "db-instance", "--source-identifier", PRIMARY)
        return {event["Message"][:50] for event in events["Events"] if "low storage" in event["EventCategories"]}

    eventually(told, "the event is told")
    grown = str(allocated(person) + 10)
    more = ("--allocated-storage", grown, "--apply-immediately")
    person.aws("rds", "modify-db-instance", "--db-instance-identifier", PRIMARY, *more)
    eventually(lambda: observed(person)["in_sync"] and observed(person)["writable"], "serves again", within_s=60)
    eventually(lambda: not observed(person)["storage_full"], "has room again", within_s=60)
    assert person.ask("fault", "list")["faults"] == []
    wait_well(person, eventually)


def test_down_ends_what_is_in_force_and_leaves_nothing(person: Person, eventually: Eventually) -> None:
    wait_well(person, eventually)
    person.ask("fault", "standby-loss")
    person.ask("fault", "supervisor", "replica-1", "--freeze")
    if may_mount():
        person.ask("fault", "disk-full", "replica-2")
    done = person.run("down", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Healed: the standby" in done.stderr
    assert not (person.home / "instances").exists()
