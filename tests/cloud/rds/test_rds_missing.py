"""PostgreSQL, or a supervisor, is not there any more: the API says so; what was made can still be seen and deleted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from multiaz.cloud.rds import workers
from multiaz.cloud.rds.engines import Engines
from multiaz.errors import Missing
from multiaz.postgres.installations import Installation

if TYPE_CHECKING:
    from conftest import Cloud


def _none(_: Path, major: int) -> Installation:
    raise Missing(f"Cannot run PostgreSQL {major}", "no server of that major version is on this machine", "install it")


def without_postgres(cloud: Cloud) -> None:
    """The cloud's process starts anew on a machine that has lost its PostgreSQL."""
    cloud.rds.stop()
    cloud.end_supervisors()
    shutil.rmtree(cloud.home.postgres, ignore_errors=True)
    cloud.rds.core.engines = Engines(cloud.home.postgres, find=_none, available=list)
    cloud.rds.start()


def test_without_postgres_an_instance_is_described_and_deleted(any_cloud: Cloud) -> None:
    any_cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **any_cloud.prepare())
    any_cloud.until_status("shop", "available")
    any_cloud.call("StopDBInstance", DBInstanceIdentifier="shop")
    any_cloud.until_status("shop", "stopped")
    without_postgres(any_cloud)
    assert any_cloud.instance("shop")["DBInstanceStatus"] == "stopped"
    any_cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    any_cloud.until_gone("shop")
    assert list(any_cloud.home.instances.glob("*")) == []


def test_what_needs_postgres_is_refused_in_words(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "available")
    without_postgres(cloud)
    code, message = cloud.refusal("RebootDBInstance", DBInstanceIdentifier="shop")
    assert code == "InvalidParameterCombination"
    assert "Cannot run PostgreSQL 17" in message
    assert "install it" in message


def test_an_instance_that_was_never_begun_fails_and_can_be_deleted(cloud: Cloud) -> None:
    cloud.rds.stop()
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    without_postgres(cloud)
    cloud.until_status("shop", "failed")
    cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    cloud.until_gone("shop")
    assert list(cloud.home.instances.glob("*")) == []


def test_an_instance_whose_supervisor_somebody_else_started_has_not_failed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MOST_STARTS", 1)
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "available")
    cloud.end_supervisors()
    cloud.until_status("shop", "failed")
    folder = cloud.folder("shop")
    command = [*(cloud.supervisor or ()), str(folder), "--home", str(cloud.home.root)]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL) as by_the_relay:
        try:
            cloud.until_status("shop", "available")
        finally:
            by_the_relay.terminate()


def test_a_replica_that_does_not_start_does_not_hold_up_the_deletion_of_its_source(cloud: Cloud) -> None:
    cloud.call("CreateDBInstance", DBInstanceIdentifier="shop", **cloud.prepare())
    cloud.until_status("shop", "available")
    cloud.call("CreateDBInstanceReadReplica", DBInstanceIdentifier="one", SourceDBInstanceIdentifier="shop")
    cloud.until_status("one", "available")
    (cloud.folder("one") / "unstartable").touch()
    cloud.until_status("one", "incompatible-parameters")
    cloud.call("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    cloud.until_gone("shop", 20)
    assert cloud.instance("one")["DBInstanceStatus"] == "incompatible-parameters"
