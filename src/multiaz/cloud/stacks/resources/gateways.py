"""AWS::EC2 ways in and out of a network: addresses, NAT gateways, endpoints, flow logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multiaz.cloud.stacks.faults import ResourceFailure
from multiaz.cloud.stacks.resources.base import Call, Handler, Made, as_policy, same, selected, unless_gone
from multiaz.cloud.stacks.resources.network import Ec2Handler, Kind, retag


class Eip(Handler):
    """AWS::EC2::EIP."""

    type = "AWS::EC2::EIP"
    properties = frozenset({"Domain", "Tags"})
    attributes = frozenset({"AllocationId", "PublicIp"})
    gone = frozenset({"InvalidAllocationID.NotFound"})
    updatable = frozenset({"Tags"})

    def _described(self, call: Call) -> dict[str, Any] | None:
        found = call.client("ec2").describe_addresses(Filters=call.tag_filters())["Addresses"]
        return next((one for one in found if one["PublicIp"] != call.replaces), None)

    def find(self, call: Call) -> str | None:
        """By tags."""
        found = self._described(call)
        return found["PublicIp"] if found else None

    def create(self, call: Call) -> Made:
        """Allocate."""
        address = self._described(call) if call.resumed else None
        if address is None:
            address = call.client("ec2").allocate_address(
                Domain=call.get("Domain", "vpc"),
                TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": call.tags()}],
            )
        return Made(address["PublicIp"], {"AllocationId": address["AllocationId"], "PublicIp": address["PublicIp"]})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Tags."""
        address = self._described(call)
        if address is None:
            raise ResourceFailure(f"The address {call.physical_id} is not there any more")
        retag(call, old, address["AllocationId"])
        return None

    def delete(self, call: Call) -> None:
        """Release."""
        ec2 = call.client("ec2")
        address = self._described(call)
        if address is not None:
            unless_gone(self.gone, ec2.release_address, AllocationId=address["AllocationId"])


def _wait_for(call: Call, look: Callable[[], str | None], wanted: set[str | None], failed: set[str]) -> None:
    """Look until the state is wanted. Raises ResourceFailure for a failed one."""
    while (state := look()) not in wanted:
        if state in failed:
            raise ResourceFailure(f"{call.resource_type} {call.physical_id} entered the state {state}")
        call.wait(0.05)


class NatGateway(Ec2Handler):
    """AWS::EC2::NatGateway."""

    type = "AWS::EC2::NatGateway"
    properties = frozenset({"AllocationId", "SubnetId", "ConnectivityType", "Tags"})
    attributes = frozenset({"NatGatewayId"})
    gone = frozenset({"NatGatewayNotFound"})
    parameters = same("AllocationId", "SubnetId", "ConnectivityType")
    kind = Kind(
        "create_nat_gateway",
        "natgateway",
        "NatGateway",
        "NatGatewayId",
        "describe_nat_gateways",
        "NatGateways",
        "delete_nat_gateway",
        "NatGatewayId",
    )

    def _state(self, call: Call, physical_id: str) -> str | None:
        found = call.client("ec2").describe_nat_gateways(NatGatewayIds=[physical_id])["NatGateways"]
        return str(found[0]["State"]) if found else None

    def find(self, call: Call) -> str | None:
        """By tags; EC2 lists deleted gateways for a while."""
        answer = call.client("ec2").describe_nat_gateways(Filters=call.tag_filters())
        for found in answer["NatGateways"]:
            if found["State"] in {"pending", "available"} and found["NatGatewayId"] != call.replaces:
                return str(found["NatGatewayId"])
        return None

    def configure(self, call: Call, physical_id: str) -> None:
        """Wait until it is available."""
        call.initiated(physical_id)
        _wait_for(call, lambda: self._state(call, physical_id), {"available"}, {"failed", "deleted"})

    def read(self, call: Call, physical_id: str) -> dict[str, Any]:
        """Its id."""
        return {"NatGatewayId": physical_id}

    def delete(self, call: Call) -> None:
        """Delete and wait."""
        super().delete(call)
        physical_id = call.physical_id or ""
        _wait_for(call, lambda: self._state(call, physical_id), {"deleted", None}, {"failed"})


_FULL_ACCESS = {
    "Version": "2008-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
}


class VpcEndpoint(Ec2Handler):
    """AWS::EC2::VPCEndpoint."""

    type = "AWS::EC2::VPCEndpoint"
    properties = frozenset(
        {
            "VpcId",
            "ServiceName",
            "VpcEndpointType",
            "SubnetIds",
            "SecurityGroupIds",
            "RouteTableIds",
            "PolicyDocument",
            "PrivateDnsEnabled",
            "Tags",
        }
    )
    attributes = frozenset({"Id", "CreationTimestamp", "DnsEntries", "NetworkInterfaceIds"})
    gone = frozenset({"InvalidVpcEndpointId.NotFound", "InvalidVpcEndpoint.NotFound"})
    updatable = frozenset({"PolicyDocument", "RouteTableIds", "SecurityGroupIds", "SubnetIds", "Tags"})
    parameters = same(
        "VpcId",
        "ServiceName",
        "VpcEndpointType",
        "SubnetIds",
        "SecurityGroupIds",
        "RouteTableIds",
        "PrivateDnsEnabled",
    )
    kind = Kind(
        "create_vpc_endpoint",
        "vpc-endpoint",
        "VpcEndpoint",
        "VpcEndpointId",
        "describe_vpc_endpoints",
        "VpcEndpoints",
        "delete_vpc_endpoints",
        "VpcEndpointIds",
        delete_is_list=True,
    )

    def arguments(self, call: Call) -> dict[str, Any]:
        """The type said outright, the policy as text, and a token so that a repetition is harmless."""
        arguments = {"VpcEndpointType": "Gateway", **super().arguments(call), "ClientToken": call.token}
        if "PolicyDocument" in call.properties:
            arguments["PolicyDocument"] = as_policy(call.properties["PolicyDocument"])
        return arguments

    def reconfigure(self, call: Call, old: Call, changed: frozenset[str]) -> None:
        """One call: what to add, what to remove, the policy (without one, full access, as a new endpoint has)."""
        ec2 = call.client("ec2")
        found = ec2.describe_vpc_endpoints(VpcEndpointIds=[call.physical_id])["VpcEndpoints"][0]
        there = {
            "SubnetIds": set(found.get("SubnetIds", [])),
            "RouteTableIds": set(found.get("RouteTableIds", [])),
            "SecurityGroupIds": {group["GroupId"] for group in found.get("Groups", [])},
        }
        arguments: dict[str, Any] = {}
        for name in sorted(changed & there.keys()):
            wanted = set(call.get(name, []))
            if wanted - there[name]:
                arguments[f"Add{name}"] = sorted(wanted - there[name])
            if there[name] - wanted:
                arguments[f"Remove{name}"] = sorted(there[name] - wanted)
        if "PolicyDocument" in changed:
            arguments["PolicyDocument"] = as_policy(call.get("PolicyDocument", _FULL_ACCESS))
        if arguments:
            ec2.modify_vpc_endpoint(VpcEndpointId=call.physical_id, **arguments)

    def read(self, call: Call, physical_id: str) -> dict[str, Any]:
        """DNS entries as `zone:name`, as CloudFormation gives them."""
        found = call.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[physical_id])["VpcEndpoints"][0]
        created = found.get("CreationTimestamp")
        return {
            "Id": physical_id,
            "CreationTimestamp": created.isoformat() if created else "",
            "DnsEntries": [
                f"{entry.get('HostedZoneId', '')}:{entry['DnsName']}" for entry in found.get("DnsEntries", [])
            ],
            "NetworkInterfaceIds": list(found.get("NetworkInterfaceIds", [])),
        }


class FlowLog(Handler):
    """AWS::EC2::FlowLog."""

    type = "AWS::EC2::FlowLog"
    _PARAMETERS = same(
        "ResourceType",
        "TrafficType",
        "LogDestinationType",
        "LogDestination",
        "LogGroupName",
        "DeliverLogsPermissionArn",
        "LogFormat",
        "MaxAggregationInterval",
    )
    properties = frozenset({"ResourceId", "Tags", *_PARAMETERS})
    attributes = frozenset({"Id"})
    gone = frozenset({"InvalidFlowLogId.NotFound"})
    updatable = frozenset({"Tags"})

    def find(self, call: Call) -> str | None:
        """By tags."""
        found = call.client("ec2").describe_flow_logs(Filters=call.tag_filters())["FlowLogs"]
        return next((str(one["FlowLogId"]) for one in found if one["FlowLogId"] != call.replaces), None)

    def create(self, call: Call) -> Made:
        """Create; an answer may hold a refusal instead of an error."""
        physical_id = self.existing(call)
        if physical_id is None:
            answer = call.client("ec2").create_flow_logs(
                ResourceIds=[call.properties["ResourceId"]],
                TagSpecifications=[{"ResourceType": "vpc-flow-log", "Tags": call.tags()}],
                ClientToken=call.token,
                **selected(call.properties, self._PARAMETERS),
            )
            if answer.get("Unsuccessful"):
                raise ResourceFailure(str(answer["Unsuccessful"][0]["Error"]["Message"]))
            physical_id = answer["FlowLogIds"][0]
        return Made(str(physical_id), {"Id": physical_id})

    def update(self, call: Call, old: Call, changed: frozenset[str]) -> Made | None:
        """Tags: everything else of a flow log is new with a new one."""
        retag(call, old, str(call.physical_id))
        return None

    def delete(self, call: Call) -> None:
        """Delete."""
        ec2 = call.client("ec2")
        unless_gone(self.gone, ec2.delete_flow_logs, FlowLogIds=[call.physical_id])


HANDLERS: tuple[Handler, ...] = (Eip(), NatGateway(), VpcEndpoint(), FlowLog())
