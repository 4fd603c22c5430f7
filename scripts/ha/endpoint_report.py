"""Tables of the endpoint's figures beside other ways to the same server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

WAYS = ("direct", "relay", "haproxy", "haproxy-unix", "pgbouncer")
UNITS = {"pgbench -S": "transactions/s", "COPY out": "MB/s"}
AIMS = (("pgbench -S|8|plain", "haproxy"), ("pgbench -S|8|TLS", "pgbouncer"))
"""What we aim at: the relay carries at least as much as that one there."""
WHY_NOT = {
    "haproxy": "HAProxy: most of a transaction through the relay is the kernel's, two reads and two writes that it "
    "does as well.",
    "pgbouncer": "PgBouncer: it ends TLS in C, where the relay calls OpenSSL from Python for each message.",
}
DECISION = "[decision 0010](decisions/0010-how-the-relay-moves-bytes.md)"
"""What was measured for it, and what was tried: figures of other runs have no place on the page."""


def endpoint_rows(trials: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row a measure: medians of each way, then the relay's share of each other way, round by round."""
    rows = []
    for name in trials[0]["figures"]:
        found = {way: [trial["figures"][name].get(way) for trial in trials] for way in WAYS}
        medians = [_figure([value for value in found[way] if value is not None]) for way in WAYS]
        shares = [_share(found["relay"], found[way]) for way in WAYS if way != "relay"]
        what, clients, how = name.split("|")
        cores = [trial["cores"][name]["relay"] for trial in trials if "relay" in trial["cores"][name]]
        used = f"{median(cores):.2f}" if cores else ""
        label = f"{what}, {how}" + (f", {clients} client{'s' if clients != '1' else ''}" if what != "COPY out" else "")
        rows.append((f"{label} ({UNITS[what]})", str(len(trials)), *medians, *shares, used))
    return rows


def endpoint_aims(trials: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What was aimed at, and whether it was met."""
    rows: list[tuple[str, ...]] = []
    for name, way in AIMS:
        ratio = _ratio(
            [trial["figures"][name].get("relay") for trial in trials],
            [trial["figures"][name].get(way) for trial in trials],
        )
        what, clients, how = name.split("|")
        met = "" if ratio is None else "yes" if ratio >= 1 else "no"
        rows.append((f"{what}, {clients} clients, {how}: relay beside {way}", "1", _text(ratio), met))
    return rows


def not_met(trials: Sequence[Mapping[str, Any]]) -> str:
    """Why the aims that were missed were; empty if none was."""
    missed = [way for (_, way), row in zip(AIMS, endpoint_aims(trials), strict=True) if row[-1] == "no"]
    if not missed:
        return ""
    reasons = "".join(f"- {WHY_NOT[way]}\n" for way in missed)
    return f"Not met:\n\n{reasons}\nWhat was measured for this, and tried: {DECISION}.\n"


def _ratio(mine: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    pairs = [one / other for one, other in zip(mine, theirs, strict=True) if one is not None and other]
    return median(pairs) if pairs else None


def _share(mine: Sequence[float | None], theirs: Sequence[float | None]) -> str:
    return _text(_ratio(mine, theirs))


def _text(ratio: float | None) -> str:
    return "not measured" if ratio is None else f"{ratio:.2f}"


def _figure(values: Sequence[float]) -> str:
    return f"{median(values):,.0f}" if values else "not measured"


HEAD = ("measure", "n", *WAYS, *(f"relay / {way}" for way in WAYS if way != "relay"), "cores of the relay")
AIMS_HEAD = ("aim", "at least", "ratio", "met")
