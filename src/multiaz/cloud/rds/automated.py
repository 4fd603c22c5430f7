"""Automated backups in the RDS API: shown, deleted, retained after their instance, removed when their time is over."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, Literal

from multiaz.cloud.rds import backups, faults
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.describe import arn, time_of, without_nothing
from multiaz.cloud.rds.model import Instance, OperationKind, RetainedBackup
from multiaz.cloud.rds.paging import filters, page
from multiaz.cloud.rds.status import Seen
from multiaz.cloud.service import Context, Operation
from multiaz.instance.records import BackupRecord

BY_ARN = "DBInstanceAutomatedBackupsArn"
_log = logging.getLogger("multiaz.cloud.rds")


@dataclass(frozen=True)
class Automated:
    """The automated backups of one instance, which is there or was deleted."""

    instance: Instance
    zone: str
    record: BackupRecord
    retained: bool

    @property
    def arn(self) -> str:
        """Its own ARN."""
        return arn(self.instance.region, "auto-backup", backups.backup_id(self.instance.resource_id))

    @property
    def status(self) -> Literal["active", "retained", "creating"]:
        """As the API calls it."""
        if self.retained:
            return "retained"
        return "active" if self.record.bases else "creating"

    def shape(self) -> dict[str, Any]:
        """One DBInstanceAutomatedBackup."""
        instance, begins, ends = self.instance, self.record.restorable_from, self.record.restorable_until
        window = None
        if begins is not None and ends is not None:
            window = {"EarliestTime": time_of(begins), "LatestTime": time_of(ends)}
        return without_nothing(
            {
                "DBInstanceArn": arn(instance.region, "db", instance.identifier),
                "DbiResourceId": instance.resource_id,
                "Region": instance.region,
                "DBInstanceIdentifier": instance.identifier,
                "RestoreWindow": window,
                "AllocatedStorage": instance.storage.allocated_gib,
                "Status": self.status,
                "Port": instance.network.asked_port,
                "AvailabilityZone": self.zone,
                "VpcId": instance.network.vpc_id,
                "InstanceCreateTime": time_of(instance.created_at),
                "MasterUsername": instance.master_username,
                "Engine": "postgres",
                "EngineVersion": instance.version,
                "LicenseModel": "postgresql-license",
                "Iops": instance.storage.iops,
                "StorageThroughput": instance.storage.throughput_mibs,
                "OptionGroupName": f"default:postgres-{instance.major}",
                "Encrypted": instance.storage.encrypted,
                "StorageType": instance.storage.kind,
                "KmsKeyId": instance.storage.kms_key,
                "IAMDatabaseAuthenticationEnabled": instance.iam_authentication,
                "BackupRetentionPeriod": instance.backup_retention_days,
                "PreferredBackupWindow": instance.backup_window,
                "DBInstanceAutomatedBackupsArn": self.arn,
                "DBInstanceAutomatedBackupsReplications": [],
                "BackupTarget": "region",
                "DedicatedLogVolume": False,
            }
        )


def of_instance(core: Core, instance: Instance) -> Automated:
    """The automated backups of an instance that is there."""
    record = backups.read(core.home, instance.resource_id)
    return Automated(instance, _zone(instance, core.seen(instance)), record, retained=False)


def all_of(core: Core, region: str) -> list[Automated]:
    """The automated backups of a region, those of instances and those that outlived theirs, by identifier."""
    found = [
        of_instance(core, one)
        for one in core.repository.instances.all(region)
        if one.backup_retention_days and not one.is_replica
    ]
    found += [
        Automated(one.instance, one.zone, backups.read(core.home, one.instance.resource_id), retained=True)
        for one in core.repository.retained_backups.all(region)
    ]
    return sorted(found, key=_key)


def being_restored(core: Core, resource_id: str) -> list[str]:
    """Identifiers of the instances that are being made from those backups now."""
    return [
        one.identifier
        for one in core.repository.instances.all()
        if one.restore is not None
        and one.restore.resource_id == resource_id
        and one.operation is not None
        and one.operation.kind is OperationKind.CREATE
        and core.status(one) == "creating"
    ]


def retained_of(core: Core, instance: Instance, seen: Seen) -> RetainedBackup | None:
    """What stays of an instance that is being deleted: its automated backups, if that was asked and there are any."""
    resource_id = instance.resource_id
    there = backups.is_unreadable(core.home, resource_id) or backups.read(core.home, resource_id).bases
    if not instance.retain_backups or not there:
        return None
    return RetainedBackup(
        region=instance.region,
        instance=instance.but(operation=None),
        zone=_zone(instance, seen),
        deleted_at=time.time(),
    )


def remove(core: Core, resource_id: str) -> bool:
    """Remove automated backups; False, and nothing is done, while an instance is being made from them."""
    return not being_restored(core, resource_id) and backups.remove(core.home, resource_id)


def expire(core: Core, now: float) -> None:
    """Remove the retained backups nothing of which is within its retention period any more (`now`: Unix time)."""
    for one in core.repository.retained_backups.all():
        resource_id = one.instance.resource_id
        record = backups.read(core.home, resource_id)
        if backups.is_unreadable(core.home, resource_id) or not backups.is_over(
            record, one.instance.backup_retention_days, now
        ):
            continue
        if remove(core, resource_id):
            core.repository.retained_backups.remove(one.region, resource_id)
            _log.info("the automated backups of %s (%s) are over", one.instance.identifier, resource_id)


class AutomatedBackupActions:
    """DescribeDBInstanceAutomatedBackups and DeleteDBInstanceAutomatedBackup."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.operations: dict[str, Operation] = {
            "DescribeDBInstanceAutomatedBackups": self.describe,
            "DeleteDBInstanceAutomatedBackup": self.delete,
        }

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeDBInstanceAutomatedBackups."""
        wanted = filters(params, ("status", "db-instance-id", "dbi-resource-id"))
        found = all_of(self._core, context.region)
        named = [name for name in ("DbiResourceId", "DBInstanceIdentifier", BY_ARN) if params.get(name)]
        if named:
            found = [one for one in found if all(is_named(one, name, params[name]) for name in named)]
            if not found:
                raise faults.automated_backup_not_found(params[named[0]])
        shown, more = page([one for one in found if _matches(one, wanted)], _key, params)
        return {"DBInstanceAutomatedBackups": [one.shape() for one in shown], **more}

    def delete(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DeleteDBInstanceAutomatedBackup: of an instance that is no more; its data goes first, then its record."""
        core = self._core
        named = [name for name in ("DbiResourceId", BY_ARN) if params.get(name)]
        if not named:
            raise faults.bad_combination(f"One of DbiResourceId and {BY_ARN} must be provided.")
        found = [one for one in all_of(core, context.region) if all(is_named(one, n, params[n]) for n in named)]
        if not found:
            raise faults.automated_backup_not_found(params[named[0]])
        backup = found[0]
        resource_id = backup.instance.resource_id
        if not backup.retained:
            raise faults.wrong_backup_state(
                f"The automated backup of {backup.instance.identifier} can't be deleted while its DB instance exists: "
                "set the backup retention period to 0, or delete the DB instance."
            )
        if not remove(core, resource_id):
            users = ", ".join(being_restored(core, resource_id)) or "a DB instance"
            raise faults.wrong_backup_state(
                f"The automated backup of {backup.instance.identifier} can't be deleted while {users} is being "
                "restored from it."
            )
        core.repository.retained_backups.remove(context.region, resource_id)
        return {"DBInstanceAutomatedBackup": {**backup.shape(), "Status": "deleting"}}


def _zone(instance: Instance, seen: Seen) -> str:
    return instance.network.zones[seen.primary or "a"]


def _key(backup: Automated) -> str:
    return f"{backup.instance.identifier}/{backup.instance.resource_id}"


def is_named(backup: Automated, parameter: str, value: str) -> bool:
    """True if a parameter with which calls name automated backups means these."""
    match parameter:
        case "DbiResourceId":
            return backup.instance.resource_id.lower() == value.lower()
        case "DBInstanceIdentifier":
            return backup.instance.identifier == value.rpartition(":db:")[2].lower()
        case _:
            return backup.arn == value


def _matches(backup: Automated, wanted: dict[str, list[str]]) -> bool:
    def last(name: str) -> set[str]:
        return {value.rpartition(":")[2].lower() for value in wanted.get(name, ())}

    return (
        ("status" not in wanted or backup.status in wanted["status"])
        and ("db-instance-id" not in wanted or backup.instance.identifier in last("db-instance-id"))
        and ("dbi-resource-id" not in wanted or backup.instance.resource_id.lower() in last("dbi-resource-id"))
    )
