"""VPC endpoints: ways to S3 and Secrets Manager that need no internet."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub, ec2

from multiaz.blueprint.expressions import policy, statement, tags
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.subnets import database_subnet_ids, route_table_names, vpc_id

SECRETS_ENDPOINT = "SecretsManagerEndpoint"


def endpoints(s: Settings) -> list[Any]:
    """S3 for the stack's own subnets; Secrets Manager for the password rotation, unless there is another way."""
    return [*([_s3(s)] if s.makes_vpc else []), *([_secrets(s)] if s.secrets_endpoint else [])]


def _s3(s: Settings) -> Any:
    """Buckets of this account only, so that nothing is carried off to another's.

    That takes nothing from RDS: snapshots and their exports leave on RDS's own network, not through the VPC.
    In an existing network the route tables are not the stack's, and neither is their endpoint.
    Source: AWS PrivateLink guide, Gateway endpoints for Amazon S3; IAM user guide, AWS global condition context keys.
    """
    return ec2.VPCEndpoint(
        "S3Endpoint",
        VpcId=vpc_id(s),
        VpcEndpointType="Gateway",
        ServiceName=Sub("com.amazonaws.${AWS::Region}.s3"),
        RouteTableIds=[Ref(name) for name in route_table_names(s)],
        PolicyDocument=policy(
            statement("BucketsOfThisAccount", ["s3:*"], "*", Principal="*", Condition=_account("aws:ResourceAccount"))
        ),
        Tags=tags("s3-endpoint"),
    )


def _secrets(s: Settings) -> Any:
    """For principals of this account only, in the stack's own VPC.

    In an existing VPC private DNS leads everybody there to this endpoint, also those who are no business of this
    stack: they lose nothing. A VPC takes one such endpoint: where there is one already, secrets_endpoint is off.
    Source: AWS PrivateLink guide, Access an AWS service using an interface VPC endpoint.
    """
    allowed = statement(
        "PrincipalsOfThisAccount", ["secretsmanager:*"], "*", Principal="*", Condition=_account("aws:PrincipalAccount")
    )
    return ec2.VPCEndpoint(
        SECRETS_ENDPOINT,
        VpcId=vpc_id(s),
        VpcEndpointType="Interface",
        ServiceName=Sub("com.amazonaws.${AWS::Region}.secretsmanager"),
        SubnetIds=database_subnet_ids(s),
        SecurityGroupIds=[GetAtt("EndpointSecurityGroup", "GroupId")],
        PrivateDnsEnabled=True,
        **({"PolicyDocument": policy(allowed)} if s.makes_vpc else {}),
        Tags=tags("secrets-endpoint"),
    )


def _account(key: str) -> dict[str, Any]:
    return {"StringEquals": {key: Ref("AWS::AccountId")}}
