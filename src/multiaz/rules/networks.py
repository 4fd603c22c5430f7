"""Subnets as the rules need them: which are public."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from multiaz.rules.template import Choice, Resource, Template, direct_references

SUBNET = "AWS::EC2::Subnet"
SECURITY_GROUP = "AWS::EC2::SecurityGroup"
WIDEST_IPV4, WIDEST_IPV6 = 8, 16
"""Prefixes below these hold more than anybody was ever given (a /8, and of IPv6 a /20): such a range is everybody."""
_PRIVATE_IPV6 = IPv6Network("fc00::/7")
_LONGEST_ADDRESS = 50


def is_anywhere(address: object) -> bool:
    """The range is the internet, or so large a part of it (`0.0.0.0/1`) that it is nobody's own."""
    if not isinstance(address, str) or len(address) > _LONGEST_ADDRESS:
        return False
    try:
        network = ip_network(address.strip(), strict=False)
    except ValueError:
        return False
    if isinstance(network, IPv4Network):
        return network.prefixlen < WIDEST_IPV4
    return network.prefixlen < WIDEST_IPV6 and not network.subnet_of(_PRIVATE_IPV6)


def public_subnets(template: Template) -> dict[str, Resource]:
    """Subnets that give public addresses, or whose route table leads to an internet gateway of this template."""
    gateways = {gateway.name for gateway in template.of_type("AWS::EC2::InternetGateway")}
    tables: set[str] = set()
    for route in template.of_type("AWS::EC2::Route"):
        table = template.referred(route.raw("RouteTableId"), "AWS::EC2::RouteTable")
        gateway = template.referred(route.raw("GatewayId"))
        if table is not None and gateway is not None and gateway.name in gateways:
            tables.add(table.name)
    found = {s.name: s for s in template.of_type(SUBNET) if any(c.flag for c in s.choices("MapPublicIpOnLaunch"))}
    for link in template.of_type("AWS::EC2::SubnetRouteTableAssociation"):
        table = template.referred(link.raw("RouteTableId"), "AWS::EC2::RouteTable")
        subnet = template.referred(link.raw("SubnetId"), SUBNET)
        if table is not None and subnet is not None and table.name in tables:
            found[subnet.name] = subnet
    return found


def may_be_public(template: Template, subnet_group: object) -> bool:
    """The DB subnet group is in a VPC of this template with an internet gateway: there an instance that does not say is
    public. Source: RDS API reference, CreateDBInstance, PubliclyAccessible.
    """
    group = template.referred(subnet_group, "AWS::RDS::DBSubnetGroup")
    listed = group.raw("SubnetIds") if group is not None else None
    subnets = [template.referred(node, SUBNET) for node in (listed if isinstance(listed, list) else ())]
    homes = {name for subnet in subnets if subnet is not None for name in direct_references(subnet.raw("VpcId"))}
    return any(
        attachment.has("InternetGatewayId") and homes & set(direct_references(attachment.raw("VpcId")))
        for attachment in template.of_type("AWS::EC2::VPCGatewayAttachment")
    )


def group_of(template: Template, rule: Choice) -> str | None:
    """Logical id of the security group of a rule of `rules_of_groups`; None if the group is not in this template."""
    holder = template.resources[str(rule.path[1])]
    if holder.type == SECURITY_GROUP:
        return holder.name
    group = template.referred(holder.raw("GroupId"), SECURITY_GROUP)
    return group.name if group is not None else None


def rules_of_groups(template: Template, *, outwards: bool = True) -> Iterator[Choice]:
    """Each rule of a security group, inside of the group or a resource of its own; without `outwards` only ingress.

    The path of a rule begins with that of the resource it stands in.
    """
    directions = ["Ingress", "Egress"] if outwards else ["Ingress"]
    for direction in directions:
        for group in template.of_type(SECURITY_GROUP):
            yield from group.items(f"SecurityGroup{direction}")
        for rule in template.of_type(f"AWS::EC2::SecurityGroup{direction}"):
            yield from rule.choices()
