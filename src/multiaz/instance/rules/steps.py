"""What several rules say in the same way."""

from __future__ import annotations

from collections.abc import Callable

from multiaz.instance.actions import Action, Announce, Fence, PointPrimary, PointUpstream, Promote, Record, Step
from multiaz.instance.records import Answer, Phase
from multiaz.instance.view import View

Rule = Callable[[View], Step | None]

MESSAGES = {
    "RDS-EVENT-0006": "DB instance restarted",
    "RDS-EVENT-0013": "Multi-AZ instance failover started.",
    "RDS-EVENT-0049": "Multi-AZ instance failover completed",
}


def step(phase: Phase, reason: str, *actions: Action) -> Step:
    """A step; `decide` puts the rule's name in."""
    return Step("", phase, reason, actions)


def failover(view: View, why: str, answers: tuple[Answer, ...] | None = None) -> Step:
    """Fence, remember, promote, lead clients there, lead replicas there: in this order (docs/failover.md says why)."""
    record = view.remember(
        epoch=view.memory.epoch + 1,
        primary=view.other,
        in_sync=False,
        fenced=view.primary,
        answers=view.memory.answers if answers is None else answers,
        request=None,
        to_announce=("RDS-EVENT-0006", "RDS-EVENT-0049"),
    )
    return step(
        Phase.FAILING_OVER,
        why,
        Fence(view.primary),
        Record(record),
        Announce("RDS-EVENT-0013", MESSAGES["RDS-EVENT-0013"]),
        Promote(view.other),
        PointPrimary(view.other),
        PointUpstream(view.other),
    )
