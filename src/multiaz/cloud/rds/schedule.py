"""When a secret is rotated next: `AutomaticallyAfterDays`, `rate(…)` and `cron(…)`, computed purely.

Source: Secrets Manager user guide, "Schedule expressions in Secrets Manager rotation". All times are UTC.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

LATEST_YEARS = 8
"""A cron expression that names no day within this many years names none (29 February comes within 8)."""


class ScheduleError(ValueError):
    """The rules are not what Secrets Manager takes; the message says why."""


def check(rules: dict[str, Any]) -> None:
    """Raise ScheduleError unless the rotation rules can be followed."""
    days, expression = rules.get("AutomaticallyAfterDays"), rules.get("ScheduleExpression")
    if days is not None and expression is not None:
        raise ScheduleError("either AutomaticallyAfterDays or ScheduleExpression may be given, not both")
    if days is not None and not 1 <= days <= 1000:
        raise ScheduleError("RotationRules.AutomaticallyAfterDays must be within 1-1000.")
    duration = rules.get("Duration")
    if duration is not None and not re.fullmatch(r"[1-9][0-9]?h", duration):
        raise ScheduleError(f"Duration is a number of hours, such as 3h: {duration}")
    if expression is not None:
        next_after(rules, datetime.now(UTC))


def next_after(rules: dict[str, Any], last: datetime) -> datetime | None:
    """The first moment after `last` at which the rules want a rotation; None if they never do."""
    days, expression = rules.get("AutomaticallyAfterDays"), rules.get("ScheduleExpression")
    if days is not None:
        return last + timedelta(days=days)
    if expression is None:
        return None
    rate = re.fullmatch(r"rate\(([0-9]{1,6}) (hour|hours|day|days)\)", expression)
    if rate:
        hours = int(rate[1]) * (24 if rate[2].startswith("day") else 1)
        if not 4 <= hours <= 999 * 24:
            raise ScheduleError(f"a rotation is due every 4 hours to 999 days: {expression}")
        return last + timedelta(hours=hours)
    cron = re.fullmatch(r"cron\((.+)\)", expression)
    if cron is None:
        raise ScheduleError(f"ScheduleExpression is rate(N hours|days) or cron(six fields): {expression}")
    return _Cron.parse(cron[1]).after(last)


_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}


def _field(text: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    """The numbers a cron field stands for: `*`, lists, ranges, steps, names."""
    numbers: set[int] = set()
    for part in text.upper().split(","):
        span, _, step_text = part.partition("/")
        if step_text and not _is_number(step_text):
            raise ScheduleError(f"unknown step in a cron field: {part}")
        step = int(step_text) if step_text else 1
        first_text, dash, last_text = span.partition("-")
        if span in ("*", "?"):
            first, last = low, high
        else:
            first = _number(first_text, names)
            last = _number(last_text, names) if dash else high if step_text else first
        if not low <= first <= last <= high or step < 1:
            raise ScheduleError(f"a cron field is out of range: {part}")
        numbers.update(range(first, last + 1, step))
    return frozenset(numbers)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _number(text: str, names: dict[str, int] | None) -> int:
    if names and text in names:
        return names[text]
    if not _is_number(text):
        raise ScheduleError(f"unknown word in a cron field: {text}")
    return int(text)


@dataclass(frozen=True)
class _Cron:
    """`minutes hours day-of-month month day-of-week year`, as EventBridge and Secrets Manager write it."""

    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    days: str
    weekdays: str

    @staticmethod
    def parse(text: str) -> _Cron:
        fields = text.split()
        if len(fields) != 6:
            raise ScheduleError(f"a cron expression has six fields: {text}")
        minutes, hours, days, months, weekdays, year = fields
        if year != "*":
            raise ScheduleError(f"the year of a cron expression must be *: {text}")
        if (days == "?") == (weekdays == "?"):
            raise ScheduleError(f"one of day-of-month and day-of-week must be ?: {text}")
        cron = _Cron(_field(minutes, 0, 59), _field(hours, 0, 23), _field(months, 1, 12, _MONTHS), days, weekdays)
        cron.matches_day(datetime(2024, 1, 1, tzinfo=UTC))
        return cron

    def after(self, last: datetime) -> datetime:
        """The first matching minute after `last`."""
        for day in self._days_from(last):
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    moment = day.replace(hour=hour, minute=minute)
                    if moment > last:
                        return moment
        raise ScheduleError("the cron expression never comes")

    def _days_from(self, last: datetime) -> Iterator[datetime]:
        day = last.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for number in range(366 * LATEST_YEARS):
            candidate = day + timedelta(days=number)
            if candidate.month in self.months and self.matches_day(candidate):
                yield candidate

    def matches_day(self, day: datetime) -> bool:
        """True if the expression names this day."""
        if self.weekdays == "?":
            days_of_month = calendar.monthrange(day.year, day.month)[1]
            if self.days.upper() == "L":
                return day.day == days_of_month
            return day.day in _field(self.days, 1, 31)
        weekday = day.isoweekday() % 7 + 1
        nth = re.fullmatch(r"(\w+)#([1-5])", self.weekdays)
        if nth:
            return weekday == _number(nth[1].upper(), _WEEKDAYS) and (day.day - 1) // 7 + 1 == int(nth[2])
        final = re.fullmatch(r"(\d|[A-Za-z]{3})L", self.weekdays)
        if final:
            in_last_week = day.day + 7 > calendar.monthrange(day.year, day.month)[1]
            return weekday == _number(final[1].upper(), _WEEKDAYS) and in_last_week
        return weekday in _field(self.weekdays, 1, 7, _WEEKDAYS)
