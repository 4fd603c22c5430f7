"""The network as a whole: VPC and subnets, NAT, endpoints, security groups, flow logs."""

from __future__ import annotations

from typing import Any

from multiaz.blueprint.endpoints import SECRETS_ENDPOINT, endpoints
from multiaz.blueprint.flow_logs import flow_logs
from multiaz.blueprint.nat import default_route_names, nat
from multiaz.blueprint.security_groups import rule_names, security_groups
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.subnets import association_names, subnets


def network(s: Settings) -> list[Any]:
    """Private subnets in separate zones (or existing ones), ways in and out, security groups, flow logs."""
    return [*subnets(s), *nat(s), *security_groups(s), *endpoints(s), *flow_logs(s)]


def rotation_needs(s: Settings) -> list[str]:
    """Logical ids of what must be there before the rotation function can reach database and Secrets Manager."""
    ways = [SECRETS_ENDPOINT] if s.secrets_endpoint else [*association_names(s), *default_route_names(s)]
    return [*rule_names(s), *ways]
