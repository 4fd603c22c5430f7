"""What the latest failover of a local DB instance took, step by step, as its supervisor says (`observed.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from multiaz.home import Home
from multiaz.local.faults_targets import find

STEPS = {"detect": "detected", "fence": "fenced", "record": "recorded", "promote": "promoted", "endpoint": "endpoint"}
"""Each step and the moment at which it is done."""


def failover_steps(home: Home, identifier: str, requested: float, first_commit: float) -> dict[str, float] | None:
    """Seconds of each step between a request and the first commit after it (unix times).

    None if the supervisor tells of no failover since the request. Raises NotFound without that instance.
    """
    try:
        observed = json.loads(find(home, identifier).place.observed.read_bytes())
    except (OSError, ValueError):
        return None
    return steps_of(observed.get("last_failover") or {}, requested, first_commit)


def steps_of(told: Mapping[str, object], requested: float, first_commit: float) -> dict[str, float] | None:
    """The steps one after the other, the first commit last; None if one is not done, or was before the request."""
    done, at = {}, requested
    for step, moment in STEPS.items():
        now = told.get(moment)
        if not isinstance(now, float) or now < at:
            return None
        done[step], at = round(now - at, 4), now
    done["first_commit"] = round(max(0.0, first_commit - at), 4)  # led there and told in the same moment
    return done
