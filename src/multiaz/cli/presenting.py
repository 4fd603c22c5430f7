"""`presets` and `init`: what may be set, and what the presets set."""

from __future__ import annotations

from pathlib import Path

from multiaz.blueprint import Preset, Settings, synthesize
from multiaz.blueprint.presets import PRESET_ROWS, ROWS
from multiaz.blueprint.settings_file import settings_file, toml_value
from multiaz.blueprint.sources import Layer
from multiaz.cli import configuration
from multiaz.cli.output import Output
from multiaz.errors import BadInput, Conflict
from multiaz.files import write_atomically


def presets(output: Output, *, config: str | None) -> None:
    """Show the rows of the presets, what each leaves behind, and which rows are set otherwise here."""
    found = {preset: configuration.asked(config, preset=preset.value).layer for preset in Preset}
    left = {preset: left_behind(layer.settings()) for preset, layer in found.items()}
    changed = {preset: _changed(layer) for preset, layer in found.items()}
    document = {
        "rows": [{"setting": r.setting, "prod": r.prod, "test": r.test, "reason": r.reason} for r in ROWS],
        "left_behind": {preset.value: list(things) for preset, things in left.items()},
        "set_otherwise": {preset.value: things for preset, things in changed.items()},
    }

    def show() -> None:
        output.table(
            ("SETTING", "PROD", "TEST", "WHY"),
            [(row.setting, toml_value(row.prod), toml_value(row.test), row.reason) for row in ROWS],
        )
        output.line()
        for preset, things in left.items():
            refused = "deletion is refused until its protection is off; then " if _protected(found[preset]) else ""
            output.line(f"{preset.value}: {refused}deleting the stack leaves {', '.join(things) or 'nothing'}")
        for preset, values in changed.items():
            for name, told in values.items():
                output.line(f"{preset.value}: {name} is {toml_value(told['value'])} here, from {told['from']}")

    output.result(document, show)


def _protected(layer: Layer) -> bool:
    return layer.settings().deletion_protection


def _changed(layer: Layer) -> dict[str, dict[str, object]]:
    """Rows of the presets that file, environment or the load decide, with their values and origins."""
    made = layer.settings()
    return {
        row.setting: {"value": getattr(made, row.setting), "from": layer.origins.get(row.setting, "orders_per_day")}
        for row in ROWS
        if row.setting in layer.values or getattr(made, row.setting) != PRESET_ROWS[made.preset][row.setting]
    }


def left_behind(s: Settings) -> tuple[str, ...]:
    """Logical ids that outlive the stack, read from its template, with what becomes of them."""
    resources = synthesize(s).to_dict()["Resources"]
    words = {"Retain": "kept", "Snapshot": "a final snapshot", "RetainExceptOnCreate": "kept"}
    return tuple(
        f"{name} ({words[told['DeletionPolicy']]})"
        for name, told in resources.items()
        if told.get("DeletionPolicy", "Delete") != "Delete"
    )


def init(output: Output, *, file: str, preset: str, force: bool) -> None:
    """Write the file of settings, or print it. Raises Conflict if there is one already."""
    text = settings_file(Preset(preset))
    if file == "-":
        output.result({"file": None, "preset": preset, "text": text}, lambda: output.line(text.rstrip("\n")))
        return
    # A link's target is what is written: replacing the link would leave the old file to others.
    path = Path(file)
    try:
        target = path.resolve()
        there = target.exists()
        if there and not target.is_file():
            raise BadInput(f"Cannot write {file}", "it is no regular file", "name a file, or - to print")
        if there and not force:
            raise Conflict(f"Cannot write {file}", "it is there already", "replace it with --force, or name another")
        write_atomically(target, text, mode=target.stat().st_mode & 0o777 if there else 0o644)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, a ring of links
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInput(f"Cannot write {file}", why, "name a file in a folder you may write to, or - to print") from None

    def show() -> None:
        output.line(f"Wrote {file}: preset {preset}, every other setting as a comment.")
        if file != configuration.FILE:
            output.line(f"Name it with --config {file}, or by {configuration.VARIABLE}.")

    output.result({"file": str(target), "preset": preset}, show)
