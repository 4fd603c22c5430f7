"""The network: private subnets, ways in and out, existing VPCs, flow logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from multiaz.blueprint import settings_from, synthesize, to_yaml
from multiaz.blueprint.addressing import database_subnets, public_subnets
from multiaz.errors import BadInput
from multiaz.rules import lint

INSTANCES = ("PrimaryDB", "ReadReplica1", "ReadReplica2")
EXISTING = {"vpc_id": "vpc-0a1b2c3d", "subnet_ids": "subnet-0a1b2c3d,subnet-0a1b2c3e", "vpc_cidr": "10.0.0.0/16"}
VARIANTS: dict[str, dict[str, Any]] = {
    "own": {},
    "two zones": {"zones": 2},
    "one NAT gateway": {"nat_gateways": "single"},
    "a NAT gateway a zone": {"nat_gateways": "per-zone"},
    "NAT instead of the endpoint": {"nat_gateways": "single", "secrets_endpoint": False, "flow_logs": False},
    "existing": EXISTING,
    "existing, all else different": {
        **EXISTING,
        "flow_logs": True,
        "secrets_endpoint": False,
        "application_security_group_id": "sg-0a1b2c3d",
    },
}
DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}")
"""Source: Amazon EC2 API reference, IpRange, Description."""

Document = dict[str, Any]


def made(**values: Any) -> Document:
    return synthesize(settings_from(values)).to_dict()


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request: pytest.FixtureRequest) -> Document:
    """The template of each kind of network: the test runs for each."""
    return made(**request.param)


def properties(document: Document, logical_id: str) -> Any:
    return document["Resources"][logical_id].get("Properties", {})


def of_type(document: Document, kind: str) -> dict[str, Any]:
    found = {name: r.get("Properties", {}) for name, r in document["Resources"].items() if r["Type"] == kind}
    return dict(sorted(found.items()))


def needs(document: Document, logical_id: str) -> list[str]:
    found = document["Resources"][logical_id].get("DependsOn", [])
    return [found] if isinstance(found, str) else list(found)


def got(logical_id: str, attribute: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [logical_id, attribute]}


def rules(document: Document, direction: str) -> Iterator[dict[str, Any]]:
    """Every rule of a direction (Ingress or Egress), of either branch of a condition."""
    yield from of_type(document, f"AWS::EC2::SecurityGroup{direction}").values()
    for group in of_type(document, "AWS::EC2::SecurityGroup").values():
        for rule in group.get(f"SecurityGroup{direction}", []):
            branches = rule["Fn::If"][1:] if "Fn::If" in rule else [rule]
            yield from (branch for branch in branches if branch != {"Ref": "AWS::NoValue"})


@pytest.mark.long
@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS.keys())
def test_cfn_lint_is_silent(values: dict[str, Any]) -> None:
    assert [finding.as_text() for finding in lint(to_yaml(settings_from(values)))] == []


# The stack's own VPC


def test_three_zones_each_with_a_private_subnet_and_a_route_table(document: Document) -> None:
    subnets = of_type(document, "AWS::EC2::Subnet")
    assert [subnet["AvailabilityZone"] for subnet in subnets.values()] == [
        {"Fn::Select": [zone, {"Fn::GetAZs": ""}]} for zone in range(3)
    ]
    tied = {
        a["SubnetId"]["Ref"]: a["RouteTableId"]["Ref"]
        for a in of_type(document, "AWS::EC2::SubnetRouteTableAssociation").values()
    }
    assert set(tied) == set(subnets)
    assert set(tied.values()) == set(of_type(document, "AWS::EC2::RouteTable"))
    assert len(set(tied.values())) == 3


def test_no_subnet_is_public_and_no_nat_gateway_is_billed_unless_asked_for(document: Document) -> None:
    for kind in ("InternetGateway", "Route", "NatGateway", "EIP"):
        assert of_type(document, f"AWS::EC2::{kind}") == {}


def test_no_instance_is_public_or_in_a_public_subnet(variant: Document) -> None:
    assert all(properties(variant, name)["PubliclyAccessible"] is False for name in INSTANCES)
    used = json.dumps([properties(variant, name) for name in ("DBSubnetGroup", *INSTANCES)])
    assert "PublicSubnet" not in used
    assert all(not s.get("MapPublicIpOnLaunch") for s in of_type(variant, "AWS::EC2::Subnet").values())


@pytest.mark.parametrize("zones", [2, 3])
def test_replicas_are_in_separate_zones(zones: int) -> None:
    document = made(zones=zones)
    placed = [properties(document, name)["AvailabilityZone"]["Fn::GetAtt"][0] for name in INSTANCES[1:]]
    assert len(set(placed)) == 2
    chosen = [properties(document, f"PrivateSubnet{n}")["AvailabilityZone"] for n in range(1, zones + 1)]
    assert chosen == [{"Fn::Select": [n, {"Fn::GetAZs": ""}]} for n in range(zones)]


@pytest.mark.parametrize("nat_gateways", ["none", "single", "per-zone"])
def test_the_s3_endpoint_is_in_every_private_route_table_and_reaches_this_accounts_buckets_only(
    nat_gateways: str,
) -> None:
    document = made(nat_gateways=nat_gateways)
    endpoint = properties(document, "S3Endpoint")
    assert endpoint["VpcEndpointType"] == "Gateway"
    assert endpoint["RouteTableIds"] == [{"Ref": f"PrivateRouteTable{n}"} for n in (1, 2, 3)]
    (allowed,) = endpoint["PolicyDocument"]["Statement"]
    assert allowed["Condition"] == {"StringEquals": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}}


# NAT


@pytest.mark.parametrize(("nat_gateways", "of_zone"), [("single", [1, 1, 1]), ("per-zone", [1, 2, 3])])
def test_every_zone_leaves_by_a_gateway(nat_gateways: str, of_zone: list[int]) -> None:
    document = made(nat_gateways=nat_gateways)
    for zone, gateway in enumerate(of_zone, start=1):
        assert properties(document, f"PrivateDefaultRoute{zone}") == {
            "RouteTableId": {"Ref": f"PrivateRouteTable{zone}"},
            "DestinationCidrBlock": "0.0.0.0/0",
            "NatGatewayId": {"Ref": f"NatGateway{gateway}"},
        }
    gateways = of_type(document, "AWS::EC2::NatGateway")
    assert list(gateways) == [f"NatGateway{n}" for n in sorted(set(of_zone))]
    for number in set(of_zone):
        gateway_properties = gateways[f"NatGateway{number}"]
        assert gateway_properties["SubnetId"] == {"Ref": f"PublicSubnet{number}"}
        assert gateway_properties["AllocationId"] == got(f"NatAddress{number}", "AllocationId")
        zone = properties(document, f"PublicSubnet{number}")["AvailabilityZone"]
        assert zone == properties(document, f"PrivateSubnet{number}")["AvailabilityZone"]


def test_a_gateway_is_available_only_once_it_has_a_way_out() -> None:
    document = made(nat_gateways="per-zone")
    assert needs(document, "PublicDefaultRoute") == ["InternetGatewayAttachment"]
    for number in (1, 2, 3):
        assert needs(document, f"NatAddress{number}") == ["InternetGatewayAttachment"]
        assert needs(document, f"NatGateway{number}") == ["PublicDefaultRoute", f"PublicSubnet{number}Routes"]
        assert properties(document, f"PublicSubnet{number}Routes")["RouteTableId"] == {"Ref": "PublicRouteTable"}


def test_changing_nat_gateways_changes_routes_and_nothing_of_the_database_subnets() -> None:
    """To replace a subnet's association would leave it without a route table for a while, or fail."""
    before, after = made(), made(nat_gateways="per-zone")
    kept = ("AWS::EC2::VPC", "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::Subnet", "AWS::EC2::RouteTable")
    for kind in kept:
        assert of_type(before, kind).items() <= of_type(after, kind).items()


_VPCS = st.sampled_from(["10.0.0.0/16", "172.16.0.0/20", "10.9.8.0/24", "10.9.8.0/25", "10.9.8.0/26", "10.9.8.0/28"])


@given(
    vpc=_VPCS,
    block=st.integers(0, 255),
    prefix=st.integers(16, 28),
    nat_gateways=st.sampled_from(["none", "single", "per-zone"]),
)
def test_subnets_placed_by_themselves_never_meet_also_when_a_zone_is_added(
    vpc: str, block: int, prefix: int, nat_gateways: str
) -> None:
    network = IPv4Network(vpc)
    assume(prefix >= network.prefixlen)
    possible = list(network.subnets(new_prefix=prefix))
    application = possible[block % len(possible)]
    values = {
        "vpc_cidr": vpc,
        "application_subnet_cidr": str(application),
        "management_cidr": vpc,
        "nat_gateways": nat_gateways,
    }
    try:
        two, three = settings_from({**values, "zones": 2}), settings_from({**values, "zones": 3})
    except BadInput as refused:
        assert "no room" in refused.why
        return
    assert database_subnets(three)[:2] == database_subnets(two)
    assert public_subnets(three)[: len(public_subnets(two))] == public_subnets(two)
    placed = [IPv4Network(text) for text in (*database_subnets(three), *public_subnets(three))]
    assert all(subnet.subnet_of(network) for subnet in placed)
    everything = [application, *placed]
    assert not any(a.overlaps(b) for i, a in enumerate(everything) for b in everything[i + 1 :])


# An existing VPC


def test_an_existing_network_is_used_and_nothing_is_made_in_its_place() -> None:
    document = made(**EXISTING)
    kinds = {r["Type"] for r in document["Resources"].values()}
    assert not kinds & {
        f"AWS::EC2::{kind}" for kind in ("VPC", "Subnet", "RouteTable", "Route", "SubnetRouteTableAssociation")
    }
    assert document["Parameters"]["VpcId"]["Type"] == "AWS::EC2::VPC::Id"
    assert document["Parameters"]["VpcId"]["Default"] == "vpc-0a1b2c3d"
    assert document["Parameters"]["SubnetIds"]["Type"] == "List<AWS::EC2::Subnet::Id>"
    assert document["Parameters"]["SubnetIds"]["Default"] == "subnet-0a1b2c3d,subnet-0a1b2c3e"
    assert properties(document, "DBSubnetGroup")["SubnetIds"] == {"Ref": "SubnetIds"}
    assert {g["VpcId"]["Ref"] for g in of_type(document, "AWS::EC2::SecurityGroup").values()} == {"VpcId"}
    (endpoint,) = of_type(document, "AWS::EC2::VPCEndpoint").values()
    assert endpoint["VpcEndpointType"] == "Interface"
    assert endpoint["SubnetIds"] == {"Ref": "SubnetIds"}
    function = properties(document, "DBSecretRotation")["HostedRotationLambda"]
    assert function["VpcSubnetIds"] == {"Fn::Join": [",", {"Ref": "SubnetIds"}]}
    assert document["Outputs"]["VPCId"]["Value"] == {"Ref": "VpcId"}
    assert document["Outputs"]["PrivateSubnetIds"]["Value"] == {"Fn::Join": [",", {"Ref": "SubnetIds"}]}


def test_rds_chooses_the_replicas_zones_in_existing_subnets() -> None:
    """A template cannot ask an existing subnet for its zone."""
    document = made(**EXISTING)
    assert all("AvailabilityZone" not in properties(document, name) for name in INSTANCES)


def test_existing_vpcs_have_flow_logs_only_if_asked_for() -> None:
    assert of_type(made(**EXISTING), "AWS::EC2::FlowLog") == {}
    flow_log = properties(made(**EXISTING, flow_logs=True), "VPCFlowLog")
    assert flow_log["ResourceId"] == {"Ref": "VpcId"}


def test_an_endpoint_in_an_existing_vpc_takes_nothing_from_those_who_were_there() -> None:
    """Private DNS leads all of them to it."""
    document = made(**EXISTING)
    assert "PolicyDocument" not in properties(document, "SecretsManagerEndpoint")
    (rule,) = properties(document, "EndpointSecurityGroup")["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"], rule["CidrIp"]) == (443, 443, "10.0.0.0/16")


# Who is admitted


def test_every_security_group_rule_is_described_in_words_ec2_takes(variant: Document) -> None:
    every = [*rules(variant, "Ingress"), *rules(variant, "Egress")]
    assert len(every) >= 7
    words = [rule["Description"] for rule in every]
    words += [g["GroupDescription"] for g in of_type(variant, "AWS::EC2::SecurityGroup").values()]
    assert [text for text in words if not DESCRIPTION.fullmatch(text)] == []


def test_nobody_is_admitted_from_everywhere(variant: Document) -> None:
    assert [rule for rule in rules(variant, "Ingress") if "0.0.0.0/0" in json.dumps(rule)] == []


def test_nothing_leaves_the_database(variant: Document) -> None:
    (rule,) = properties(variant, "DBSecurityGroup")["SecurityGroupEgress"]
    assert (rule["IpProtocol"], rule["CidrIp"]) == ("-1", "127.0.0.1/32")


def test_the_application_is_admitted_by_its_group_or_else_by_its_network_never_by_both(variant: Document) -> None:
    condition, by_group, by_network = properties(variant, "DBSecurityGroup")["SecurityGroupIngress"][0]["Fn::If"]
    assert variant["Conditions"][condition] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "ApplicationSecurityGroupId"}, ""]}]
    }
    assert by_group["SourceSecurityGroupId"] == {"Ref": "ApplicationSecurityGroupId"}
    assert "CidrIp" not in by_group
    assert by_network["CidrIp"] == {"Ref": "ApplicationSubnetCIDR"}
    assert "SourceSecurityGroupId" not in by_network
    assert by_group["FromPort"] == by_group["ToPort"] == by_network["FromPort"] == {"Ref": "DBPort"}


def test_management_is_admitted_unless_the_application_is_by_the_same_network(document: Document) -> None:
    """EC2 refuses the same rule twice; an application admitted by its group leaves the network to management."""
    condition, rule, nothing = properties(document, "DBSecurityGroup")["SecurityGroupIngress"][1]["Fn::If"]
    assert nothing == {"Ref": "AWS::NoValue"}
    assert rule["CidrIp"] == {"Ref": "ManagementCIDR"}
    assert document["Conditions"][condition] == {
        "Fn::Or": [
            {"Condition": "ApplicationByGroup"},
            {"Fn::Not": [{"Fn::Equals": [{"Ref": "ManagementCIDR"}, {"Ref": "ApplicationSubnetCIDR"}]}]},
        ]
    }


# Password rotation


def test_the_rotation_function_reaches_the_database_and_the_endpoint_and_nothing_else(document: Document) -> None:
    egress = properties(document, "RotationSecurityGroup")["SecurityGroupEgress"]
    assert [(rule["ToPort"], rule["DestinationSecurityGroupId"]) for rule in egress] == [
        ({"Ref": "DBPort"}, got("DBSecurityGroup", "GroupId")),
        (443, got("EndpointSecurityGroup", "GroupId")),
    ]
    admitted = of_type(document, "AWS::EC2::SecurityGroupIngress")
    assert {name: rule["GroupId"] for name, rule in admitted.items()} == {
        "DBIngressFromRotation": got("DBSecurityGroup", "GroupId"),
        "EndpointIngressFromRotation": got("EndpointSecurityGroup", "GroupId"),
    }
    assert all(r["SourceSecurityGroupId"] == got("RotationSecurityGroup", "GroupId") for r in admitted.values())


def test_rotation_starts_only_when_it_can_reach_database_and_api(document: Document) -> None:
    assert needs(document, "DBSecretRotation") == [
        *("DBSecretAttachment", "RotationLogs", "DBIngressFromRotation"),
        *("EndpointIngressFromRotation", "SecretsManagerEndpoint"),
    ]


def test_without_the_endpoint_the_rotation_leaves_by_the_gateway() -> None:
    document = made(nat_gateways="single", secrets_endpoint=False)
    assert "EndpointSecurityGroup" not in document["Resources"]
    https = properties(document, "RotationSecurityGroup")["SecurityGroupEgress"][1]
    assert (https["FromPort"], https["ToPort"], https["CidrIp"]) == (443, 443, "0.0.0.0/0")
    ways = {name for n in (1, 2, 3) for name in (f"PrivateSubnet{n}Routes", f"PrivateDefaultRoute{n}")}
    assert ways <= set(needs(document, "DBSecretRotation"))


def test_everything_that_is_waited_for_is_there(variant: Document) -> None:
    for name in variant["Resources"]:
        assert set(needs(variant, name)) <= set(variant["Resources"])


def test_a_rotation_without_a_way_to_secrets_manager_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        settings_from({"secrets_endpoint": False})
    assert "secrets_endpoint=False and nat_gateways=none" in refused.value.why


# Flow logs


def test_accepted_and_rejected_connections_are_logged_encrypted_and_for_a_time(document: Document) -> None:
    flow_log = properties(document, "VPCFlowLog")
    assert (flow_log["TrafficType"], flow_log["ResourceType"], flow_log["ResourceId"]) == ("ALL", "VPC", {"Ref": "VPC"})
    group = properties(document, flow_log["LogGroupName"]["Ref"])
    assert group["RetentionInDays"] in (7, 90)
    assert "DBEncryptionKey" in json.dumps(group["KmsKeyId"])


def test_the_flow_logs_role_is_the_services_own_and_writes_into_that_group_only(document: Document) -> None:
    (trusted,) = properties(document, "FlowLogRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert trusted["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    (written,) = properties(document, "FlowLogPolicy")["PolicyDocument"]["Statement"]
    assert written["Resource"] == got("FlowLogGroup", "Arn")
    assert "logs:CreateLogGroup" not in written["Action"], "the group would come back after the stack's deletion"
