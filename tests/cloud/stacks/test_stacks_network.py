"""The network of the blueprint, each kind of it, really made in EC2 and really gone afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from stacks_world import World, refused

from multiaz.blueprint import settings_from, synthesize

CAPABILITIES = ["CAPABILITY_IAM"]


def network_of(**values: Any) -> dict[str, Any]:
    """The blueprint without what needs a database: network and key, with what they refer to."""
    blueprint = synthesize(settings_from({"environment_suffix": "net", "preset": "test", **values}))
    document = blueprint.to_dict()
    sections = blueprint.resource_sections
    kept = [name for heading in ("Network", "Keys") for name in sections[heading]]
    return {
        "Parameters": document["Parameters"],
        "Conditions": document["Conditions"],
        "Resources": {name: document["Resources"][name] for name in kept},
        "Outputs": {name: document["Outputs"][name] for name in blueprint.output_sections["Network"]},
    }


def deployed(world: World, parameters: dict[str, str] | None = None, **values: Any) -> dict[str, Any]:
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in (parameters or {}).items()]
    stack = world.made(network_of(**values), Capabilities=CAPABILITIES, Parameters=given)
    failed = [event for event in world.events(stack["StackId"]) if "FAILED" in event[1]]
    assert (stack["StackStatus"], failed) == ("CREATE_COMPLETE", [])
    return stack


def removed(world: World, stack: dict[str, Any]) -> None:
    assert world.deleted(stack["StackName"])["StackStatus"] == "DELETE_COMPLETE"


def ids(world: World, stack: dict[str, Any]) -> dict[str, str]:
    """Logical to physical id."""
    return {name: found["PhysicalResourceId"] for name, found in world.resources(stack["StackName"]).items()}


def ingress_of(world: World, group_id: str) -> list[dict[str, Any]]:
    found = world.client("ec2").describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]
    return list(found["IpPermissions"])


def admitted(world: World, group_id: str) -> tuple[set[str], set[str]]:
    """(networks, groups) a security group lets in."""
    found = ingress_of(world, group_id)
    networks = {peer["CidrIp"] for rule in found for peer in rule["IpRanges"]}
    return networks, {peer["GroupId"] for rule in found for peer in rule["UserIdGroupPairs"]}


@pytest.fixture
def existing(world: World) -> dict[str, Any]:
    """A VPC somebody made before, with two private subnets and the application's security group."""
    ec2 = world.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.40.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]
        for n, zone in enumerate("ab")
    ]
    group = ec2.create_security_group(GroupName=f"shop-{vpc}", Description="the shop", VpcId=vpc)["GroupId"]
    return {
        "vpc_id": vpc,
        "subnet_ids": tuple(subnet["SubnetId"] for subnet in subnets),
        "vpc_cidr": "10.40.0.0/16",
        "management_cidr": "10.40.0.0/16",
        "application_subnet_cidr": "10.40.0.0/24",
        "application_security_group_id": group,
    }


def test_the_stacks_own_network_has_a_gateway_a_zone_and_flow_logs(world: World) -> None:
    stack = deployed(world, nat_gateways="per-zone")
    ec2, made = world.client("ec2"), ids(world, stack)
    outputs = world.outputs(stack)
    assert outputs["PrivateRouteTableIds"] == ",".join(made[f"PrivateRouteTable{n}"] for n in (1, 2, 3))
    assert outputs["NatAddresses"].count(".") == 9, "three addresses"
    for number in (1, 2, 3):
        (table,) = ec2.describe_route_tables(RouteTableIds=[made[f"PrivateRouteTable{number}"]])["RouteTables"]
        ways = {route.get("DestinationCidrBlock"): route for route in table["Routes"]}
        assert ways["0.0.0.0/0"]["NatGatewayId"] == made[f"NatGateway{number}"]
        assert made[f"PrivateSubnet{number}"] in {entry.get("SubnetId") for entry in table["Associations"]}
    subnets = ec2.describe_subnets(SubnetIds=outputs["PrivateSubnetIds"].split(","))["Subnets"]
    assert {s["AvailabilityZone"] for s in subnets} == {"us-east-1a", "us-east-1b", "us-east-1c"}
    (flow_log,) = ec2.describe_flow_logs(FlowLogIds=[made["VPCFlowLog"]])["FlowLogs"]
    assert (flow_log["ResourceId"], flow_log["TrafficType"]) == (made["VPC"], "ALL")
    assert flow_log["LogGroupName"] == outputs["FlowLogGroupName"] == "ecommerce-vpc-flow-logs-net"
    removed(world, stack)
    gateways = ec2.describe_nat_gateways(Filters=[{"Name": "vpc-id", "Values": [made["VPC"]]}])["NatGateways"]
    assert {gateway["State"] for gateway in gateways} <= {"deleted"}
    assert refused(ec2.describe_vpcs, VpcIds=[made["VPC"]])[0] == "InvalidVpcID.NotFound"


def test_an_existing_network_is_used_and_left_as_it_was(world: World, existing: dict[str, Any]) -> None:
    stack = deployed(world, **existing)
    ec2, made, outputs = world.client("ec2"), ids(world, stack), world.outputs(stack)
    assert outputs["VPCId"] == existing["vpc_id"]
    assert outputs["PrivateSubnetIds"] == ",".join(existing["subnet_ids"])
    networks, groups = admitted(world, made["DBSecurityGroup"])
    assert networks == {"10.40.0.0/16"}, "management; the application comes by its group"
    assert groups == {existing["application_security_group_id"], made["RotationSecurityGroup"]}
    (endpoint,) = ec2.describe_vpc_endpoints(VpcEndpointIds=[made["SecretsManagerEndpoint"]])["VpcEndpoints"]
    assert set(endpoint["SubnetIds"]) == set(existing["subnet_ids"])
    assert endpoint["PrivateDnsEnabled"] is True
    removed(world, stack)
    assert ec2.describe_vpcs(VpcIds=[existing["vpc_id"]])["Vpcs"]
    assert len(ec2.describe_subnets(SubnetIds=list(existing["subnet_ids"]))["Subnets"]) == 2
    left = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [existing["vpc_id"]]}])["SecurityGroups"]
    assert {group["GroupName"] for group in left} == {"default", f"shop-{existing['vpc_id']}"}


@pytest.mark.parametrize("by_group", [False, True])
def test_the_deployment_chooses_how_the_application_is_admitted(
    world: World, existing: dict[str, Any], by_group: bool
) -> None:
    """Both parameters have a value: only the group's counts, and management keeps the network they share."""
    group = existing.pop("application_security_group_id")
    parameters = {"ManagementCIDR": "10.40.0.0/24", "ApplicationSecurityGroupId": group if by_group else ""}
    stack = deployed(world, parameters, **existing)
    made = ids(world, stack)
    database = made["DBSecurityGroup"]
    rotation = made["RotationSecurityGroup"]
    assert admitted(world, database) == ({"10.40.0.0/24"}, {rotation, group} if by_group else {rotation})
    described = {peer["Description"] for rule in ingress_of(world, database) for peer in rule["IpRanges"]}
    assert described == {f"PostgreSQL from {'management' if by_group else 'the application subnet'}"}
    removed(world, stack)
