"""The settings a command works with: its file, the environment and its options, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multiaz.cli.requests import DEFAULT_SUFFIX, pairs, stack_name
from multiaz.errors import BadInput

if TYPE_CHECKING:
    from multiaz.blueprint.sources import Layer
    from multiaz.cli.output import Output

FILE = "multiaz.toml"
"""Read from the folder the command runs in, unless another file is named."""
VARIABLE = "MULTIAZ_CONFIG"
"""Names another file; empty: none is read."""
LOCAL_DEFAULTS: Mapping[str, object] = {"preset": "test", "environment_suffix": DEFAULT_SUFFIX, "multi_az": True}
"""What local commands set unless told otherwise: a stack that goes again, with a standby, which costs nothing here."""
NO_SETTINGS = frozenset(
    {VARIABLE, "MULTIAZ_HOME", "MULTIAZ_PORT_BASE", "MULTIAZ_POSTGRES_BIN", "MULTIAZ_TEST_PATIENCE"}
)
"""Variables that say nothing of the settings; with these alone the blueprint need not be loaded."""


@dataclass(frozen=True)
class Asked:
    """Every value given anywhere, the part of it that options gave, and where the rest was found."""

    layer: Layer
    flags: Layer
    places: tuple[str, ...]
    """The file and the variables that gave a value; a person may have forgotten them."""


@dataclass(frozen=True)
class FoundFile:
    """A file of settings as it was read."""

    path: str
    content: bytes


def asked(
    config: str | None,
    *,
    preset: str | None = None,
    suffix: str | None = None,
    settings: Sequence[str] = (),
    command: Mapping[str, object] | None = None,
) -> Asked:
    """What was asked for by `command` (its own defaults), file, environment and options, the later winning.

    Raises BadInput for a file that cannot be read and for names that are no settings; values are judged by
    `.layer.settings()`.
    """
    from multiaz.blueprint import sources

    flags = _flags(preset, suffix, settings)
    own = sources.Layer(command or {}, dict.fromkeys(command or {}, "the command"))
    found = find_file(config, os.environ)
    file = sources.from_toml(found.content, found.path) if found else sources.FileLayers()
    environment = sources.from_environment(os.environ, NO_SETTINGS)
    places = (*((found.path,) if found else ()), *environment.origins.values())
    return Asked(sources.layered(own, file, environment, flags), flags, places)


def tell_places(output: Output, places: Sequence[str]) -> None:
    """Name the file and the variables that decide too: they are easily forgotten."""
    if places:
        output.note(f"Settings from {', '.join(places)}")


def _flags(preset: str | None, suffix: str | None, settings: Sequence[str]) -> Layer:
    from multiaz.blueprint import sources

    given = pairs(settings, "--set", "NAME=VALUE")
    if "preset" in given:
        raise BadInput("Cannot use --set preset", "it has an option of its own", "use --preset")
    named = given.get("environment_suffix")
    if suffix is not None and named is not None and named != suffix:
        raise BadInput(
            f"Cannot use --suffix {suffix}", f"--set environment_suffix={named} says otherwise", "give one of the two"
        )
    values = {name: value for name, value in (("preset", preset), ("environment_suffix", suffix)) if value is not None}
    names = {"preset": "--preset", "environment_suffix": "--suffix"}
    options = sources.Layer(values, {name: names[name] for name in values})
    return options.over(sources.from_flags(given))


def stack_named(stack: str | None, suffix: str | None, config: str | None) -> str:
    """The name of the stack a local command is about, the same whichever command asks.

    --stack, else ecommerce- and the suffix: of --suffix, MULTIAZ_ENVIRONMENT_SUFFIX, the file, else dev.
    Raises BadInput; the file is read only if neither stack nor suffix is given.
    """
    if stack is not None or suffix is not None or not _anything_configured(config):
        return stack_name(stack, suffix)
    from multiaz.blueprint import settings_from

    layer = asked(config, command=LOCAL_DEFAULTS).layer
    wanted = settings_from({"environment_suffix": layer.values["environment_suffix"]}, layer.origins)
    return stack_name(None, wanted.environment_suffix)


def is_default_stack(name: str) -> bool:
    """Whether commands without options are about this stack."""
    try:
        return stack_named(None, None, None) == name
    except BadInput:
        return False


def _anything_configured(config: str | None) -> bool:
    """False: there is neither a file nor a variable, so the defaults hold."""
    named = any(name.startswith("MULTIAZ_") and name not in NO_SETTINGS for name in os.environ)
    return named or _path(config, os.environ) is not None


def _path(config: str | None, variables: Mapping[str, str]) -> str | None:
    """The file to read: of --config, MULTIAZ_CONFIG, else multiaz.toml if it is there."""
    named = config if config is not None else variables.get(VARIABLE)
    if named is not None:
        return named or None
    return FILE if os.path.lexists(FILE) else None


def find_file(config: str | None, variables: Mapping[str, str]) -> FoundFile | None:
    """The file of settings and its content, at most a little more than is allowed. Raises BadInput."""
    from multiaz.blueprint.sources import FILE_LIMIT

    path = _path(config, variables)
    if path is None:
        return None
    mend = f"name another with --config or {VARIABLE}; an empty name reads none"
    try:
        if path == FILE and not Path(path).is_file() and Path(path).exists():
            raise BadInput(f"Cannot read {path}", "it is no regular file", mend)
        if Path(path).is_fifo() and not path.startswith("/dev/"):
            # A pipe nobody writes to would be waited for; a shell's own, <(…), is below /dev and has its writer.
            raise BadInput(f"Cannot read {path}", "it is no regular file", mend)
        with open(path, "rb") as stream:
            return FoundFile(path, stream.read(FILE_LIMIT + 1))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInput(f"Cannot read {path}", why, mend) from None
