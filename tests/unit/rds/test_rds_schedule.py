"""Rotation schedules name the moments Secrets Manager would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiaz.cloud.rds.schedule import ScheduleError, check, next_after

LAST = datetime(2026, 11, 23, 13, 20, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"AutomaticallyAfterDays": 30}, LAST + timedelta(days=30)),
        ({"ScheduleExpression": "rate(10 days)"}, LAST + timedelta(days=10)),
        ({"ScheduleExpression": "rate(4 hours)"}, LAST + timedelta(hours=4)),
        ({"ScheduleExpression": "cron(0 16 1,15 * ? *)"}, datetime(2026, 12, 1, 16, tzinfo=UTC)),
        ({"ScheduleExpression": "cron(0 0/8 * * ? *)"}, datetime(2026, 11, 23, 16, tzinfo=UTC)),
        ({"ScheduleExpression": "cron(0 8 ? * SUN *)"}, datetime(2026, 11, 29, 8, tzinfo=UTC)),
        ({"ScheduleExpression": "cron(0 8 ? * 2#1 *)"}, datetime(2026, 12, 7, 8, tzinfo=UTC)),
        ({"ScheduleExpression": "cron(0 8 ? * 6L *)"}, datetime(2026, 11, 27, 8, tzinfo=UTC)),
        ({"ScheduleExpression": "cron(0 2 L * ? *)"}, datetime(2026, 11, 30, 2, tzinfo=UTC)),
        ({"ScheduleExpression": "cron(0 2 29 FEB ? *)"}, datetime(2028, 2, 29, 2, tzinfo=UTC)),
        ({}, None),
    ],
)
def test_the_next_rotation_comes_when_the_rules_say(rules: dict[str, Any], expected: datetime | None) -> None:
    assert next_after(rules, LAST) == expected


@pytest.mark.parametrize(
    "rules",
    [
        {"AutomaticallyAfterDays": 0},
        {"AutomaticallyAfterDays": 1001},
        {"AutomaticallyAfterDays": 3, "ScheduleExpression": "rate(3 days)"},
        {"ScheduleExpression": "rate(3 hours)"},
        {"ScheduleExpression": "rate(3 weeks)"},
        {"ScheduleExpression": "cron(0 8 * * *)"},
        {"ScheduleExpression": "cron(0 8 1 * 1 *)"},
        {"ScheduleExpression": "cron(0 8 ? * 8 *)"},
        {"ScheduleExpression": "cron(0 24 * * ? *)"},
        {"ScheduleExpression": "cron(0 8 31 FEB ? *)"},
        {"ScheduleExpression": "tomorrow"},
        {"Duration": "3 days"},
    ],
)
def test_rules_that_cannot_be_followed_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError):
        check(rules)


@given(st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))
def test_a_cron_moment_is_always_later_and_never_skips_a_day(last: datetime) -> None:
    following = next_after({"ScheduleExpression": "cron(30 4 * * ? *)"}, last)
    assert following is not None
    assert timedelta(0) < following - last <= timedelta(days=1)
    assert (following.hour, following.minute) == (4, 30)
