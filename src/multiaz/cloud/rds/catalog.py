"""What can be had: engine versions, orderable options, certificates, quotas."""

from __future__ import annotations

from typing import Any

from multiaz.cloud.rds import building, faults, groups, lifecycle, pki, rules, subnets, subscriptions
from multiaz.cloud.rds.classes import INSTANCE_CLASSES
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.engines import Engine
from multiaz.cloud.rds.instances import MOST_REPLICAS
from multiaz.cloud.rds.paging import page
from multiaz.cloud.service import ACCOUNT_ID, PARTITION, AwsFault, Context, Operation

_STORAGE_TYPES: dict[str, dict[str, Any]] = {
    "gp2": {"MinStorageSize": 20, "MaxStorageSize": 65536},
    "gp3": {
        "MinStorageSize": 20, "MaxStorageSize": 65536, "MinIopsPerDbInstance": 12000,
        "MaxIopsPerDbInstance": 64000, "MinStorageThroughputPerDbInstance": 500,
        "MaxStorageThroughputPerDbInstance": 4000, "MaxIopsPerGib": 500.0, "MaxStorageThroughputPerIops": 0.25,
    },
    "io1": {
        "MinStorageSize": 100, "MaxStorageSize": 65536, "MinIopsPerDbInstance": 1000,
        "MaxIopsPerDbInstance": 256000, "MaxIopsPerGib": 50.0,
    },
    "io2": {
        "MinStorageSize": 100, "MaxStorageSize": 65536, "MinIopsPerDbInstance": 1000,
        "MaxIopsPerDbInstance": 256000, "MaxIopsPerGib": 1000.0,
    },
}  # fmt: skip


class CatalogActions:
    """The actions that show what can be had."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.operations: dict[str, Operation] = {
            "DescribeDBEngineVersions": self.engine_versions,
            "DescribeOrderableDBInstanceOptions": self.orderable_options,
            "DescribeCertificates": self.certificates,
            "DescribeAccountAttributes": self.account_attributes,
        }

    def engine_versions(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeDBEngineVersions: what is installed on this machine."""
        version, family = params.get("EngineVersion"), params.get("DBParameterGroupFamily")
        found = [
            engine
            for engine in self._engines(params.get("Engine"))
            if version in (None, engine.version, str(engine.major)) and family in (None, engine.family)
        ]
        if params.get("DefaultOnly"):
            default = self._core.engines.for_version(None) if found else None
            found = [engine for engine in found if engine is default]
        chosen, more = page(found, lambda engine: f"{engine.major:03d}", params)
        return {"DBEngineVersions": [_version_shape(engine, context) for engine in chosen], **more}

    def orderable_options(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeOrderableDBInstanceOptions."""
        version, one_class = params.get("EngineVersion"), params.get("DBInstanceClass")
        if params.get("LicenseModel") not in (None, "postgresql-license") or params.get("Vpc") is False:
            return {"OrderableDBInstanceOptions": []}
        options = [
            _option(context.region, engine.version, name, storage)
            for engine in self._engines(params["Engine"])
            if version in (None, engine.version, str(engine.major))
            for name in sorted(INSTANCE_CLASSES)
            if one_class in (None, name)
            for storage in _STORAGE_TYPES
        ]
        chosen, more = page(
            options, lambda one: f"{one['EngineVersion']:>8}/{one['DBInstanceClass']}/{one['StorageType']}", params
        )
        return {"OrderableDBInstanceOptions": chosen, **more}

    def certificates(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeCertificates: RDS's authorities by name; behind each stands the one of this home."""
        wanted = params.get("CertificateIdentifier")
        names = [name for name in sorted(rules.CERTIFICATE_AUTHORITIES) if wanted in (None, name)]
        if not names:
            raise AwsFault("CertificateNotFound", f"Certificate not found: {wanted}", 404)
        path = pki.ensure_authority(self._core.home.pki)
        start, end, thumbprint = pki.certificate_facts(path, path.stat().st_mtime_ns)
        chosen, more = page(names, str, params)
        return {
            "DefaultCertificateForNewLaunches": rules.CERTIFICATE_AUTHORITIES[0],
            "Certificates": [
                {
                    "CertificateIdentifier": name,
                    "CertificateType": "CA",
                    "Thumbprint": thumbprint,
                    "ValidFrom": start,
                    "ValidTill": end,
                    "CertificateArn": f"arn:{PARTITION}:rds:{context.region}::cert:{name}",
                    "CustomerOverride": False,
                }
                for name in chosen
            ],
            **more,
        }

    def account_attributes(self, context: Context, _params: dict[str, Any]) -> dict[str, Any]:
        """DescribeAccountAttributes: the quotas that are enforced here."""
        repository, region = self._core.repository, context.region
        instances = repository.instances.all(region)
        replicas = [len(repository.replicas_of(one.resource_id)) for one in instances]
        subnet_groups = repository.subnet_groups.all(region)
        quotas = {
            "DBInstances": (len(instances), building.MOST_INSTANCES),
            "AllocatedStorage": (
                sum(one.storage.allocated_gib for one in instances), building.MOST_STORAGE_GIB
            ),
            "ReadReplicasPerMaster": (max(replicas, default=0), MOST_REPLICAS),
            "ManualSnapshots": (len(repository.snapshots.all(region)), lifecycle.MOST_SNAPSHOTS),
            "DBParameterGroups": (len(repository.parameter_groups.all(region)), groups.MOST_GROUPS),
            "DBSubnetGroups": (len(subnet_groups), subnets.MOST_GROUPS),
            "SubnetsPerDBSubnetGroup": (
                max((len(one.subnets) for one in subnet_groups), default=0), subnets.MOST_SUBNETS
            ),
            "EventSubscriptions": (
                len(repository.subscriptions.all(region)), subscriptions.MOST_SUBSCRIPTIONS
            ),
        }  # fmt: skip
        return {
            "AccountQuotas": [
                {"AccountQuotaName": name, "Used": used, "Max": most} for name, (used, most) in quotas.items()
            ]
        }

    def _engines(self, engine: str | None) -> list[Engine]:
        if engine not in (None, "postgres"):
            raise faults.bad_value(f"Invalid DB engine: {engine}. The local cloud has: postgres.")
        return [self._core.engines.of(major) for major in self._core.engines.majors()]


def _version_shape(engine: Engine, context: Context) -> dict[str, Any]:
    return {
        "Engine": "postgres",
        "MajorEngineVersion": str(engine.major),
        "EngineVersion": engine.version,
        "DBParameterGroupFamily": engine.family,
        "DBEngineDescription": "PostgreSQL",
        "DBEngineVersionDescription": f"PostgreSQL {engine.version}",
        "DBEngineVersionArn": (
            f"arn:{PARTITION}:rds:{context.region}:{ACCOUNT_ID}:engine-version:postgres-{engine.version}"
        ),
        "ValidUpgradeTarget": [],
        "ExportableLogTypes": list(rules.LOG_TYPES),
        "SupportsLogExportsToCloudwatchLogs": True,
        "SupportsReadReplica": True,
        "SupportedFeatureNames": [],
        "Status": "available",
        "SupportsParallelQuery": False,
        "SupportsGlobalDatabases": False,
        "TagList": [],
        "SupportsBabelfish": False,
        "SupportsCertificateRotationWithoutRestart": True,
        "SupportedCACertificateIdentifiers": list(rules.CERTIFICATE_AUTHORITIES),
    }


def _option(region: str, version: str, one_class: str, storage: str) -> dict[str, Any]:
    return {
        "Engine": "postgres",
        "EngineVersion": version,
        "DBInstanceClass": one_class,
        "LicenseModel": "postgresql-license",
        "AvailabilityZones": [{"Name": f"{region}{letter}"} for letter in "abc"],
        "MultiAZCapable": True,
        "ReadReplicaCapable": True,
        "Vpc": True,
        "SupportsStorageEncryption": True,
        "StorageType": storage,
        "SupportsIops": storage != "gp2",
        "SupportsStorageThroughput": storage == "gp3",
        "SupportsEnhancedMonitoring": True,
        "SupportsIAMDatabaseAuthentication": True,
        "SupportsPerformanceInsights": True,
        "SupportsStorageAutoscaling": True,
        "SupportsKerberosAuthentication": False,
        "OutpostCapable": False,
        "SupportsGlobalDatabases": False,
        "SupportedNetworkTypes": ["IPV4"],
        "SupportsClusters": False,
        "SupportsDedicatedLogVolume": False,
        "AvailableProcessorFeatures": [],
        **_STORAGE_TYPES[storage],
    }
