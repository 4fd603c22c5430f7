"""The blueprint in words: every setting, parameter, resource, tuned value and alarm with its reason, from the code.

`multiaz synth --explain` prints it for the settings given, and `docs/blueprint.md` is the same text for the
production preset, so neither can say what the template does not do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from multiaz.blueprint import constraints
from multiaz.blueprint.alarms import ALARMS, Alarm
from multiaz.blueprint.composites import composites
from multiaz.blueprint.event_subscriptions import SUBSCRIPTIONS
from multiaz.blueprint.instance_classes import INSTANCE_CLASSES
from multiaz.blueprint.presets import ROWS
from multiaz.blueprint.settings import Settings
from multiaz.blueprint.settings_file import bounds
from multiaz.blueprint.suppressions import SUPPRESSIONS
from multiaz.blueprint.synthesis import SECTIONS, Blueprint, synthesize
from multiaz.blueprint.tuning import TUNED_PARAMETERS


@dataclass(frozen=True)
class Table:
    """One table under its heading; cells are plain text."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def explain(s: Settings) -> str:
    """Everything the template of these settings holds, and why, as Markdown."""
    return "\n".join(_lines(tables(s)))


def tables(s: Settings) -> list[Table]:
    """The same as data, in the order of the text."""
    blueprint = synthesize(s)
    document = blueprint.to_dict()
    return [
        *_settings(s),
        _presets(),
        _constraints(),
        _parameters(document["Parameters"]),
        *_resources(blueprint, document["Resources"]),
        _tuning(),
        _alarms(s),
        _composites(s),
        _events(s),
        _classes(),
        _suppressions(document["Resources"]),
        *_outputs(blueprint, document["Outputs"]),
    ]


def _settings(s: Settings) -> Iterator[Table]:
    """One table a group, in the order of the groups."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict)
        row = (f"`{name}`", _shown(getattr(s, name)), field.description or "", bounds(field), str(extra["source"]))
        groups.setdefault(str(extra["group"]), []).append(row)
    for group, rows in groups.items():
        yield Table(f"Settings: {group}", "", ("setting", "value", "is", "bounds", "source"), tuple(rows))


def _presets() -> Table:
    rows = tuple((f"`{row.setting}`", _shown(row.prod), _shown(row.test), row.reason) for row in ROWS)
    return Table("Presets", "They differ in these settings and in no other.", ("setting", "prod", "test", "why"), rows)


def _constraints() -> Table:
    rows = tuple((rule.__name__.replace("_", " "), _first_line(rule.__doc__)) for rule in constraints.CONSTRAINTS)
    about = "Judged together; a refusal names the settings, their values and the source of the rule."
    return Table("Rules between settings", about, ("rule", "because"), rows)


def _parameters(found: dict[str, dict[str, Any]]) -> Table:
    rows = tuple(
        (f"`{name}`", told["Type"], _shown(told.get("Default", "")), _allowed(told), told["Description"])
        for name, told in found.items()
    )
    about = "Chosen at deploy time; the settings are their defaults."
    return Table("CloudFormation parameters", about, ("parameter", "type", "default", "allowed", "is"), rows)


def _allowed(told: dict[str, Any]) -> str:
    values = told.get("AllowedValues")
    if values:
        return ", ".join(map(str, values)) if len(values) <= 8 else f"{len(values)} values, {values[0]} … {values[-1]}"
    least, most = told.get("MinValue"), told.get("MaxValue")
    if least is not None:
        return f"{least} to {most}"
    return f"`{told['AllowedPattern']}`" if "AllowedPattern" in told else ""


def _resources(blueprint: Blueprint, found: dict[str, dict[str, Any]]) -> Iterator[Table]:
    for heading, names in blueprint.resource_sections.items():
        rows = tuple(
            (
                f"`{name}`",
                found[name]["Type"],
                found[name].get("DeletionPolicy", "Delete"),
                found[name].get("Condition", ""),
            )
            for name in names
        )
        yield Table(
            f"Resources: {heading}",
            _first_line(SECTIONS[heading].__doc__),
            ("logical id", "type", "deleted with the stack", "only if"),
            rows,
        )


def _tuning() -> Table:
    rows = tuple(
        (
            f"`{p.name}`",
            f"`{p.value}`",
            " and ".join(p.groups),
            p.apply,
            p.reason,
        )
        for p in TUNED_PARAMETERS
    )
    about = "What is not listed keeps the default of RDS. All are valid in the families 16, 17 and 18."
    return Table("DB parameter groups", about, ("parameter", "value", "group", "applies", "why"), rows)


def _alarms(s: Settings) -> Table:
    rows = tuple(
        (
            alarm.name,
            alarm.severity,
            f"`{alarm.metric}`",
            alarm.statistic,
            f"{alarm.direction} {_threshold(alarm)}",
            f"{alarm.minutes} min",
            alarm.missing,
            ", ".join(m.label for m in alarm.members(s)),
            alarm.meaning,
        )
        for alarm in ALARMS
        if alarm.members(s)
    )
    columns = ("alarm", "severity", "metric", "statistic", "rings", "for", "missing data is", "instances", "means")
    about = (
        "All of them notify the alarm topic, also when they end. What is critical on the primary is a warning on a "
        "reader: others serve. Enhanced Monitoring writes to the log group RDSOSMetrics, which belongs to the account."
    )
    return Table("Alarms", about, columns, rows)


def _threshold(alarm: Alarm) -> str:
    if isinstance(alarm.threshold, str):
        return f"`{alarm.threshold}` of the class"
    return f"{alarm.threshold:,} {alarm.unit}"


def _composites(s: Settings) -> Table:
    rows = tuple(
        (composite.logical_id, composite.severity, composite.meaning, cause.words(), cause.reason)
        for composite in composites(s)
        for cause in composite.causes
        if cause.members(s)
    )
    about = "Each rings for any of its causes."
    return Table("Composite alarms", about, ("alarm", "severity", "means", "rings with", "because"), rows)


def _events(s: Settings) -> Table:
    rows = tuple(
        (
            subscription.logical_id,
            f"`{subscription.source_type}`",
            ", ".join(subscription.sources(s)) or "all of the account",
            category.name,
            category.reason,
        )
        for subscription in SUBSCRIPTIONS
        if subscription.wanted(s)
        for category in subscription.categories
    )
    about = " ".join(f"{subscription.logical_id}: {subscription.about}." for subscription in SUBSCRIPTIONS)
    return Table("Event subscriptions", about, ("subscription", "of", "sources", "category", "because"), rows)


def _classes() -> Table:
    rows = tuple(
        (
            name,
            str(facts.vcpu),
            str(facts.memory_gib),
            str(facts.max_connections),
            str(facts.connections_alarm),
            f"{facts.freeable_memory_alarm_bytes:,}",
        )
        for name, facts in INSTANCE_CLASSES.items()
    )
    columns = ("class", "vCPU", "GiB", "max_connections, at most", "connections alarm", "freeable memory alarm, bytes")
    return Table(
        "Instance classes", "The mapping inside the template, from which alarms take thresholds.", columns, rows
    )


def _outputs(blueprint: Blueprint, found: dict[str, dict[str, Any]]) -> Iterator[Table]:
    for group, names in blueprint.output_sections.items():
        rows = tuple(
            (
                f"`{name}`",
                found[name]["Description"].removeprefix(f"{group}: "),
                str(found[name].get("Export", {}).get("Name", {}).get("Fn::Sub", "")),
            )
            for name in names
        )
        yield Table(f"Outputs: {group}", "", ("output", "is", "export"), rows)


def _suppressions(found: dict[str, dict[str, Any]]) -> Table:
    rows: list[tuple[str, ...]] = []
    kinds = {resource["Type"] for resource in found.values()}
    for entry in SUPPRESSIONS:
        there = [n for n, r in found.items() if entry.covers(n, r["Type"], r.get("Properties", {}), kinds)]
        if there:
            rows.append((", ".join(entry.ids), ", ".join(f"`{name}`" for name in there), entry.reason))
    about = "What scanners find and we accept; the template's metadata says the same to them."
    return Table("Suppressions", about, ("findings", "resources", "why"), tuple(rows))


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


def _shown(value: object) -> str:
    match value:
        case None | "" | ():
            return "none"
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def _lines(found: Sequence[Table]) -> Iterator[str]:
    for table in found:
        yield f"## {table.title}"
        yield ""
        if table.about:
            yield table.about
            yield ""
        yield _row(table.columns)
        yield "|" + "---|" * len(table.columns)
        for row in table.rows:
            yield _row(row)
        yield ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
