"""`behaviour.json` is written by `local`, read by the cloud, and reaches every instance's `desired.json`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pydantic import ValidationError
from test_rds_status import HOME, instance

from multiaz.cloud.rds.behaviour import Behaviour, BehaviourFile
from multiaz.cloud.rds.wanted import desired_of
from multiaz.errors import Conflict, NotFound
from multiaz.home import Home
from multiaz.instance.records import BackupPlan, DesiredInstance
from multiaz.local import behaviour as local_side
from multiaz.local.marker import plan_marker, record_marker


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    record_marker(home, plan_marker(home, port=None, port_base=None))
    return home


def test_what_local_writes_is_what_the_cloud_reads_at_once_and_hands_on(home: Home) -> None:
    file = BehaviourFile(home.behaviour)
    assert file.read() == Behaviour()
    for seconds in (60.0, 2.5, 0.0):
        local_side.change_behaviour(home, endpoint_down_s=seconds)
        found = file.read()
        assert found.endpoint_down_s == seconds == local_side.read_behaviour(home).endpoint_down_s
        assert desired_of(instance(), HOME, "/bin", "http://x", behaviour=found).endpoint_down_s == seconds


def test_what_commits_do_without_the_standby_is_handed_on_as_well(home: Home) -> None:
    file = BehaviourFile(home.behaviour)
    local_side.change_behaviour(home, endpoint_down_s=60, standby_loss="wait")
    assert desired_of(instance(), HOME, "/bin", "http://x", behaviour=file.read()).standby_loss == "wait"
    assert desired_of(instance(), HOME, "/bin", "http://x").standby_loss == "continue"


def test_how_often_wal_is_archived_is_handed_on_where_backups_are_on(home: Home) -> None:
    file = BehaviourFile(home.behaviour)
    local_side.change_behaviour(home, archive_every_s=2)
    wanted = desired_of(instance(backup_retention_days=3), HOME, "/bin", "http://x", behaviour=file.read()).backups
    assert wanted == BackupPlan(retention_days=3, window="03:00-03:30", archive_every_s=2)
    as_on_rds = desired_of(instance(), HOME, "/bin", "http://x").backups
    assert as_on_rds == BackupPlan(retention_days=1, window="03:00-03:30", archive_every_s=300)
    assert desired_of(instance(backup_retention_days=0), HOME, "/bin", "http://x").backups is None


def test_both_sides_have_the_same_fields_and_defaults() -> None:
    assert dataclasses.asdict(local_side.Behaviour()) == Behaviour().model_dump()


def test_what_is_not_given_stays(home: Home) -> None:
    local_side.change_behaviour(home, endpoint_down_s=60)
    assert local_side.change_behaviour(home).pace == "rds"


def test_what_cannot_be_read_is_told_once_and_leaves_in_force_what_was(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    file = BehaviourFile(home.behaviour)
    local_side.change_behaviour(home, endpoint_down_s=60)
    before = file.read()
    home.behaviour.unlink()
    home.behaviour.write_text('{"endpoint_down_s": -1}')
    assert (file.read(), file.read()) == (before, before)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    home.behaviour.write_text("{")
    with pytest.raises(Conflict, match=r"behaviour\.json"):
        local_side.read_behaviour(home)


@pytest.mark.parametrize(
    "content",
    ["[]", "7", "null", '{"endpoint_down_s": Infinity}', '{"endpoint_down_s": NaN}', '{"endpoint_down_s": 1e999}',
     '{"endpoint_down_s": -5}', '{"endpoint_down_s": 121}', '{"endpoint_down_s": true}', '{"endpoint_down_s": "5"}',
     '{"endpoint_down_s": null}', '{"endpoint_down_s": 5, "pace": "rds"}', '{"standby_loss": "perhaps"}',
     '{"standby_loss": ["wait"]}', '{"archive_every_s": 0.5}', '{"archive_every_s": 301}', '{"archive_every_s": true}',
     '{"archive_every_s": NaN}', "\xff"],
)  # fmt: skip
def test_both_sides_refuse_the_same_files(home: Home, content: str) -> None:
    home.behaviour.write_text(content, encoding="latin-1")
    assert BehaviourFile(home.behaviour).read() == Behaviour()
    with pytest.raises(Conflict, match=r"behaviour\.json"):
        local_side.read_behaviour(home)


@pytest.mark.parametrize(
    "content", ["{}", '{"endpoint_down_s": 120}', '{"standby_loss": "wait"}', '{"archive_every_s": 1}']
)
def test_both_sides_read_the_same_of_a_file(home: Home, content: str) -> None:
    home.behaviour.write_text(content)
    read = BehaviourFile(home.behaviour).read()
    assert dataclasses.asdict(local_side.read_behaviour(home)) == read.model_dump()
    wanted = desired_of(instance(), HOME, "/bin", "http://x", behaviour=read)
    assert DesiredInstance.model_validate_json(wanted.model_dump_json()) == wanted


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -1, 121])
def test_no_supervisor_is_told_to_keep_its_endpoint_down_for_no_number_of_seconds(seconds: float) -> None:
    """JSON has no word for infinity: the record would hold null, and no supervisor could read it."""
    values = desired_of(instance(), HOME, "/bin", "http://x").model_dump()
    with pytest.raises(ValidationError, match="endpoint_down_s"):
        DesiredInstance.model_validate({**values, "endpoint_down_s": seconds})


def test_a_pace_needs_a_home(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        local_side.change_behaviour(Home(tmp_path / "none"), endpoint_down_s=1)
    assert not (tmp_path / "none").exists()
