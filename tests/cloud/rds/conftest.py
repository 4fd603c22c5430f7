"""A home, an RDS API with or without a real supervisor behind it, and moto for the services it asks."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from live_cloud import LiveCloud
from moto import mock_aws
from rds_shapes import check_fault, check_output

from multiaz.cloud.rds.service import RdsService
from multiaz.cloud.service import AwsFault, Caller, Context
from multiaz.cloud.store import Store
from multiaz.errors import MultiazError
from multiaz.files import lock_holder
from multiaz.home import Home
from multiaz.local import stop

REGION = "us-east-1"
FAKE = [sys.executable, str(Path(__file__).with_name("fake_supervisor.py"))]
LendPrograms = Callable[[Home], None]
PATIENCE = float(os.environ.get("MULTIAZ_TEST_PATIENCE", "1"))


@dataclass
class MotoClients:
    """`Clients` as moto's own interception of botocore serves them."""

    made: ClassVar[dict[tuple[str, str], Any]] = {}
    """Shared by all tests: making a client costs tens of milliseconds, moto forgets between tests anyway."""

    def client(self, service: str, region: str) -> Any:
        key = (service, region)
        if key not in self.made:
            self.made[key] = boto3.client(service, region_name=region, aws_access_key_id="x", aws_secret_access_key="x")
        return self.made[key]


@dataclass
class Cloud:
    """The RDS API under test, with short ways to call it."""

    home: Home
    clients: MotoClients
    store: Store
    rds: RdsService
    supervisor: list[str] | None

    def call(self, action: str, *, internal: bool = False, **params: Any) -> dict[str, Any]:
        caller = Caller("arn:aws:iam::123456789012:root", "AKIATEST", internal=internal, administrator=True)
        try:
            output = dict(self.rds.operations[action](Context(REGION, caller, "request"), params))
        except AwsFault as fault:
            check_fault(action, fault.code)
            raise
        check_output(action, output)
        return output

    def refusal(self, action: str, **params: Any) -> tuple[str, str]:
        """Code and message of the fault with which the call is refused."""
        with pytest.raises(AwsFault) as refused:
            self.call(action, **params)
        return refused.value.code, refused.value.message

    def instance(self, name: str) -> dict[str, Any]:
        return dict(self.call("DescribeDBInstances", DBInstanceIdentifier=name)["DBInstances"][0])

    def until(self, condition: Callable[[], Any], seconds: float = 90, what: str = "") -> Any:
        deadline = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < deadline:
            result = condition()
            if result:
                return result
            time.sleep(0.03)
        raise AssertionError(f"not in {seconds} s: {what}\n{self.logs()}")

    def until_status(self, name: str, status: str, seconds: float = 90) -> dict[str, Any]:
        self.until(lambda: self._status(name) == status, seconds, f"{name} {status}")
        return self.instance(name)

    def _status(self, name: str) -> Any:
        """As the API shows it; not held against the model, as it is asked many times a second."""
        caller = Caller("arn:aws:iam::123456789012:root", "AKIATEST", administrator=True)
        show = self.rds.operations["DescribeDBInstances"]
        return dict(show(Context(REGION, caller, "request"), {"DBInstanceIdentifier": name}))["DBInstances"][0][
            "DBInstanceStatus"
        ]

    def until_gone(self, name: str, seconds: float = 90) -> None:
        self.until(
            lambda: all(one["DBInstanceIdentifier"] != name for one in self.call("DescribeDBInstances")["DBInstances"]),
            seconds,
            f"{name} gone",
        )

    def events(self, name: str, *, backups: bool = False) -> list[str]:
        """Texts of an instance's events, oldest first; those of backups come by themselves, and are left out."""
        found = self.call("DescribeEvents", SourceIdentifier=name, SourceType="db-instance")["Events"]
        return [event["Message"] for event in found if backups or event["EventCategories"] != ["backup"]]

    def restart(self) -> None:
        """The cloud's process dies and another one starts: only the home remains."""
        self.rds.stop()
        self.store.close()
        self.store = Store(self.home.database)
        self.rds = RdsService(self.store, self.home, self.clients, "http://127.0.0.1:4566", supervisor=self.supervisor)
        self.rds.start()

    def end_supervisors(self) -> None:
        """As a reboot of the machine does."""
        end_supervisors(self.home)

    def folder(self, name: str) -> Path:
        return self.home.instances / str(self.instance(name)["DbiResourceId"])

    def logs(self) -> str:
        texts = []
        for path in self.home.instances.glob("*/logs/instance.log"):
            texts.append(f"--- {path}\n" + path.read_text()[-3000:])
        for path in self.home.instances.glob("*/observed.json"):
            texts.append(f"--- {path}\n" + path.read_text()[-3000:])
        return "\n".join(texts)

    def network(self) -> tuple[list[str], str]:
        """Subnets in three zones, and a security group."""
        ec2 = self.clients.client("ec2", REGION)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{letter}")[
                "Subnet"
            ]["SubnetId"]
            for number, letter in enumerate("abc")
        ]
        group = ec2.create_security_group(GroupName="db", Description="db", VpcId=vpc)["GroupId"]
        return subnets, group

    def prepare(self) -> dict[str, Any]:
        """A subnet group; the parameters every test's CreateDBInstance shares."""
        subnets, group = self.network()
        self.call("CreateDBSubnetGroup", DBSubnetGroupName="nets", DBSubnetGroupDescription="nets", SubnetIds=subnets)
        return {
            "DBInstanceClass": "db.t3.micro",
            "Engine": "postgres",
            "AllocatedStorage": 20,
            "MasterUsername": "shop",
            "MasterUserPassword": "correct-horse-battery",
            "DBSubnetGroupName": "nets",
            "VpcSecurityGroupIds": [group],
        }


def end_supervisors(home: Home) -> None:
    """SIGTERM to every supervisor below the home until no process works there any more.

    A supervisor that was just being started takes the lock when another lets it go: so more than once.
    """
    deadline = time.monotonic() + 20 * PATIENCE
    while left := processes_below(home.root):
        assert time.monotonic() < deadline, left
        for lock in home.instances.glob("*/instance.lock"):
            holder = lock_holder(lock)
            if holder is not None and holder > 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(holder, signal.SIGTERM)
        time.sleep(0.05)


def processes_below(folder: Path) -> list[str]:
    """Command lines of the live processes whose working directory is below `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = Path(str((entry / "cwd").readlink()).removesuffix(" (deleted)"))
            if folder in where.parents and "Z" not in (entry / "stat").read_text().rpartition(")")[2].split()[:1]:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def make_cloud(supervisor: list[str] | None, lend_programs: LendPrograms) -> Iterator[Cloud]:
    root = Path(tempfile.mkdtemp(prefix="mz", dir="/tmp"))
    root.chmod(0o755)
    home = Home(root)
    lend_programs(home)
    with pytest.MonkeyPatch.context() as settings, mock_aws():
        # Each test has moto's EC2 made anew: without the 1300 images no database needs, as the product makes it too.
        settings.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        settings.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")
        store = Store(home.database)
        clients = MotoClients()
        rds = RdsService(store, home, clients, "http://127.0.0.1:4566", supervisor=supervisor)
        cloud = Cloud(home, clients, store, rds, supervisor)
        rds.start()
        try:
            yield cloud
        finally:
            cloud.rds.stop()
            end_supervisors(home)
            cloud.store.close()
            shutil.rmtree(root)
            shutil.rmtree(home.run_folder, ignore_errors=True)


@pytest.fixture
def cloud(lend_programs: LendPrograms) -> Iterator[Cloud]:
    """The RDS API over the small fake supervisor."""
    yield from make_cloud(FAKE, lend_programs)


@pytest.fixture(scope="module")
def shared_cloud(lend_programs: LendPrograms) -> Iterator[Cloud]:
    """As `cloud`, shared by the tests of a file: for what changes nothing."""
    yield from make_cloud(FAKE, lend_programs)


@pytest.fixture(params=["fake", "real"])
def any_cloud(request: pytest.FixtureRequest, lend_programs: LendPrograms) -> Iterator[Cloud]:
    """The same cases against the fake supervisor and the real one."""
    yield from make_cloud(FAKE if request.param == "fake" else None, lend_programs)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.long)])
def either_cloud(request: pytest.FixtureRequest, lend_programs: LendPrograms) -> Iterator[Cloud]:
    """As `any_cloud`, for cases whose servers have quick tests of their own: the real supervisor is long."""
    yield from make_cloud(FAKE if request.param == "fake" else None, lend_programs)


@pytest.fixture
def real_cloud(lend_programs: LendPrograms) -> Iterator[Cloud]:
    """The RDS API over real servers."""
    yield from make_cloud(None, lend_programs)


@pytest.fixture(scope="module")
def shared_real_cloud(lend_programs: LendPrograms) -> Iterator[Cloud]:
    """As `real_cloud`, shared by the tests of a file: each leaves its instance well."""
    yield from make_cloud(None, lend_programs)


@pytest.fixture(scope="module")
def live(module_home_folder: Path, free_port: Callable[[], int]) -> Iterator[LiveCloud]:
    """The cloud as a process of its own, shared by the tests of a file: each leaves what it found well."""
    home = Home(module_home_folder / "home")
    try:
        yield LiveCloud(home, free_port())
    finally:
        with contextlib.suppress(MultiazError):
            stop(home)
