"""The PostgreSQL servers of this machine, as engine versions of RDS."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from multiaz.cloud.rds.faults import bad_combination
from multiaz.cloud.rds.parameters import FAMILIES, Definition, define
from multiaz.cloud.rds.settings import ServerSettings
from multiaz.errors import Missing
from multiaz.postgres.installations import Installation, available_majors, find_installation


@dataclass(frozen=True)
class Engine:
    """One major version that can be run here."""

    installation: Installation
    settings: ServerSettings
    definitions: Mapping[str, Definition]
    libraries: frozenset[str]

    @property
    def version(self) -> str:
        """Of the server that runs, for example "17.10"."""
        return self.installation.version

    def recorded(self, asked: str | None) -> str:
        """The EngineVersion that is kept and shown: the minor version asked for, whatever minor version runs."""
        return asked if asked is not None and "." in asked else self.version

    @property
    def major(self) -> int:
        """For example 17."""
        return self.installation.major

    @property
    def family(self) -> str:
        """The parameter group family."""
        return FAMILIES[self.installation.major]


class Engines:
    """Finds each major version once."""

    def __init__(
        self,
        copies: Path,
        find: Callable[[Path, int], Installation] = find_installation,
        available: Callable[[], list[int]] = available_majors,
    ) -> None:
        self._copies = copies
        self._find = find
        self._available = available
        self._lock = threading.Lock()
        self._found: dict[int, Engine] = {}
        self._majors: list[int] | None = None

    def majors(self) -> list[int]:
        """Major versions installed here that RDS has, ascending."""
        with self._lock:
            if self._majors is None:
                self._majors = [major for major in self._available() if major in FAMILIES]
            return self._majors

    def of(self, major: int) -> Engine:
        """The engine of a major version. Raises Missing if it is not installed."""
        with self._lock:
            if major not in self._found:
                installation = self._find(self._copies, major)
                settings = ServerSettings(installation.bin_folder)
                libraries = settings.libraries()
                definitions = define(major, settings.all(), libraries)
                self._found[major] = Engine(installation, settings, definitions, libraries)
            return self._found[major]

    def for_version(self, version: str | None) -> Engine:
        """The engine that runs for EngineVersion: its major must be installed, and RDS must know the minor.

        Raises AwsFault InvalidParameterCombination, naming what is installed.
        """
        majors = self.majors()
        if version is None:
            wanted = 17 if 17 in majors else max(majors, default=17)
        else:
            match = re.fullmatch(r"(\d+)(?:\.\d+)?", version)
            wanted = int(match[1]) if match else 0
        if wanted in majors:
            try:
                engine = self.of(wanted)
            except Missing as error:
                raise bad_combination(f"Cannot find version {version or wanted} for postgres: {error}") from error
            if version in (None, str(wanted), engine.version) or version in known_versions():
                return engine
        there = ", ".join(self.of(major).version for major in majors) or "none"
        raise bad_combination(
            f"Cannot find version {version or wanted} for postgres. Installed on this machine: {there}."
        )


@lru_cache(maxsize=1)
def known_versions() -> frozenset[str]:
    """Minor versions of PostgreSQL RDS has or had, from the schemas cfn-lint ships."""
    found = importlib.util.find_spec("cfnlint")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    folder = Path(next(iter(found.submodule_search_locations))) / "data/schemas/extensions/aws_rds_dbinstance"
    versions: set[str] = set()
    for name in ("engine_version.json", "engine_version_deprecated.json"):
        try:
            document = json.loads((folder / name).read_text())
        except FileNotFoundError:
            continue
        for rule in document.get("allOf", []):
            condition = rule.get("if", {}).get("properties", {}).get("Engine", {})
            if condition.get("const") == "postgres" or condition.get("enum") == ["postgres"]:
                versions.update(word for word in _words(rule) if word[:1].isdigit())
    return frozenset(versions)


def _words(schema: object) -> set[str]:
    """Every version an `enum` below `schema` lists."""
    if isinstance(schema, list):
        return set().union(*(_words(one) for one in schema))
    if isinstance(schema, dict):
        own = {word for word in schema.get("enum", []) if isinstance(word, str)}
        return own.union(*(_words(value) for key, value in schema.items() if key != "enum"))
    return set()
