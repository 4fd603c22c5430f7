"""AWS::RDS: subnet groups, parameter groups, event subscriptions."""

from __future__ import annotations

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
_PARAMETERS_PER_CALL = 20


def retag(call: Call, old: Call, arn: str) -> None:
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
        retag(call, old, found[self.arn_member])

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


HANDLERS: tuple[Handler, ...] = (DbSubnetGroup(), DbParameterGroup(), EventSubscription())
