"""From a record to `desired.json`: what the supervisor is to bring about. Pure."""

from __future__ import annotations

from pathlib import Path

from multiaz.cloud.rds.behaviour import Behaviour
from multiaz.cloud.rds.classes import INSTANCE_CLASSES
from multiaz.cloud.rds.formulas import Variables
from multiaz.cloud.rds.model import Instance, OperationKind
from multiaz.home import Home
from multiaz.instance.records import BackupPlan, DesiredInstance, Endpoint, MasterUser, RunState, Source


def variables_of(instance_class: str, allocated_gib: int, port: int) -> Variables:
    """What a formula in a parameter group may name, for one instance."""
    one = INSTANCE_CLASSES[instance_class]
    return Variables(one.memory_bytes, one.vcpus, allocated_gib * 1024**3, port)


def desired_of(
    instance: Instance,
    home: Home,
    bin_folder: str,
    judge_url: str,
    *,
    ready_to_go: bool = True,
    behaviour: Behaviour | None = None,
) -> DesiredInstance:
    """The record as the supervisor reads it.

    `judge_url` is where the relay has IAM tokens judged.
    `ready_to_go` is false while a deleted instance's read replicas are still being promoted.
    """
    source = None
    if instance.source is not None:
        upstream = home.instance(instance.source).upstream_link
        source = Source(resource_id=instance.source, upstream=str(upstream))
    master = None
    if instance.master_verifier is not None and instance.master_number and not instance.is_replica:
        master = MasterUser(
            name=instance.master_username, verifier=instance.master_verifier, number=instance.master_number
        )
    behaviour = behaviour or Behaviour()
    backups = None
    if instance.backup_retention_days:
        # Of a read replica as well: the supervisor begins with them once it is promoted.
        backups = BackupPlan(
            retention_days=instance.backup_retention_days,
            window=instance.backup_window,
            archive_every_s=behaviour.archive_every_s,
        )
    deleting = instance.operation is not None and instance.operation.kind is OperationKind.DELETE
    snapshot = None
    if deleting and instance.final_snapshot is not None:
        snapshot = str(snapshot_folder(home, instance.resource_id))
    return DesiredInstance(
        resource_id=instance.resource_id,
        identifier=instance.identifier,
        run=RunState.DELETED if deleting and ready_to_go else instance.run,
        bin_folder=bin_folder,
        major=instance.major,
        multi_az=instance.multi_az,
        zones=instance.network.zones,
        source=source,
        restore=instance.restore,
        backups=backups,
        database=instance.database,
        master=master,
        parameters=instance.parameters,
        endpoint=Endpoint(
            address=instance.network.address,
            port=instance.network.port,
            region=instance.region,
            force_ssl=instance.parameters.get("rds.force_ssl") == "1",
            iam_authentication=instance.iam_authentication,
            authorize_url=judge_url if instance.iam_authentication else None,
        ),
        request=instance.request,
        allocated_gib=instance.storage.allocated_gib,
        endpoint_down_s=behaviour.endpoint_down_s,
        standby_loss=behaviour.standby_loss,
        final_snapshot=snapshot,
    )


def snapshot_folder(home: Home, resource_id: str) -> Path:
    """Where the final snapshot of an instance is kept."""
    return home.snapshots / f"final-{resource_id}"
