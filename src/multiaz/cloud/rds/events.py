"""RDS events: what happened, when, to whom; kept for 14 days, and published to subscribers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from multiaz.cloud.rds.describe import arn, time_of, unix_time
from multiaz.cloud.rds.faults import bad_combination, bad_value
from multiaz.cloud.rds.model import Subscription
from multiaz.cloud.rds.paging import filters, page
from multiaz.cloud.service import Context, Operation
from multiaz.cloud.store import Store

KEPT_S = 14 * 86400
DOCUMENTATION = "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Events.Messages.html"

CATEGORIES: dict[str, tuple[str, ...]] = {
    "db-instance": (
        "availability", "backtrack", "backup", "configuration change", "creation", "deletion", "failover",
        "failure", "low storage", "maintenance", "notification", "read replica", "recovery", "restoration",
        "security", "security patching",
    ),
    "db-parameter-group": ("configuration change",),
    "db-security-group": ("configuration change", "failure"),
    "db-snapshot": ("creation", "deletion", "notification", "restoration"),
}  # fmt: skip
"""Source: RDS user guide, "Amazon RDS event categories and event messages"."""

_KINDS = {"db-instance": "db", "db-parameter-group": "pg", "db-security-group": "secgrp", "db-snapshot": "snapshot"}

_CODES: dict[str, tuple[str, ...]] = {
    "creation": ("0005", "0042", "0091"),
    "deletion": ("0003", "0041"),
    "availability": ("0004", "0006", "0022", "0221"),
    "backup": ("0001", "0002", "0040", "0090"),
    "failover": ("0013", "0015", "0034", "0049", "0050", "0051", "0065"),
    "failure": ("0031", "0035", "0036", "0058", "0079", "0080", "0081", "0082", "0254"),
    "low storage": ("0007", "0089"),
    "maintenance": ("0026", "0027", "0047", "0155", "0195", "0264"),
    "notification": ("0044", "0048", "0054", "0055", "0056", "0087", "0088", "0154", "0159", "0160", "0161"),
    "read replica": ("0045", "0046", "0057", "0062", "0063", "0202"),
    "recovery": ("0020", "0021", "0023", "0052", "0053", "0066", "0166"),
    "restoration": ("0008", "0019", "0043"),
    "configuration change": (
        "0009", "0010", "0011", "0012", "0014", "0016", "0017", "0018", "0024", "0025", "0028", "0029", "0030",
        "0032", "0033", "0037", "0067", "0078", "0092", "0217", "0218",
    ),
    "security": ("0068",),
}  # fmt: skip
_CATEGORY = {f"RDS-EVENT-{code}": category for category, codes in _CODES.items() for code in codes}


def category_of(code: str) -> str:
    """The category an event belongs to."""
    return _CATEGORY.get(code, "notification")


_DDL = """
CREATE TABLE IF NOT EXISTS rds_events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    region TEXT NOT NULL,
    source_type TEXT NOT NULL,
    source TEXT NOT NULL,
    at REAL NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    published INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS rds_events_at ON rds_events (region, at);
CREATE INDEX IF NOT EXISTS rds_events_unpublished ON rds_events (number) WHERE published = 0;
"""


@dataclass(frozen=True)
class Event:
    """One event."""

    number: int
    region: str
    source_type: str
    source: str
    at: float
    code: str
    message: str

    @property
    def category(self) -> str:
        """Its category."""
        return category_of(self.code)

    @property
    def source_arn(self) -> str:
        """The ARN of what it happened to."""
        return arn(self.region, _KINDS[self.source_type], self.source)

    def shape(self) -> dict[str, Any]:
        """One Event of the API."""
        return {
            "SourceIdentifier": self.source,
            "SourceType": self.source_type,
            "Message": self.message,
            "EventCategories": [self.category],
            "Date": time_of(self.at),
            "SourceArn": self.source_arn,
        }

    def notification(self, tags: dict[str, str]) -> dict[str, Any]:
        """The body of the SNS message; `tags` are those of what it happened to."""
        moment = time_of(self.at)
        return {
            "Event Source": self.source_type,
            "Event Time": moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}",
            "Identifier Link": (
                f"https://console.aws.amazon.com/rds/home?region={self.region}#dbinstance:id={self.source}"
            ),
            "Source ID": self.source,
            "Source ARN": self.source_arn,
            "Event ID": f"{DOCUMENTATION}#{self.code}",
            "Event Message": self.message,
            "Tags": tags,
        }


def matches(subscription: Subscription, event: Event) -> bool:
    """True if a subscriber wants to be told of an event."""
    return (
        subscription.enabled
        and subscription.region == event.region
        and subscription.source_type in (None, event.source_type)
        and (not subscription.sources or event.source in subscription.sources)
        and (not subscription.categories or event.category in subscription.categories)
    )


class EventLog:
    """The events of all regions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.on_add: Callable[[], None] = lambda: None
        """Called after an event was kept."""
        store.create(_DDL)

    def add(self, region: str, source_type: str, source: str, code: str, message: str, at: float | None = None) -> None:
        """Keep one event; `code` is "RDS-EVENT-nnnn"."""
        moment = datetime.now(UTC).timestamp() if at is None else at
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO rds_events (region, source_type, source, at, code, message) VALUES (?, ?, ?, ?, ?, ?)",
                (region, source_type, source, moment, code, message),
            )
        self.on_add()

    def unpublished(self) -> list[Event]:
        """Events whose subscribers have not been told, oldest first."""
        return self._read("WHERE published = 0 ORDER BY number", ())

    def mark_published(self, numbers: Sequence[int]) -> None:
        """Remember that the subscribers of these events have been told."""
        with self._store.transaction() as connection:
            connection.executemany(
                "UPDATE rds_events SET published = 1 WHERE number = ?", [(number,) for number in numbers]
            )

    def forget_old(self) -> None:
        """Drop events older than RDS keeps them."""
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM rds_events WHERE at < ?", (datetime.now(UTC).timestamp() - KEPT_S,))

    def between(self, region: str, start: float, end: float) -> list[Event]:
        """Events of one region in a span of time, oldest first."""
        return self._read("WHERE region = ? AND at >= ? AND at <= ? ORDER BY at, number", (region, start, end))

    def _read(self, rest: str, values: tuple[object, ...]) -> list[Event]:
        rows = self._store.rows(
            f"SELECT number, region, source_type, source, at, code, message FROM rds_events {rest}",  # noqa: S608
            values,
        )
        return [Event(**dict(row)) for row in rows]


class EventActions:
    """DescribeEvents and DescribeEventCategories."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.operations: dict[str, Operation] = {
            "DescribeEvents": self.describe,
            "DescribeEventCategories": self.describe_categories,
        }

    def describe(self, context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeEvents."""
        filters(params, ())
        source, source_type = params.get("SourceIdentifier"), params.get("SourceType")
        if source_type is not None and source_type not in CATEGORIES:
            raise bad_value(f"Invalid source type: {source_type}. It must be one of: {', '.join(CATEGORIES)}.")
        if source and source_type is None:
            raise bad_combination("SourceType must be specified when SourceIdentifier is specified.")
        start, end = _span(params)
        wanted = set(params.get("EventCategories") or ())
        found = [
            event
            for event in self._log.between(context.region, start, end)
            if source_type in (None, event.source_type)
            and (not source or source.lower() == event.source)
            and (not wanted or event.category in wanted)
        ]
        chosen, more = page(found, lambda event: f"{event.at:020.6f}/{event.number:012d}", params)
        return {"Events": [event.shape() for event in chosen], **more}

    def describe_categories(self, _context: Context, params: dict[str, Any]) -> dict[str, Any]:
        """DescribeEventCategories."""
        filters(params, ())
        source_type = params.get("SourceType")
        if source_type is not None and source_type not in CATEGORIES:
            raise bad_value(f"Invalid source type: {source_type}. It must be one of: {', '.join(CATEGORIES)}.")
        return {
            "EventCategoriesMapList": [
                {"SourceType": name, "EventCategories": list(categories)}
                for name, categories in CATEGORIES.items()
                if source_type in (None, name)
            ]
        }


def _span(params: dict[str, Any]) -> tuple[float, float]:
    now = datetime.now(UTC).timestamp()
    start, end, minutes = params.get("StartTime"), params.get("EndTime"), params.get("Duration")
    if minutes is not None and (start is not None or end is not None):
        raise bad_combination("Duration cannot be combined with StartTime or EndTime.")
    if minutes is not None and not 1 <= minutes <= 20160:
        raise bad_value(f"Duration must be between 1 and 20160 minutes: {minutes}")
    last = unix_time(end) if end is not None else now
    first = unix_time(start) if start is not None else last - (minutes or 60) * 60
    if first > last:
        raise bad_combination("StartTime must be before EndTime.")
    return first, last
