"""At RDS's pace the endpoint leads nowhere for a while after a failover, and everything else goes on meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from test_decide import DEAD, STANDBY, WELL, desired, member, memory, request, seen

from multiaz.instance.actions import Announce, Begin, Fence, JobKind, PointPrimary, PointUpstream, Promote, Record
from multiaz.instance.decide import decide
from multiaz.instance.records import DesiredInstance, Phase, RequestKind, RoleRecord
from multiaz.instance.view import Seen

PACED = desired(endpoint_down_s=60)
BEGAN = 1_000.0
AFTER = memory(
    epoch=4, primary="b", in_sync=False, fenced="a", to_announce=("RDS-EVENT-0049",), endpoint_opens_at=BEGAN + 60
)
NEW_PRIMARY = member(STANDBY, in_recovery=False, streaming=False)


def later(seconds: float, **others: Any) -> Seen:
    """The former standby is primary, `seconds` after the failover began."""
    return seen(a=DEAD, b=NEW_PRIMARY, now=BEGAN + seconds, **{"primary_link": None, "upstream_link": "b", **others})


@pytest.mark.parametrize("requested", [False, True], ids=["death", "request"])
def test_a_failover_takes_the_endpoint_away_and_records_until_when(requested: bool) -> None:
    asked = PACED.model_copy(update={"request": request(RequestKind.FAILOVER)}) if requested else PACED
    step = decide(asked, seen(a=DEAD, now=BEGAN) if not requested else seen(now=BEGAN), WELL)
    kinds = [type(action) for action in step.actions if not isinstance(action, Announce)]
    assert kinds == [Fence, Record, Promote, PointPrimary, PointUpstream]
    record = next(action.memory for action in step.actions if isinstance(action, Record))
    assert record.endpoint_opens_at == BEGAN + 60
    assert PointPrimary(None) in step.actions


def test_at_instant_pace_nothing_is_recorded_and_the_endpoint_leads_to_the_new_primary() -> None:
    step = decide(desired(), seen(a=DEAD, now=BEGAN), WELL)
    record = next(action.memory for action in step.actions if isinstance(action, Record))
    assert record.endpoint_opens_at is None
    assert PointPrimary("b") in step.actions


def test_the_standby_is_rebuilt_while_the_endpoint_is_down_and_the_phase_says_failing_over() -> None:
    step = decide(PACED, later(10), AFTER)
    assert step.actions == (Begin(JobKind.REJOIN, "a"),)
    assert step.phase is Phase.FAILING_OVER


def test_a_supervisor_that_died_before_it_took_the_endpoint_away_does_so_now() -> None:
    step = decide(PACED, later(10, primary_link="a"), AFTER)
    assert (step.phase, step.actions) == (Phase.FAILING_OVER, (PointPrimary(None),))
    recovering = seen(a=DEAD, b=STANDBY, now=BEGAN + 10, primary_link="a", upstream_link="b")
    assert PointPrimary(None) in decide(PACED, recovering, AFTER).actions


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [(PACED, 60), (PACED, 61), (PACED, -1000), (desired(), 10), (desired(endpoint_down_s=20), 10)],
    ids=["in time", "late", "clock set back", "pace now instant", "pace now shorter than what is left"],
)
def test_the_endpoint_opens_and_only_then_the_failover_is_said_to_be_over(
    wanted: DesiredInstance, seconds: float
) -> None:
    assert decide(wanted, later(seconds), AFTER).actions == (PointPrimary("b"),)
    told = decide(wanted, later(seconds, primary_link="b"), AFTER)
    assert [type(action) for action in told.actions] == [Announce, Record]
    assert isinstance(told.actions[-1], Record)
    assert told.actions[-1].memory.endpoint_opens_at is None


def test_a_second_failover_meanwhile_counts_anew() -> None:
    redundant = AFTER.model_copy(update={"in_sync": True, "fenced": None})
    step = decide(PACED, seen(a=STANDBY, b=DEAD, now=BEGAN + 30, primary_link=None), redundant)
    record = next(action.memory for action in step.actions if isinstance(action, Record))
    assert (record.primary, record.endpoint_opens_at) == ("a", BEGAN + 90)


def test_an_older_record_knows_no_pause() -> None:
    old = RoleRecord.model_validate_json('{"epoch": 4, "primary": "b", "in_sync": true}')
    assert old.endpoint_opens_at is None
