"""CreateDBInstance, CreateDBInstanceReadReplica and DescribeDBInstances."""

from __future__ import annotations

import time
from typing import Any

from multiaz.cloud.rds import building, faults, rules, tags
from multiaz.cloud.rds.checks import DEFAULT_KEY, Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.model import Instance, Networking, Operation, OperationKind, Storage, SubnetGroup
from multiaz.cloud.rds.paging import filters, page
from multiaz.cloud.service import AwsFault, Context
from multiaz.cloud.service import Operation as Action
from multiaz.postgres.scram import verifier

MOST_REPLICAS = 15
DEEPEST_CHAIN = 3
FOLLOWED_PARAMETERS = (
    "max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
    "max_locks_per_transaction",
)  # fmt: skip
"""A standby does not start with less of these than its source has (PostgreSQL manual, "Hot Standby")."""


class InstanceActions:
    """The actions that make and show DB instances."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._checks = Checks(core.clients)
        self.operations: dict[str, Action] = {
            "CreateDBInstance": self.create,
            "CreateDBInstanceReadReplica": self.create_replica,
            "DescribeDBInstances": self.describe,
        }

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeDBInstances."""
        wanted = filters(params, ("db-cluster-id", "db-instance-id", "dbi-resource-id", "domain", "engine"))
        core = self._core
        if params.get("DBInstanceIdentifier"):
            found = [core.require(context.region, params["DBInstanceIdentifier"])]
        else:
            found = core.repository.instances.all(context.region)
        chosen, more = page([one for one in found if _matches(one, wanted)], lambda one: one.identifier, params)
        return {"DBInstances": [core.shape(one) for one in chosen], **more}

    def create(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """CreateDBInstance."""
        core, region = self._core, context.region
        identifier = rules.identifier(params["DBInstanceIdentifier"])
        if core.name_taken(region, identifier):
            raise faults.instance_exists(identifier)
        if params["Engine"] != "postgres":
            raise faults.bad_value(f"Invalid DB engine: {params['Engine']}. The local cloud has: postgres.")
        engine = core.engines.for_version(params.get("EngineVersion"))
        version = engine.recorded(params.get("EngineVersion"))
        building.check_option_group(params.get("OptionGroupName"), engine.major)
        one_class = rules.instance_class(params["DBInstanceClass"])
        user, password = params.get("MasterUsername"), params.get("MasterUserPassword")
        if not user or not password:
            missing = "MasterUsername" if not user else "MasterUserPassword"
            raise faults.bad_value(f"The parameter {missing} must be provided and must not be blank.")
        backup, maintenance = building.windows(params, identifier)
        group = building.subnet_group(core, self._checks, region, params.get("DBSubnetGroupName"))
        multi_az = params.get("MultiAZ", False)
        storage = self._storage(region, params)
        parameter_group = building.parameter_group_for(core, region, params.get("DBParameterGroupName"), engine)
        port = building.port_of(params.get("Port", 5432))
        instance = Instance(
            region=region,
            identifier=identifier,
            resource_id=building.resource_id(),
            created_at=time.time(),
            instance_class=one_class.name,
            major=engine.major,
            version=version,
            master_username=rules.master_username(user),
            master_verifier=verifier(rules.master_password(password)),
            master_number=1,
            database=rules.database_name(params["DBName"]) if params.get("DBName") else None,
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
            monitoring=building.monitoring_of(params, self._checks, region, version),
            multi_az=multi_az,
            parameter_group=parameter_group.name,
            parameters=core.values(parameter_group, engine.major, one_class.name, storage.allocated_gib, port),
            backup_retention_days=rules.retention_days(params.get("BackupRetentionPeriod", 1)),
            backup_window=backup,
            maintenance_window=maintenance,
            auto_minor_upgrade=params.get("AutoMinorVersionUpgrade", True),
            copy_tags=params.get("CopyTagsToSnapshot", False),
            iam_authentication=params.get("EnableIAMDatabaseAuthentication", False),
            deletion_protection=params.get("DeletionProtection", False),
            certificate_authority=building.authority(params),
            lifecycle_support=rules.one_of(
                params.get("EngineLifecycleSupport", rules.LIFECYCLES[0]), rules.LIFECYCLES, "EngineLifecycleSupport"
            ),
            tags=tags.checked(params.get("Tags"), context.caller),
            operation=Operation(kind=OperationKind.CREATE, started_at=time.time()),
        )
        return {"DBInstance": core.shape(building.add(core, instance))}

    def create_replica(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """CreateDBInstanceReadReplica."""
        core, region = self._core, context.region
        identifier = rules.identifier(params["DBInstanceIdentifier"])
        if core.name_taken(region, identifier):
            raise faults.instance_exists(identifier)
        named = params.get("SourceDBInstanceIdentifier")
        if not named:
            raise faults.bad_value("The parameter SourceDBInstanceIdentifier must be provided and must not be blank.")
        if named.startswith("arn:") and named.split(":")[3] != region:
            raise faults.bad_combination("Read replicas stay in the source's region on the local cloud.")
        source = self._source(region, named)
        engine = core.engine(source)
        building.check_option_group(params.get("OptionGroupName"), source.major)
        one_class = rules.instance_class(params.get("DBInstanceClass") or source.instance_class)
        group = self._replica_subnet_group(source, params.get("DBSubnetGroupName"))
        storage = building.storage_like(source, params, "read replica")
        parameter_group = building.parameter_group_for(
            core, region, params.get("DBParameterGroupName") or source.parameter_group, engine
        )
        port = building.port_of(params.get("Port", source.network.asked_port))
        values = core.values(parameter_group, engine.major, one_class.name, storage.allocated_gib, port)
        _check_followed(source, values)
        instance = Instance(
            region=region,
            identifier=identifier,
            resource_id=building.resource_id(),
            created_at=time.time(),
            instance_class=one_class.name,
            major=source.major,
            version=source.version,
            master_username=source.master_username,
            database=source.database,
            network=Networking(
                subnet_group=group.name,
                vpc_id=group.vpc_id,
                security_groups=self._checks.security_groups(region, params.get("VpcSecurityGroupIds"), group.vpc_id),
                zones=building.zones_of(group, multi_az=False, asked=params.get("AvailabilityZone")),
                address="",
                port=port,
                asked_port=port,
                publicly_accessible=params.get("PubliclyAccessible", False),
            ),
            storage=storage,
            monitoring=building.monitoring_of(params, self._checks, region, source.version),
            parameter_group=parameter_group.name,
            parameters=values,
            backup_retention_days=0,
            backup_window=source.backup_window,
            maintenance_window=source.maintenance_window,
            auto_minor_upgrade=params.get("AutoMinorVersionUpgrade", source.auto_minor_upgrade),
            copy_tags=params.get("CopyTagsToSnapshot", False),
            iam_authentication=params.get("EnableIAMDatabaseAuthentication", False),
            deletion_protection=params.get("DeletionProtection", False),
            certificate_authority=building.authority(params),
            lifecycle_support=source.lifecycle_support,
            tags=tags.checked(params.get("Tags"), context.caller),
            source=source.resource_id,
            operation=Operation(kind=OperationKind.CREATE, started_at=time.time()),
        )

        def check() -> None:
            fresh = core.repository.by_resource_id(source.resource_id)
            if fresh is None or core.status(fresh) == "deleting":
                raise faults.wrong_state("The source of the read replica is being deleted.")

        return {"DBInstance": core.shape(building.add(core, instance, check))}

    def _replica_subnet_group(self, source: Instance, name: str | None) -> SubnetGroup:
        group = building.subnet_group(self._core, self._checks, source.region, name or source.network.subnet_group)
        if group.vpc_id != source.network.vpc_id:
            raise AwsFault(
                "DBSubnetGroupNotAllowedFault",
                f"The DB subnet group {group.name} is in another VPC than the source instance.",
            )
        return group

    def _storage(self, region: str, params: dict[str, Any]) -> Storage:
        allocated = params.get("AllocatedStorage")
        if allocated is None:
            raise faults.bad_value("The parameter AllocatedStorage must be provided and must not be blank.")
        kind = params.get("StorageType") or ("io1" if params.get("Iops") else "gp2")
        most = params.get("MaxAllocatedStorage")
        iops, throughput = rules.storage(kind, allocated, params.get("Iops"), params.get("StorageThroughput"), most)
        encrypted, key = params.get("StorageEncrypted", False), params.get("KmsKeyId")
        if key is not None and not encrypted:
            raise faults.bad_combination("KmsKeyId can only be specified when StorageEncrypted is true.")
        return Storage(
            kind=kind,
            allocated_gib=allocated,
            max_allocated_gib=most,
            iops=iops,
            throughput_mibs=throughput,
            encrypted=encrypted,
            kms_key=self._checks.key(region, key or DEFAULT_KEY) if encrypted else None,
        )

    def _source(self, region: str, named: str) -> Instance:
        core = self._core
        source = core.require_available(region, named, "the source of a read replica")
        if source.backup_retention_days == 0:
            raise faults.wrong_state(
                "Automated backups are not enabled for this database instance. To enable automated backups, use "
                "ModifyDBInstance to set the backup retention period to a non-zero value."
            )
        if source.storage.kms_key is not None:
            self._checks.key(region, source.storage.kms_key)
        if len(core.repository.replicas_of(source.resource_id)) >= MOST_REPLICAS:
            raise AwsFault(
                "InstanceQuotaExceeded",
                f"The instance {source.identifier} has {MOST_REPLICAS} read replicas already.",
            )
        depth, above = 1, source
        while above.source is not None:
            found = core.repository.by_resource_id(above.source)
            if found is None:
                break
            depth, above = depth + 1, found
        if depth > DEEPEST_CHAIN:
            raise faults.bad_combination(f"A chain of read replicas has at most {DEEPEST_CHAIN} links.")
        return source


def _matches(instance: Instance, wanted: dict[str, list[str]]) -> bool:
    names = {value.rpartition(":db:")[2].lower() for value in wanted.get("db-instance-id", ())}
    return (
        (not names or instance.identifier in names)
        and ("dbi-resource-id" not in wanted or instance.resource_id in wanted["dbi-resource-id"])
        and ("engine" not in wanted or "postgres" in wanted["engine"])
        and "db-cluster-id" not in wanted
        and "domain" not in wanted
    )


def _check_followed(source: Instance, values: dict[str, str]) -> None:
    for name in FOLLOWED_PARAMETERS:
        own, needed = int(values.get(name, "0")), int(source.parameters.get(name, "0"))
        if own < needed:
            raise faults.bad_combination(
                f"The read replica's {name} ({own}) is below its source's ({needed}), so it could not follow: choose "
                "a larger class or another parameter group."
            )
