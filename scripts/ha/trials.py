"""One trial: clients write, something breaks, clients write again; and what that cost them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import psycopg

from ha.figures import Gap, judge, longest_gap, merged, percentile, split
from ha.writers import COUNT, CREATE, THERE, ClientLedger, Load, Writers

ROWS_BEFORE, ROWS_AFTER = 20, 10
"""Rows each client must have been acknowledged before a fault, and after it."""
WELL_S = 120.0
"""How long a system may take to be well again before it is made anew."""


class NotWell(Exception):
    """The system did not do what it must before anything can be measured."""


@dataclass(frozen=True)
class Mark:
    """Who serves clients."""

    count: int
    """Rises with every failover: an epoch, a timeline."""
    server: str
    """Another one after every restart of the primary too."""


class System(Protocol):
    """What is measured: ours, or a peer."""

    name: str
    target: dict[str, Any]

    def mark(self) -> Mark: ...
    def writable(self) -> bool: ...
    def redundant(self) -> bool: ...
    def wait_well(self, within_s: float) -> None: ...
    def strike(self, fault: str) -> None: ...
    def heal(self) -> None: ...
    def told(self) -> dict[str, Any] | None: ...


@dataclass(frozen=True)
class Kind:
    """What happens in a trial."""

    name: str
    fault: str
    says: str
    """For the table: what is done."""
    then: str = ""
    """"": one fault; "redundant": the same once more as soon as redundancy is back; "writable": before it is."""
    fresh: int = 0
    """Clients that open a connection for each row, beside those that keep theirs."""
    heals_late: bool = False
    """The fault lasts until clients write again: the time to redundancy runs from the healing."""


@dataclass(frozen=True)
class Watch:
    """From one fault to the next, or to the end of the trial. Times are monotonic."""

    fault: float
    until: float
    resumed: bool
    alone: bool
    """There was no redundancy when it happened."""


def prepare(system: System) -> None:
    """Make the ledger's table anew."""
    with psycopg.connect(**system.target, autocommit=True) as connection:
        connection.execute(CREATE)


def rows_there(system: System, trial: int) -> list[int]:
    """The rows of one trial, as the database has them."""
    with psycopg.connect(**system.target, autocommit=True) as connection:
        return [int(row) for (row,) in connection.execute(THERE, (trial,))]


def count_all(system: System) -> int:
    """How many rows the ledger has, of all trials."""
    with psycopg.connect(**system.target, autocommit=True) as connection:
        found = connection.execute(COUNT).fetchone()
    assert found is not None
    return int(found[0])


def run(system: System, writers: Writers, kind: Kind, number: int, load: Load, limit_s: float) -> dict[str, Any]:
    """Do one trial and return its record. Raises NotWell if the system was, or became, unusable."""
    system.wait_well(WELL_S)
    offset = time.time() - time.monotonic()
    before = system.mark()
    writers.start(number, load)
    try:
        if not writers.wait_for_each(ROWS_BEFORE, 0.0, 60):
            raise NotWell("not every client was acknowledged a row before the fault")
        time.sleep(random.Random(number).random() / 2)  # so that faults do not keep step with any loop
        watches, told, redundant_s = _strike(system, writers, kind, limit_s)
    finally:
        system.heal()
        ledgers = writers.stop()
    system.wait_well(WELL_S)
    there = rows_there(system, number)
    record = {
        "kind": kind.name,
        "trial": number,
        "at": round(watches[0].fault + offset, 3),
        "faults": [_cost(watch, ledgers, told[at], offset) for at, watch in enumerate(watches)],
        "redundant_s": None if redundant_s is None else round(redundant_s, 4),
        "failovers": system.mark().count - before.count,
        "rows": asdict(_verdict(ledgers, there)),
        "connections": sum(ledger.connected for ledger in ledgers),
        "refused_connections": sum(ledger.refused for ledger in ledgers),
        "words": _words(ledgers),
    }
    return record


def _strike(
    system: System, writers: Writers, kind: Kind, limit_s: float
) -> tuple[list[Watch], list[dict[str, Any] | None], float | None]:
    """Break it, once or twice; what to watch, what the system told of each failover, seconds to redundancy."""
    faults, resumed, told, alone = [], [], [], []
    healed = None
    for at in range(2 if kind.then else 1):
        mark = system.mark()
        alone.append(not system.redundant())
        faults.append(time.monotonic())
        system.strike(kind.fault)

        def changed(mark: Mark = mark) -> bool:
            return system.mark() != mark and system.writable()

        again = wait_until(changed, limit_s)
        rows = 1 if kind.then == "writable" and at == 0 else ROWS_AFTER
        resumed.append(again and writers.wait_for_each(rows, time.monotonic(), limit_s))
        told.append(system.told())
        if not resumed[-1]:
            break
        if kind.heals_late:
            system.heal()
            healed = time.monotonic()
        if kind.then == "redundant" and at == 0 and not wait_until(system.redundant, limit_s):
            break
    redundant_s = None
    if resumed[-1] and wait_until(system.redundant, limit_s):
        redundant_s = time.monotonic() - (healed or faults[-1])
        writers.wait_for_each(ROWS_AFTER, time.monotonic(), limit_s)
    ends = [*faults[1:], time.monotonic()]
    return [Watch(*values) for values in zip(faults, ends, resumed, alone, strict=True)], told, redundant_s


def _cost(watch: Watch, ledgers: list[ClientLedger], told: dict[str, Any] | None, offset: float) -> dict[str, Any]:
    """What one fault cost the clients."""
    lasting = [_within(ledger, watch) for ledger in ledgers if not ledger.fresh]
    fresh = [_within(ledger, watch) for ledger in ledgers if ledger.fresh]
    gap = longest_gap(merged(lasting), watch.fault, watch.until)
    if gap is None:
        raise NotWell("nothing was acknowledged before the fault")
    each = [found.seconds for times in lasting if (found := longest_gap(times, watch.fault, watch.until))]
    anew = longest_gap(merged(fresh), watch.fault, watch.until) if fresh else None
    return {
        "resumed": watch.resumed and gap.first_after is not None,
        "alone": watch.alone,
        "outage_s": round(gap.seconds, 4),
        "fault_after_last_s": round(watch.fault - gap.last_before, 4),
        "client_median_s": round(percentile(each, 0.5), 4),
        "client_worst_s": round(max(each), 4),
        "fresh_outage_s": None if anew is None else round(anew.seconds, 4),
        "split": _split(watch, gap, anew, told, offset),
        "cause": None if told is None else told.get("cause"),
    }


def _split(
    watch: Watch, gap: Gap, anew: Gap | None, told: dict[str, Any] | None, offset: float
) -> dict[str, float] | None:
    """The outage's steps; for fresh clients theirs, because theirs is the outage that counts then."""
    chosen = anew or gap
    if told is None or chosen.first_after is None:
        return None
    steps = split(watch.fault + offset, told, chosen.first_after + offset)
    return None if steps is None else {name: round(seconds, 4) for name, seconds in steps.items()}


def _within(ledger: ClientLedger, watch: Watch) -> list[float]:
    return [at for at in ledger.acknowledged_at if at <= watch.until]


def _verdict(ledgers: list[ClientLedger], there: list[int]) -> Any:
    return judge(
        (row for ledger in ledgers for row in ledger.acknowledged),
        (row for ledger in ledgers for row in ledger.unknown),
        (row for ledger in ledgers for row in ledger.failed),
        there,
    )


def _words(ledgers: list[ClientLedger]) -> dict[str, int]:
    """The most frequent words of failures, of all clients."""
    counts: dict[str, int] = {}
    for ledger in ledgers:
        for said, times in ledger.words.items():
            counts[said] = counts.get(said, 0) + times
    return dict(sorted(counts.items(), key=lambda pair: -pair[1])[:6])


def wait_until(holds: Callable[[], bool], within_s: float) -> bool:
    """Wait until `holds`; False if it did not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
