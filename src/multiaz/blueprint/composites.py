"""Composite alarms as data: what several alarms together mean to the shop, and why the rule is that.

A composite is worth having where its meaning is nobody's alone. Rules name alarms, which must be in `ALARMS`.
Limits: 10,240 characters of rule, 100 alarms in it. Source: Amazon CloudWatch API reference, PutCompositeAlarm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from multiaz.blueprint.alarms import ALARMS, Alarm, Severity
from multiaz.blueprint.members import Member, members, replicas
from multiaz.blueprint.settings import Settings

MAX_RULE_LENGTH = 10_240
MAX_ALARMS_OF_A_RULE = 100

_BY_NAME: Mapping[str, Alarm] = MappingProxyType({alarm.name: alarm for alarm in ALARMS})


@dataclass(frozen=True)
class Cause:
    """One reason for a composite to ring: in each of the groups an alarm rings, on the primary or on every replica."""

    groups: tuple[tuple[str, ...], ...]
    on: Literal["primary", "every replica"]
    reason: str

    def members(self, s: Settings) -> tuple[Member, ...]:
        """The instances whose alarms count."""
        return members(s)[:1] if self.on == "primary" else replicas(s)

    def alarm_ids(self, s: Settings) -> tuple[str, ...]:
        """Logical ids of the alarms it reads."""
        return tuple(
            _BY_NAME[name].logical_id(member) for member in self.members(s) for group in self.groups for name in group
        )

    def rule(self, s: Settings) -> str:
        """Body of a Fn::Sub: its part of the rule; empty if there is no such instance."""
        parts = [self._any_of(group, member) for member in self.members(s) for group in self.groups]
        return f"({' AND '.join(parts)})" if len(parts) > 1 else "".join(parts)

    def words(self) -> str:
        """The same for people."""
        groups = " and ".join(" or ".join(group) for group in self.groups)
        return f"{groups} of {'the primary' if self.on == 'primary' else 'every replica'}"

    def _any_of(self, group: tuple[str, ...], member: Member) -> str:
        terms = [f'ALARM("${{{_BY_NAME[name].logical_id(member)}}}")' for name in group]
        return f"({' OR '.join(terms)})" if len(terms) > 1 else terms[0]


@dataclass(frozen=True)
class Composite:
    """One composite alarm: it rings for any of its causes."""

    logical_id: str
    severity: Severity
    meaning: str
    causes: tuple[Cause, ...]

    def rule(self, s: Settings) -> str:
        """Body of a Fn::Sub: the rule, a line for each cause; empty if no cause has an instance."""
        return " OR\n".join(rule for cause in self.causes if (rule := cause.rule(s)))

    def alarm_ids(self, s: Settings) -> tuple[str, ...]:
        """Logical ids of the alarms it reads."""
        return tuple(dict.fromkeys(name for cause in self.causes for name in cause.alarm_ids(s)))


COMPOSITES: tuple[Composite, ...] = (
    Composite(
        "ShopDownAlarm",
        "critical",
        "the shop is down: no orders, or no catalogue",
        (
            Cause(
                (("Silent",),),
                "primary",
                "without the primary there are no orders; a failover is over before five silent minutes are",
            ),
            Cause(
                (("StorageFull",),),
                "primary",
                "a full primary takes no writes; 10 % free is reason to act, not an outage",
            ),
            Cause(
                (("Connections",), ("CPU", "Load")),
                "primary",
                "full of sessions that do not finish: new ones are refused. Many connections alone may be idle pools",
            ),
            Cause(
                (("Silent",),),
                "every replica",
                "the catalogue is read from the readers, and the primary cannot carry their load",
            ),
        ),
    ),
    Composite(
        "ReadersStaleAlarm",
        "critical",
        "no reader is current: the shop sells what is gone; lead reads to the primary, or find what holds replay up",
        (
            Cause(
                (("Lag",),),
                "every replica",
                "one stale reader can be left out, if all are there is none to lead readers to; "
                "lag without data breaches, so readers that are gone count",
            ),
        ),
    ),
)


def composites(s: Settings) -> tuple[Composite, ...]:
    """Those that have anything to watch: without replicas nobody reads stale data."""
    return tuple(composite for composite in COMPOSITES if composite.rule(s))
