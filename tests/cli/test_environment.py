"""scripts/environment: what a fresh machine lacks is named, and nothing is done twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files an environment is made from, in a folder of their own; pip finds no registry."""
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def python(folder: Path, before: str, name: str = "python") -> str:
    """A Python that runs `before` first, standing for one that is old or incomplete."""
    wrapper = folder / name
    program = (
        f"import sys, runpy; {before}; a = sys.argv[1:]; sys.argv = a[1:] if a[0] == '-c' else a\n"
        "exec(a[1]) if a[0] == '-c' else runpy.run_path(a[0], run_name='__main__')"
    )
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}" "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def make(clone: Path, tier: str = "run", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, **variables}
    environment.pop("PIP_FIND_LINKS", None)
    return subprocess.run(
        [clone / "scripts" / "environment", tier],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def test_a_python_that_is_too_old_is_refused_by_its_version(clone: Path, tmp_path: Path) -> None:
    done = make(clone, PYTHON=python(tmp_path, "sys.version_info = (3, 9, 2, 'final', 0)"))
    assert done.returncode == 7
    assert "is Python 3.9, and multiaz needs 3.11 or later" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (clone / ".venv").exists()


def test_a_newer_python_is_taken_instead_of_the_one_that_is_too_old(clone: Path, tmp_path: Path) -> None:
    old = python(tmp_path, "sys.version_info = (3, 9, 2, 'final', 0)", "old")
    new = python(tmp_path, "sys.modules['ensurepip'] = None", "new")
    done = make(clone, PYTHON=f"{old} {new}")
    assert "ensurepip" in done.stderr, "the newer one was asked"


def test_a_missing_ensurepip_names_the_package_to_install(clone: Path, tmp_path: Path) -> None:
    done = make(clone, PYTHON=python(tmp_path, "sys.modules['ensurepip'] = None"))
    assert done.returncode == 7
    major, minor = sys.version_info[:2]
    assert f"apt-get install python{major}.{minor}-venv" in done.stderr
    assert not (clone / ".venv").exists()


def test_no_python_at_all_is_named(clone: Path) -> None:
    done = make(clone, PYTHON="/no/such/python")
    assert done.returncode == 7
    assert "no Python was found" in done.stderr


def test_an_install_without_a_registry_fails_by_name_and_is_done_afresh_next_time(clone: Path) -> None:
    """Between the install before and the one after, both as far as a mark: an environment takes 5 s to make."""
    unfinished, half = clone / ".venv" / "multiaz-unfinished", clone / ".venv" / "half-installed"
    half.mkdir(parents=True)
    unfinished.touch()
    done = make(clone, PYTHON=sys.executable)
    assert done.returncode == 7
    assert "The last install was cut short: starting afresh" in done.stdout
    assert "a network to the package registry is needed" in done.stderr
    assert not half.exists()
    assert not list(clone.glob(".venv/*.stamp"))
    assert unfinished.exists(), "the next one starts afresh"


@pytest.mark.parametrize("file", ["requirements/run.txt", "requirements/build.txt", "pyproject.toml"])
def test_an_environment_that_is_up_to_date_needs_no_python_and_a_changed_file_does(clone: Path, file: str) -> None:
    folder = clone / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    sums = subprocess.run(
        "{ pwd -P; cat requirements/run.txt requirements/build.txt pyproject.toml scripts/environment.py; } | cksum",
        shell=True,
        cwd=clone,
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / "multiaz-run.stamp").write_text(sums.stdout)
    assert make(clone, PYTHON="/no/such/python").returncode == 0
    assert make(clone, "dev", PYTHON="/no/such/python").returncode == 7, "run does not serve dev"
    with (clone / file).open("a") as changed:
        changed.write("# changed\n")
    assert make(clone, PYTHON="/no/such/python").returncode == 7
