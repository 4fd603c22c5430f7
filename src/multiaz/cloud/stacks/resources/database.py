"""AWS::RDS::DBInstance: a primary, a read replica of one, or one restored from backups of another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources import database_properties as tables
from multiaz.cloud.stacks.resources.base import Call, Handler, Made, error_code, same, selected
from multiaz.cloud.stacks.resources.database_groups import POLL_S, retag
from multiaz.cloud.stacks.values import as_text

_INSTANCE_GONE = frozenset({"DBInstanceNotFound", "DBInstanceNotFoundFault"})
_FAILED = frozenset({"failed", "inaccessible-encryption-credentials", "restore-error", "storage-full"})
_MENDABLE = frozenset({"storage-full", "incompatible-parameters"})
"""Failed states that a modification ends: more storage, another parameter group. ModifyDBInstance refuses the others.
Source: RDS user guide, "Viewing Amazon RDS DB instance status"."""
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


class DbInstance(Handler):
    """AWS::RDS::DBInstance: a primary, or a read replica of one."""

    type = "AWS::RDS::DBInstance"
    properties = frozenset(
        {
            *tables.EITHER,
            *tables.LATER,
            *tables.PRIMARY_ONLY,
            *tables.RESTORED_TO,
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
    updatable = frozenset({*tables.MODIFIED, *tables.HOW, "EnableCloudwatchLogsExports", "Tags"})
    replacing = frozenset({"AvailabilityZone"})
    named_by = "DBInstanceIdentifier"
    slow = True

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """What a replica or a restored instance must not set: it takes these from its source."""
        if _is_restored(properties):
            made_by, what, taken = "a restore to a point in time", "a restored instance", tables.NOT_RESTORED
        elif properties.get("SourceDBInstanceIdentifier"):
            made_by, what, taken = "SourceDBInstanceIdentifier", "a read replica", tables.NOT_ON_REPLICA
        else:
            return []
        return [
            f"{name} must not be set together with {made_by}: {what} takes it from its source"
            for name in taken
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
        """Create, wait until it is available, then what a replica or a restored instance gets later."""
        name = self.existing(call)
        if name is None:
            name = self._name(call)
            self._begin(call, name)
            call.initiated(name)
        found = self._wait_available(call, name)
        if _is_restored(call.properties):
            found = self._finish_restored(call, name, found)
        elif call.get("SourceDBInstanceIdentifier"):
            found = self._finish_replica(call, name, found)
        return Made(name, _instance_attributes(found))

    def _begin(self, call: Call, name: str) -> None:
        arguments: dict[str, Any] = {"Tags": call.tags()}
        for key in ("AllocatedStorage", "Port"):
            if key in call.properties:
                arguments[key] = _integer(key, call.properties[key])
        rds = call.client("rds")
        if _is_restored(call.properties):
            arguments |= selected(call.properties, tables.AT_RESTORE)
            if "RestoreTime" in arguments:
                arguments["RestoreTime"] = _moment("RestoreTime", arguments["RestoreTime"])
            rds.restore_db_instance_to_point_in_time(TargetDBInstanceIdentifier=name, **arguments)
            return
        arguments |= {"DBInstanceIdentifier": name, **selected(call.properties, tables.EITHER)}
        if call.get("SourceDBInstanceIdentifier"):
            arguments |= selected(call.properties, tables.DIRECT | same("SourceDBInstanceIdentifier"))
            rds.create_db_instance_read_replica(**arguments)
        else:
            arguments |= selected(call.properties, tables.PRIMARY_ONLY | tables.LATER)
            rds.create_db_instance(**arguments)

    def _wait_available(self, call: Call, name: str, *, or_in: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The instance once it is available, or `or_in`. Waits as long as it takes; gives up if it failed."""
        while True:
            found = self._describe(call, name)
            if found is None:
                raise ResourceFailure(f"DB instance {name} disappeared while it was being created")
            status = found["DBInstanceStatus"]
            if status == "available" or status in or_in:
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
            for key, value in selected(call.properties, tables.LATER | same("EngineVersion")).items()
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

    def _finish_restored(self, call: Call, name: str, found: dict[str, Any]) -> dict[str, Any]:
        changes = selected(call.properties, tables.AFTER_RESTORE)
        if not changes:
            return found
        call.client("rds").modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=True, **changes)
        return self._wait_applied(call, name, or_in=frozenset())

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Modify and wait. Without ApplyImmediately false, what waits for a reboot is rebooted for, as on AWS.

        Source of both: CloudFormation's handler for the type, whose ApplyImmediately is true unless set.
        """
        rds, name = call.client("rds"), str(call.physical_id)
        at_once = call.get("ApplyImmediately", True)
        found = self._wait_modifiable(call, name)
        if "Tags" in changed:
            retag(call, old, found["DBInstanceArn"])
        changes = self._modifications(call, old, changed, found)
        if changes:
            rds.modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=at_once, **changes)
        # What waited for the window is taken back: that leaves a failed instance as it was.
        if changes and (at_once or not call.reverting or found["DBInstanceStatus"] not in _MENDABLE):
            # With values it does not start with it is not available before it is rebooted with the new group's.
            found = self._wait_applied(call, name, or_in=frozenset({"incompatible-parameters"} if at_once else ()))
        if changes and at_once and _group_status(found) == "pending-reboot":
            rds.reboot_db_instance(DBInstanceIdentifier=name)
            found = self._wait_available(call, name)
        return Made(name, _instance_attributes(found))

    def _wait_modifiable(self, call: Call, name: str) -> dict[str, Any]:
        found = self._describe(call, name)
        if found is None:
            raise ResourceFailure(f"DB instance {name} is not there any more: it was deleted or renamed by others")
        if found["DBInstanceStatus"] == "stopped":
            raise ResourceFailure(f"DB instance {name} is stopped: start it, then update the stack again")
        return self._wait_available(call, name, or_in=_MENDABLE)

    def _wait_applied(self, call: Call, name: str, *, or_in: frozenset[str]) -> dict[str, Any]:
        """The instance once a modification is done and its group is no longer applying.

        `or_in` names the states in which a group that waits for a reboot is an end as well.
        """
        while True:
            found = self._wait_available(call, name, or_in=or_in)
            group = _group_status(found)
            if found["DBInstanceStatus"] in or_in and group != "pending-reboot":
                found = self._wait_available(call, name)
            if group != "applying":
                return found
            call.wait(POLL_S)

    def _modifications(
        self, call: Call, old: Call, changed: frozenset[str], found: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Parameters of ModifyDBInstance. Raises ResourceFailure for what can be set but not taken away."""
        values: dict[str, Any] = {}
        for key in sorted(changed & tables.MODIFIED.keys()):
            if key in call.properties:
                values[key] = call.properties[key]
            elif key == "MaxAllocatedStorage":
                # Equal to the storage, also to one that grows by the same call: no autoscaling.
                values[key] = _integer("AllocatedStorage", values.get("AllocatedStorage", found["AllocatedStorage"]))
            elif key in tables.TAKEN_AWAY:
                values[key] = tables.TAKEN_AWAY[key]
            elif not (call.reverting or (key == "MonitoringRoleArn" and "MonitoringInterval" in changed)):
                raise ResourceFailure(
                    f"taking away property {key} of {self.type} is not available in this local cloud: set it"
                )
        if "AllocatedStorage" in values:
            values["AllocatedStorage"] = _integer("AllocatedStorage", values["AllocatedStorage"])
            if call.reverting and values["AllocatedStorage"] < found["AllocatedStorage"]:
                del values["AllocatedStorage"]  # storage never shrinks: what has grown stays so
        arguments = selected(values, tables.MODIFIED)
        if "EnableCloudwatchLogsExports" in changed:
            wanted = set(call.get("EnableCloudwatchLogsExports", []))
            there = set(found.get("EnabledCloudwatchLogsExports", []))
            exports = {"EnableLogTypes": sorted(wanted - there), "DisableLogTypes": sorted(there - wanted)}
            if any(exports.values()):
                arguments["CloudwatchLogsExportConfiguration"] = {key: kinds for key, kinds in exports.items() if kinds}
        if "EngineVersion" in arguments and "AllowMajorVersionUpgrade" in call.properties:
            arguments["AllowMajorVersionUpgrade"] = call.properties["AllowMajorVersionUpgrade"]
        if call.reverting and found["DBInstanceStatus"] in _MENDABLE:
            # What was refused in this state changed nothing, and saying so again would be refused as well.
            waiting = found.get("PendingModifiedValues", {})
            arguments = {
                key: value for key, value in arguments.items() if key in waiting or not _is_set(found, key, value)
            }
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


def _is_restored(properties: Mapping[str, Any]) -> bool:
    """Whether the instance is made by a restore to a point in time, as CloudFormation's handler for the type has it."""
    latest = as_text(properties.get("UseLatestRestorableTime", False)).lower() == "true"
    return latest or any(properties.get(name) for name in tables.RESTORED_TO if name != "UseLatestRestorableTime")


def _moment(name: str, value: Any) -> datetime:
    """A time of a template; without a zone it is UTC, as the property's documentation says."""
    try:
        moment = datetime.fromisoformat(as_text(value))
    except ValueError as error:
        raise ResourceFailure(f"{name} must be a time such as 2009-09-07T23:45:00Z, not {value}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


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


HANDLERS: tuple[Handler, ...] = (DbInstance(),)
