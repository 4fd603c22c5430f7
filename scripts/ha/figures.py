"""Pure: gaps in what clients were told, percentiles, the three classes of a ledger, the phases of a failover."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

STEPS = ("detect", "fence", "record", "promote", "restart", "endpoint", "first commit")
"""What an outage consists of, in order; each ends at the moment `ENDS` names. Nothing has all: what is started again
in place is neither fenced nor promoted."""
ENDS = ("detected", "fenced", "recorded", "promoted", "restarted", "endpoint")


@dataclass(frozen=True)
class Gap:
    """A time without an acknowledged commit."""

    seconds: float
    last_before: float
    first_after: float | None
    """None: nothing was acknowledged until the watch ended, so `seconds` is the least it was."""


def longest_gap(times: Sequence[float], since: float, until: float) -> Gap | None:
    """The longest pause between two neighbouring `times` (rising) that was not over at `since`.

    The pause from the last time to `until` counts too, as one without an end. None if nothing was
    acknowledged before `since`: then how long it was quiet is unknown.
    """
    if not times or times[0] > since:
        return None
    best = Gap(max(0.0, until - times[-1]), times[-1], None)
    closed = [Gap(after - before, before, after) for before, after in pairwise(times) if after > since]
    longest = max(closed, key=lambda gap: gap.seconds, default=None)
    return longest if longest is not None and longest.seconds >= best.seconds else best


def merged(times: Iterable[Sequence[float]]) -> list[float]:
    """The times of all clients, rising."""
    return sorted(at for client in times for at in client)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that `share` (0 to 1] of them do not exceed: a value that was measured (nearest rank).

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]


@dataclass(frozen=True)
class Verdict:
    """What became of the rows of a ledger, by the database's own word."""

    acknowledged: int
    unknown: int
    failed: int
    unknown_landed: int
    """Sent, never answered, and there."""
    failed_landed: int
    """Refused, and there all the same: must be 0."""
    lost: int
    """Acknowledged, and not there."""
    duplicates: int
    """Rows there more than once: must be 0, each was sent once."""
    strangers: int
    """Rows there that no client sent: must be 0."""


def judge(acknowledged: Iterable[int], unknown: Iterable[int], failed: Iterable[int], there: Iterable[int]) -> Verdict:
    """Compare a ledger with the rows `there`, each named as often as it is there."""
    acked, doubtful, refused = set(acknowledged), set(unknown), set(failed)
    count = Counter(there)
    return Verdict(
        acknowledged=len(acked),
        unknown=len(doubtful),
        failed=len(refused),
        unknown_landed=len(doubtful & count.keys()),
        failed_landed=len(refused & count.keys()),
        lost=len(acked - count.keys()),
        duplicates=sum(number - 1 for number in count.values()),
        strangers=len(count.keys() - acked - doubtful - refused),
    )


def split(fault: float, told: Mapping[str, float | None], first_commit: float) -> dict[str, float] | None:
    """Seconds of each of `STEPS`, from the unix time of the fault to that of the first commit after it.

    `told` has the unix times of `ENDS`, as `last_failover` of observed.json and `restarts.py`; a step whose end it
    does not know is part of the next one. None if it knows none, or is of a failover before the fault.
    """
    known = [(step, told.get(end)) for step, end in zip(STEPS, ENDS, strict=False)]
    steps, at = {}, fault
    for step, end in known:
        if end is None:
            continue
        if end < fault:
            return None
        steps[step] = end - at
        at = end
    if not steps:
        return None
    steps[STEPS[-1]] = first_commit - at
    return steps
