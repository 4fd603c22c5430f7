"""The file `multiaz init` writes: every setting with its default and what is known of it, from the model. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from enum import Enum
from itertools import groupby
from typing import Any, Literal, get_args, get_origin

from multiaz.blueprint.patterns import in_words
from multiaz.blueprint.presets import ROWS, Preset, Row
from multiaz.blueprint.settings import Settings, settings_from

WIDTH = 100
HEAD = """\
Settings of multiaz. A line that begins with # is not read: take the # away to set what it says.
What is set elsewhere wins over this file: environment variables (MULTIAZ_DB_PORT=5433), and over them
options (--preset, --suffix, --set db_port=5433). What is set nowhere comes from the preset, else from
the default, which is what the lines below say. Local commands (up, down, status, …) differ in two:
without environment_suffix they use dev, and with either preset there is a standby (multi_az).
No password is ever set: the stack generates them."""
TAIL = """\
A table [prod] or [test] at the end of the file holds settings for that preset only; they win over the
lines above. preset and environment_suffix stand above, never in a table."""


def settings_file(preset: Preset) -> str:
    """TOML that chooses `preset` and has every other setting in a line `#name = value` of its own.

    Such a line says what holds without it; lines of words begin with "# ".
    """
    return "\n".join(_lines(preset)) + "\n"


def toml_value(value: object) -> str:
    """A setting's value in TOML. None is empty text, which TOML can say and settings take for none."""
    match value:
        case None:
            return '""'
        case bool():
            return "true" if value else "false"
        case tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case str():
            return json.dumps(str(value), ensure_ascii=False)  # basic strings are those of JSON
        case _:
            return str(value)


def _lines(preset: Preset) -> Iterator[str]:
    made = settings_from({"preset": preset})
    rows = {row.setting: row for row in ROWS}
    yield from _prose(HEAD)
    yield ""
    for group, fields in groupby(Settings.model_fields.items(), lambda item: _known(item[1])["group"]):
        yield f"# ---- {group} ----"
        yield ""
        for name, field in fields:
            yield from _prose(_about(field, rows.get(name)))
            yield f"{'' if name == 'preset' else '#'}{name} = {toml_value(getattr(made, name))}"
            yield ""
    yield from _prose(TAIL)


def _about(field: Any, row: Row | None) -> str:
    words = [f"{field.description}."]
    limits = bounds(field)
    if limits:
        words.append(f"Bounds: {limits}.")
    if row is not None:
        words.append(f"prod: {toml_value(row.prod)}, test: {toml_value(row.test)}, because {row.reason}.")
    words.append(f"Source: {_known(field)['source']}.")
    return " ".join(words)


def bounds(field: Any) -> str:
    """The values a field of the model admits, as far as the field itself says: choices, limits, form."""
    for choice in (field.annotation, *get_args(field.annotation)):
        if get_origin(choice) is Literal:
            return ", ".join(map(str, get_args(choice)))
        if isinstance(choice, type) and issubclass(choice, Enum):
            return ", ".join(str(member.value) for member in choice)
    found: dict[str, Any] = {}
    for rule in field.metadata:
        for name in ("ge", "le", "min_length", "max_length", "pattern"):
            if getattr(rule, name, None) is not None:
                found[name] = getattr(rule, name)
    words = []
    if "ge" in found:
        words.append(f"{found['ge']} to {found['le']}" if "le" in found else f"at least {found['ge']}")
    if "max_length" in found:
        words.append(f"at most {found['max_length']} characters")
    if "pattern" in found:
        words.append(in_words(found["pattern"]))
    return ", ".join(words)


def _known(field: Any) -> dict[str, Any]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _prose(text: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"
