"""DB subnet groups."""

from __future__ import annotations

from typing import Any

from multiaz.cloud.rds import faults, rules, tags
from multiaz.cloud.rds.checks import Checks
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.describe import subnet_group_shape
from multiaz.cloud.rds.model import Subnet, SubnetGroup
from multiaz.cloud.rds.paging import page
from multiaz.cloud.service import AwsFault, Context, Operation

MOST_GROUPS = 50
MOST_SUBNETS = 20


class SubnetGroupActions:
    """The actions on DB subnet groups."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._checks = Checks(core.clients)
        self.operations: dict[str, Operation] = {
            "CreateDBSubnetGroup": self.create,
            "DescribeDBSubnetGroups": self.describe,
            "ModifyDBSubnetGroup": self.modify,
            "DeleteDBSubnetGroup": self.delete,
        }

    def create(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """CreateDBSubnetGroup."""
        name = rules.group_name(params["DBSubnetGroupName"], "DBSubnetGroupName", wider="._ ")
        if name == "default":
            raise faults.bad_value("The DB subnet group name default is reserved.")
        vpc, subnets = self._subnets(context.region, params["SubnetIds"])
        group = SubnetGroup(
            region=context.region,
            name=name,
            description=params["DBSubnetGroupDescription"],
            vpc_id=vpc,
            subnets=subnets,
            tags=tags.checked(params.get("Tags"), context.caller),
        )
        shelf = self._core.repository.subnet_groups
        with self._core.repository.transaction():
            if shelf.get(context.region, name) is not None:
                raise AwsFault("DBSubnetGroupAlreadyExists", f"The DB subnet group '{name}' already exists.")
            if len(shelf.all(context.region)) >= MOST_GROUPS:
                raise AwsFault("DBSubnetGroupQuotaExceeded", "DB subnet group quota exceeded.")
            shelf.put(context.region, name, group)
        return {"DBSubnetGroup": subnet_group_shape(group)}

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeDBSubnetGroups."""
        if params.get("DBSubnetGroupName"):
            found = [self._require(context, params["DBSubnetGroupName"])]
        else:
            found = self._core.repository.subnet_groups.all(context.region)
        chosen, more = page(found, lambda one: one.name, params)
        return {"DBSubnetGroups": [subnet_group_shape(one) for one in chosen], **more}

    def modify(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """ModifyDBSubnetGroup."""
        group = self._require(context, params["DBSubnetGroupName"])
        vpc, subnets = self._subnets(context.region, params["SubnetIds"])
        if vpc != group.vpc_id:
            raise AwsFault("InvalidSubnet", f"The new subnets are not in the group's VPC {group.vpc_id}.")
        with self._core.repository.transaction():
            group = self._require(context, group.name)
            changed = group.but(
                subnets=subnets, description=params.get("DBSubnetGroupDescription") or group.description
            )
            for instance in self._users(context, group.name):
                lost = sorted(set(instance.network.zones.values()) - set(changed.zones))
                if lost:
                    raise AwsFault(
                        "SubnetAlreadyInUse",
                        f"The subnets in {', '.join(lost)} are in use by {instance.identifier} and cannot be removed.",
                    )
            self._core.repository.subnet_groups.put(context.region, group.name, changed)
        return {"DBSubnetGroup": subnet_group_shape(changed)}

    def delete(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DeleteDBSubnetGroup."""
        with self._core.repository.transaction():
            group = self._require(context, params["DBSubnetGroupName"])
            users = self._users(context, group.name)
            if users:
                raise AwsFault(
                    "InvalidDBSubnetGroupStateFault",
                    f"Cannot delete the subnet group '{group.name}' because at least one database instance: "
                    f"{users[0].identifier} is still using it.",
                )
            self._core.repository.subnet_groups.remove(context.region, group.name)
        return {}

    def _users(self, context: Context, name: str) -> list[Any]:
        instances = self._core.repository.instances.all(context.region)
        return [one for one in instances if one.network.subnet_group == name]

    def _require(self, context: Context, name: str) -> SubnetGroup:
        found = self._core.repository.subnet_groups.get(context.region, name.lower())
        if found is None:
            raise faults.subnet_group_not_found(name)
        return found

    def _subnets(self, region: str, identifiers: list[str]) -> tuple[str, tuple[Subnet, ...]]:
        if len(identifiers) > MOST_SUBNETS:
            raise AwsFault("DBSubnetQuotaExceededFault", f"A group has at most {MOST_SUBNETS} subnets.")
        vpc, subnets = self._checks.subnets(region, list(dict.fromkeys(identifiers)))
        zones = sorted({subnet.zone for subnet in subnets})
        if len(zones) < 2:
            raise AwsFault(
                "DBSubnetGroupDoesNotCoverEnoughAZs",
                "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: "
                f"{', '.join(zones)}. Add subnets to cover at least 2 AZs.",
            )
        return vpc, subnets
