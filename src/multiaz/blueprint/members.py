"""The DB instances of the stack: the primary and its read replicas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiaz.blueprint.settings import Settings

PRIMARY = "PrimaryDB"


@dataclass(frozen=True)
class Member:
    """One DB instance: `number` is 0 for the primary, else that of the replica."""

    number: int

    @property
    def is_primary(self) -> bool:
        """The one that takes writes."""
        return self.number == 0

    @property
    def logical_id(self) -> str:
        """Its logical id in the template."""
        return PRIMARY if self.is_primary else f"ReadReplica{self.number}"

    @property
    def short_name(self) -> str:
        """The part of its name between prefix and suffix."""
        return "primary" if self.is_primary else f"replica-{self.number}"

    @property
    def label(self) -> str:
        """What people call it."""
        return "primary" if self.is_primary else f"replica {self.number}"

    @property
    def phrase(self) -> str:
        """The label as it stands in a sentence."""
        return "the primary" if self.is_primary else self.label

    @property
    def word(self) -> str:
        """Its word in names of exports and outputs."""
        return "Primary" if self.is_primary else f"Replica{self.number}"

    @property
    def class_parameter(self) -> str:
        """The parameter that holds its class."""
        return "DBInstanceClass" if self.is_primary else "ReadReplicaInstanceClass"

    @property
    def name(self) -> str:
        """Body of a Fn::Sub: its DBInstanceIdentifier."""
        return f"ecommerce-db-{self.short_name}-${{EnvironmentSuffix}}"


def members(s: Settings) -> tuple[Member, ...]:
    """Every instance, the primary first."""
    return (Member(0), *replicas(s))


def replicas(s: Settings) -> tuple[Member, ...]:
    """The read replicas."""
    return tuple(Member(number) for number in range(1, s.read_replicas + 1))
