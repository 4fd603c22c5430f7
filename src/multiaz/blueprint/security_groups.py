"""Who may reach what: the database, the password rotation function, the Secrets Manager endpoint.

Rules name security groups where they can, so they hold whatever the networks are. Where two groups would wait for each
other, the rule that lets in is a resource of its own.
"""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, If, NoValue, Ref, ec2

from multiaz.blueprint.expressions import tags
from multiaz.blueprint.nat import EVERYWHERE
from multiaz.blueprint.parameters import APPLICATION_BY_GROUP
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.subnets import vpc_cidr, vpc_id

NO_EGRESS = {"IpProtocol": "-1", "CidrIp": "127.0.0.1/32", "Description": "Nothing leaves"}
"""Without a rule of its own a security group lets everything out; this one matches nothing."""


def rule_names(s: Settings) -> list[str]:
    """Logical ids of the rules that let the password rotation function in."""
    return ["DBIngressFromRotation", *(["EndpointIngressFromRotation"] if s.secrets_endpoint else [])]


def security_groups(s: Settings) -> list[Any]:
    """The groups and their rules."""
    return [_database(s), _rotation(s), *_rotation_reaches_database(), *(_endpoint(s) if s.secrets_endpoint else [])]


def _database(s: Settings) -> Any:
    """Admits the application, by its security group or else by its network, and management."""
    application = "PostgreSQL from the application"
    return ec2.SecurityGroup(
        "DBSecurityGroup",
        GroupDescription="PostgreSQL: the database port from the application and from management",
        VpcId=vpc_id(s),
        SecurityGroupIngress=[
            If(
                APPLICATION_BY_GROUP,
                _postgresql(application, SourceSecurityGroupId=Ref("ApplicationSecurityGroupId")),
                _postgresql(f"{application} subnet", CidrIp=Ref("ApplicationSubnetCIDR")),
            ),
            If(
                "ManagementElsewhere",
                _postgresql("PostgreSQL from management", CidrIp=Ref("ManagementCIDR")),
                NoValue,
            ),
        ],
        SecurityGroupEgress=[NO_EGRESS],
        Tags=tags("db"),
    )


def _rotation(s: Settings) -> Any:
    """Without an endpoint of the stack's, Secrets Manager is wherever its public name leads."""
    description = "HTTPS to Secrets Manager"
    return ec2.SecurityGroup(
        "RotationSecurityGroup",
        GroupDescription="Password rotation function: to the database and to Secrets Manager",
        VpcId=vpc_id(s),
        SecurityGroupEgress=[
            _postgresql("PostgreSQL to the database", DestinationSecurityGroupId=GetAtt("DBSecurityGroup", "GroupId")),
            _https(f"{description} endpoint", DestinationSecurityGroupId=GetAtt("EndpointSecurityGroup", "GroupId"))
            if s.secrets_endpoint
            else _https(description, CidrIp=EVERYWHERE),
        ],
        Tags=tags("db-rotation"),
    )


def _rotation_reaches_database() -> list[Any]:
    return [
        ec2.SecurityGroupIngress(
            "DBIngressFromRotation",
            GroupId=GetAtt("DBSecurityGroup", "GroupId"),
            **_postgresql(
                "PostgreSQL from the password rotation function",
                SourceSecurityGroupId=GetAtt("RotationSecurityGroup", "GroupId"),
            ),
        )
    ]


def _endpoint(s: Settings) -> list[Any]:
    """Private DNS leads everybody in the VPC who asks for Secrets Manager to the endpoint: everybody is admitted, the
    application that reads its connection facts and, in an existing VPC, those who asked before. IAM says who gets what.

    The rotation function is admitted by its group besides, whatever the settings say of an existing VPC's network.
    """
    return [
        ec2.SecurityGroup(
            "EndpointSecurityGroup",
            GroupDescription="Secrets Manager endpoint: HTTPS from the VPC, whose DNS leads here",
            VpcId=vpc_id(s),
            SecurityGroupIngress=[_https("HTTPS from the VPC", CidrIp=vpc_cidr(s))],
            SecurityGroupEgress=[NO_EGRESS],
            Tags=tags("secrets-endpoint"),
        ),
        ec2.SecurityGroupIngress(
            "EndpointIngressFromRotation",
            GroupId=GetAtt("EndpointSecurityGroup", "GroupId"),
            **_https(
                "HTTPS from the password rotation function",
                SourceSecurityGroupId=GetAtt("RotationSecurityGroup", "GroupId"),
            ),
        ),
    ]


def _postgresql(description: str, **peer: Any) -> dict[str, Any]:
    return _tcp(Ref("DBPort"), description, peer)


def _https(description: str, **peer: Any) -> dict[str, Any]:
    return _tcp(443, description, peer)


def _tcp(port: Any, description: str, peer: dict[str, Any]) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **peer, "Description": description}
