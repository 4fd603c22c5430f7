"""The networks inside the VPC: where the subnets lie that are placed by themselves."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from multiaz.blueprint import patterns

if TYPE_CHECKING:
    from multiaz.blueprint.settings import Settings

SUBNET_PREFIX = 24
SMALLEST_SUBNET_PREFIX = 28
"""Source: Amazon VPC user guide, Subnet CIDR blocks: between /28 and /16, as for the VPC itself."""
LARGEST_PREFIX = 16
FIRST_BLOCK = 11
"""10.0.11.0/24, 10.0.12.0/24…: away from the application subnet (10.0.1.0/24 by default)."""


def network(text: str) -> IPv4Network:
    """The network `text` names, less than everybody.

    Raises ValueError.
    """
    if not re.match(patterns.CIDR, text):
        raise ValueError("must be an IPv4 network such as 10.0.1.0/24")
    found = IPv4Network(text)  # a ValueError of its own names host bits and bad octets
    if found.prefixlen == 0:
        raise ValueError("a database must not be open to the whole internet")
    return found


def database_subnets(s: Settings) -> tuple[str, ...]:
    """Networks of the database subnets, one a zone: those given, else the first that are free."""
    return s.database_subnet_cidrs or _texts(_free(s)[: s.zones])


def public_subnets(s: Settings) -> tuple[str, ...]:
    """Networks of the NAT gateways' subnets, clear of the application's and the databases'.

    The last that are free: another zone later takes no network that is in use.
    """
    wanted = {"none": 0, "single": 1, "per-zone": s.zones}[s.nat_gateways]
    return _texts(_free(s, taken=database_subnets(s))[::-1][:wanted])


def _texts(blocks: list[IPv4Network]) -> tuple[str, ...]:
    return tuple(str(block) for block in blocks)


def _free(s: Settings, taken: tuple[str, ...] = ()) -> list[IPv4Network]:
    """The blocks of the VPC that meet neither the application's subnet nor `taken`, each of one subnet."""
    return list(_free_blocks(s.vpc_cidr, (s.application_subnet_cidr, *taken)))


@lru_cache(maxsize=64)
def _free_blocks(vpc_cidr: str, taken: tuple[str, ...]) -> tuple[IPv4Network, ...]:
    """Kept, because every part of the template asks again, and a VPC has up to 4,096 blocks."""
    vpc = network(vpc_cidr)
    prefix = min(max(SUBNET_PREFIX, vpc.prefixlen + 4), SMALLEST_SUBNET_PREFIX)
    if prefix < vpc.prefixlen:
        return ()
    held = [network(text) for text in taken]
    blocks = list(vpc.subnets(new_prefix=prefix))
    ordered = blocks[FIRST_BLOCK:] + blocks[:FIRST_BLOCK]
    return tuple(block for block in ordered if not any(block.overlaps(other) for other in held))
