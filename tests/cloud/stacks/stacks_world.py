"""The CloudFormation engine over moto, in one process: what the endpoint assembles, without HTTP and RDS."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.backup import BackupService
from multiaz.cloud.clients import InProcessClients
from multiaz.cloud.dispatch import Dispatcher
from multiaz.cloud.lambda_ import LambdaService
from multiaz.cloud.moto_tail import SERVED, MotoTail
from multiaz.cloud.rds.rotation import SecretRotation
from multiaz.cloud.rds.service import RdsService
from multiaz.cloud.service import AwsFault, Caller
from multiaz.cloud.stacks.service import CloudFormationService
from multiaz.cloud.stacks.state import Journal
from multiaz.cloud.stacks.update_state import UpdateJournal
from multiaz.cloud.store import Store
from multiaz.home import Home

REGION = "us-east-1"
PERSON = Caller("arn:aws:iam::123456789012:root", "AKIAPERSON", administrator=True)
_numbers = itertools.count(1)


UPDATE_WRITES = frozenset(
    {"begin_add", "begin_change", "begin_restoring", "commit", "done", "failed", "finish", "forget", "found"}
    | {"initiated", "restore", "say"}
)


class Killed(BaseException):
    """The process "dies" here: nothing after this is written."""


class MortalJournal(Journal):
    """A journal that dies before its n-th write, as `kill -9` would have it, and stays dead."""

    def __init__(self, store: Store, writes: int) -> None:
        self._left = writes
        self._guard = threading.Lock()
        super().__init__(store)
        self.updates = MortalUpdates(self)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in {"begin_resources", "change_resource", "begin_deletions", "finish_create", "set_status"}:
            self._count()
        return found

    def _count(self) -> None:
        """One write more, or death."""
        with self._guard:
            self._left -= 1
            if self._left < 0:
                raise Killed


class MortalUpdates(UpdateJournal):
    """The journal of updates of a mortal journal: its writes count too."""

    def __init__(self, journal: MortalJournal) -> None:
        self._mortal = journal
        super().__init__(journal)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in UPDATE_WRITES:
            super().__getattribute__("_mortal")._count()
        return found


def forget_everything() -> None:
    """moto's state is one per process: a new world begins with none."""
    from moto import backends

    find: Any = backends.get_backend
    for service in SERVED:
        for _, _, backend in find(service).iter_backends():
            backend.reset()


class World:
    """One cloud."""

    def __init__(self, folder: Path, *, rds: bool = False) -> None:
        self.folder = folder
        self.store = Store(folder / "cloud.sqlite")
        (folder / "moto").mkdir()
        (folder / "s3").mkdir()
        self.tail = MotoTail(folder / "moto", folder / "s3")
        self.tail.load()
        forget_everything()
        self.dispatcher = Dispatcher(self.tail, SERVED)
        self.internal = InProcessClients(self.dispatcher.dispatch)
        self._outside = InProcessClients(self.dispatcher.dispatch, PERSON)
        for service in (LambdaService(self.store, self.internal), BackupService(self.store, self.internal)):
            self.dispatcher.register(service.name, service.operations)
        self.services: list[CloudFormationService] = []
        self.rds = self._with_rds() if rds else None
        self.restart()

    def _with_rds(self) -> RdsService:
        """RDS with a supervisor that has no servers; its own tests hold it against the real one."""
        fake = Path(__file__).parent.parent / "rds" / "fake_supervisor.py"
        rds = RdsService(
            self.store,
            Home(self.folder),
            self.internal,
            "http://127.0.0.1:4566",
            supervisor=[sys.executable, str(fake)],
        )
        rotation = SecretRotation(self.store, self.internal, rds)
        for service in (rds, rotation):
            self.dispatcher.register(service.name, service.operations)
        rds.start()
        return rds

    def restart(self, journal: Journal | None = None) -> None:
        """A new engine over the same store and the same resources, as a new process has."""
        service = CloudFormationService(self.store, self.internal, journal)
        self.dispatcher.register(service.name, service.operations)
        self.services.append(service)
        service.engine.resume()

    def client(self, service: str) -> Any:
        return self._outside.client(service, REGION)

    @property
    def cfn(self) -> Any:
        return self.client("cloudformation")

    def name(self) -> str:
        return f"stack{next(_numbers)}"

    def create(self, template: dict[str, Any] | str, name: str | None = None, **arguments: Any) -> str:
        """CreateStack; the stack's id at once."""
        body = template if isinstance(template, str) else json.dumps(template)
        answer = self.cfn.create_stack(StackName=name or self.name(), TemplateBody=body, **arguments)
        return str(answer["StackId"])

    def settle(self, stack: str, within_s: float = 30.0) -> dict[str, Any]:
        """The stack once nothing is under way."""
        deadline = time.monotonic() + within_s
        while True:
            for service in self.services:  # asking CloudFormation all the while would cost more than its work
                service.engine.wait_idle(max(0.0, deadline - time.monotonic()))
            found: dict[str, Any] = self.cfn.describe_stacks(StackName=stack)["Stacks"][0]
            if not found["StackStatus"].endswith("_IN_PROGRESS"):
                return found
            assert time.monotonic() < deadline, self.events(stack)
            time.sleep(0.005)

    def made(self, template: dict[str, Any] | str, **arguments: Any) -> dict[str, Any]:
        """Create and settle."""
        return self.settle(self.create(template, **arguments))

    def deleted(self, stack: str, **arguments: Any) -> dict[str, Any]:
        """Delete and settle."""
        stack_id = self.cfn.describe_stacks(StackName=stack)["Stacks"][0]["StackId"]
        self.cfn.delete_stack(StackName=stack, **arguments)
        return self.settle(stack_id)

    def events(self, stack: str) -> list[tuple[str, str, str]]:
        """(logical id, status, reason), oldest first."""
        pages = self.cfn.get_paginator("describe_stack_events").paginate(StackName=stack)
        found = [event for page in pages for event in page["StackEvents"]]
        return [
            (event["LogicalResourceId"], event["ResourceStatus"], event.get("ResourceStatusReason", ""))
            for event in reversed(found)
        ]

    def resources(self, stack: str) -> dict[str, dict[str, Any]]:
        found = self.cfn.describe_stack_resources(StackName=stack)["StackResources"]
        return {entry["LogicalResourceId"]: entry for entry in found}

    def outputs(self, stack: dict[str, Any]) -> dict[str, str]:
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def close(self) -> None:
        for service in self.services:
            service.stop()
        if self.rds is not None:
            self.rds.stop()
        self.store.close()


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """(code, message) of the error a call gives."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"]), str(error.response["Error"]["Message"])
    except AwsFault as fault:
        return fault.code, fault.message
    raise AssertionError("it was not refused")
