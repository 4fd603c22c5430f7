"""VPC, database subnets in separate zones, endpoints instead of a NAT gateway, security groups."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, GetAZs, If, NoValue, Ref, Select, Sub, ec2

from multiaz.blueprint.addressing import database_subnets
from multiaz.blueprint.expressions import tags
from multiaz.blueprint.members import Member
from multiaz.blueprint.settings import Settings

NO_EGRESS = {"IpProtocol": "-1", "CidrIp": "127.0.0.1/32", "Description": "Nothing leaves"}
"""Without a rule of its own a security group lets everything out; this one matches nothing."""


def subnet_ids(s: Settings) -> list[str]:
    """Logical ids of the database subnets."""
    return [f"PrivateSubnet{number}" for number in range(1, s.zones + 1)]


def subnet_refs(s: Settings) -> list[Any]:
    """The ids of the database subnets."""
    return [Ref(name) for name in subnet_ids(s)]


def replica_zone(s: Settings, member: Member) -> Any:
    """The zone of a read replica: from the last one backwards, so that the first stays the primary's."""
    ids = subnet_ids(s)
    return GetAtt(ids[(member.number - 1 - s.read_replicas) % len(ids)], "AvailabilityZone")


def network(s: Settings) -> list[Any]:
    """Everything of the network."""
    return [*_vpc(s), *_security_groups(), *_endpoints(s)]


def _vpc(s: Settings) -> list[Any]:
    resources: list[Any] = [
        ec2.VPC(
            "VPC",
            CidrBlock=s.vpc_cidr,
            EnableDnsHostnames=True,
            EnableDnsSupport=True,
            Tags=tags("vpc"),
        ),
        ec2.RouteTable("PrivateRouteTable", VpcId=Ref("VPC")),
    ]
    for index, name in enumerate(subnet_ids(s)):
        resources += [
            ec2.Subnet(
                name,
                VpcId=Ref("VPC"),
                CidrBlock=database_subnets(s)[index],
                AvailabilityZone=Select(index, GetAZs("")),
                Tags=tags(f"db-private-{index + 1}"),
            ),
            ec2.SubnetRouteTableAssociation(f"{name}Routes", SubnetId=Ref(name), RouteTableId=Ref("PrivateRouteTable")),
        ]
    return resources


def _security_groups() -> list[Any]:
    def database_port(description: str, cidr: Any) -> Any:
        return {
            "IpProtocol": "tcp",
            "FromPort": Ref("DBPort"),
            "ToPort": Ref("DBPort"),
            "CidrIp": cidr,
            "Description": description,
        }

    return [
        ec2.SecurityGroup(
            "DBSecurityGroup",
            GroupDescription="PostgreSQL: the database port from the application and from management",
            VpcId=Ref("VPC"),
            SecurityGroupIngress=[
                database_port("PostgreSQL from the application subnet", Ref("ApplicationSubnetCIDR")),
                If(
                    "ManagementElsewhere",
                    database_port("PostgreSQL from management", Ref("ManagementCIDR")),
                    NoValue,
                ),
            ],
            SecurityGroupEgress=[NO_EGRESS],
        ),
        ec2.SecurityGroup(
            "RotationSecurityGroup",
            GroupDescription="Password rotation function: to the database and to Secrets Manager",
            VpcId=Ref("VPC"),
            SecurityGroupEgress=[
                database_port("PostgreSQL in this VPC", GetAtt("VPC", "CidrBlock")),
                {
                    "IpProtocol": "tcp",
                    "FromPort": 443,
                    "ToPort": 443,
                    "CidrIp": GetAtt("VPC", "CidrBlock"),
                    "Description": "Secrets Manager endpoint in this VPC",
                },
            ],
        ),
        ec2.SecurityGroup(
            "EndpointSecurityGroup",
            GroupDescription="Secrets Manager endpoint: HTTPS from the password rotation function",
            VpcId=Ref("VPC"),
            SecurityGroupIngress=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": 443,
                    "ToPort": 443,
                    "SourceSecurityGroupId": GetAtt("RotationSecurityGroup", "GroupId"),
                    "Description": "HTTPS from the password rotation function",
                }
            ],
            SecurityGroupEgress=[NO_EGRESS],
        ),
        ec2.SecurityGroupIngress(
            "DBIngressFromRotation",
            GroupId=GetAtt("DBSecurityGroup", "GroupId"),
            IpProtocol="tcp",
            FromPort=Ref("DBPort"),
            ToPort=Ref("DBPort"),
            SourceSecurityGroupId=GetAtt("RotationSecurityGroup", "GroupId"),
            Description="PostgreSQL from the password rotation function",
        ),
    ]


def _endpoints(s: Settings) -> list[Any]:
    """Ways out for what needs one: no NAT gateway is billed for subnets that need no internet."""
    return [
        ec2.VPCEndpoint(
            "S3Endpoint",
            VpcId=Ref("VPC"),
            VpcEndpointType="Gateway",
            ServiceName=Sub("com.amazonaws.${AWS::Region}.s3"),
            RouteTableIds=[Ref("PrivateRouteTable")],
        ),
        ec2.VPCEndpoint(
            "SecretsManagerEndpoint",
            VpcId=Ref("VPC"),
            VpcEndpointType="Interface",
            ServiceName=Sub("com.amazonaws.${AWS::Region}.secretsmanager"),
            SubnetIds=subnet_refs(s),
            SecurityGroupIds=[GetAtt("EndpointSecurityGroup", "GroupId")],
            PrivateDnsEnabled=True,
        ),
    ]
