"""Where settings come from: layers of named values, the later of which win. Pure.

defaults < preset < what a command sets < the file < its table of the preset < environment < flags.
The first two are `Settings`' own; here are the others, and for each value the words that say where it was given.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from multiaz.blueprint.presets import Preset
from multiaz.blueprint.settings import Settings, settings_from
from multiaz.errors import BadInput

PREFIX = "MULTIAZ_"
FILE_LIMIT = 65_536
"""Bytes; a file with every setting, each explained, has less than a third."""
TABLES = tuple(preset.value for preset in Preset)
OUTSIDE_TABLES = {
    "preset": "a table is read because the preset is chosen",
    "environment_suffix": "it names the stack, also for commands that know no preset",
}
"""Settings no table may hold, and why."""

SECRET = re.compile(r"passw|secret|token|credential|access_?key", re.IGNORECASE)
STATEMENT_LINES = 100
"""A statement longer than this gets no line number: finding its end would take long."""
SHOWN = 60
"""Characters of a foreign name that an error repeats."""


@dataclass(frozen=True)
class Layer:
    """Settings given in one place, and for each the words that name the place."""

    values: Mapping[str, object] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    def over(self, lower: Layer) -> Layer:
        """Both layers; where both give a setting, this one's value stands."""
        return Layer({**lower.values, **self.values}, {**lower.origins, **self.origins})

    def without(self, *names: str) -> Layer:
        """The layer with these settings left to what lies below."""
        return Layer(
            {name: value for name, value in self.values.items() if name not in names},
            {name: origin for name, origin in self.origins.items() if name not in names},
        )

    def settings(self) -> Settings:
        """The settings these values make. Raises BadInput that says where each refused value was given."""
        return settings_from(self.values, self.origins)


@dataclass(frozen=True)
class FileLayers:
    """A file's own values, and those of its tables by preset."""

    common: Layer = field(default_factory=Layer)
    tables: Mapping[str, Layer] = field(default_factory=dict)


def layered(command: Layer, file: FileLayers, environment: Layer, flags: Layer) -> Layer:
    """One layer of all. The preset is found first, because it chooses the file's table.

    An empty variable is no value: it takes back what the file says, so that what lies below the file holds.
    """
    taken = [name for name, value in environment.values.items() if value == ""]
    environment = environment.without(*taken)
    file = FileLayers(file.common.without(*taken), {name: told.without(*taken) for name, told in file.tables.items()})
    without_table = flags.over(environment.over(file.common.over(command)))
    table = file.tables.get(str(without_table.values.get("preset", Preset.PROD)), Layer())
    return flags.over(environment.over(table.over(file.common.over(command))))


def from_environment(variables: Mapping[str, str], others: Collection[str] = ()) -> Layer:
    """Settings among environment variables: MULTIAZ_DB_PORT is db_port. `others` are variables that are none.

    An empty variable is in it too, for `layered`. Raises BadInput for a variable with our prefix that is nothing of
    ours.
    """
    given = sorted(name for name in variables if name.startswith(PREFIX))
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    settings = {name: known[name] for name in given if name in known}
    unknown = [name for name in given if name not in known and name not in others]
    _refuse(_unknown(_shown(name), name, (*known, *others)) for name in unknown)
    return Layer(
        {setting: variables[name] for name, setting in settings.items()},
        {setting: name for name, setting in settings.items()},
    )


def from_flags(given: Mapping[str, str], option: str = "--set") -> Layer:
    """Settings named on the command line. Raises BadInput for names that are none."""
    known = tuple(Settings.model_fields)
    _refuse(_unknown(f"{option} {_shown(name)}", name, known) for name in given if name not in known)
    return Layer(dict(given), {name: f"{option} {name}" for name in given})


def from_toml(content: bytes, path: str) -> FileLayers:
    """Settings of a file: names on its top level, and tables [prod] and [test] for one preset each.

    Raises BadInput that names line and reason: not UTF-8, not TOML, too long, a table, name or type that is none
    of ours. What follows a name that looks like a secret's is never repeated.
    """
    document = _parse(content, path)
    lines = _lines(content.decode("utf-8-sig"))
    common: dict[str, object] = {}
    tables: dict[str, dict[str, object]] = {}
    problems: list[str] = []
    for name, value in document.items():
        if name in TABLES and isinstance(value, dict):
            tables[name] = value
        elif isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value)):
            problems.append(f"{_place(path, lines, '', name)}: [{_shown(name)}]: {_no_table(name)}")
        else:
            common[name] = value
    for table, values in (("", common), *tables.items()):
        for name, value in values.items():
            problem = _problem(table, name, value)
            if problem:
                problems.append(f"{_place(path, lines, table, name)}: {problem}")
    _refuse(problems)
    layers = {
        table: Layer(values, {name: _place(path, lines, table, name) for name in values})
        for table, values in (("", common), *tables.items())
    }
    return FileLayers(layers.pop(""), layers)


def _parse(content: bytes, path: str) -> dict[str, object]:
    what, mend = f"Cannot read {path}", "correct the file and repeat; nothing was changed"
    if len(content) > FILE_LIMIT:
        raise BadInput(
            what, f"it is longer than {FILE_LIMIT:,} bytes", "name a file of settings (see `multiaz init -`)"
        )
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput(what, f"line {line}: byte 0x{content[error.start]:02x} is not UTF-8", mend) from None
    except RecursionError:
        raise BadInput(what, "its values are nested too deeply", mend) from None
    except ValueError as error:  # also a number of more digits than Python reads
        raise BadInput(what, _reason(str(error), content), mend) from None


def _reason(message: str, content: bytes) -> str:
    """tomllib's words with the place first: `line 3, column 7: …`."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if found:
        return f"line {found[2]}, column {found[3]}: {found[1]}"
    end = content.rstrip().count(b"\n") + 1
    message, ended = re.subn(r" \(at end of document\)$", "", message)
    return f"line {end}: {message}" if ended else message


def _no_table(name: str) -> str:
    if name in Settings.model_fields:
        return "a setting has one value and is no table"
    close = _nearest(name, TABLES)
    return f"the only tables are [prod] and [test]{f'; did you mean [{close}]?' if close else ''}"


def _problem(table: str, name: str, value: object) -> str | None:
    """What is wrong with a line of the file, before its value is judged."""
    if name not in Settings.model_fields:
        if not table and name in TABLES:
            return f"{name} is a table of settings: write [{name}]"
        return _unknown(_shown(name), name, tuple(Settings.model_fields))
    if table and name in OUTSIDE_TABLES:
        return f"{name} cannot stand in [{table}]: {OUTSIDE_TABLES[name]}"
    wanted = Settings.model_fields[name].annotation
    if isinstance(value, bool) and wanted is not bool:
        return f"{name}: true and false are no values of this setting"
    parts = value if isinstance(value, list) else [value]
    if isinstance(value, list) and wanted != tuple[str, ...]:
        return f"{name}: this setting takes one value, not a list"
    if not all(isinstance(part, str | int | float) for part in parts):
        return f"{name}: a value is text in quotes, a number, true, false or a list of texts"
    return None


def _unknown(shown: str, name: str, known: Iterable[str]) -> str:
    """`shown` is no setting; the nearest one. A name that looks like a secret's is near such names only."""
    secret = SECRET.search(name)
    close = _nearest(name, [candidate for candidate in known if not secret or SECRET.search(candidate)])
    if secret and not close:
        return f"{shown}: no password or key is given here; the stack generates its passwords"
    return f"{shown}: there is no such setting" + (f"; did you mean {close}?" if close else "")


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The name of which `name` is a longer form, else the one it looks like; our prefix counts for nothing."""
    plain = {candidate.lower().removeprefix(PREFIX.lower()): candidate for candidate in known}
    asked = name[:SHOWN].lower().replace("-", "_").removeprefix(PREFIX.lower())
    within = [part for part in plain if asked.endswith(f"_{part}") or asked.startswith(f"{part}_")]
    close = sorted(within, key=len)[-1:] or difflib.get_close_matches(asked, plain, n=1)
    return plain[close[0]] if close else None


def _refuse(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise BadInput(
            "Cannot use these settings", "; ".join(found), "correct them; `multiaz init -` prints every setting"
        )


def _shown(name: str) -> str:
    """A foreign name without control characters, cut."""
    short = name if len(name) <= SHOWN else name[:SHOWN] + "…"
    return short if short.isprintable() else ascii(short)


def _place(path: str, lines: Mapping[tuple[str, str], int], table: str, name: str) -> str:
    line = lines.get((table, name))
    return f"{path} line {line}" if line else path


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Table and name to the line where they are set; table "" is the top. `text` is valid TOML.

    tomllib tells no lines. A statement ends where what was read of it is a document of its own.
    """
    found: dict[tuple[str, str], int] = {}
    table = ""
    for number, statement, document in _statements(text.split("\n")):
        for name, value in document.items():
            if statement.lstrip().startswith("["):
                table = name
                found.setdefault(("", name), number)
                continue
            found[table, name] = number
            if isinstance(value, dict):  # an inline table, or a dotted name
                found.update({(name, inner): number for inner in value})
    return found


def _statements(lines: list[str]) -> Iterator[tuple[int, str, dict[str, object]]]:
    """Number of the first line, text, and what it says."""
    first, read = 0, ""
    for index, line in enumerate(lines):
        if index - first >= STATEMENT_LINES:
            return
        read += line + "\n"
        try:
            document = tomllib.loads(read)
        except ValueError:
            continue
        yield first + 1, read, document
        first, read = index + 1, ""
