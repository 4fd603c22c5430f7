"""Subnets as the rules need them: which are public."""

from __future__ import annotations

from collections.abc import Iterator

from multiaz.rules.template import Choice, Resource, Template

SUBNET = "AWS::EC2::Subnet"
_ANYWHERE = frozenset({"0.0.0.0/0", "::/0"})


def is_anywhere(address: object) -> bool:
    """The range is the whole of the internet."""
    return isinstance(address, str) and address in _ANYWHERE


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


def rules_of_groups(template: Template, *, outwards: bool = True) -> Iterator[Choice]:
    """Each rule of a security group, inside of the group or a resource of its own; without `outwards` only ingress.

    The path of a rule begins with that of the resource it stands in.
    """
    directions = ["Ingress", "Egress"] if outwards else ["Ingress"]
    for direction in directions:
        for group in template.of_type("AWS::EC2::SecurityGroup"):
            yield from group.items(f"SecurityGroup{direction}")
        for rule in template.of_type(f"AWS::EC2::SecurityGroup{direction}"):
            yield from rule.choices()
