"""docs/benchmarks.md and its plot from bench-results/ha-*.json; what was not measured is called so."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ha import endpoint_report, kinds, wording
from ha.figures import STEPS, percentile
from ha.plot import Strip, seconds, svg
from ha.results import ROOT, load_all

PAGE, PLOT = "benchmarks.md", "benchmarks-outages.svg"
DOCS = ROOT / "docs"
NOT_MEASURED = "not measured"
NO_SPLIT = "nothing tells of the steps"
TOO_FEW = "–"
LEAST_FOR_P90 = 10
"""Of fewer values the nearest rank to p90 is their maximum."""
Results = Mapping[str, Mapping[str, Any]]


def write(results: Path, into: Path, *, fewer: bool) -> Path:
    """Write page and plot of what the folder `results` holds into another one; returns the page's path.

    Raises ValueError, and writes neither, if a section of the plot that is there would have fewer trials, unless
    `fewer`: those results are then not all here.
    """
    found = load_all(results)
    strips = outage_strips(found)
    plot = into / PLOT
    now = plotted(svg(strips))
    less = [
        f"{label} has {n}, and {now.get(label, (0, ''))[0]} in {results}"
        for label, (n, _) in (plotted(plot.read_text()) if plot.exists() else {}).items()
        if now.get(label, (0, ""))[0] < n
    ]
    if less and not fewer:
        raise ValueError(f"{plot} shows more trials than there are now: {'; '.join(less)}")
    written = page(found)
    into.mkdir(parents=True, exist_ok=True)
    (into / PAGE).write_text(written)
    plot.write_text(svg(strips))
    return into / PAGE


def plotted(picture: str) -> dict[str, tuple[int, str]]:
    """What a plot says of each of its rows: n and p50."""
    said = re.findall(r">([^<>]+) \(n=(\d+)(?:, p50 ([\d.]+) s)?\)<", picture)
    return {label: (int(n), p50) for label, n, p50 in said}


def page(found: Results) -> str:
    """The whole page."""
    parts = [
        wording.HEAD,
        machine_part(found),
        wording.METHOD,
        outage_part(found),
        steps_part(found),
        promote_part(found),
        rows_part(found),
        patroni_part(found),
        endpoint_part(found),
        wording.LIMITS,
    ]
    return "\n".join(parts)


def machine_part(found: Results) -> str:
    """Machine, versions and dates, one row for each combination there is."""
    rows: dict[tuple[str, str], list[str]] = {}
    for name, values in found.items():
        machine, versions = values["settings"]["machine"], dict(values["settings"]["versions"])
        where = (f"{machine['cpus']} cpus ({machine['processor']}), {machine['memory_mib'] / 1024:.0f} GiB, "
                 f"Linux {machine['kernel']}, Python {machine['python']}")  # fmt: skip
        what = ", ".join(f"{key} {value}" for key, value in versions.items()) + f", commit {values.get('commit')}"
        ended = values.get("ended")
        when = ended[:10] if ended else f"not complete, began {values['began'][:10]}"
        rows.setdefault((where, what), []).append(f"{name} ({when})")
    body = [(where, what, ", ".join(names)) for (where, what), names in rows.items()]
    return "## Machine and versions\n\n" + table(("machine", "versions", "sections (ended)"), body)


def outage_part(found: Results) -> str:
    """Outages of ours."""
    body = [outage_row(kind.says, found.get(kind.name)) for kind in kinds.OURS]
    picture = "![outages](benchmarks-outages.svg)\n\n" if outage_strips(found) else ""
    return wording.OUTAGES + picture + p90_table(OUTAGE_HEAD, body) + "\n" + aims(found)


def p90_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """The table, and a word below it where p90 is left out."""
    few = f"\n{TOO_FEW}: of fewer than {LEAST_FOR_P90} trials p90 is their maximum, and is not shown.\n"
    return table(head, body) + (few if any(TOO_FEW in row for row in body) else "")


AIMS = (("kill", "p50", 0.3), ("kill", "max", 1.0), ("hang", "p50", 2.0), ("kill", "redundancy, max", 5.0))
"""What we aim at: section, figure, seconds at most."""


def aims(found: Results) -> str:
    """What was aimed at, beside what was measured."""
    body = []
    for name, figure, aim in AIMS:
        values = found.get(name)
        costs = [] if values is None else [trial["faults"][-1] for trial in values["trials"]]
        if values is None or not costs:
            body.append((f"{name}, {figure}", f"{aim:g}", NOT_MEASURED, ""))
            continue
        outages = [outage_of(cost) for cost in costs]
        redundant = [trial["redundant_s"] for trial in values["trials"]]
        complete = all(cost["resumed"] for cost in costs) and None not in redundant
        measured = {
            "p50": percentile(outages, 0.5), "max": max(outages),
            "redundancy, max": max((value for value in redundant if value is not None), default=math.inf),
        }[figure]  # fmt: skip
        met = measured <= aim and (complete or figure == "p50")
        body.append((f"{name}, {figure}", f"{aim:g}", seconds(measured), "yes" if met else "no"))
    return table(("aim", "at most", "measured", "met"), body)


OUTAGE_HEAD = ("fault", "n", "p50", "p90", "max", "one client, p50", "not over in time", "redundancy p50", "max")


def outage_row(says: str, values: Mapping[str, Any] | None) -> tuple[str, ...]:
    """One row of an outage table."""
    trials = [] if values is None else values["trials"]
    if not trials:
        return (says, "0", *([NOT_MEASURED] * 3), *([""] * 4))
    costs = [trial["faults"][-1] for trial in trials if len(trial["faults"]) == faults_of(values)]
    if not costs:
        return (says, "0", *([NOT_MEASURED] * 3), *([""] * 4))
    outages = [outage_of(cost) for cost in costs]
    redundant = [trial["redundant_s"] for trial in trials if trial["redundant_s"] is not None]
    late = sum(not cost["resumed"] for cost in costs)
    none = len(trials) - len(redundant)
    return (
        says,
        str(len(costs)),
        seconds(percentile(outages, 0.5)),
        p90(outages),
        seconds(max(outages)),
        seconds(percentile([cost["client_median_s"] for cost in costs], 0.5)),
        str(late),
        seconds(percentile(redundant, 0.5)) if redundant else "",
        (seconds(max(redundant)) if redundant else "") + (f"; {none} never" if none else ""),
    )


def p90(values: Sequence[float]) -> str:
    """A dash if there are too few."""
    return seconds(percentile(values, 0.9)) if len(values) >= LEAST_FOR_P90 else TOO_FEW


def faults_of(values: Mapping[str, Any] | None) -> int:
    """How many faults a trial of the section has."""
    return 2 if values is not None and values["settings"]["kind"]["then"] else 1


def outage_of(cost: Mapping[str, Any]) -> float:
    """The outage that counts: that of the fresh clients where there are some."""
    fresh = cost["fresh_outage_s"]
    return float(cost["outage_s"] if fresh is None else fresh)


def steps_part(found: Results) -> str:
    """Medians of the steps of ours."""
    body = []
    for kind in kinds.OURS:
        values = found.get(kind.name)
        splits = [] if values is None else [
            split for trial in values["trials"] for split in [trial["faults"][-1]["split"]] if split
        ]  # fmt: skip
        if not splits:
            none = NOT_MEASURED if values is None or not values["trials"] else NO_SPLIT
            body.append((kind.name, "0", none, *([""] * (len(STEPS) - 1))))
            continue
        medians = []
        for step in STEPS:
            known = [split[step] for split in splits if step in split]
            medians.append(seconds(percentile(known, 0.5)) if known else "")
        body.append((kind.name, str(len(splits)), *medians))
    return wording.STEPS + table(("section", "n", *STEPS), body)


PROMOTE_HEAD = ("n", "p50", "p90", "max", "not in time", "available again, p50", "max", "source's pause, p50", "max")


def promote_part(found: Results) -> str:
    """Promotions of a read replica, from the request on."""
    trials = found.get("promote", {}).get("trials")
    if not trials:
        return wording.PROMOTE + table(PROMOTE_HEAD, [])
    writes = [trial["first_write_s"] for trial in trials]
    row = [str(len(trials)), seconds(percentile(writes, 0.5)), p90(writes), seconds(max(writes))]
    row.append(str(sum(not trial["written"] for trial in trials)))
    for figure in ("available_s", "source_pause_s"):
        known = [trial[figure] for trial in trials if trial[figure] is not None]
        row += [seconds(percentile(known, 0.5)), seconds(max(known))] if known else ["", ""]
    return wording.PROMOTE + p90_table(PROMOTE_HEAD, [row])


def rows_part(found: Results) -> str:
    """Rows of ours, and the sum."""
    measured = {kind.name: found[kind.name] for kind in kinds.OURS if found.get(kind.name, {}).get("trials")}
    body = [rows_row(name, values) for name, values in measured.items()]
    if not body:
        return f"## Acknowledged rows\n\n{NOT_MEASURED.capitalize()}.\n"
    every = [trial for values in measured.values() for trial in values["trials"]]
    failovers = sum(trial["failovers"] for trial in every)
    lost = sum(trial["rows"]["lost"] for trial in every)
    missing = sum(values.get("rows_missing_at_end", 0) for values in measured.values())
    rows = sum(trial["rows"]["acknowledged"] for trial in every)
    fewest = min(values["settings"]["clients"] for values in measured.values())
    sentence = (
        f"**{lost} of {rows:,} acknowledged rows lost over {failovers} failovers** under {fewest} or more writing "
        f"clients; {missing} rows missing when all were counted again."
    )
    return f"## Acknowledged rows\n\n{sentence}\n\n" + table(ROWS_HEAD, body)


ROWS_HEAD = (
    "section", "trials", "failovers", "acknowledged", "lost", "unknown", "of these there", "failed",
    "of these there", "duplicates", "unsent",
)  # fmt: skip


def rows_row(name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """The sums of one section."""

    def total(key: str) -> str:
        return f"{sum(trial['rows'][key] for trial in values['trials']):,}"

    trials = values["trials"]
    classes = (
        "acknowledged",
        "lost",
        "unknown",
        "unknown_landed",
        "failed",
        "failed_landed",
        "duplicates",
        "strangers",
    )
    return (name, str(len(trials)), str(sum(trial["failovers"] for trial in trials)), *map(total, classes))


def patroni_part(found: Results) -> str:
    """Patroni's outages and rows."""
    body, rows = [], []
    for label, settings in (("defaults", "default"), ("fastest", "fast")):
        for kind in kinds.PATRONI:
            name = f"patroni-{settings}-{kind.name}"
            values = found.get(name)
            body.append(outage_row(f"{kind.says} ({label})", values))
            if values is not None and values["trials"]:
                rows.append(rows_row(name, values))
    return wording.PATRONI + p90_table(OUTAGE_HEAD, body) + ("\n" + table(ROWS_HEAD, rows) if rows else "")


def endpoint_part(found: Results) -> str:
    """The relay beside other proxies."""
    trials = found.get("endpoint", {}).get("trials")
    if not trials:
        return f"{wording.ENDPOINT}\n{NOT_MEASURED.capitalize()}.\n"
    aimed = table(endpoint_report.AIMS_HEAD, endpoint_report.endpoint_aims(trials))
    versions = ", ".join(found["endpoint"].get("beside", {}).values())
    measured = table(endpoint_report.HEAD, endpoint_report.endpoint_rows(trials))
    why = endpoint_report.not_met(trials)
    return f"{wording.ENDPOINT}\n{versions}.\n\n{measured}\n{aimed}" + (f"\n{why}" if why else "")


def plot_rows() -> list[tuple[str, str, str, str]]:
    """Rows of the plot, ours, then Patroni's: section, label in the plot, whose, and what the page's tables call it."""
    names = [(kind.name, f"multiaz: {kind.name}", "multiaz", kind.says) for kind in kinds.OURS]
    names += [
        (f"patroni-{settings}-{kind.name}", f"Patroni, {label}: {kind.name}", "Patroni", f"{kind.says} ({label})")
        for settings, label in (("fast", "fastest"), ("default", "defaults"))
        for kind in kinds.PATRONI
    ]
    return names


def outage_strips(found: Results) -> list[Strip]:
    """What the plot shows of what was measured."""
    strips = []
    for name, label, system, _ in plot_rows():
        values = found.get(name)
        costs = [] if values is None else [
            trial["faults"][-1] for trial in values["trials"] if len(trial["faults"]) == faults_of(values)
        ]  # fmt: skip
        if costs:
            over = [outage_of(cost) for cost in costs if cost["resumed"]]
            strips.append(Strip(label, system, over, [outage_of(cost) for cost in costs if not cost["resumed"]]))
    return strips


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a body without rows is one row that says not measured."""
    rows = [list(row) for row in body] or [[NOT_MEASURED, *[""] * (len(head) - 1)]]
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)
