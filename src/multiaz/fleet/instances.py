"""The DB instances of a stack, as RDS describes them and as their own SQL tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from multiaz.errors import NotFound
from multiaz.fleet.access import AwsClients, AwsRefused, refusals
from multiaz.fleet.replication import ReplicaSeen, SqlUnavailable, StandbySeen
from multiaz.fleet.secrets import Credentials
from multiaz.fleet.stacks import StackResource

if TYPE_CHECKING:
    from multiaz.fleet.databases import Databases

INSTANCE_TYPE = "AWS::RDS::DBInstance"
_NOT_EXPECTED = frozenset({"CREATE_IN_PROGRESS", "CREATE_FAILED", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"})
"""Statuses of a resource in which CloudFormation itself does not count on its instance."""

Role = Literal["primary", "replica"]


@dataclass(frozen=True)
class Instance:
    """One DB instance as RDS describes it."""

    name: str
    """What people call it: "primary", "replica-1"…"""
    role: Role
    identifier: str
    resource_id: str
    status: str
    zone: str | None
    standby_zone: str | None
    """Zone of the hidden standby; None if there is none (yet)."""
    multi_az: bool
    address: str | None
    """None while the instance is being created."""
    port: int | None
    instance_class: str
    engine_version: str
    source: str | None
    """Identifier of the instance a replica follows."""
    deletion_protection: bool
    replication_error: str | None = None
    """Why a replica does not follow its source, as RDS says in StatusInfos; None: nothing is said."""

    @property
    def endpoint(self) -> str | None:
        """address:port."""
        return f"{self.address}:{self.port}" if self.address else None


@dataclass(frozen=True)
class InstanceStatus:
    """One DB instance, its SQL view included."""

    instance: Instance
    standby: StandbySeen | None = None
    """The standby as the primary sees it; None for replicas and single-AZ instances."""
    replica: ReplicaSeen | None = None
    """How far a replica follows; None for primaries."""
    sql_error: str | None = None
    """Why SQL could not be asked; the two fields above are None then."""

    def as_dict(self) -> dict[str, object]:
        """The JSON form; fields that do not apply are null."""
        told = self.instance
        return {
            "name": told.name,
            "role": told.role,
            "identifier": told.identifier,
            "resource_id": told.resource_id,
            "status": told.status,
            "zone": told.zone,
            "standby_zone": told.standby_zone,
            "multi_az": told.multi_az,
            "address": told.address,
            "port": told.port,
            "class": told.instance_class,
            "engine_version": told.engine_version,
            "source": told.source,
            "standby_sync": self.standby.sync if self.standby else None,
            "standby_lag_bytes": self.standby.lag_bytes if self.standby else None,
            "lag_s": self.replica.lag_s if self.replica else None,
            "streaming": self.replica.streaming if self.replica else None,
            "replication_error": told.replication_error,
            "sql_error": self.sql_error,
        }


@dataclass(frozen=True)
class MissingInstance:
    """A DB instance of a stack that RDS knows no more by the name the stack has for it."""

    logical_id: str
    identifier: str
    renamed_to: str | None
    """The identifier it has now, by the tags CloudFormation gave it; None: it was deleted."""

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {"logical_id": self.logical_id, "identifier": self.identifier, "renamed_to": self.renamed_to}


@dataclass(frozen=True)
class FleetStatus:
    """A stack and its DB instances."""

    stack: str
    stack_status: str
    instances: tuple[InstanceStatus, ...] = field(default=())
    missing: tuple[MissingInstance, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "stack": self.stack,
            "stack_status": self.stack_status,
            "instances": [instance.as_dict() for instance in self.instances],
            "missing": [instance.as_dict() for instance in self.missing],
        }


def instance_of(told: Mapping[str, Any]) -> Instance:
    """The instance one entry of DescribeDBInstances describes; `name` is its role until it is numbered."""
    source = told.get("ReadReplicaSourceDBInstanceIdentifier") or None
    endpoint = told.get("Endpoint") or {}
    return Instance(
        name="replica" if source else "primary",
        role="replica" if source else "primary",
        identifier=told["DBInstanceIdentifier"],
        resource_id=told.get("DbiResourceId", ""),
        status=told["DBInstanceStatus"],
        zone=told.get("AvailabilityZone") or None,
        standby_zone=told.get("SecondaryAvailabilityZone") or None,
        multi_az=bool(told.get("MultiAZ")),
        address=endpoint.get("Address"),
        port=endpoint.get("Port"),
        instance_class=told.get("DBInstanceClass", ""),
        engine_version=told.get("EngineVersion", ""),
        source=source,
        deletion_protection=bool(told.get("DeletionProtection")),
        replication_error=next(
            (
                info.get("Message") or info.get("Status")
                for info in told.get("StatusInfos") or ()
                if info.get("StatusType") == "read replication" and info.get("Status") in ("error", "terminated")
            ),
            None,
        ),
    )


def named(found: Iterable[tuple[str, Instance]]) -> list[Instance]:
    """Instances with the names people use: primary first, replicas numbered by their logical ids' order."""
    ordered = [instance for _, instance in sorted(found, key=lambda pair: pair[0])]
    result: list[Instance] = []
    for role in ("primary", "replica"):
        group = [instance for instance in ordered if instance.role == role]
        for number, instance in enumerate(group, 1):
            alone = role == "primary" and len(group) == 1
            result.append(replace(instance, name=role if alone else f"{role}-{number}"))
    return result


class Instances:
    """RDS as `fleet` uses it."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    @property
    def _rds(self) -> Any:
        return self._clients.client("rds")

    def find(self, identifier: str) -> Instance | None:
        """The instance with this identifier, or None."""
        try:
            with refusals(f"Cannot describe the DB instance {identifier}"):
                told = self._rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
        except AwsRefused as error:
            if error.code in ("DBInstanceNotFound", "DBInstanceNotFoundFault"):
                return None
            raise
        return instance_of(told[0])

    def get(self, identifier: str) -> Instance:
        """As `find`; raises NotFound."""
        found = self.find(identifier)
        if found is None:
            raise NotFound(
                f"There is no DB instance {identifier}", "RDS knows none of this name", "look: multiaz status"
            )
        return found

    def of(self, resources: Iterable[StackResource]) -> list[Instance]:
        """The DB instances among a stack's resources, named, primary first; those not there are left out."""
        ids = {r.logical_id: r.physical_id for r in resources if r.resource_type == INSTANCE_TYPE and r.physical_id}
        if not ids:
            return []
        with ThreadPoolExecutor(max_workers=min(len(ids), 8)) as pool:
            found = dict(zip(ids, pool.map(self.find, ids.values()), strict=True))
        return named((logical, instance) for logical, instance in found.items() if instance is not None)

    def missing(
        self, stack_id: str, resources: Iterable[StackResource], found: Iterable[Instance]
    ) -> tuple[MissingInstance, ...]:
        """The DB instances among a stack's resources that are not in `found`, what `of` gave of them.

        A renamed one keeps its tags. Source: RDS user guide, "Renaming a DB instance".
        """
        there = {instance.identifier for instance in found}
        sought = [
            resource
            for resource in resources
            if resource.resource_type == INSTANCE_TYPE
            and resource.physical_id
            and resource.physical_id not in there
            and resource.status not in _NOT_EXPECTED
        ]
        if not sought:
            return ()
        names: dict[str, str] = {}
        for told in self._all():
            tags = {tag["Key"]: tag["Value"] for tag in told.get("TagList", ())}
            if tags.get("aws:cloudformation:stack-id") == stack_id:
                names[tags.get("aws:cloudformation:logical-id", "")] = told["DBInstanceIdentifier"]
        return tuple(
            MissingInstance(resource.logical_id, resource.physical_id, names.get(resource.logical_id))
            for resource in sorted(sought, key=lambda resource: resource.logical_id)
        )

    def all_identifiers(self) -> list[str]:
        """Identifiers of every DB instance of the account and region."""
        return sorted(told["DBInstanceIdentifier"] for told in self._all())

    def _all(self) -> list[dict[str, Any]]:
        with refusals("Cannot list the DB instances"):
            pages = self._rds.get_paginator("describe_db_instances").paginate()
            return [told for page in pages for told in page["DBInstances"]]

    def manual_snapshots(self) -> list[str]:
        """Identifiers of every manual DB snapshot; final snapshots are such."""
        with refusals("Cannot list the DB snapshots"):
            pages = self._rds.get_paginator("describe_db_snapshots").paginate(SnapshotType="manual")
            return sorted(told["DBSnapshotIdentifier"] for page in pages for told in page["DBSnapshots"])

    def reboot_with_failover(self, identifier: str) -> None:
        """RebootDBInstance with ForceFailover; returns when RDS has accepted it."""
        with refusals(f"Cannot fail over {identifier}"):
            self._rds.reboot_db_instance(DBInstanceIdentifier=identifier, ForceFailover=True)

    def abandoned_failovers(self, identifier: str) -> set[tuple[datetime, str]]:
        """When and why requested failovers were abandoned in the last hour (RDS-EVENT-0034).

        DescribeEvents tells no ids, so the message is what it is known by.
        Source: RDS user guide, "Amazon RDS event categories and event messages", failover.
        """
        with refusals(f"Cannot list the events of {identifier}"):
            told = self._rds.describe_events(
                SourceIdentifier=identifier, SourceType="db-instance", EventCategories=["failover"], Duration=60
            )
        return {
            (event["Date"], event["Message"])
            for event in told["Events"]
            if event["Message"].startswith("Abandoning user requested failover")
        }


def ask_sql(instance: Instance, databases: Databases, credentials: Credentials) -> InstanceStatus:
    """`instance` with what its own SQL tells; an instance that cannot be asked says why."""
    if instance.address is None or instance.port is None:
        return InstanceStatus(instance, sql_error="no endpoint yet")
    target = credentials.at(instance.address, instance.port)
    try:
        if instance.role == "replica":
            return InstanceStatus(instance, replica=databases.replica_seen(target))
        if instance.multi_az:
            return InstanceStatus(instance, standby=databases.standby_seen(target))
    except SqlUnavailable as error:
        return InstanceStatus(instance, sql_error=error.why)
    return InstanceStatus(instance)


def ask_all(instances: list[Instance], databases: Databases, credentials: Credentials) -> tuple[InstanceStatus, ...]:
    """`ask_sql` of every instance, at the same time."""
    if not instances:
        return ()
    with ThreadPoolExecutor(max_workers=min(len(instances), 8)) as pool:
        return tuple(pool.map(lambda instance: ask_sql(instance, databases, credentials), instances))
