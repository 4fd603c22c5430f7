"""The RDS API of the local cloud, assembled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multiaz.cloud.rds import accepted, faults, pki
from multiaz.cloud.rds.automated import AutomatedBackupActions
from multiaz.cloud.rds.catalog import CatalogActions
from multiaz.cloud.rds.changes import ModifyAction
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.engines import Engines
from multiaz.cloud.rds.events import EventActions, EventLog
from multiaz.cloud.rds.groups import ParameterGroupActions
from multiaz.cloud.rds.instances import InstanceActions
from multiaz.cloud.rds.lifecycle import LifecycleActions
from multiaz.cloud.rds.logfiles import LogFileActions
from multiaz.cloud.rds.repository import Repository
from multiaz.cloud.rds.restoring import RestoreActions
from multiaz.cloud.rds.snapshots import SnapshotActions
from multiaz.cloud.rds.subnets import SubnetGroupActions
from multiaz.cloud.rds.subscriptions import Publisher, SubscriptionActions
from multiaz.cloud.rds.tags import TagActions
from multiaz.cloud.rds.workers import Watcher
from multiaz.cloud.service import Clients, Context, Operation
from multiaz.cloud.store import Store
from multiaz.errors import MultiazError
from multiaz.home import Home


class RdsService:
    """The service `rds`: its operations, and the background work that makes them come true.

    `supervisor` is the command that supervises one instance (it is given the instance's folder, `--home` and
    the home); tests give a small one of their own.
    """

    name = "rds"

    def __init__(
        self,
        store: Store,
        home: Home,
        clients: Clients,
        judge_url: str,
        *,
        supervisor: Sequence[str] | None = None,
        engines: Engines | None = None,
    ) -> None:
        self._watcher = Watcher(supervisor)
        self.core = Core(
            repository=Repository(store),
            home=home,
            clients=clients,
            judge_url=judge_url,
            events=EventLog(store),
            engines=engines or Engines(home.postgres),
            seen=self._watcher.seen,
            wake=self._watcher.wake,
        )
        self._watcher.core = self.core
        self._publisher = Publisher(self.core)
        groups = (
            InstanceActions(self.core),
            ModifyAction(self.core),
            LifecycleActions(self.core),
            SnapshotActions(self.core),
            AutomatedBackupActions(self.core),
            RestoreActions(self.core),
            SubnetGroupActions(self.core),
            ParameterGroupActions(self.core),
            EventActions(self.core.events),
            SubscriptionActions(self.core),
            LogFileActions(self.core),
            CatalogActions(self.core),
            TagActions(self.core),
        )
        self._operations = {
            action: _guarded(action, operation) for group in groups for action, operation in group.operations.items()
        }

    @property
    def operations(self) -> Mapping[str, Operation]:
        """API name to the function that performs it."""
        return self._operations

    def start(self) -> None:
        """Resume unfinished work, and begin to watch and to publish."""
        pki.ensure_authority(self.core.home.pki)
        self.core.events.forget_old()
        self._watcher.start()
        self._publisher.start()

    def stop(self) -> None:
        """Stop watching and publishing; databases go on, and nothing acknowledged is lost."""
        self._watcher.stop()
        self._publisher.stop()


def _guarded(action: str, operation: Operation) -> Operation:
    """The operation, which first refuses by name what it does not do, and says in words what this machine lacks."""

    def perform(context: Context, params: dict[str, Any]) -> dict[str, Any]:
        accepted.check(action, params)
        try:
            return operation(context, params)
        except MultiazError as error:
            raise faults.bad_combination(f"{error}. {error.next_step}.") from error

    return perform
