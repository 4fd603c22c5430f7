"""RestoreDBInstanceToPointInTime: a new DB instance, as another was at a moment."""

from __future__ import annotations

import time
from typing import Any

from multiaz.cloud.rds import automated, backups, building, faults, rules, tags
from multiaz.cloud.rds.automated import Automated
from multiaz.cloud.rds.checks import Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.describe import time_of, unix_time
from multiaz.cloud.rds.model import Instance, Networking, Operation, OperationKind
from multiaz.cloud.service import AwsFault, Context
from multiaz.cloud.service import Operation as Action
from multiaz.instance.records import Restore

SOURCES = ("SourceDBInstanceIdentifier", "SourceDbiResourceId", "SourceDBInstanceAutomatedBackupsArn")
SHOWN_TO_S = 0.001
"""Times are shown to the millisecond, rounded down."""


class RestoreActions:
    """RestoreDBInstanceToPointInTime."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._checks = Checks(core.clients)
        self.operations: dict[str, Action] = {"RestoreDBInstanceToPointInTime": self.to_point_in_time}

    def to_point_in_time(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """RestoreDBInstanceToPointInTime.

        What the call does not say is the source's, but for the network, the parameter group and what has a default
        of its own: these are as for a new instance.

        Source: RDS API reference, RestoreDBInstanceToPointInTime.
        """
        core, region = self._core, context.region
        identifier = rules.identifier(params["TargetDBInstanceIdentifier"], "TargetDBInstanceIdentifier")
        if core.name_taken(region, identifier):
            raise faults.instance_exists(identifier)
        backup = source_of(core, region, params)
        source = backup.instance
        restore = restore_of(backup, params)
        _check_same(source, params)
        if source.storage.kms_key is not None:
            self._checks.key(region, source.storage.kms_key)
        engine = core.engine(source)
        one_class = rules.instance_class(params.get("DBInstanceClass") or source.instance_class)
        group = building.subnet_group(core, self._checks, region, params.get("DBSubnetGroupName"))
        multi_az = params.get("MultiAZ", False)
        storage = building.storage_like(source, params, "restored DB instance")
        parameter_group = building.parameter_group_for(core, region, params.get("DBParameterGroupName"), engine)
        port = building.port_of(params.get("Port", source.network.asked_port))
        backup_window, maintenance_window = _windows(source, identifier, params.get("PreferredBackupWindow"))
        instance = Instance(
            region=region,
            identifier=identifier,
            resource_id=building.resource_id(),
            created_at=time.time(),
            instance_class=one_class.name,
            major=source.major,
            version=source.version,
            master_username=source.master_username,  # who keeps the password he had at that moment
            database=source.database,
            network=Networking(
                subnet_group=group.name,
                vpc_id=group.vpc_id,
                security_groups=self._checks.security_groups(region, params.get("VpcSecurityGroupIds"), group.vpc_id),
                zones=building.zones_of(group, multi_az=multi_az, asked=params.get("AvailabilityZone")),
                address="",
                port=port,
                asked_port=port,
                publicly_accessible=params.get("PubliclyAccessible", False),
            ),
            storage=storage,
            monitoring=building.monitoring_of(params, self._checks, region, source.version),
            multi_az=multi_az,
            parameter_group=parameter_group.name,
            parameters=core.values(parameter_group, engine.major, one_class.name, storage.allocated_gib, port),
            backup_retention_days=rules.retention_days(
                params.get("BackupRetentionPeriod", source.backup_retention_days)
            ),
            backup_window=backup_window,
            maintenance_window=maintenance_window,
            auto_minor_upgrade=params.get("AutoMinorVersionUpgrade", source.auto_minor_upgrade),
            copy_tags=params.get("CopyTagsToSnapshot", False),
            iam_authentication=params.get("EnableIAMDatabaseAuthentication", False),
            deletion_protection=params.get("DeletionProtection", False),
            certificate_authority=building.authority(params),
            lifecycle_support=rules.one_of(
                params.get("EngineLifecycleSupport", rules.LIFECYCLES[0]), rules.LIFECYCLES, "EngineLifecycleSupport"
            ),
            tags=tags.checked(params.get("Tags"), context.caller),
            restore=restore,
            operation=Operation(kind=OperationKind.CREATE, started_at=time.time()),
        )

        def check() -> None:
            fresh = source_of(core, region, {"SourceDbiResourceId": source.resource_id})
            if all(one.name != restore.base for one in fresh.record.bases):
                raise faults.bad_value("The backup of that time is over: choose a later time.")

        return {"DBInstance": core.shape(building.add(core, instance, check))}


def source_of(core: Core, region: str, params: dict[str, Any]) -> Automated:
    """The backups to restore from; their instance may be in any state, stopped, failed or deleted.

    Raises AwsFault: there is none, it is being deleted, it has no backups, or none yet.
    """
    named = [name for name in SOURCES if params.get(name)]
    if len(named) != 1:
        raise faults.bad_combination(f"Exactly one of {', '.join(SOURCES[:-1])} and {SOURCES[-1]} must be provided.")
    value, instance = str(params[named[0]]), None
    if named[0] == "SourceDBInstanceIdentifier":
        if value.startswith("arn:") and value.split(":")[3] != region:
            raise faults.instance_not_found(value)
        instance = core.require(region, value)
    elif named[0] == "SourceDbiResourceId":
        there = core.repository.instances.all(region)
        instance = next((one for one in there if one.resource_id.lower() == value.lower()), None)
    if instance is None:
        parameter = {"SourceDbiResourceId": "DbiResourceId"}.get(named[0], automated.BY_ARN)
        kept = automated.all_of(core, region)
        backup = next((one for one in kept if automated.is_named(one, parameter, value)), None)
        if backup is None:
            raise faults.automated_backup_not_found(value)
        if backup.retained:
            return _with_a_base(backup)
        instance = backup.instance
    if core.status(instance) == "deleting":
        raise faults.wrong_state(f"The source DB instance {instance.identifier} is being deleted.")
    if instance.backup_retention_days == 0 or instance.is_replica:
        raise faults.restore_not_enabled(instance.identifier)
    return _with_a_base(automated.of_instance(core, instance))


def _with_a_base(backup: Automated) -> Automated:
    if not backup.record.bases:
        raise faults.wrong_state(f"The source {backup.instance.identifier} has no backup to restore from yet.")
    return backup


def restore_of(backup: Automated, params: dict[str, Any]) -> Restore:
    """What the call asks for: the moment, and the base backup to begin with. Raises AwsFault for a moment that is not
    within what can be restored."""
    asked, latest = params.get("RestoreTime"), params.get("UseLatestRestorableTime", False)
    if (asked is not None) == latest:
        raise faults.bad_combination("Exactly one of RestoreTime and UseLatestRestorableTime must be provided.")
    record = backup.record
    if record.restorable_from is None or record.restorable_until is None:
        raise faults.wrong_state(f"The source {backup.instance.identifier} has no backup to restore from yet.")
    until = record.restorable_until if asked is None else unix_time(asked)
    if 0 < record.restorable_from - until < SHOWN_TO_S:
        until = record.restorable_from  # the earliest time as it is shown
    base = backups.base_for(record, until)
    if base is None:
        late = until > record.restorable_until
        bound = time_of(record.restorable_until if late else record.restorable_from)
        raise faults.bad_value(
            f"The specified instance cannot be restored to a time {'later' if late else 'earlier'} than "
            f"{bound:%Y-%m-%dT%H:%M:%S}.{bound.microsecond // 1000:03d}Z."
        )
    return Restore(resource_id=backup.instance.resource_id, base=base.name, until=until)


def _check_same(source: Instance, params: dict[str, Any]) -> None:
    """What the backup has, and the call may only repeat."""
    if params.get("Engine", "postgres") != "postgres":
        raise faults.bad_value(f"Invalid DB engine: {params['Engine']}. The source's is postgres.")
    building.check_option_group(params.get("OptionGroupName"), source.major)
    database = source.database or "postgres"
    if params.get("DBName", database) != database:
        raise faults.bad_combination(
            f"The parameter DBName cannot be {params['DBName']!r}: a restored instance has the databases of its "
            f"source, whose DBName is {database}."
        )


def _windows(source: Instance, identifier: str, asked: str | None) -> tuple[str, str]:
    """The source's windows; another maintenance window where it would overlap with the backup window asked for."""
    wanted = {"PreferredBackupWindow": asked or source.backup_window}
    try:
        return building.windows({**wanted, "PreferredMaintenanceWindow": source.maintenance_window}, identifier)
    except AwsFault:
        return building.windows(wanted, identifier)
