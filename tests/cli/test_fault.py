"""`multiaz fault`: what is refused before anything is touched, what is listed, what heals. No server runs here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multiaz.cli import main as cli
from multiaz.errors import ExitCode
from multiaz.home import Home, InstanceHome
from multiaz.local import faults, faults_degraded
from multiaz.local.faults_kinds import KINDS, NAMES
from multiaz.local.faults_processes import is_frozen, started_at
from multiaz.local.faults_record import Fault, FrozenProcess, Network, read_faults, write_faults
from multiaz.local.marker import plan_marker, prepare_folder, record_marker

PRIMARY, REPLICA = "shop-db-primary-dev", "shop-db-replica-1-dev"


@pytest.fixture
def home(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with a Multi-AZ instance and its replica, as files: nothing runs."""
    home = Home(home_folder / "home")
    monkeypatch.setenv("MULTIAZ_HOME", str(home.root))
    prepare_folder(home, port=None, port_base=None)
    record_marker(home, plan_marker(home, port=None, port_base=None))
    home.credentials.write_text("{}")
    instance(home, "db-P", PRIMARY, {"a": "us-west-2a", "b": "us-west-2b"}, primary="b")
    instance(home, "db-R", REPLICA, {"a": "us-west-2b", "b": "us-west-2c"}, source="db-P")
    return home


def instance(
    home: Home, resource_id: str, identifier: str, zones: dict[str, str], *, primary: str = "a", source: str = ""
) -> InstanceHome:
    place = home.instance(resource_id)
    for member in zones:
        place.data(member).mkdir(parents=True)
    desired = {"identifier": identifier, "multi_az": not source, "zones": zones}
    desired["source"] = {"resource_id": source, "upstream": "/x"} if source else None
    place.desired.write_text(json.dumps(desired))
    place.role.write_text(json.dumps({"primary": primary, "following": bool(source)}))
    return place


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = ExitCode.OK) -> Any:
    got = cli.main([*arguments, "--json"])
    told = capsys.readouterr()
    assert got == code, told.out + told.err
    return json.loads(told.out)


@pytest.mark.parametrize(
    "command",
    [["list"], ["kinds"], ["heal", "--all"], ["kill"], ["hang"], ["zone-loss", "us-west-2a"], ["standby-loss"],
     ["supervisor"], ["relay"], ["cloud-endpoint"], ["replica-lag", "1"], ["slow-disk", "1"],
     ["slow-network", "--delay", "1"], ["partition"], ["disk-full"]],
    ids=lambda command: command[0],
)  # fmt: skip
def test_no_fault_command_reaches_aws(home: Home, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    told = ask(capsys, "fault", *command, "--region", "us-east-1", code=ExitCode.BAD_INPUT)
    assert "local cloud only" in told["why"]
    assert not list(home.root.rglob("faults.json"))


@pytest.mark.parametrize("name", ["arn:aws:rds:us-east-1:1:db:shop", "shop.c1.us-east-1.rds.amazonaws.com"])
def test_a_name_on_aws_is_refused_by_name(home: Home, capsys: pytest.CaptureFixture[str], name: str) -> None:
    told = ask(capsys, "fault", "kill", name, code=ExitCode.BAD_INPUT)
    assert name in told["what"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["standby-loss", REPLICA], ExitCode.BAD_INPUT, "it is a read replica"),
        (["kill", "replica-1", "--member", "standby"], ExitCode.BAD_INPUT, "no standby"),
        (["kill"], ExitCode.NOT_FOUND, "no live postmaster"),
        (["hang", "primary"], ExitCode.NOT_FOUND, "no live postmaster"),
        (["zone-loss", "us-west-2d"], ExitCode.BAD_INPUT, "us-west-2a, us-west-2b, us-west-2c"),
        (["zone-loss", "us-west-2a", REPLICA], ExitCode.BAD_INPUT, "us-west-2b, us-west-2c"),
        (["kill", "nobody"], ExitCode.NOT_FOUND, PRIMARY),
        (["kill", "dev"], ExitCode.BAD_INPUT, REPLICA),
        (["supervisor"], ExitCode.NOT_FOUND, "nobody holds its lock"),
        (["relay", "--freeze"], ExitCode.NOT_FOUND, "nobody holds its lock"),
        (["cloud-endpoint"], ExitCode.NOT_FOUND, "nobody holds its lock"),
        (["replica-lag", "5", "primary"], ExitCode.BAD_INPUT, "not a read replica"),
        (["replica-lag", "0"], ExitCode.BAD_INPUT, "from 0.1"),
        (["slow-disk", "101"], ExitCode.BAD_INPUT, "to 100"),
        (["slow-network"], ExitCode.BAD_INPUT, "neither a delay nor a bandwidth"),
        (["slow-network", "--bandwidth", "0"], ExitCode.BAD_INPUT, "from 1"),
        (["heal"], ExitCode.USAGE, "--all"),
        (["heal", "primary", "earthquake"], ExitCode.BAD_INPUT, "standby-loss"),
        (["heal", "nobody"], ExitCode.NOT_FOUND, PRIMARY),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_refused_by_name_and_nothing_is_recorded(
    home: Home, capsys: pytest.CaptureFixture[str], arguments: list[str], code: ExitCode, says: str
) -> None:
    told = ask(capsys, "fault", *arguments, code=code)
    assert says in told["why"]
    assert not list(home.root.rglob("faults.json"))


def test_without_a_local_cloud_there_is_nothing_to_break(
    home_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULTIAZ_HOME", str(home_folder / "empty"))
    for command in (["list"], ["kill"], ["heal", "--all"], ["zone-loss", "x"], ["cloud-endpoint"]):
        ask(capsys, "fault", *command, code=ExitCode.NOT_FOUND)
    assert not (home_folder / "empty").exists()


def test_a_record_of_faults_that_cannot_be_read_hides_nothing_else(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.instance("db-P").faults.write_text('{"version": 1, "faults": [{"kind": "k", "why": "w", "since": "soon"}]}')
    ask(capsys, "fault", "list", code=ExitCode.CONFLICT)
    told = ask(capsys, "local", "status")
    assert told["faults"] == []
    assert "since 'soon'" in told["faults_unknown"]
    assert cli.main(["local", "status"]) == ExitCode.OK
    assert "The faults in force are unknown: Cannot read" in capsys.readouterr().out
    home.instance("db-P").faults.unlink()
    assert ask(capsys, "local", "status")["faults_unknown"] is None


def test_a_lost_zone_holds_the_servers_in_it_of_every_instance_and_heal_ends_it(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ask(capsys, "fault", "zone-loss", "us-west-2b")
    assert told["instances"] == [PRIMARY, REPLICA]
    assert [read_faults(home.instance(i).faults)[0].held for i in ("db-P", "db-R")] == [("b",), ("a",)]
    listed = ask(capsys, "fault", "list")["faults"]
    assert [(one["instance"], one["kind"]) for one in listed] == [(PRIMARY, "zone-loss"), (REPLICA, "zone-loss")]
    assert ask(capsys, "local", "status")["faults"] == listed
    ask(capsys, "fault", "zone-loss", "us-west-2b", code=ExitCode.CONFLICT)
    ask(capsys, "fault", "zone-loss", "us-west-2c")
    command = listed[0]["heal"].split()
    assert command[0] == "multiaz"
    assert len(ask(capsys, *command[1:])["healed"]) == 1
    assert len(ask(capsys, "fault", "heal", "zone-loss")["healed"]) == 2
    assert ask(capsys, "fault", "list")["faults"] == []
    assert ask(capsys, "fault", "heal", "--all")["healed"] == []
    assert not list(home.root.rglob("faults.json"))


def test_an_instance_without_multi_az_can_be_parted_from_nobody(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    single = home.instance("db-P")
    single.desired.write_text(json.dumps({**json.loads(single.desired.read_text()), "multi_az": False}))
    for command in (["partition"], ["slow-network", "--delay", "5", "--between", "servers"], ["standby-loss"]):
        assert "Multi-AZ is off" in ask(capsys, "fault", *command, code=ExitCode.BAD_INPUT)["why"]
    ask(capsys, "fault", "slow-network", "--delay", "5")


def test_what_degrades_is_recorded_as_the_supervisor_obeys_it(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    ask(capsys, "fault", "slow-disk", "12.5")
    ask(capsys, "fault", "slow-network", "--delay", "20", "--bandwidth", "64")
    ask(capsys, "fault", "slow-network", "--delay", "30", "--between", "servers")
    ask(capsys, "fault", "partition", "--cut")
    ask(capsys, "fault", "replica-lag", "2.5")
    disk, clients, servers, parted = read_faults(home.instance("db-P").faults)
    assert disk.parameters == {"commit_delay": "12500", "commit_siblings": "0"}
    assert clients.clients == Network(delay_ms=20.0, bytes_per_s=65536.0)
    assert (servers.servers, servers.clients) == (Network(delay_ms=30.0), None)
    assert parted.servers == Network(blocked="cut")
    assert read_faults(home.instance("db-R").faults)[0].parameters == {"recovery_min_apply_delay": "2500ms"}
    for again in (["slow-disk", "5"], ["slow-network", "--delay", "1"], ["partition"], ["replica-lag", "9"]):
        ask(capsys, "fault", *again, code=ExitCode.CONFLICT)
    assert len(ask(capsys, "fault", "heal", PRIMARY)["healed"]) == 4
    assert [one["instance"] for one in ask(capsys, "fault", "list")["faults"]] == [REPLICA]


def test_the_lost_standby_is_the_member_that_is_not_primary(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    ask(capsys, "fault", "standby-loss")
    assert read_faults(home.instance("db-P").faults)[0].held == ("a",)


def test_what_was_meant_for_a_read_replica_ends_with_its_promotion(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    replica = home.instance("db-R")
    for command in (["replica-lag", "5"], ["slow-disk", "1", REPLICA], ["slow-network", REPLICA, "--delay", "5"],
                    ["partition", REPLICA, "--cut"],
                    ["slow-network", REPLICA, "--delay", "5", "--between", "servers"]):  # fmt: skip
        ask(capsys, "fault", *command)
    assert len(ask(capsys, "fault", "list")["faults"]) == 5
    replica.role.write_text(json.dumps({"primary": "a", "following": False}))
    assert [one["kind"] for one in ask(capsys, "fault", "list")["faults"]] == ["slow-disk", "slow-network"]
    assert [one["kind"] for one in ask(capsys, "fault", "heal", "--all")["healed"]] == ["slow-disk", "slow-network"]
    assert not replica.faults.exists()


def test_a_partition_that_is_interrupted_before_it_parts_is_not_in_force(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was listed, and parted nobody."""

    def interrupted(*_: object) -> None:
        assert [one.fault.kind for one in faults.active(home)] == ["slow-disk", "partition"]
        raise KeyboardInterrupt

    faults.slow_disk(home, 1, PRIMARY)
    monkeypatch.setattr(faults_degraded, "_receivers", lambda *_: [1])
    monkeypatch.setattr(faults_degraded, "_wait_until_wired", interrupted)
    with pytest.raises(KeyboardInterrupt):
        faults.partition(home, PRIMARY)
    assert [one.fault.kind for one in faults.active(home)] == ["slow-disk"]


def test_a_record_that_cannot_be_read_keeps_no_other_fault_from_being_healed(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(capsys, "fault", "zone-loss", "us-west-2b")
    home.instance("db-P").faults.write_text("{")
    told = ask(capsys, "fault", "heal", "--all", code=ExitCode.CONFLICT)
    assert str(home.instance("db-P").faults) in told["what"]
    assert "healed: Availability Zone us-west-2b is lost" in told["why"]
    assert told["next"] == "remove that file: the faults it may have held end with it"
    assert not home.instance("db-R").faults.exists()
    home.faults.write_text("{")
    told = ask(capsys, "fault", "heal", "--all", code=ExitCode.CONFLICT)
    assert [str(path) in told["what"] for path in (home.faults, home.instance("db-P").faults)] == [True, True]
    assert "healed" not in told["why"]


def test_who_is_told_to_remove_a_record_is_told_whom_it_may_have_frozen(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of that instance: those of others have a record that can be read."""
    stopped = {}
    for place in (home.instance("db-P").folder, home.instance("db-R").folder, home.root):
        command = [sys.executable, "-c", "import time; print(); time.sleep(600)", "-m", "multiaz.relay"]
        stopped[place] = process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        for place, process in stopped.items():
            (place / "faults.json").write_text("{")
            told = ask(capsys, "fault", "heal", "--all", code=ExitCode.CONFLICT)
            assert f"`kill -CONT {process.pid}`, and remove that file" in told["next"]
            (place / "faults.json").unlink()
    finally:
        for process in stopped.values():
            process.kill()
            process.communicate()


@pytest.fixture
def sleeper(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, to be frozen."""
    with subprocess.Popen([sys.executable, "-c", "import time; print(); time.sleep(600)"], stdout=subprocess.PIPE) as p:
        assert p.stdout is not None
        p.stdout.readline()
        yield p
        p.kill()


def test_heal_thaws_exactly_the_process_that_was_frozen(
    home: Home, capsys: pytest.CaptureFixture[str], sleeper: subprocess.Popen[bytes]
) -> None:
    started = started_at(sleeper.pid)
    assert started is not None
    same, other = FrozenProcess(sleeper.pid, started), FrozenProcess(sleeper.pid, started - 1)
    os.kill(sleeper.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED)
    path = home.instance("db-P").faults
    write_faults(path, (Fault("hang", "another process of this pid hangs", frozen=(other,)),))
    assert ask(capsys, "fault", "list")["faults"] == [], "its process is gone: the fault is over by itself"
    assert ask(capsys, "fault", "heal", PRIMARY)["healed"] == [], "what is over cannot be healed"
    assert is_frozen(same)
    write_faults(path, (Fault("hang", "it hangs", frozen=(same,)),))
    assert len(ask(capsys, "fault", "list")["faults"]) == 1
    assert ask(capsys, "fault", "heal", PRIMARY, "hang")["healed"][0]["thawed"] == [sleeper.pid]
    os.waitid(os.P_PID, sleeper.pid, os.WCONTINUED)
    assert not is_frozen(same)


def test_a_record_that_cannot_be_read_is_named(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    path = home.instance("db-P").faults
    path.write_text("{")
    told = ask(capsys, "fault", "list", code=ExitCode.CONFLICT)
    assert str(path) in told["what"]


def test_every_kind_is_described_and_has_a_command(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    told = ask(capsys, "fault", "kinds")["kinds"]
    assert [one["kind"] for one in told] == list(NAMES)
    assert all(kind.what and kind.expect and kind.heal for kind in KINDS)
    for name in NAMES:
        assert cli.main(["fault", name, "--help"]) == ExitCode.OK
    assert cli.main(["fault", "kinds"]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert [name for name in NAMES if name not in printed] == []


def test_people_read_what_is_in_force_and_what_heals_it(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fault", "list"]) == ExitCode.OK
    assert capsys.readouterr().out == "No fault is in force.\n"
    assert cli.main(["fault", "standby-loss", "primary"]) == ExitCode.OK
    assert capsys.readouterr().out == (
        f"The standby (a) of {PRIMARY} is lost.\nIn force until healed: `multiaz fault list`\n"
    )
    assert cli.main(["fault", "list"]) == ExitCode.OK
    assert f"multiaz fault heal {PRIMARY} standby-loss" in capsys.readouterr().out
    assert cli.main(["local", "status"]) == ExitCode.OK
    assert "Fault in force: the standby (a)" in capsys.readouterr().out
    assert cli.main(["fault", "heal", "--all"]) == ExitCode.OK
    assert capsys.readouterr().out == f"Healed: the standby (a) of {PRIMARY} is lost\n"
