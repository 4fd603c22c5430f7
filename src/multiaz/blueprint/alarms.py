"""The alarms as data: what is watched, on which instances, from which figure on, how urgent, and why.

Metrics, statistics, periods and the treatment of missing data are those AWS recommends; thresholds are in the
metric's own unit (`rds_metrics.UNITS`). What has no "AWS recommends" figure says where its figure comes from.
Source: Amazon CloudWatch user guide, "Recommended alarms", section Amazon RDS.
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
from multiaz.blueprint.rds_metrics import UNITS
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.tuning import SLOT_WAL_PERCENT

PERIOD_S = 60
MIB = 1024**2
Where = Literal["all", "primary", "replicas"]
Severity = Literal["critical", "warning"]
"""critical: customers notice, somebody is woken; warning: somebody looks in working hours.

Both notify one topic. Each description begins with its severity, so a subscription can take one of them by a
filter on the message: `{"AlarmDescription": [{"prefix": "critical"}]}` with the scope MessageBody.
"""


@dataclass(frozen=True)
class Alarm:
    """One alarm on one metric of `AWS/RDS`, for each instance of `where`; all `minutes` in a row must be bad.

    `threshold` is a number in the metric's own unit, or a column of the class mapping. With
    `percent_of_storage` it is a percentage of the parameter AllocatedStorage: RDS publishes no metric of the size
    a volume has now. Storage autoscaling raises the size and not the parameter, so once it has worked the
    figure in bytes stays what it was, below the 10 % of the *grown* volume at which autoscaling acts:
    the alarm then means that autoscaling is at its limit or did not come. Whoever deploys again with AllocatedStorage
    at the grown size has percentages of that.
    """

    name: str
    metric: str
    statistic: str
    direction: Literal["above", "below"]
    threshold: float | str
    minutes: int
    missing: Literal["breaching", "missing"]
    where: Where
    severity: Severity
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
        return f"{member.logical_id}{self.name}Alarm"

    def severity_of(self, member: Member) -> Severity:
        """A reader can be missed: others serve. That none does is for a composite alarm to say."""
        return self.severity if member.is_primary else "warning"

    @property
    def unit(self) -> str:
        """Unit of the threshold."""
        if self.percent_of_storage:
            return "% of the allocated storage"
        return "samples" if self.statistic == "SampleCount" else UNITS[self.metric]


ALARMS: tuple[Alarm, ...] = (
    # The instance
    Alarm(
        name="Silent",
        metric="DatabaseConnections",
        statistic="SampleCount",
        direction="below",
        threshold=1,
        # A failover takes one or two minutes, in which there are no figures either.
        minutes=5,
        # The alarms on figures breach without data too, but they cannot tell silence from a bad figure.
        missing="breaching",
        where="all",
        severity="critical",
        meaning="no figures for 5 minutes: the instance is not running",
    ),
    Alarm(
        name="CPU",
        metric="CPUUtilization",
        statistic="Average",
        direction="above",
        threshold=90,
        minutes=5,
        missing="breaching",
        where="all",
        severity="warning",
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
        where="all",
        severity="critical",
        meaning="more active sessions than processors: requests wait for each other",
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
        severity="critical",
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
        where="all",
        severity="warning",
        meaning=f"less than {FREEABLE_MEMORY_ALARM_PERCENT} % of memory freeable",
    ),
    Alarm(
        name="Swap",
        metric="SwapUsage",
        statistic="Average",
        direction="above",
        threshold=256 * MIB,
        minutes=5,
        missing="missing",
        where="all",
        severity="warning",
        meaning="more than 256 MiB swapped out: memory is short",
    ),
    # Storage
    Alarm(
        name="StorageWarning",
        metric="FreeStorageSpace",
        statistic="Minimum",
        direction="below",
        threshold=20,
        minutes=5,
        missing="breaching",
        where="all",
        severity="warning",
        meaning="free storage is below 20 % of the size at deployment: autoscaling begins at 10 %, once in 6 hours",
        percent_of_storage=True,
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
        severity="critical",
        meaning="free storage is below 10 % of the size at deployment: autoscaling did not help, or is at its limit",
        percent_of_storage=True,
    ),
    Alarm(
        name="StorageFull",
        metric="FreeStorageSpace",
        statistic="Minimum",
        direction="below",
        threshold=1,
        minutes=1,
        missing="missing",
        # A full reader stops replay, which its lag tells; a full primary stops the shop.
        where="primary",
        severity="critical",
        meaning="free storage is below 1 % of the size at deployment: RDS stops the instance when nothing is left",
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
        severity="warning",
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
        # A reader writes too: it replays the primary's WAL.
        where="all",
        severity="warning",
        meaning="one write in ten takes more than 20 ms",
    ),
    Alarm(
        name="Queue",
        metric="DiskQueueDepth",
        statistic="Average",
        direction="above",
        threshold=64,
        minutes=5,
        missing="missing",
        where="all",
        severity="warning",
        meaning="more than 64 requests wait for the disk",
    ),
    # Classes that do not burst publish no balance: without data these alarms have no state and never ring.
    Alarm(
        name="ByteBalance",
        metric="EBSByteBalance%",
        statistic="Average",
        direction="below",
        threshold=10,
        minutes=3,
        missing="missing",
        where="all",
        severity="warning",
        meaning="less than 10 % of the class's throughput burst left",
    ),
    Alarm(
        name="OperationBalance",
        metric="EBSIOBalance%",
        statistic="Average",
        direction="below",
        threshold=10,
        minutes=3,
        missing="missing",
        where="all",
        severity="warning",
        meaning="less than 10 % of the class's I/O burst left",
    ),
    # Replication and WAL
    Alarm(
        name="Lag",
        metric="ReplicaLag",
        statistic="Maximum",
        direction="above",
        threshold=60,
        # An idle primary shows up to 5 minutes of lag, for lack of a commit to replay.
        minutes=10,
        missing="breaching",
        where="replicas",
        severity="warning",
        meaning="it shows data more than 60 s old, or does not replicate at all",
    ),
    Alarm(
        name="SlotLag",
        metric="OldestReplicationSlotLag",
        statistic="Average",
        direction="above",
        threshold=SLOT_WAL_PERCENT // 2,
        minutes=5,
        missing="missing",
        where="primary",
        severity="warning",
        meaning="a replication slot is half way to max_slot_wal_keep_size: beyond it a reader catches up from the "
        "archive, slowly, and a logical slot is lost",
        percent_of_storage=True,
    ),
    Alarm(
        name="WalSize",
        metric="TransactionLogsDiskUsage",
        statistic="Average",
        direction="above",
        threshold=20,
        minutes=5,
        missing="missing",
        where="primary",
        severity="warning",
        meaning="WAL fills more than 20 % of the size at deployment: a replication slot or the archive holds it back",
        percent_of_storage=True,
    ),
    Alarm(
        name="TransactionIds",
        metric="MaximumUsedTransactionIDs",
        statistic="Average",
        direction="above",
        threshold=1_000_000_000,
        minutes=1,
        missing="missing",
        # A reader has the figure by replay and cannot vacuum: it would only ring along.
        where="primary",
        severity="warning",
        meaning="vacuum does not keep up: wraparound at 2.1 billion stops all writes",
    ),
)
