"""One deployed stack and what people do to it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from multiaz.errors import Conflict, NotFound
from multiaz.fleet.access import Access, AwsClients, AwsRefused, refusals
from multiaz.fleet.holdings import buckets, holdings
from multiaz.fleet.instances import (
    INSTANCE_TYPE,
    FleetStatus,
    Instance,
    Instances,
    InstanceStatus,
    MissingInstance,
    ask_all,
)
from multiaz.fleet.secrets import Credentials, read_credentials
from multiaz.fleet.stacks import Deployed, OnEvent, StackResource, Stacks, ignore_event

if TYPE_CHECKING:
    from multiaz.fleet.bootstrap import BootstrapReport
    from multiaz.fleet.databases import Databases
    from multiaz.fleet.failover import FailoverReport, Say


@dataclass(frozen=True)
class Destroyed:
    """Outcome of deleting a stack."""

    stack: str
    stack_id: str
    kept: tuple[str, ...]
    """What it left behind, for people: retained resources, final snapshots, keys that wait for their end."""
    retained: tuple[str, ...]
    """Those of `kept` the template says to keep."""


class Fleet:
    """A stack by name, in one account and region."""

    def __init__(
        self, access: Access, stack_name: str, *, quiet_limit_s: float = 3600.0, template_bucket: str | None = None
    ) -> None:
        self.stack_name = stack_name
        self.clients = AwsClients(access)
        self.stacks = Stacks(self.clients, quiet_limit_s=quiet_limit_s, template_bucket=template_bucket)
        self.instances = Instances(self.clients)
        self.root_certificate = access.root_certificate

    @cached_property
    def databases(self) -> Databases:
        """The databases by SQL. The driver is loaded by who asks them: it costs as much as a command."""
        from multiaz.fleet.databases import Databases

        return Databases(self.root_certificate)

    def deploy(
        self,
        template: str,
        parameters: Mapping[str, str] | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        on_event: OnEvent = ignore_event,
    ) -> Deployed:
        """Make the stack and wait until it is complete; see `Stacks.deploy`."""
        return self.stacks.deploy(self.stack_name, template, parameters or {}, tags=tags, on_event=on_event)

    def describe(self) -> list[Instance]:
        """The stack's DB instances as RDS describes them, primary first. Raises NotFound."""
        return self.instances.of(self._resources())

    def status(self) -> FleetStatus:
        """The stack, its DB instances, and what their SQL tells. Raises NotFound."""
        stack = self.stacks.get(self.stack_name)
        resources = self.stacks.resources(stack.stack_id)
        found = self.instances.of(resources)
        try:
            credentials = read_credentials(self.clients, self.stack_name, resources)
        except (NotFound, AwsRefused) as error:
            asked = tuple(InstanceStatus(instance, sql_error=error.why) for instance in found)
        else:
            asked = ask_all(found, self.databases, credentials)
        return FleetStatus(
            self.stack_name, stack.status, asked, self.instances.missing(stack.stack_id, resources, found)
        )

    def credentials(self, name: str = "primary") -> Credentials:
        """The master user's credentials at the endpoint of the instance people call `name`."""
        resources = self._resources()
        with ThreadPoolExecutor(max_workers=1) as pool:
            reading = pool.submit(read_credentials, self.clients, self.stack_name, resources)
            instance = choose(self.instances.of(resources), name, self.stack_name)
            credentials = reading.result()
        if instance.address is None or instance.port is None:
            raise Conflict(
                f"{instance.identifier} has no endpoint yet",
                f"its status is {instance.status}",
                "wait until `multiaz status` shows available",
            )
        return credentials.at(instance.address, instance.port)

    def failover(self, say: Say = lambda _: None) -> FailoverReport:
        """Fail the primary over to its standby while a client writes; see `fail_over`."""
        from multiaz.fleet.failover import fail_over

        primary = choose(self.describe(), "primary", self.stack_name)
        credentials = self.credentials("primary")
        return fail_over(
            primary,
            self.instances,
            self.databases,
            credentials,
            say,
            standby_in_sql=self.clients.access.endpoint_url is not None,
        )

    def bootstrap(self, schemas: Sequence[str] = ()) -> BootstrapReport:
        """Make the application's database roles on the primary; see `multiaz.fleet.bootstrap`."""
        from multiaz.fleet.bootstrap import bootstrap, role_names

        names = role_names(self.stacks.get(self.stack_name).parameters, schemas)
        return bootstrap(self.databases, self.credentials("primary"), self.stack_name, names)

    def bootstrap_sql(self, schemas: Sequence[str] = ()) -> str:
        """What `bootstrap` would run, for people who look first."""
        from multiaz.fleet.bootstrap import role_names, statements

        names = role_names(self.stacks.get(self.stack_name).parameters, schemas)
        return statements(names, self.credentials("primary").database).as_string()

    def destroy(self, *, on_event: OnEvent = ignore_event) -> Destroyed:
        """Delete the stack and wait until it is gone.

        Refused before anything is touched if a DB instance has deletion protection: CloudFormation
        would delete its replicas first and fail then. So it is if one was renamed: CloudFormation finds nothing
        under the old name, takes it for deleted, and fails at the subnet group and the keys it still uses.
        """
        stack = self.stacks.get(self.stack_name)
        resources = self.stacks.resources(stack.stack_id)
        found = self.instances.of(resources)
        self._refuse_renamed(self.instances.missing(stack.stack_id, resources, found))
        protected = [i.identifier for i in found if i.deletion_protection]
        if protected:
            raise Conflict(
                f"Cannot delete the stack {self.stack_name}",
                f"deletion protection is on: {', '.join(protected)}",
                f"for id in {shlex.join(protected)}; do {self.clients.access.aws_command} rds modify-db-instance "
                f'--no-deletion-protection --apply-immediately --db-instance-identifier "$id"; done',
            )
        stack_id = self.stacks.delete(self.stack_name, on_event=on_event)
        retained = tuple(
            f"{r.resource_type} {r.physical_id} (DeletionPolicy: Retain)"
            for r in self.stacks.resources(stack_id)
            if r.status == "DELETE_SKIPPED"
        )
        return Destroyed(self.stack_name, stack_id, (*retained, *self._kept(resources)), retained)

    def _refuse_renamed(self, missing: Sequence[MissingInstance]) -> None:
        """Raise Conflict if one has another name now. A deleted one is no hindrance: its deletion is done."""
        renamed = {one.renamed_to: one.identifier for one in missing if one.renamed_to}
        if renamed:
            aws = self.clients.access.aws_command
            raise Conflict(
                f"Cannot delete the stack {self.stack_name}",
                "it would leave instances that were renamed, and fail at what they use: "
                + ", ".join(f"{old} is now {new}" for new, old in renamed.items()),
                "; ".join(
                    f"{aws} rds modify-db-instance --apply-immediately --db-instance-identifier {shlex.quote(new)} "
                    f"--new-db-instance-identifier {shlex.quote(old)}"
                    for new, old in renamed.items()
                ),
            )

    def remains(self, regions: Mapping[str, Collection[str]]) -> list[str]:
        """What the account holds of data in `regions` (each with the services used there), for people.

        A DB instance or a bucket of a stack is named by its stack alone.
        """
        found: list[str] = []
        access = self.clients.access
        for region in sorted({access.region, *regions}, key=lambda name: (name != access.region, name)):
            here = region == access.region
            clients = self.clients if here else AwsClients(replace(access, region=region))
            held = holdings(clients, regions.get(region, ()))
            found += held if here else [f"{thing} in {region}" for thing in held]
        if not any(thing.startswith("the stack ") for thing in found):
            found += buckets(self.clients)
        return found

    def _resources(self) -> list[StackResource]:
        return self.stacks.resources(self.stacks.get(self.stack_name).stack_id)

    def _kept(self, before: list[StackResource]) -> list[str]:
        """What the deletion left behind of its own accord: final snapshots, keys that wait."""
        kept: list[str] = []
        rds: Any = self.clients.client("rds")
        kms: Any = self.clients.client("kms")
        for resource in before:
            if resource.resource_type == INSTANCE_TYPE:
                with refusals("Cannot look for final snapshots"):
                    told = rds.describe_db_snapshots(DBInstanceIdentifier=resource.physical_id, SnapshotType="manual")
                kept += [f"DB snapshot {s['DBSnapshotIdentifier']}" for s in told["DBSnapshots"]]
            elif resource.resource_type == "AWS::KMS::Key":
                with refusals("Cannot look at the keys"):
                    key = kms.describe_key(KeyId=resource.physical_id)["KeyMetadata"]
                if key.get("KeyState") == "PendingDeletion":
                    until = f"{key['DeletionDate']:%Y-%m-%d}"
                    kept.append(f"KMS key {key['KeyId']}, pending deletion until {until}")
        return kept


def choose(found: list[Instance], name: str, stack: str) -> Instance:
    """The instance people call `name` (or whose identifier it is); raises NotFound with the names there are."""
    for instance in found:
        if name in (instance.name, instance.identifier):
            return instance
    names = ", ".join(instance.name for instance in found) or "none"
    raise NotFound(f"The stack {stack} has no instance {name}", f"it has: {names}", "name one of these")
