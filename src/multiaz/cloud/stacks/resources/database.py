"""AWS::RDS: DB instances, subnet groups, parameter groups, event subscriptions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    error_code,
    same,
    selected,
    unless_gone,
)
from multiaz.cloud.stacks.values import as_text

POLL_S = 0.07
_INSTANCE_GONE = frozenset({"DBInstanceNotFound", "DBInstanceNotFoundFault"})
_FAILED = frozenset({"failed", "inaccessible-encryption-credentials", "restore-error", "storage-full"})
_BUSY = frozenset(
    {
        "backing-up",
        "creating",
        "maintenance",
        "modifying",
        "rebooting",
        "renaming",
        "resetting-master-credentials",
        "starting",
        "stopping",
        "storage-optimization",
        "upgrading",
    }
)
"""States that end by themselves: a deletion refused in one of them is asked for again, in any other it has failed."""
_PARAMETERS_PER_CALL = 20

_EITHER = {
    **same(
        "AutoMinorVersionUpgrade",
        "AvailabilityZone",
        "CopyTagsToSnapshot",
        "DBInstanceClass",
        "DBSubnetGroupName",
        "DatabaseInsightsMode",
        "DedicatedLogVolume",
        "DeletionProtection",
        "EnableCloudwatchLogsExports",
        "EnableIAMDatabaseAuthentication",
        "EnablePerformanceInsights",
        "Iops",
        "KmsKeyId",
        "MonitoringInterval",
        "MonitoringRoleArn",
        "MultiAZ",
        "NetworkType",
        "OptionGroupName",
        "PerformanceInsightsKMSKeyId",
        "PerformanceInsightsRetentionPeriod",
        "PubliclyAccessible",
        "StorageThroughput",
        "StorageType",
    ),
    "VPCSecurityGroups": "VpcSecurityGroupIds",
}
_LATER = same(
    "BackupRetentionPeriod",
    "CACertificateIdentifier",
    "DBParameterGroupName",
    "MaxAllocatedStorage",
    "PreferredBackupWindow",
    "PreferredMaintenanceWindow",
)
"""A read replica gets these by a later modification where its creation did not set them."""
_DIRECT = same("CACertificateIdentifier", "DBParameterGroupName", "MaxAllocatedStorage")
"""Those of `_LATER` that creating a read replica may set at once. (For PostgreSQL, Amazon's documents say that the
parameter group is not applied then: the comparison afterwards would see it, and modify.)"""
_PRIMARY_ONLY = same(
    "DBName",
    "Engine",
    "EngineLifecycleSupport",
    "EngineVersion",
    "LicenseModel",
    "ManageMasterUserPassword",
    "MasterUserPassword",
    "MasterUsername",
    "StorageEncrypted",
)
_NOT_ON_REPLICA = (
    "DBName",
    "MasterUsername",
    "MasterUserPassword",
    "ManageMasterUserPassword",
    "StorageEncrypted",
    "CharacterSetName",
    "LicenseModel",
    "EngineLifecycleSupport",
)


class DbInstance(Handler):
    """AWS::RDS::DBInstance: a primary, or a read replica of one."""

    type = "AWS::RDS::DBInstance"
    properties = frozenset(
        {
            *_EITHER,
            *_LATER,
            *_PRIMARY_ONLY,
            "AllocatedStorage",
            "AllowMajorVersionUpgrade",
            "ApplyImmediately",
            "DBInstanceIdentifier",
            "DeleteAutomatedBackups",
            "Port",
            "SourceDBInstanceIdentifier",
            "Tags",
        }
    )
    attributes = frozenset(
        {
            "DBInstanceArn",
            "DbiResourceId",
            "Endpoint.Address",
            "Endpoint.Port",
            "Endpoint.HostedZoneId",
            "CertificateDetails.CAIdentifier",
            "CertificateDetails.ValidTill",
        }
    )
    gone = _INSTANCE_GONE
    slow = True

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """What a replica must not set (it takes these from its source), and what could never be deleted again."""
        refused = []
        if as_text(properties.get("DeleteAutomatedBackups", True)).lower() == "false":
            refused.append(
                "DeleteAutomatedBackups false is not available in this local cloud: there are no automated backups to "
                "keep"
            )
        if not properties.get("SourceDBInstanceIdentifier"):
            return refused
        return refused + [
            f"{name} must not be set together with SourceDBInstanceIdentifier: a read replica takes it from its source"
            for name in _NOT_ON_REPLICA
            if name in properties
        ]

    def _name(self, call: Call) -> str:
        given = call.get("DBInstanceIdentifier")
        return str(given).lower() if given else call.name(63, lower=True)

    def _describe(self, call: Call, name: str) -> dict[str, Any] | None:
        try:
            found = call.client("rds").describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
        except ClientError as error:
            if error_code(error) in _INSTANCE_GONE:
                return None
            raise
        return dict(found[0]) if found else None

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        name = self._name(call)
        found = self._describe(call, name)
        return name if found is not None and call.owns(found.get("TagList", [])) else None

    def create(self, call: Call) -> Made:
        """Create, wait until it is available, then what a replica gets later."""
        name = self.existing(call)
        if name is None:
            name = self._name(call)
            self._begin(call, name)
            call.initiated(name)
        found = self._wait_available(call, name)
        if call.get("SourceDBInstanceIdentifier"):
            found = self._finish_replica(call, name, found)
        return Made(name, _instance_attributes(found))

    def _begin(self, call: Call, name: str) -> None:
        arguments = {
            "DBInstanceIdentifier": name,
            "Tags": call.tags(),
            **selected(call.properties, _EITHER),
        }
        for key in ("AllocatedStorage", "Port"):
            if key in call.properties:
                arguments[key] = _integer(key, call.properties[key])
        rds = call.client("rds")
        if call.get("SourceDBInstanceIdentifier"):
            arguments |= selected(call.properties, _DIRECT | same("SourceDBInstanceIdentifier"))
            rds.create_db_instance_read_replica(**arguments)
        else:
            arguments |= selected(call.properties, _PRIMARY_ONLY | _LATER)
            rds.create_db_instance(**arguments)

    def _wait_available(self, call: Call, name: str) -> dict[str, Any]:
        """The instance once it is available. Waits as long as it takes; gives up on a failed state."""
        while True:
            found = self._describe(call, name)
            if found is None:
                raise ResourceFailure(f"DB instance {name} disappeared while it was being created")
            status = found["DBInstanceStatus"]
            if status == "available":
                return found
            if status in _FAILED or status.startswith("incompatible-"):
                raise ResourceFailure(f"DB Instance {name} entered the state {status}{self._why(call, name)}")
            call.wait(POLL_S)

    def _why(self, call: Call, name: str) -> str:
        """The last event of the instance, for the reason of a failure."""
        events = call.client("rds").describe_events(SourceIdentifier=name, SourceType="db-instance", Duration=60)[
            "Events"
        ]
        return f": {events[-1]['Message']}" if events else ""

    def _finish_replica(self, call: Call, name: str, found: dict[str, Any]) -> dict[str, Any]:
        engine = call.get("Engine", found["Engine"])
        if engine != found["Engine"]:
            raise ResourceFailure(f"Engine {engine} differs from the source's, {found['Engine']}")
        changes = {
            key: value
            for key, value in selected(call.properties, _LATER | same("EngineVersion")).items()
            if not _is_set(found, key, value)
        }
        rds = call.client("rds")
        if changes:
            rds.modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=True, **changes)
            found = self._wait_modified(call, name, changes)
        if _group_status(found) == "pending-reboot":
            rds.reboot_db_instance(DBInstanceIdentifier=name)
            found = self._wait_available(call, name)
        return found

    def _wait_modified(self, call: Call, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The instance once a modification is done: available, the changes seen, the group no longer applying."""
        while True:
            found = self._wait_available(call, name)
            seen = all(_is_set(found, key, value) for key, value in changes.items())
            if seen and _group_status(found) != "applying":
                return found
            call.wait(POLL_S)

    def delete(self, call: Call) -> None:
        """Delete and wait until it is gone; a read replica never leaves a final snapshot."""
        rds, name = call.client("rds"), str(call.physical_id)
        asked = False
        while True:
            found = self._describe(call, name)
            if found is None:
                return
            status = found["DBInstanceStatus"]
            if not asked and status != "deleting":
                try:
                    rds.delete_db_instance(**self._delete_arguments(call, found))
                    asked = True
                    continue
                except ClientError as error:
                    busy = error_code(error) in {"InvalidDBInstanceState", "InvalidDBInstanceStateFault"}
                    if error_code(error) in _INSTANCE_GONE:
                        return
                    if not busy or not (status in _BUSY or status.startswith("configuring-")):
                        raise
            call.wait(POLL_S)

    def _delete_arguments(self, call: Call, found: Mapping[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = {"DBInstanceIdentifier": call.physical_id}
        replica = bool(found.get("ReadReplicaSourceDBInstanceIdentifier"))
        if call.snapshot and not replica:
            arguments["SkipFinalSnapshot"] = False
            arguments["FinalDBSnapshotIdentifier"] = snapshot_name(call)
        else:
            arguments["SkipFinalSnapshot"] = True
        if "DeleteAutomatedBackups" in call.properties:
            arguments["DeleteAutomatedBackups"] = call.properties["DeleteAutomatedBackups"]
        return arguments


def snapshot_name(call: Call) -> str:
    """Name of the final snapshot of DeletionPolicy Snapshot: as RDS allows it, whatever the stack is called."""
    stack = re.sub("-+", "-", call.stack_name).strip("-")[:64]
    return f"{stack.rstrip('-')}-snapshot-{call.logical_id[:120]}-{call.random}".lower()


def _integer(name: str, value: Any) -> int:
    try:
        return int(as_text(value))
    except ValueError as error:
        raise ResourceFailure(f"{name} must be an integer, not {value}") from error


def _is_set(found: Mapping[str, Any], key: str, wanted: Any) -> bool:
    """Whether DescribeDBInstances shows one of the properties a replica gets later as wanted."""
    if key == "DBParameterGroupName":
        groups = found.get("DBParameterGroups", [])
        return bool(groups) and groups[0]["DBParameterGroupName"] == str(wanted).lower()
    if key == "EngineVersion":
        return f"{found.get(key)}.".startswith(f"{wanted}.")
    return bool(found.get(key) == wanted)


def _group_status(found: Mapping[str, Any]) -> str:
    groups = found.get("DBParameterGroups", [])
    return str(groups[0].get("ParameterApplyStatus", "")) if groups else ""


def _instance_attributes(found: Mapping[str, Any]) -> dict[str, Any]:
    endpoint, certificate = found.get("Endpoint", {}), found.get("CertificateDetails", {})
    until = certificate.get("ValidTill")
    return {
        "DBInstanceArn": found["DBInstanceArn"],
        "DbiResourceId": found["DbiResourceId"],
        "Endpoint.Address": endpoint.get("Address", ""),
        "Endpoint.Port": str(endpoint.get("Port", "")),
        "Endpoint.HostedZoneId": endpoint.get("HostedZoneId", ""),
        "CertificateDetails.CAIdentifier": certificate.get("CAIdentifier", ""),
        "CertificateDetails.ValidTill": until.isoformat() if until else "",
    }


class _RdsGroup(Handler):
    """A named RDS resource with tags of its own."""

    limit = 255
    given: str
    describe: str
    described_key: str
    arn_member: str

    def _name(self, call: Call) -> str:
        given = call.get(self.given)
        return str(given).lower() if given else call.name(self.limit, lower=True)

    def _described(self, call: Call, name: str) -> dict[str, Any] | None:
        operation = getattr(call.client("rds"), self.describe)
        parameter = "SubscriptionName" if self.given == "SubscriptionName" else self.given
        try:
            found = operation(**{parameter: name})[self.described_key]
        except ClientError as error:
            if error_code(error) in self.gone:
                return None
            raise
        return dict(found[0]) if found else None

    def find(self, call: Call) -> str | None:
        """By name, if the tags say it is ours."""
        found = self._described(call, self._name(call))
        if found is None:
            return None
        tags = call.client("rds").list_tags_for_resource(ResourceName=found[self.arn_member])["TagList"]
        return self._name(call) if call.owns(tags) else None


class DbSubnetGroup(_RdsGroup):
    """AWS::RDS::DBSubnetGroup."""

    type = "AWS::RDS::DBSubnetGroup"
    properties = frozenset({"DBSubnetGroupName", "DBSubnetGroupDescription", "SubnetIds", "Tags"})
    attributes = frozenset({"DBSubnetGroupArn"})
    gone = frozenset({"DBSubnetGroupNotFoundFault", "DBSubnetGroupNotFound"})
    given = "DBSubnetGroupName"
    describe = "describe_db_subnet_groups"
    described_key = "DBSubnetGroups"
    arn_member = "DBSubnetGroupArn"

    def create(self, call: Call) -> Made:
        """Create."""
        name = self._name(call)
        arn = f"arn:aws:rds:{call.region}:{call.account_id}:subgrp:{name}"
        if self.existing(call) is None:
            arn = call.client("rds").create_db_subnet_group(
                DBSubnetGroupName=name,
                DBSubnetGroupDescription=call.properties["DBSubnetGroupDescription"],
                SubnetIds=call.properties["SubnetIds"],
                Tags=call.tags(),
            )["DBSubnetGroup"]["DBSubnetGroupArn"]
        return Made(name, {"DBSubnetGroupArn": arn})

    def delete(self, call: Call) -> None:
        """Delete."""
        rds = call.client("rds")
        unless_gone(self.gone, rds.delete_db_subnet_group, DBSubnetGroupName=call.physical_id)


class DbParameterGroup(_RdsGroup):
    """AWS::RDS::DBParameterGroup."""

    type = "AWS::RDS::DBParameterGroup"
    properties = frozenset({"DBParameterGroupName", "Description", "Family", "Parameters", "Tags"})
    attributes = frozenset({"DBParameterGroupArn"})
    gone = frozenset({"DBParameterGroupNotFound", "DBParameterGroupNotFoundFault"})
    given = "DBParameterGroupName"
    describe = "describe_db_parameter_groups"
    described_key = "DBParameterGroups"
    arn_member = "DBParameterGroupArn"

    def create(self, call: Call) -> Made:
        """Create, then the values, twenty a call as RDS allows."""
        rds, name = call.client("rds"), self._name(call)
        if self.existing(call) is None:
            rds.create_db_parameter_group(
                DBParameterGroupName=name,
                DBParameterGroupFamily=call.properties["Family"],
                Description=call.properties["Description"],
                Tags=call.tags(),
            )
            call.made(name)
        # No instance uses the group yet, so every value may wait for a "reboot".
        values = [
            {"ParameterName": key, "ParameterValue": as_text(value), "ApplyMethod": "pending-reboot"}
            for key, value in call.get("Parameters", {}).items()
        ]
        for start in range(0, len(values), _PARAMETERS_PER_CALL):
            rds.modify_db_parameter_group(
                DBParameterGroupName=name, Parameters=values[start : start + _PARAMETERS_PER_CALL]
            )
        arn = f"arn:aws:rds:{call.region}:{call.account_id}:pg:{name}"
        return Made(name, {"DBParameterGroupArn": arn})

    def delete(self, call: Call) -> None:
        """Delete."""
        rds = call.client("rds")
        unless_gone(self.gone, rds.delete_db_parameter_group, DBParameterGroupName=call.physical_id)


class EventSubscription(_RdsGroup):
    """AWS::RDS::EventSubscription."""

    type = "AWS::RDS::EventSubscription"
    _PARAMETERS = same("SnsTopicArn", "SourceType", "EventCategories", "SourceIds", "Enabled")
    properties = frozenset({"SubscriptionName", "Tags", *_PARAMETERS})
    gone = frozenset({"SubscriptionNotFound", "SubscriptionNotFoundFault"})
    given = "SubscriptionName"
    describe = "describe_event_subscriptions"
    described_key = "EventSubscriptionsList"
    arn_member = "EventSubscriptionArn"

    def create(self, call: Call) -> Made:
        """Create and wait until it is active."""
        rds, name = call.client("rds"), self._name(call)
        if self.existing(call) is None:
            rds.create_event_subscription(
                SubscriptionName=name, Tags=call.tags(), **selected(call.properties, self._PARAMETERS)
            )
            call.made(name)
        while (found := self._described(call, name)) and found.get("Status", "active") in {
            "creating",
            "modifying",
        }:
            call.wait(POLL_S)
        return Made(name)

    def delete(self, call: Call) -> None:
        """Delete and wait until it is gone."""
        rds, name = call.client("rds"), str(call.physical_id)
        if unless_gone(self.gone, rds.delete_event_subscription, SubscriptionName=name):
            while self._described(call, name) is not None:
                call.wait(POLL_S)


HANDLERS: tuple[Handler, ...] = (DbInstance(), DbSubnetGroup(), DbParameterGroup(), EventSubscription())
