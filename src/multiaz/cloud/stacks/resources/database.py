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
    changed_tags,
    error_code,
    pages,
    same,
    selected,
    tag_list,
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


_MODIFIED = {
    **same(
        "AllocatedStorage",
        "AutoMinorVersionUpgrade",
        "BackupRetentionPeriod",
        "CACertificateIdentifier",
        "CopyTagsToSnapshot",
        "DBInstanceClass",
        "DBParameterGroupName",
        "DatabaseInsightsMode",
        "DeletionProtection",
        "EnableIAMDatabaseAuthentication",
        "EnablePerformanceInsights",
        "EngineLifecycleSupport",
        "EngineVersion",
        "Iops",
        "MasterUserPassword",
        "MaxAllocatedStorage",
        "MonitoringInterval",
        "MonitoringRoleArn",
        "MultiAZ",
        "PerformanceInsightsRetentionPeriod",
        "PreferredBackupWindow",
        "PreferredMaintenanceWindow",
        "PubliclyAccessible",
        "StorageThroughput",
        "StorageType",
    ),
    "VPCSecurityGroups": "VpcSecurityGroupIds",
}
"""Properties ModifyDBInstance changes on an instance that exists, under its names for them."""
_HOW = frozenset({"AllowMajorVersionUpgrade", "ApplyImmediately", "DeleteAutomatedBackups"})
"""Properties that say how a later change or deletion is made: nothing is called when they change."""
_TAKEN_AWAY: dict[str, Any] = {
    "CopyTagsToSnapshot": False,
    "DeletionProtection": False,
    "EnableIAMDatabaseAuthentication": False,
    "EnablePerformanceInsights": False,
    "MonitoringInterval": 0,
    "MultiAZ": False,
    "PubliclyAccessible": False,
}
"""What an instance gets when the template gives a property no more: what CreateDBInstance gives without it."""


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
    updatable = frozenset({*_MODIFIED, *_HOW, "EnableCloudwatchLogsExports", "Tags"})
    replacing = frozenset({"AvailabilityZone"})
    named_by = "DBInstanceIdentifier"
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

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Modify and wait. Without ApplyImmediately false, what waits for a reboot is rebooted for, as on AWS.

        Source of both: CloudFormation's handler for the type, whose ApplyImmediately is true unless set.
        """
        rds, name = call.client("rds"), str(call.physical_id)
        at_once = call.get("ApplyImmediately", True)
        found = self._wait_modifiable(call, name)
        if "Tags" in changed:
            _retag(call, old, found["DBInstanceArn"])
        changes = self._modifications(call, old, changed, found)
        if changes:
            rds.modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=at_once, **changes)
            found = self._wait_applied(call, name)
        if changes and at_once and _group_status(found) == "pending-reboot":
            rds.reboot_db_instance(DBInstanceIdentifier=name)
            found = self._wait_available(call, name)
        return Made(name, _instance_attributes(found))

    def _wait_modifiable(self, call: Call, name: str) -> dict[str, Any]:
        found = self._describe(call, name)
        if found is not None and found["DBInstanceStatus"] == "stopped":
            raise ResourceFailure(f"DB instance {name} is stopped: start it, then update the stack again")
        return self._wait_available(call, name)

    def _wait_applied(self, call: Call, name: str) -> dict[str, Any]:
        """The instance once a modification is done and its group is no longer applying."""
        while True:
            found = self._wait_available(call, name)
            if _group_status(found) != "applying":
                return found
            call.wait(POLL_S)

    def _modifications(
        self, call: Call, old: Call, changed: frozenset[str], found: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Parameters of ModifyDBInstance. Raises ResourceFailure for what can be set but not taken away."""
        values: dict[str, Any] = {}
        for key in sorted(changed & _MODIFIED.keys()):
            if key in call.properties:
                values[key] = call.properties[key]
            elif key == "MaxAllocatedStorage":
                # Equal to the storage, also to one that grows by the same call: no autoscaling.
                values[key] = _integer("AllocatedStorage", values.get("AllocatedStorage", found["AllocatedStorage"]))
            elif key in _TAKEN_AWAY:
                values[key] = _TAKEN_AWAY[key]
            elif not (call.reverting or (key == "MonitoringRoleArn" and "MonitoringInterval" in changed)):
                raise ResourceFailure(
                    f"taking away property {key} of {self.type} is not available in this local cloud: set it"
                )
        if "AllocatedStorage" in values:
            values["AllocatedStorage"] = _integer("AllocatedStorage", values["AllocatedStorage"])
            if call.reverting and values["AllocatedStorage"] < found["AllocatedStorage"]:
                del values["AllocatedStorage"]  # storage never shrinks: what has grown stays so
        arguments = selected(values, _MODIFIED)
        if "EnableCloudwatchLogsExports" in changed:
            wanted = set(call.get("EnableCloudwatchLogsExports", []))
            there = set(found.get("EnabledCloudwatchLogsExports", []))
            exports = {"EnableLogTypes": sorted(wanted - there), "DisableLogTypes": sorted(there - wanted)}
            if any(exports.values()):
                arguments["CloudwatchLogsExportConfiguration"] = {key: kinds for key, kinds in exports.items() if kinds}
        if "EngineVersion" in arguments and "AllowMajorVersionUpgrade" in call.properties:
            arguments["AllowMajorVersionUpgrade"] = call.properties["AllowMajorVersionUpgrade"]
        return arguments

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


def _retag(call: Call, old: Call, arn: str) -> None:
    """Give an RDS resource the tags it should have now."""
    rds = call.client("rds")
    tags, removed = changed_tags(old, call)
    if tags:
        rds.add_tags_to_resource(ResourceName=arn, Tags=tag_list(tags))
    if removed:
        rds.remove_tags_from_resource(ResourceName=arn, TagKeys=removed)


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

    def _retag(self, call: Call, old: Call) -> None:
        name = str(call.physical_id)
        found = self._described(call, name)
        if found is None:
            raise ResourceFailure(f"{self.type} {name} is not there any more")
        _retag(call, old, found[self.arn_member])

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
    updatable = frozenset({"DBSubnetGroupDescription", "SubnetIds", "Tags"})
    given = named_by = "DBSubnetGroupName"
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

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Subnets and description, in one call; tags."""
        if changed - {"Tags"}:
            call.client("rds").modify_db_subnet_group(
                DBSubnetGroupName=call.physical_id,
                DBSubnetGroupDescription=call.properties["DBSubnetGroupDescription"],
                SubnetIds=call.properties["SubnetIds"],
            )
        if "Tags" in changed:
            self._retag(call, old)
        return None

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
    updatable = frozenset({"Parameters", "Tags"})
    given = named_by = "DBParameterGroupName"
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

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Values that differ: dynamic ones at once, static ones with the next reboot; those given no more are reset.

        Returns once no instance that has the group is still taking them over.
        """
        rds, name = call.client("rds"), str(call.physical_id)
        if "Parameters" in changed:
            found = {
                entry["ParameterName"]: entry
                for entry in pages(rds, "describe_db_parameters", "Parameters", DBParameterGroupName=name)
            }

            def method(key: str) -> str:
                return "immediate" if found.get(key.lower(), {}).get("ApplyType") == "dynamic" else "pending-reboot"

            before, after = old.get("Parameters", {}), call.get("Parameters", {})
            entries = [
                {"ParameterName": key, "ParameterValue": as_text(value), "ApplyMethod": method(key)}
                for key, value in after.items()
                if as_text(value) != found.get(key.lower(), {}).get("ParameterValue")
            ]
            resets = [
                {"ParameterName": key, "ApplyMethod": method(key)} for key in sorted(before.keys() - after.keys())
            ]
            for start in range(0, len(entries), _PARAMETERS_PER_CALL):
                batch = entries[start : start + _PARAMETERS_PER_CALL]
                rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=batch)
            for start in range(0, len(resets), _PARAMETERS_PER_CALL):
                batch = resets[start : start + _PARAMETERS_PER_CALL]
                rds.reset_db_parameter_group(DBParameterGroupName=name, Parameters=batch)
            self._wait_taken_over(call, name)
        if "Tags" in changed:
            self._retag(call, old)
        return None

    def _wait_taken_over(self, call: Call, name: str) -> None:
        while any(
            group["DBParameterGroupName"] == name and group.get("ParameterApplyStatus") == "applying"
            for instance in pages(call.client("rds"), "describe_db_instances", "DBInstances")
            for group in instance.get("DBParameterGroups", [])
        ):
            call.wait(POLL_S)

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
    updatable = frozenset({"SourceType", "EventCategories", "SourceIds", "Enabled", "Tags"})
    given = named_by = "SubscriptionName"
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
        self._wait_active(call, name)
        return Made(name)

    def _wait_active(self, call: Call, name: str) -> None:
        while (found := self._described(call, name)) and found.get("Status", "active") in {
            "creating",
            "modifying",
        }:
            call.wait(POLL_S)

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """What it tells of, then of whom: sources are added before others are removed; tags."""
        rds, name = call.client("rds"), str(call.physical_id)
        given = {"Enabled": True, "EventCategories": [], **call.properties}
        plain = changed & {"SourceType", "EventCategories", "Enabled"}
        found = self._described(call, name)
        if found is None:
            raise ResourceFailure(f"{self.type} {name} is not there any more")
        wanted, there = set(call.get("SourceIds", [])), set(found.get("SourceIdsList", []))
        if plain:
            rds.modify_event_subscription(SubscriptionName=name, **{key: given[key] for key in plain if key in given})
        if "SourceIds" in changed:
            for source in sorted(wanted - there):
                rds.add_source_identifier_to_subscription(SubscriptionName=name, SourceIdentifier=source)
            for source in sorted(there - wanted):
                rds.remove_source_identifier_from_subscription(SubscriptionName=name, SourceIdentifier=source)
        self._wait_active(call, name)
        if "Tags" in changed:
            self._retag(call, old)
        return None

    def delete(self, call: Call) -> None:
        """Delete and wait until it is gone."""
        rds, name = call.client("rds"), str(call.physical_id)
        if unless_gone(self.gone, rds.delete_event_subscription, SubscriptionName=name):
            while self._described(call, name) is not None:
                call.wait(POLL_S)


HANDLERS: tuple[Handler, ...] = (DbInstance(), DbSubnetGroup(), DbParameterGroup(), EventSubscription())
