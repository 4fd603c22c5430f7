"""What several rules say in the same way."""

from __future__ import annotations

from collections.abc import Callable

from multiaz.instance.actions import Action, Announce, Fence, PointPrimary, PointUpstream, Promote, Record, Step
from multiaz.instance.records import Answer, Phase
from multiaz.instance.view import View

Rule = Callable[[View], Step | None]

MESSAGES = {
    "RDS-EVENT-0004": "DB instance shutdown",
    "RDS-EVENT-0006": "DB instance restarted",
    "RDS-EVENT-0013": "Multi-AZ instance failover started.",
    "RDS-EVENT-0049": "Multi-AZ instance failover completed",
}


def step(phase: Phase, reason: str, *actions: Action) -> Step:
    """A step; `decide` puts the rule's name in."""
    return Step("", phase, reason, actions)


def phase_for_clients(view: View, phase: Phase) -> Phase:
    """While the endpoint leads nowhere the failover goes on for clients, whatever is done to the standby meanwhile."""
    return Phase.FAILING_OVER if view.endpoint_closed and phase is Phase.RUNNING else phase


def failover(view: View, why: str, answers: tuple[Answer, ...] | None = None) -> Step:
    """Fence, remember, promote, lead clients there, lead replicas there: in this order (docs/failover.md says why).

    At RDS's pace clients are led nowhere, until rule `point` finds that time over.
    """
    down_s = view.desired.endpoint_down_s
    record = view.remember(
        epoch=view.memory.epoch + 1,
        primary=view.other,
        in_sync=False,
        fenced=view.primary,
        answers=view.memory.answers if answers is None else answers,
        request=None,
        to_announce=("RDS-EVENT-0006", "RDS-EVENT-0049"),
        endpoint_opens_at=view.seen.now + down_s if down_s else None,
    )
    return step(
        Phase.FAILING_OVER,
        why,
        Fence(view.primary),
        Record(record),
        Announce("RDS-EVENT-0013", MESSAGES["RDS-EVENT-0013"]),
        Promote(view.other),
        PointPrimary(None if down_s else view.other),
        PointUpstream(view.other),
    )
