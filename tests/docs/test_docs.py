"""Everything a person may type or meet is documented, and what is documented exists."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from multiaz.cli.main import app
from multiaz.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
CLI = (ROOT / "docs" / "cli.md").read_text()


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command with its options, as the parser knows them."""
    top = typer.main.get_command(app)
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        nested = getattr(command, "commands", {"": command})
        for inner, leaf in nested.items():
            options = [word for p in leaf.params for word in (*p.opts, *p.secondary_opts) if word.startswith("-")]
            yield f"{name} {inner}".strip(), options


def section(command: str) -> str:
    """The text of docs/cli.md under the heading that names `command`."""
    for part in re.split(r"^### ", CLI, flags=re.MULTILINE)[1:]:
        if f"`multiaz {command}" in part.splitlines()[0]:
            return part
    pytest.fail(f"docs/cli.md has no section for multiaz {command}")


def test_every_command_and_option_is_documented() -> None:
    missing = [
        f"{command} {option}"
        for command, options in commands()
        for option in options
        if option != "--help" and f"`{option}" not in section(command) and f", `{option}" not in section(command)
    ]
    assert missing == []


def test_every_documented_option_exists() -> None:
    known = {option for _, options in commands() for option in options} | {"--"}
    named = set(re.findall(r"`(--?[a-z-]+)", CLI)) | {"--json"}
    assert named - known == set()


def test_every_exit_code_is_documented() -> None:
    table = dict(re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", CLI, flags=re.MULTILINE))
    assert {int(code): name for code, name in table.items()} == {int(code): code.name for code in ExitCode}


def test_every_make_target_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE)
    told = re.findall(r"^([a-z][a-z-]*):.*## .", makefile, flags=re.MULTILINE)
    assert set(targets) - set(told) == {"env", "env-dev"}
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(targets)


def test_the_build_backend_installed_is_the_one_the_project_asks_for() -> None:
    """It is installed from hashes with --no-build-isolation, so both files must name the same version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for requirement in project["build-system"]["requires"]:
        assert requirement in (ROOT / "requirements" / "build.in").read_text()
        assert requirement in (ROOT / "requirements" / "build.txt").read_text()


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "build.txt"])
def test_requirements_name_hashes_and_no_registry(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert "--index-url" not in text
    pinned = re.findall(r"^[a-z0-9._\[\],-]+==", text, flags=re.MULTILINE | re.IGNORECASE)
    assert pinned
    assert len(pinned) <= text.count("--hash=sha256:")


def test_requirements_hold_the_versions_of_the_lock() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    versions = {(p["name"], p["version"]) for p in lock["package"] if "version" in p}
    for name in ("run.txt", "dev.txt"):
        text = (ROOT / "requirements" / name).read_text()
        for package, version in re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", text, flags=re.MULTILINE):
            assert (package, version) in versions, f"{package} {version}: run `make lock`"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"`(tests/[\w/]+(?:\.py)?)/?`", page.read_text()))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
