"""What every part of the RDS API shares: records, engines, events, and sight of the instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from multiaz.cloud.rds import describe, faults, pki
from multiaz.cloud.rds.behaviour import BehaviourFile
from multiaz.cloud.rds.engines import Engine, Engines
from multiaz.cloud.rds.events import EventLog
from multiaz.cloud.rds.model import Instance, ParameterGroup
from multiaz.cloud.rds.parameters import FAMILIES, major_of, values_of
from multiaz.cloud.rds.repository import Repository
from multiaz.cloud.rds.status import MODIFIABLE, Seen, status_of
from multiaz.cloud.rds.wanted import variables_of
from multiaz.cloud.service import AwsFault, Clients
from multiaz.errors import Missing
from multiaz.home import Home

DEFAULT_GROUP = "default."


@dataclass
class Core:
    """Shared by the actions and the watcher."""

    repository: Repository
    home: Home
    clients: Clients
    judge_url: str
    events: EventLog
    engines: Engines
    seen: Callable[[Instance], Seen]
    """What is seen of an instance now."""
    wake: Callable[[], None] = field(default=lambda: None)
    """Have the watcher look at once."""
    behaviour: BehaviourFile = field(init=False)

    def __post_init__(self) -> None:
        self.behaviour = BehaviourFile(self.home.behaviour)

    def require(self, region: str, identifier: str) -> Instance:
        """The instance, by identifier or ARN. Raises AwsFault DBInstanceNotFound."""
        name = identifier.rpartition(":db:")[2].lower() if identifier.startswith("arn:") else identifier.lower()
        found = self.repository.instances.get(region, name)
        if found is None:
            raise faults.instance_not_found(identifier)
        return found

    def name_taken(self, region: str, identifier: str) -> bool:
        """An instance has that identifier, or is being renamed to it."""
        return any(
            identifier == one.identifier or (one.operation is not None and identifier == one.operation.rename)
            for one in self.repository.instances.all(region)
        )

    def require_available(self, region: str, identifier: str, doing: str) -> Instance:
        """The instance, which is available. Raises AwsFault InvalidDBInstanceState otherwise."""
        instance = self.require(region, identifier)
        status = self.status(instance)
        if status not in MODIFIABLE:
            raise faults.wrong_state(f"Database instance {instance.identifier} is not in available state: it cannot be "
                                     f"{doing} while it is {status}.")  # fmt: skip
        return instance

    def status(self, instance: Instance) -> str:
        """DBInstanceStatus."""
        return status_of(instance, self.seen(instance))

    def engine(self, instance: Instance) -> Engine:
        """The server an instance runs on."""
        return self.engines.of(instance.major)

    def parameter_group(self, region: str, name: str) -> ParameterGroup:
        """A parameter group; the default groups need no record. Raises AwsFault DBParameterGroupNotFound."""
        name = name.lower()
        found = self.repository.parameter_groups.get(region, name)
        if found is not None:
            return found
        family = name.removeprefix(DEFAULT_GROUP)
        if name.startswith(DEFAULT_GROUP) and major_of(family) is not None:
            return ParameterGroup(
                region=region, name=name, family=family, description=f"Default parameter group for {family}"
            )
        raise faults.parameter_group_not_found(name)

    def default_group_name(self, major: int) -> str:
        """The name of a version's default parameter group."""
        return DEFAULT_GROUP + FAMILIES[major]

    def target(self, instance: Instance) -> dict[str, str]:
        """What the instance's parameter group comes to now."""
        group = self.parameter_group(instance.region, instance.parameter_group)
        return self.evaluate(group, instance.major, instance.instance_class, instance)

    def evaluate(self, group: ParameterGroup, major: int, instance_class: str, instance: Instance) -> dict[str, str]:
        """The values of a group for an instance of that class."""
        return self.values(group, major, instance_class, instance.storage.allocated_gib, instance.network.asked_port)

    def values(
        self, group: ParameterGroup, major: int, instance_class: str, allocated_gib: int, port: int
    ) -> dict[str, str]:
        """The values of a group, evaluated."""
        variables = variables_of(instance_class, allocated_gib, port)
        return values_of(self.engines.of(major).definitions, group.values, variables)

    def shape(self, instance: Instance) -> dict[str, Any]:
        """One DBInstance of the API."""
        source = self.repository.by_resource_id(instance.source) if instance.source else None
        around = describe.Surroundings(
            seen=self.seen(instance),
            subnet_group=self.repository.subnet_groups.get(instance.region, instance.network.subnet_group),
            target=self.known_target(instance),
            source_identifier=source.identifier if source else None,
            replica_identifiers=tuple(one.identifier for one in self.repository.replicas_of(instance.resource_id)),
            certificate_valid_till=self._certificate_end(instance),
        )
        return describe.instance_shape(instance, around)

    def tell(self, instance: Instance, code: str, message: str, at: float | None = None) -> None:
        """Keep an event of an instance; `code` is the four digits."""
        self.events.add(
            instance.region, "db-instance", instance.identifier, f"RDS-EVENT-{code.removeprefix('RDS-EVENT-')}",
            message, at,
        )  # fmt: skip

    def known_target(self, instance: Instance) -> dict[str, str]:
        """What the parameter group comes to; what is to be in effect if that cannot be told: the server that judges it
        is not there, or a value cannot be for this instance, which is said to whoever asks for it."""
        try:
            return self.target(instance)
        except (Missing, AwsFault):
            return instance.parameters

    def _certificate_end(self, instance: Instance) -> datetime | None:
        path = self.home.instance(instance.resource_id).tls / "server.pem"
        try:
            return pki.certificate_facts(path, path.stat().st_mtime_ns)[1]
        except FileNotFoundError:
            return None
