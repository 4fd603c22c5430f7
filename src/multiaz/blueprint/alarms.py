"""The alarms as data: what is watched, on which instances, from which figure on, and why.

Statistics, periods and the treatment of missing data are those AWS recommends; `ReplicaLag` is in
seconds and `ReadLatency` too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from multiaz.blueprint.instance_classes import (
    CONNECTIONS_ALARM_PERCENT,
    FREEABLE_MEMORY_ALARM_PERCENT,
)
from multiaz.blueprint.members import Member, members, replicas
from multiaz.blueprint.parameters import CONNECTIONS_ALARM, MEMORY_ALARM, VCPU
from multiaz.blueprint.settings import Settings

PERIOD_S = 60
Where = Literal["all", "primary", "replicas"]


@dataclass(frozen=True)
class Alarm:
    """One alarm on one metric of `AWS/RDS`, for each instance of `where`.

    `threshold` is a number in the metric's own unit, or a column of the class mapping; with
    `percent_of_storage` it is a percentage of the allocated storage, and one alarm watches the lowest of
    all instances, which hold the same data in equal volumes.
    """

    name: str
    metric: str
    statistic: str
    direction: Literal["above", "below"]
    threshold: float | str
    minutes: int
    missing: Literal["breaching", "missing"]
    where: Where
    meaning: str
    percent_of_storage: bool = False

    def members(self, s: Settings) -> tuple[Member, ...]:
        """The instances it watches."""
        match self.where:
            case "all":
                return members(s)
            case "primary":
                return members(s)[:1]
            case "replicas":
                return replicas(s)

    def logical_id(self, member: Member) -> str:
        """Logical id of the alarm of one instance."""
        return f"Lowest{self.name}Alarm" if self.percent_of_storage else f"{member.logical_id}{self.name}Alarm"

    def logical_ids(self, s: Settings) -> list[str]:
        """Logical ids of the alarms this one becomes, in the order of the instances."""
        return list(dict.fromkeys(self.logical_id(member) for member in self.members(s)))


ALARMS: tuple[Alarm, ...] = (
    Alarm(
        name="CPU",
        metric="CPUUtilization",
        statistic="Average",
        direction="above",
        threshold=90,
        minutes=5,
        missing="breaching",
        where="all",
        meaning="CPU above 90 %",
    ),
    Alarm(
        name="Load",
        metric="DBLoad",
        statistic="Average",
        direction="above",
        threshold=VCPU,
        minutes=15,
        missing="missing",
        where="primary",
        meaning="more active sessions than processors",
    ),
    Alarm(
        name="Connections",
        metric="DatabaseConnections",
        statistic="Average",
        direction="above",
        threshold=CONNECTIONS_ALARM,
        minutes=5,
        missing="breaching",
        where="all",
        meaning=f"more than {CONNECTIONS_ALARM_PERCENT} % of the connections the class has memory for",
    ),
    Alarm(
        name="Memory",
        metric="FreeableMemory",
        statistic="Average",
        direction="below",
        threshold=MEMORY_ALARM,
        minutes=15,
        missing="breaching",
        where="primary",
        meaning=f"less than {FREEABLE_MEMORY_ALARM_PERCENT} % of memory freeable",
    ),
    Alarm(
        name="Storage",
        metric="FreeStorageSpace",
        statistic="Minimum",
        direction="below",
        threshold=10,
        minutes=5,
        missing="breaching",
        where="all",
        meaning="less than 10 % of storage free: autoscaling did not help, or is at its limit",
        percent_of_storage=True,
    ),
    Alarm(
        name="ReadLatency",
        metric="ReadLatency",
        statistic="p90",
        direction="above",
        threshold=0.02,
        minutes=5,
        missing="missing",
        where="all",
        meaning="one read in ten takes more than 20 ms",
    ),
    Alarm(
        name="WriteLatency",
        metric="WriteLatency",
        statistic="p90",
        direction="above",
        threshold=0.02,
        minutes=5,
        missing="missing",
        where="primary",
        meaning="one write in ten takes more than 20 ms",
    ),
    Alarm(
        name="Lag",
        metric="ReplicaLag",
        statistic="Maximum",
        direction="above",
        threshold=60,
        minutes=10,
        missing="breaching",
        where="replicas",
        meaning="readers see data more than 60 s old",
    ),
    Alarm(
        name="TransactionIds",
        metric="MaximumUsedTransactionIDs",
        statistic="Average",
        direction="above",
        threshold=1_000_000_000,
        minutes=1,
        missing="missing",
        where="primary",
        meaning="vacuum does not keep up: wraparound at 2.1 billion stops all writes",
    ),
)
