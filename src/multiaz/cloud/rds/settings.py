"""What settings a PostgreSQL installation has, asked of the real `postgres` program.

`postgres --describe-config` lists names, types, ranges and contexts without a data directory. What it
leaves out, the words of an enumeration and the unit of a number, the program says itself when it is given
a wrong value (`postgres -C … -c name=value`, about 5 ms), and so it judges every other value too.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """One setting as the server describes it."""

    name: str
    context: str
    """postmaster, sighup, superuser, user…"""
    group: str
    kind: str
    """boolean, integer, float, string or enum."""
    default: str
    minimum: str
    maximum: str
    description: str

    @property
    def static(self) -> bool:
        """Only a restart changes it."""
        return self.context == "postmaster"


@dataclass(frozen=True)
class Rejection:
    """The server refuses a value."""

    name: str
    reason: str
    allowed: str = ""
    """The words an enumeration has, if it is one."""


_KINDS = {"BOOLEAN": "boolean", "INTEGER": "integer", "REAL": "float", "STRING": "string", "ENUM": "enum"}


def parse_description(text: str) -> dict[str, Setting]:
    """Settings by lower-case name, from the output of `postgres --describe-config`."""
    settings = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) < 8 or fields[3] not in _KINDS:
            continue
        name, context, group, kind, default, minimum, maximum, description = fields[:8]
        settings[name.lower()] = Setting(name, context, group, _KINDS[kind], default, minimum, maximum, description)
    return settings


def parse_rejection(stderr: str, asked: Mapping[str, str]) -> Rejection | None:
    """The first complaint in the server's stderr about one of the settings in `asked`."""
    lines = [re.sub(r"^.*?\[\d+\] ", "", line) for line in stderr.splitlines()]
    for number, line in enumerate(lines):
        if not line.startswith(("FATAL:", "ERROR:")):
            continue
        reason = line.split(":", 1)[1].strip()
        hint = next((later for later in lines[number + 1 :] if later.startswith("HINT:")), "")
        words = re.search(r"Available values: (.+?)\.?$", hint)
        named = {word.lower() for word in re.findall(r'"([^"]+)"', line)}
        name = next((name for name in asked if name.lower() in named), "")
        return Rejection(name, reason, words[1] if words else "")
    return None


class ServerSettings:
    """The settings of one installation; each question is asked of the program once."""

    def __init__(self, bin_folder: Path) -> None:
        self.bin_folder = bin_folder
        self._lock = threading.Lock()
        self._settings: dict[str, Setting] | None = None
        self._words: dict[str, str] = {}
        self._units: dict[str, str] = {}
        self._explored = False

    def all(self) -> Mapping[str, Setting]:
        """Every setting of the installation by lower-case name."""
        with self._lock:
            if self._settings is None:
                said = subprocess.run(
                    [self.bin_folder / "postgres", "--describe-config"],
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=True,
                )
                self._settings = parse_description(said.stdout)
            return self._settings

    def judge(self, values: Mapping[str, str]) -> Rejection | None:
        """None if the server takes all `values`; else what it says of the first it refuses."""
        if not values:
            return None
        return parse_rejection(self._try(values), values)

    def words(self, name: str) -> str:
        """The words of an enumeration, separated by commas; empty if there are none."""
        self._explore()
        return self._words.get(name.lower(), "")

    def unit(self, name: str) -> str:
        """The unit of a number, for example "kB"; empty if it has none."""
        self._explore()
        return self._units.get(name.lower(), "")

    def libraries(self) -> frozenset[str]:
        """Names of the loadable modules of the installation (`$libdir`)."""
        said = subprocess.run(
            [self.bin_folder / "pg_config", "--pkglibdir"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        folders = [Path(said.stdout.strip())] if said.returncode == 0 and said.stdout.strip() else []
        folders += [
            self.bin_folder.parent / "lib",
            self.bin_folder.parent / "lib" / "postgresql",
        ]
        suffixes = (".so", ".dylib")
        return frozenset(
            path.stem for folder in folders if folder.is_dir() for path in folder.iterdir() if path.suffix in suffixes
        )

    def _explore(self) -> None:
        """Ask for every enumeration's words and every number's unit (under a second, once)."""
        settings = self.all()
        with self._lock:
            if self._explored:
                return
            enumerations = [one for one in settings.values() if one.kind == "enum"]
            numbers = [one for one in settings.values() if one.kind in ("integer", "float") and one.minimum]
            with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
                for one, stderr in zip(
                    enumerations,
                    pool.map(lambda one: self._try({one.name: "no such word"}), enumerations),
                    strict=True,
                ):
                    rejection = parse_rejection(stderr, {one.name: ""})
                    self._words[one.name.lower()] = rejection.allowed if rejection else ""
                for one, stderr in zip(
                    numbers,
                    pool.map(lambda one: self._try({one.name: _below(one.minimum)}), numbers),
                    strict=True,
                ):
                    found = re.search(r"valid range for parameter .*\((?:-?[\d.e+]+) (\d*[A-Za-z]+) \.\.", stderr)
                    self._units[one.name.lower()] = found[1] if found else ""
            self._explored = True

    def _try(self, values: Mapping[str, str]) -> str:
        """stderr of a server that reads `values` from its command line, prints one setting and ends."""
        with tempfile.TemporaryDirectory(prefix="multiaz-") as folder:
            empty = Path(folder) / "empty.conf"
            empty.touch()
            arguments = [str(self.bin_folder / "postgres"), "-C", "work_mem", "-D", folder]
            for name, value in {"config_file": str(empty), **values}.items():
                arguments += ["-c", f"{name}={value}"]
            said = subprocess.run(
                arguments,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        return said.stderr if said.returncode else ""


def _below(minimum: str) -> str:
    number = float(minimum)
    return str(int(number) - 1) if number == int(number) else str(number - 1)
