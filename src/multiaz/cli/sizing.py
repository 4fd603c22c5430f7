"""`capacity`: what the shop's load needs, with the arithmetic."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from multiaz.blueprint.assumptions import ASSUMPTIONS
from multiaz.blueprint.capacity import DEFAULT_FAMILY, Capacity, capacity_for
from multiaz.blueprint.settings import checked_alone, load_of
from multiaz.blueprint.workload import figure
from multiaz.cli import configuration
from multiaz.cli.output import Output


def capacity(
    output: Output,
    *,
    orders_per_day: int | None,
    reads_per_write: float | None,
    peak_factor: float | None,
    family: str | None,
    explain: bool,
    config: str | None,
) -> None:
    """Show the classes, storage and connections for the load; what is None is as set, else has its default.

    Raises BadInput.
    """
    given = {"orders_per_day": orders_per_day, "reads_per_write": reads_per_write, "peak_factor": peak_factor}
    layer = configuration.asked(config).layer
    asked = {name: layer.values.get(name) if value is None else value for name, value in given.items()}
    names = {name: layer.origins[name] for name in given if name in layer.origins and given[name] is None}
    options = {name: f"--{name.replace('_', '-')}" for name in given}
    load = load_of(checked_alone(asked, {**options, **names}))
    found = capacity_for(load, family or DEFAULT_FAMILY)
    output.result(_document(found), lambda: _show(output, found, explain))


def settings_lines(found: Capacity) -> list[str]:
    """The settings as lines of multiaz.toml."""
    return [
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
        for name, value in found.settings().items()
    ]


def _document(found: Capacity) -> dict[str, Any]:
    return {
        "load": asdict(found.load),
        "family": found.family,
        "steps": [asdict(step) for step in found.steps],
        "peak": asdict(found.peak),
        "needs": {"primary": asdict(found.primary_need), "replica": asdict(found.replica_need)},
        "thresholds": {
            "primary": dict(found.thresholds(found.primary)),
            "replica": dict(found.thresholds(found.replica)),
        },
        "data_now_gib": found.data_now_gib,
        "data_in_a_year_gib": found.data_in_a_year_gib,
        "assumptions": [asdict(assumption) for assumption in ASSUMPTIONS],
        "settings": found.settings(),
    }


def _show(output: Output, found: Capacity, explain: bool) -> None:
    words = [(step.formula,) if explain else () for step in found.steps]
    output.table(
        ("STEP", *(("IN WORDS",) if explain else ()), "ARITHMETIC", "RESULT"),
        [(step.name, *said, step.numbers, step.result) for step, said in zip(found.steps, words, strict=True)],
    )
    output.line()
    primary, replica = found.thresholds(found.primary), found.thresholds(found.replica)
    output.table(
        ("ALARM", "PRIMARY", "REPLICA"), [(name, f"{primary[name]:,}", f"{replica[name]:,}") for name in primary]
    )
    if explain:
        output.line()
        output.table(
            ("ASSUMPTION", "VALUE", "SOURCE"),
            [(one.name, f"{figure(one.value)} {one.unit}".rstrip(), one.source) for one in ASSUMPTIONS],
        )
    output.line()
    load = found.load
    output.line(
        f"# multiaz.toml: {load.orders_per_day:,} orders a day, {figure(load.reads_per_write)} reads for each write, "
        f"peak x {figure(load.peak_factor)}"
    )
    for line in settings_lines(found):
        output.line(line)
