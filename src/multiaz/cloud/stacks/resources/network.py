"""AWS::EC2 network types: VPC, subnets, routes, internet gateways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import (
    Call,
    Handler,
    Made,
    changed_tags,
    same,
    selected,
    tag_list,
    unless_gone,
)


def retag(call: Call, old: Call, resource: str) -> None:
    """Give an EC2 resource the tags it should have now."""
    tags, removed = changed_tags(old, call)
    ec2 = call.client("ec2")
    if tags:
        ec2.create_tags(Resources=[resource], Tags=tag_list(tags))
    if removed:
        ec2.delete_tags(Resources=[resource], Tags=[{"Key": key} for key in removed])


@dataclass(frozen=True)
class Kind:
    """How the plain EC2 types differ: one create call, one describe call, one delete call."""

    create: str
    tag_type: str
    reply: str
    id_name: str
    describe: str
    describe_key: str
    delete: str
    delete_parameter: str
    delete_is_list: bool = False


class Ec2Handler(Handler):
    """An EC2 resource that is tagged when it is created, and found again by its tags."""

    kind: ClassVar[Kind]
    parameters: ClassVar[Mapping[str, str]]
    updatable = frozenset({"Tags"})

    def create(self, call: Call) -> Made:
        """Create, configure, describe."""
        physical_id = self.existing(call)
        if physical_id is None:
            physical_id = self.make(call)
            call.made(physical_id)
        self.configure(call, physical_id)
        return Made(physical_id, self.read(call, physical_id))

    def make(self, call: Call) -> str:
        """The create call; the new id."""
        answer = getattr(call.client("ec2"), self.kind.create)(
            **self.arguments(call),
            TagSpecifications=[{"ResourceType": self.kind.tag_type, "Tags": call.tags()}],
        )
        return str(answer[self.kind.reply][self.kind.id_name])

    def arguments(self, call: Call) -> dict[str, Any]:
        """Parameters of the create call, tags apart."""
        return selected(call.properties, self.parameters)

    def configure(self, call: Call, physical_id: str) -> None:
        """Idempotent calls after creation."""

    def read(self, call: Call, physical_id: str) -> dict[str, Any]:
        """Attributes for Fn::GetAtt."""
        return {}

    def find(self, call: Call) -> str | None:
        """By tags."""
        answer = getattr(call.client("ec2"), self.kind.describe)(Filters=call.tag_filters())
        for found in answer[self.kind.describe_key]:
            ours = found[self.kind.id_name] != call.replaces
            if ours and found.get("State") not in {"deleted", "deleting", "failed"}:
                return str(found[self.kind.id_name])
        return None

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Tags, and what else the type can change."""
        physical_id = str(call.physical_id)
        if "Tags" in changed:
            retag(call, old, physical_id)
        if changed - {"Tags"}:
            self.reconfigure(call, old, changed)
        return Made(physical_id, self.read(call, physical_id))

    def reconfigure(self, call: Call, old: Call, changed: frozenset[str]) -> None:
        """Change what is not a tag; puts, as those of `configure`."""
        self.configure(call, str(call.physical_id))

    def delete(self, call: Call) -> None:
        """The delete call."""
        value: Any = [call.physical_id] if self.kind.delete_is_list else call.physical_id
        delete = getattr(call.client("ec2"), self.kind.delete)
        unless_gone(self.gone, delete, **{self.kind.delete_parameter: value})


class Vpc(Ec2Handler):
    """AWS::EC2::VPC."""

    type = "AWS::EC2::VPC"
    properties = frozenset({"CidrBlock", "InstanceTenancy", "EnableDnsSupport", "EnableDnsHostnames", "Tags"})
    attributes = frozenset(
        {"VpcId", "CidrBlock", "CidrBlockAssociations", "DefaultNetworkAcl", "DefaultSecurityGroup", "Ipv6CidrBlocks"}
    )
    gone = frozenset({"InvalidVpcID.NotFound"})
    updatable = frozenset({"EnableDnsSupport", "EnableDnsHostnames", "Tags"})
    parameters = same("CidrBlock", "InstanceTenancy")
    kind = Kind("create_vpc", "vpc", "Vpc", "VpcId", "describe_vpcs", "Vpcs", "delete_vpc", "VpcId")

    def configure(self, call: Call, physical_id: str) -> None:
        """DNS settings: one attribute a call, as EC2 has it."""
        ec2 = call.client("ec2")
        for name in ("EnableDnsSupport", "EnableDnsHostnames"):
            if name in call.properties:
                ec2.modify_vpc_attribute(VpcId=physical_id, **{name: {"Value": call.properties[name]}})

    def reconfigure(self, call: Call, old: Call, changed: frozenset[str]) -> None:
        """DNS settings, EC2's defaults where the template says nothing any more."""
        ec2 = call.client("ec2")
        for name, standard in (("EnableDnsSupport", True), ("EnableDnsHostnames", False)):
            if name in changed:
                ec2.modify_vpc_attribute(VpcId=call.physical_id, **{name: {"Value": call.get(name, standard)}})

    def read(self, call: Call, physical_id: str) -> dict[str, Any]:
        """Default security group and network ACL come with a VPC."""
        ec2 = call.client("ec2")
        vpc = ec2.describe_vpcs(VpcIds=[physical_id])["Vpcs"][0]
        of_vpc = [{"Name": "vpc-id", "Values": [physical_id]}]
        groups = ec2.describe_security_groups(Filters=[*of_vpc, {"Name": "group-name", "Values": ["default"]}])
        acls = ec2.describe_network_acls(Filters=[*of_vpc, {"Name": "default", "Values": ["true"]}])
        return {
            "VpcId": physical_id,
            "CidrBlock": vpc["CidrBlock"],
            "CidrBlockAssociations": [entry["AssociationId"] for entry in vpc.get("CidrBlockAssociationSet", [])],
            "DefaultNetworkAcl": acls["NetworkAcls"][0]["NetworkAclId"],
            "DefaultSecurityGroup": groups["SecurityGroups"][0]["GroupId"],
            "Ipv6CidrBlocks": [entry["Ipv6CidrBlock"] for entry in vpc.get("Ipv6CidrBlockAssociationSet", [])],
        }


class Subnet(Ec2Handler):
    """AWS::EC2::Subnet."""

    type = "AWS::EC2::Subnet"
    properties = frozenset(
        {"VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "MapPublicIpOnLaunch", "Tags"}
    )
    attributes = frozenset(
        {
            "SubnetId",
            "VpcId",
            "CidrBlock",
            "AvailabilityZone",
            "AvailabilityZoneId",
            "Ipv6CidrBlocks",
            "NetworkAclAssociationId",
        }
    )
    gone = frozenset({"InvalidSubnetID.NotFound"})
    updatable = frozenset({"MapPublicIpOnLaunch", "Tags"})
    parameters = same("VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId")
    kind = Kind(
        "create_subnet", "subnet", "Subnet", "SubnetId", "describe_subnets", "Subnets", "delete_subnet", "SubnetId"
    )

    def configure(self, call: Call, physical_id: str) -> None:
        """Public addresses at launch, set both ways."""
        if "MapPublicIpOnLaunch" in call.properties:
            call.client("ec2").modify_subnet_attribute(
                SubnetId=physical_id, MapPublicIpOnLaunch={"Value": call.properties["MapPublicIpOnLaunch"]}
            )

    def reconfigure(self, call: Call, old: Call, changed: frozenset[str]) -> None:
        """Public addresses at launch: none if the template says nothing any more."""
        call.client("ec2").modify_subnet_attribute(
            SubnetId=call.physical_id, MapPublicIpOnLaunch={"Value": call.get("MapPublicIpOnLaunch", False)}
        )

    def read(self, call: Call, physical_id: str) -> dict[str, Any]:
        """The subnet as EC2 describes it."""
        ec2 = call.client("ec2")
        subnet = ec2.describe_subnets(SubnetIds=[physical_id])["Subnets"][0]
        acls = ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [physical_id]}])[
            "NetworkAcls"
        ]
        associations = [
            entry["NetworkAclAssociationId"]
            for acl in acls
            for entry in acl["Associations"]
            if entry["SubnetId"] == physical_id
        ]
        return {
            **{name: subnet[name] for name in ("SubnetId", "VpcId", "CidrBlock", "AvailabilityZone")},
            "AvailabilityZoneId": subnet.get("AvailabilityZoneId", ""),
            "Ipv6CidrBlocks": [],
            "NetworkAclAssociationId": associations[0] if associations else "",
        }


class RouteTable(Ec2Handler):
    """AWS::EC2::RouteTable."""

    type = "AWS::EC2::RouteTable"
    properties = frozenset({"VpcId", "Tags"})
    attributes = frozenset({"RouteTableId"})
    gone = frozenset({"InvalidRouteTableID.NotFound"})
    parameters = same("VpcId")
    kind = Kind(
        "create_route_table",
        "route-table",
        "RouteTable",
        "RouteTableId",
        "describe_route_tables",
        "RouteTables",
        "delete_route_table",
        "RouteTableId",
    )

    def read(self, call: Call, physical_id: str) -> dict[str, Any]:
        """Its id."""
        return {"RouteTableId": physical_id}


class InternetGateway(Ec2Handler):
    """AWS::EC2::InternetGateway."""

    type = "AWS::EC2::InternetGateway"
    properties = frozenset({"Tags"})
    attributes = frozenset({"InternetGatewayId"})
    gone = frozenset({"InvalidInternetGatewayID.NotFound"})
    parameters: ClassVar[Mapping[str, str]] = {}
    kind = Kind(
        "create_internet_gateway",
        "internet-gateway",
        "InternetGateway",
        "InternetGatewayId",
        "describe_internet_gateways",
        "InternetGateways",
        "delete_internet_gateway",
        "InternetGatewayId",
    )

    def read(self, call: Call, physical_id: str) -> dict[str, Any]:
        """Its id."""
        return {"InternetGatewayId": physical_id}


class VpcGatewayAttachment(Handler):
    """AWS::EC2::VPCGatewayAttachment, internet gateways only."""

    type = "AWS::EC2::VPCGatewayAttachment"
    properties = frozenset({"VpcId", "InternetGatewayId"})
    attributes = frozenset({"AttachmentType"})
    gone = frozenset({"Gateway.NotAttached", "InvalidInternetGatewayID.NotFound", "InvalidVpcID.NotFound"})

    def refusals(self, properties: Mapping[str, Any]) -> list[str]:
        """A VPN gateway is the other kind."""
        return [] if "InternetGatewayId" in properties else ["InternetGatewayId is required"]

    def find(self, call: Call) -> str | None:
        """By what the gateway says of itself."""
        gateway, vpc = call.properties["InternetGatewayId"], call.properties["VpcId"]
        found = call.client("ec2").describe_internet_gateways(InternetGatewayIds=[gateway])
        for entry in found["InternetGateways"][0]["Attachments"]:
            if entry["VpcId"] == vpc:
                return f"IGW|{vpc}"
        return None

    def create(self, call: Call) -> Made:
        """Attach."""
        gateway, vpc = call.properties["InternetGatewayId"], call.properties["VpcId"]
        if self.existing(call) is None:
            call.client("ec2").attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        return Made(f"IGW|{vpc}", {"AttachmentType": "IGW"})

    def delete(self, call: Call) -> None:
        """Detach."""
        gateway, vpc = call.properties["InternetGatewayId"], call.properties["VpcId"]
        ec2 = call.client("ec2")
        unless_gone(self.gone, ec2.detach_internet_gateway, InternetGatewayId=gateway, VpcId=vpc)


class SubnetRouteTableAssociation(Handler):
    """AWS::EC2::SubnetRouteTableAssociation."""

    type = "AWS::EC2::SubnetRouteTableAssociation"
    properties = frozenset({"RouteTableId", "SubnetId"})
    attributes = frozenset({"Id"})
    gone = frozenset({"InvalidAssociationID.NotFound"})

    def find(self, call: Call) -> str | None:
        """By the route table's own list."""
        tables = call.client("ec2").describe_route_tables(RouteTableIds=[call.properties["RouteTableId"]])
        for entry in tables["RouteTables"][0]["Associations"]:
            if entry.get("SubnetId") == call.properties["SubnetId"]:
                return str(entry["RouteTableAssociationId"])
        return None

    def create(self, call: Call) -> Made:
        """Associate."""
        physical_id = self.existing(call)
        if physical_id is None:
            physical_id = call.client("ec2").associate_route_table(
                RouteTableId=call.properties["RouteTableId"], SubnetId=call.properties["SubnetId"]
            )["AssociationId"]
        return Made(str(physical_id), {"Id": physical_id})

    def delete(self, call: Call) -> None:
        """Disassociate."""
        ec2 = call.client("ec2")
        unless_gone(self.gone, ec2.disassociate_route_table, AssociationId=call.physical_id)


class Route(Handler):
    """AWS::EC2::Route."""

    type = "AWS::EC2::Route"
    _TARGETS = same(
        "GatewayId",
        "NatGatewayId",
        "VpcPeeringConnectionId",
        "InstanceId",
        "NetworkInterfaceId",
        "TransitGatewayId",
        "EgressOnlyInternetGatewayId",
    )
    _DESTINATIONS: ClassVar[tuple[str, ...]] = (
        "DestinationCidrBlock",
        "DestinationIpv6CidrBlock",
        "DestinationPrefixListId",
    )
    properties = frozenset({"RouteTableId", *_TARGETS, *_DESTINATIONS})
    updatable = frozenset(_TARGETS)
    attributes = frozenset({"CidrBlock"})
    gone = frozenset({"InvalidRoute.NotFound", "InvalidRouteTableID.NotFound"})

    def _destination(self, call: Call) -> dict[str, str]:
        given = {name: call.properties[name] for name in self._DESTINATIONS if name in call.properties}
        if len(given) != 1:
            raise ResourceFailure(f"exactly one of [{', '.join(self._DESTINATIONS)}] is required")
        return given

    def create(self, call: Call) -> Made:
        """Create; a repetition replaces the route by the same."""
        table = call.properties["RouteTableId"]
        destination = self._destination(call)
        ec2 = call.client("ec2")
        act = ec2.create_route
        if call.resumed and self._exists(call, table, destination):
            act = ec2.replace_route
        act(RouteTableId=table, **destination, **selected(call.properties, self._TARGETS))
        text = next(iter(destination.values()))
        return Made(f"{table}|{text}", {"CidrBlock": text})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Another target for the same destination."""
        call.client("ec2").replace_route(
            RouteTableId=call.properties["RouteTableId"],
            **self._destination(call),
            **selected(call.properties, self._TARGETS),
        )
        return None

    def find(self, call: Call) -> str | None:
        """By the route table's own list."""
        table, destination = call.properties["RouteTableId"], self._destination(call)
        text = next(iter(destination.values()))
        return f"{table}|{text}" if self._exists(call, table, destination) else None

    def _exists(self, call: Call, table: str, destination: dict[str, str]) -> bool:
        found = call.client("ec2").describe_route_tables(RouteTableIds=[table])["RouteTables"][0]
        return any(destination.items() <= route.items() for route in found["Routes"])

    def delete(self, call: Call) -> None:
        """Delete."""
        ec2 = call.client("ec2")
        destination = self._destination(call)
        unless_gone(
            self.gone,
            ec2.delete_route,
            RouteTableId=call.properties["RouteTableId"],
            **destination,
        )


HANDLERS: tuple[Handler, ...] = (
    Vpc(),
    Subnet(),
    RouteTable(),
    InternetGateway(),
    VpcGatewayAttachment(),
    SubnetRouteTableAssociation(),
    Route(),
)
