"""`faults.json` is written by `local` and read by the supervisor, which import nothing of each other."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path

import pytest
from test_decide import DESIRED, REPLICA

from multiaz.errors import Conflict
from multiaz.home import Home
from multiaz.instance import faults as read_side
from multiaz.instance.faults import FaultFile, Faults
from multiaz.local import faults_record as write_side
from multiaz.local.faults_record import Fault, FrozenProcess, Network, read_faults, write_faults

FULL = Fault(
    kind="zone-loss", why="Availability Zone us-west-2a is lost", since=12.5, arguments={"zone": "us-west-2a"},
    held=("a",), parameters={"commit_delay": "100"}, frozen=(FrozenProcess(7, 99),),
    clients=Network(delay_ms=5.0), servers=Network(blocked="cut"),
    small_wal_room=4096, allocated_gib=20, follower=True,
)  # fmt: skip


def test_what_local_writes_is_what_the_supervisor_reads(tmp_path: Path) -> None:
    write_faults(tmp_path / "faults.json", (FULL,))
    found = FaultFile(tmp_path / "faults.json").read()
    assert found.model_dump(mode="json")["faults"] == [json.loads(json.dumps(dataclasses.asdict(FULL)))]
    assert read_faults(tmp_path / "faults.json") == (FULL,)


def test_both_sides_have_the_same_fields() -> None:
    assert {field.name for field in dataclasses.fields(Fault)} == set(read_side.Fault.model_fields)
    assert {field.name for field in dataclasses.fields(FrozenProcess)} == set(read_side.FrozenProcess.model_fields)
    assert {field.name for field in dataclasses.fields(Network)} == set(read_side.Network.model_fields)
    write_side_version = write_side.VERSION
    assert Faults(version=write_side_version).version == write_side_version


def test_a_member_is_held_by_the_first_fault_that_names_it_and_parameters_of_the_last_win() -> None:
    one = read_side.Fault(kind="standby-loss", since=1, why="one", held=("b",), parameters={"x": "1", "y": "1"})
    two = read_side.Fault(kind="zone-loss", since=2, why="two", held=("a", "b"), parameters={"x": "2"})
    faults = Faults(faults=(one, two))
    assert (faults.held("a"), faults.held("b")) == ("two", "one")
    assert faults.parameters() == {"x": "2", "y": "1"}
    assert Faults().held("a") is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"version": 2, "faults": []}', '{"version": 1, "faults": [{"kind": "x"}]}', '{"version": 1, "more": 1}',
     '{"version": 1, "faults": [{"kind": "k", "since": 1, "why": "w", "held": ["c"]}]}'],
)  # fmt: skip
def test_what_cannot_be_read_is_told_and_leaves_in_force_what_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    path = tmp_path / "faults.json"
    file = FaultFile(path)
    assert file.read() == Faults()
    write_faults(path, (FULL,))
    before = file.read()
    assert before.held("a")
    path.unlink()
    path.write_text(content)
    assert file.read() == before
    assert file.read() == before
    assert [record.levelname for record in caplog.records].count("ERROR") == 1, "told once, not each round"
    write_faults(path, ())
    assert file.read() == Faults()


@pytest.mark.parametrize(
    "change",
    [{"since": "soon"}, {"since": None}, {"since": float("nan")}, {"why": 7}, {"arguments": 7},
     {"arguments": {"x": []}}, {"held": "a"}, {"held": ["c"]}, {"parameters": {"x": 1}}, {"frozen": [7]},
     {"frozen": [{"pid": 7}]}, {"frozen": [{"pid": "x", "started": 1}]}, {"clients": 5},
     {"clients": {"delay_ms": float("inf")}},
     {"clients": {"delay_ms": -1}}, {"servers": {"bytes_per_s": 0}}, {"servers": {"bytes_per_s": float("inf")}},
     {"servers": {"blocked": "maybe"}}, {"servers": {"lost": 1}}, {"small_wal_room": -1}, {"allocated_gib": "much"},
     {"follower": "yes"}, {"colour": "red"}],
)  # fmt: skip
def test_both_sides_refuse_a_fault_of_wrong_values(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "faults.json"
    values = {**json.loads(json.dumps(dataclasses.asdict(FULL))), **change}
    path.write_text(json.dumps({"version": 1, "faults": [values]}))
    assert FaultFile(path).read() == Faults()
    with pytest.raises(Conflict, match="record of faults"):
        read_faults(path)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "7", '{"version": 2, "faults": []}', '{"version": 1, "faults": [{"x": 1}]}',
     '{"version": 1, "faults": {"kind": 1}}', '{"version": 1, "faults": [7]}'],
)  # fmt: skip
def test_a_command_refuses_a_record_it_does_not_know(tmp_path: Path, content: str) -> None:
    (tmp_path / "faults.json").write_text(content)
    with pytest.raises(Conflict, match="record of faults"):
        read_faults(tmp_path / "faults.json")


def test_without_faults_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    write_faults(path, (FULL,))
    write_faults(path, ())
    assert not path.exists()
    write_faults(path, ())


def network(**values: object) -> read_side.Network:
    return read_side.Network.model_validate(values)


def fault(**values: object) -> read_side.Fault:
    return read_side.Fault.model_validate({"kind": "x", "since": 1, "why": "x", **values})


def test_a_partition_wins_over_a_slow_network_and_a_later_one_over_an_earlier() -> None:
    parted, slow, slower = network(blocked=True), network(delay_ms=5), network(delay_ms=9)
    assert Faults(faults=(fault(servers=parted), fault(servers=slow))).servers() == parted.shaping()
    assert Faults(faults=(fault(servers=slow), fault(servers=slower))).servers() == slower.shaping()
    assert Faults(faults=(fault(clients=slow), fault(clients=slower))).clients() == slower.shaping()
    assert Faults().servers() is None
    assert Faults().clients() is None


def test_wires_lead_to_both_members_and_to_the_source_only_while_something_lies_between(tmp_path: Path) -> None:
    place = Home(tmp_path).instance("db-X")
    parted = Faults(faults=(fault(servers=network(blocked=True)),))
    assert Faults().wires(place, DESIRED) == ()
    assert Faults(faults=(fault(clients=network(delay_ms=1)),)).wires(place, DESIRED) == ()
    assert {wire.name: wire.target for wire in parted.wires(place, DESIRED)} == {
        "a": place.socket_folder("a"), "b": place.socket_folder("b"),
    }  # fmt: skip
    assert {wire.name: wire.target for wire in parted.wires(place, REPLICA)}["src"] == Path("/run/s/upstream")


def test_nothing_changes_while_the_file_does_not(tmp_path: Path) -> None:
    file = FaultFile(tmp_path / "faults.json")
    assert file.read() is file.read()
    write_faults(tmp_path / "faults.json", (FULL,))
    assert file.read() is file.read()


def test_storage_that_was_grown_is_no_longer_full() -> None:
    faults = Faults(faults=(fault(small_wal_room=0, allocated_gib=20),))
    assert (faults.small_wal_room(20), faults.small_wal_room(21)) == (0, None)
    assert Faults().small_wal_room(20) is None


def test_what_is_meant_for_a_read_replica_is_over_once_it_follows_nobody() -> None:
    """Its standby would replay an hour late, or be parted from it, and redundancy never come."""
    late = fault(parameters={"recovery_min_apply_delay": "1h"}, follower=True)
    parted = fault(servers=network(blocked=True), follower=True)
    slow = fault(parameters={"commit_delay": "100"})
    faults = Faults(faults=(late, slow, parted))
    assert faults.of(following=True) is faults
    promoted = faults.of(following=False)
    assert (promoted.parameters(), promoted.servers()) == ({"commit_delay": "100"}, None)
    assert Faults(faults=(slow,)).of(following=False) == Faults(faults=(slow,))


def test_file_that_could_not_be_read_for_an_instant_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a free descriptor, for one; the fault it tells of would be ignored until it changed again."""
    write_faults(tmp_path / "faults.json", (FULL,))
    faults = FaultFile(tmp_path / "faults.json")

    def none_left(_: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as full:
        full.setattr(Path, "read_bytes", none_left)
        assert not faults.read().faults
    assert faults.read().faults
