"""NAT gateways, if asked for: the way out of the database subnets, one for all zones or one in each.

PostgreSQL on RDS needs no internet: backups, logs and monitoring leave on RDS's own network.
"""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, GetAZs, Ref, Select, ec2

from multiaz.blueprint.addressing import public_subnets
from multiaz.blueprint.expressions import tags
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.subnets import route_table_names, vpc_id

EVERYWHERE = "0.0.0.0/0"
ATTACHMENT = "InternetGatewayAttachment"


def address_names(s: Settings) -> list[str]:
    """Logical ids of the gateways' public addresses."""
    return [f"NatAddress{number}" for number, _ in enumerate(public_subnets(s), start=1)]


def default_route_names(s: Settings) -> list[str]:
    """Logical ids of the database subnets' routes to a gateway, one a zone; none without a gateway."""
    gateways = len(public_subnets(s))
    return [f"PrivateDefaultRoute{number}" for number, _ in enumerate(route_table_names(s), start=1) if gateways]


def nat(s: Settings) -> list[Any]:
    """Gateways in public subnets of their own, where nothing else is; nothing unless asked for."""
    networks = public_subnets(s)
    if not networks:
        return []
    resources: list[Any] = [
        ec2.InternetGateway("InternetGateway", Tags=tags("internet")),
        ec2.VPCGatewayAttachment(ATTACHMENT, VpcId=vpc_id(s), InternetGatewayId=Ref("InternetGateway")),
        ec2.RouteTable("PublicRouteTable", VpcId=vpc_id(s), Tags=tags("nat-public")),
        ec2.Route(
            "PublicDefaultRoute",
            DependsOn=ATTACHMENT,
            RouteTableId=Ref("PublicRouteTable"),
            DestinationCidrBlock=EVERYWHERE,
            GatewayId=Ref("InternetGateway"),
        ),
    ]
    for number, network in enumerate(networks, start=1):
        resources += _gateway(s, number, network)
    for number, (route, table) in enumerate(zip(default_route_names(s), route_table_names(s), strict=True), start=1):
        resources.append(
            ec2.Route(
                route,
                RouteTableId=Ref(table),
                DestinationCidrBlock=EVERYWHERE,
                NatGatewayId=Ref(f"NatGateway{min(number, len(networks))}"),
            )
        )
    return resources


def _gateway(s: Settings, number: int, network: str) -> list[Any]:
    """One gateway with its subnet and address, in the zone of that number."""
    subnet = f"PublicSubnet{number}"
    return [
        # Nothing launched here gets a public address by itself: only the gateway has one.
        ec2.Subnet(
            subnet,
            VpcId=vpc_id(s),
            CidrBlock=network,
            AvailabilityZone=Select(number - 1, GetAZs("")),
            MapPublicIpOnLaunch=False,
            Tags=tags(f"nat-public-{number}"),
        ),
        ec2.SubnetRouteTableAssociation(f"{subnet}Routes", SubnetId=Ref(subnet), RouteTableId=Ref("PublicRouteTable")),
        # Source: AWS CloudFormation user guide, AWS::EC2::EIP: after the attachment of a gateway in the same template.
        ec2.EIP(f"NatAddress{number}", DependsOn=ATTACHMENT, Domain="vpc", Tags=tags(f"nat-{number}")),
        # Available then means: it has a way out. It also loses that way only after it is gone.
        ec2.NatGateway(
            f"NatGateway{number}",
            DependsOn=["PublicDefaultRoute", f"{subnet}Routes"],
            SubnetId=Ref(subnet),
            AllocationId=GetAtt(f"NatAddress{number}", "AllocationId"),
            Tags=tags(f"nat-{number}"),
        ),
    ]
