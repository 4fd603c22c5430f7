"""The VPC and the database subnets with their route tables: the stack's own, or existing ones by id.

Everything else asks here where it is, and never whether the network existed before.
"""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, GetAZs, Ref, Select, ec2

from multiaz.blueprint.addressing import database_subnets
from multiaz.blueprint.expressions import tags
from multiaz.blueprint.members import Member
from multiaz.blueprint.settings import Settings


def vpc_id(s: Settings) -> Any:
    """The id of the VPC."""
    return Ref("VPC" if s.makes_vpc else "VpcId")


def vpc_cidr(s: Settings) -> Any:
    """The network of the VPC; of an existing one as the settings say, since CloudFormation cannot ask."""
    return GetAtt("VPC", "CidrBlock") if s.makes_vpc else s.vpc_cidr


def database_subnet_ids(s: Settings) -> Any:
    """The ids of the database subnets: a list, or the parameter that is one."""
    return [Ref(name) for name in _names(s)] if s.makes_vpc else Ref("SubnetIds")


def route_table_names(s: Settings) -> list[str]:
    """Logical ids of the database subnets' route tables, one a zone; none in an existing network.

    One a zone whatever nat_gateways says: changing it then changes routes only, and no subnet is ever
    without a route table.
    """
    return [f"PrivateRouteTable{number}" for number in range(1, s.zones + 1)] if s.makes_vpc else []


def association_names(s: Settings) -> list[str]:
    """Logical ids of what ties each database subnet to its route table."""
    return [f"{name}Routes" for name in _names(s)] if s.makes_vpc else []


def replica_placement(s: Settings, member: Member) -> dict[str, Any]:
    """Where a read replica is: in zones from the last one backwards, so that the first stays the primary's.

    Nothing in an existing network: a template cannot ask an existing subnet for its zone, and RDS chooses among the
    zones of the subnet group. Source: Amazon RDS API reference, CreateDBInstanceReadReplica, AvailabilityZone.
    """
    if not s.makes_vpc:
        return {}
    names = _names(s)
    return {"AvailabilityZone": GetAtt(names[(member.number - 1 - s.read_replicas) % len(names)], "AvailabilityZone")}


def subnets(s: Settings) -> list[Any]:
    """The VPC, a private subnet in each zone and its route table; nothing for an existing network.

    The VPC's default security group stays as EC2 made it, since CloudFormation cannot take a rule away from a group
    it did not make (CKV2_AWS_12, EC2.2); nothing of the stack is in it.
    """
    if not s.makes_vpc:
        return []
    resources: list[Any] = [
        ec2.VPC(
            "VPC",
            CidrBlock=s.vpc_cidr,
            EnableDnsHostnames=True,
            EnableDnsSupport=True,
            Tags=tags("vpc"),
        )
    ]
    for index, (name, table) in enumerate(zip(_names(s), route_table_names(s), strict=True)):
        resources += [
            ec2.Subnet(
                name,
                VpcId=Ref("VPC"),
                CidrBlock=database_subnets(s)[index],
                AvailabilityZone=Select(index, GetAZs("")),
                Tags=tags(f"db-private-{index + 1}"),
            ),
            ec2.RouteTable(table, VpcId=Ref("VPC"), Tags=tags(f"db-private-{index + 1}")),
            ec2.SubnetRouteTableAssociation(f"{name}Routes", SubnetId=Ref(name), RouteTableId=Ref(table)),
        ]
    return resources


def _names(s: Settings) -> list[str]:
    return [f"PrivateSubnet{number}" for number in range(1, s.zones + 1)]
