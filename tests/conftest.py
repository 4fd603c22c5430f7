"""Fixtures every tier may use: a home servers can reach, ports nobody else takes, patience."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from multiaz.home import Home
from multiaz.postgres.installations import find_installation

T = TypeVar("T")

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Images often set it, and then each of the hundreds of processes the tests start compiles boto3, moto and pydantic
    # anew: more than half of the CPU of a `multiaz status`. What was compiled goes into the environment's folder, and
    # none beside the sources, as before.
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(Path(sys.prefix) / "pycache")
    sys.dont_write_bytecode = False

PORTS = range(20000, 32000)
"""Below Linux's ephemeral range (32768…), so that no client socket takes one by chance."""
WORKERS_AT_MOST = 16


LONGEST = (
    "unit/blueprint/test_any_settings.py",
    "cli/test_end_to_end.py", "cloud/stacks/test_stacks_update_resume.py", "cloud/rds/test_rds_instances.py",
    "cli/test_runbook_runs.py", "cloud/stacks/test_stacks_update_random.py", "faults/test_survival.py",
    "cli/test_bootstrap.py", "cloud/front/test_front_aws_cli.py", "cluster/test_supervisor.py",
    "cloud/stacks/test_stacks_resume.py", "cloud/rds/test_rds_tokens.py", "cluster/test_failover.py",
    "cloud/rds/test_rds_modify.py", "cloud/front/test_front_persistence.py", "cloud/rds/test_rds_groups.py",
)  # fmt: skip
"""Files that take longest, those that wait for servers and those that compute in turn: workers begin with these, so
that none is left for the end, when the other workers have nothing more to do. `make test` turns off xdist's own order,
which begins with the files of most tests: all that compute at first, and all that wait at last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they were found: those of tests/unit, which are short, at the end."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    if missing := [str(path) for path in places if not path.exists()]:
        raise pytest.UsageError(f"LONGEST in tests/conftest.py names what is not there: {', '.join(missing)}")
    items.sort(key=lambda item: places.get(item.path, len(places)))


def patience() -> float:
    """The factor on every deadline of the tests: MULTIAZ_TEST_PATIENCE, 1 by default."""
    return float(os.environ.get("MULTIAZ_TEST_PATIENCE", "1"))


def worker_number() -> int:
    """0 without xdist, else the number in gw0, gw1…"""
    name = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return int(name.removeprefix("gw"))


def processes_below(folder: Path) -> dict[int, str]:
    """Pid and command line of every live process whose working directory is `folder` or below it.

    Needs /proc; elsewhere it finds none.
    """
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            where = Path(str((entry / "cwd").readlink()).removesuffix(" (deleted)"))
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if state not in "ZX" and (where == folder or folder in where.parents):
            found[int(entry.name)] = command.strip()
    return found


def wait_until(probe: Callable[[], T], what: str, *, within_s: float = 10.0, pause_s: float = 0.02) -> T:
    """The first true value of `probe`, asked again until `within_s` times the patience is over."""
    deadline = time.monotonic() + within_s * patience()
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {within_s * patience():g} s (last answer: {value!r})")
        time.sleep(pause_s)


class PortAllocator:
    """Free TCP ports of 127.0.0.1, from a range of this xdist worker's own."""

    def __init__(self, worker: int) -> None:
        share = len(PORTS) // WORKERS_AT_MOST
        first = PORTS.start + (worker % WORKERS_AT_MOST) * share
        # Two runs of the suite on one machine start in different places.
        self._range = range(first, first + share)
        self._offset = os.getpid() * 37 % share

    def __call__(self) -> int:
        """A port nothing listens on and this allocator has not given before."""
        return self.block(1)

    def block(self, size: int) -> int:
        """The first of `size` consecutive free ports."""
        for _ in range(len(self._range)):
            if self._offset + size > len(self._range):
                self._offset = 0
            first = self._range[self._offset]
            self._offset += size
            if all(_is_free(port) for port in range(first, first + size)):
                return first
        raise RuntimeError(f"no {size} consecutive free ports in {self._range}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def make_home() -> Path:
    """A folder the servers' unprivileged user can traverse: pytest's tmp_path is 0700."""
    folder = Path(tempfile.mkdtemp(prefix="maz-", dir="/tmp")).resolve()
    folder.chmod(0o755)
    return folder


def mounts_below(folder: Path) -> list[str]:
    """Where something is mounted on `folder` or below it, the deepest first. Needs /proc; elsewhere it finds none."""
    table = Path("/proc/self/mounts")
    lines = table.read_text().splitlines() if table.exists() else []
    found = [line.split()[1] for line in lines]
    return sorted((path for path in found if folder in (Path(path), *Path(path).parents)), key=len, reverse=True)


def remove_home(folder: Path) -> None:
    """Remove `folder`; the test fails if a process still lives in it (and those are killed), if something is still
    mounted in it (and that is unmounted), or if it cannot be removed."""
    left = processes_below(folder)
    deadline = time.monotonic() + 5 * patience()
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = processes_below(folder)
    rounds = 0
    remaining = left
    while remaining and rounds < 50:
        for pid in remaining:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
        remaining = processes_below(folder)
        rounds += 1
    mounted = mounts_below(folder)
    for path in mounted:
        subprocess.run(["umount", path], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
    if left:
        listing = "\n".join(f"  {pid}: {command}" for pid, command in left.items())
        pytest.fail(f"processes survived in {folder}:\n{listing}")
    if mounted:
        pytest.fail(f"left mounted: {', '.join(mounted)}")
    if folder.exists():
        pytest.fail(f"cannot be removed: {', '.join(str(path) for path in (folder, *folder.rglob('*')))[:2000]}")


@pytest.fixture(scope="session", autouse=True)
def settings_of_nobody() -> Iterator[None]:
    """A multiaz.toml in the folder the tests run in, and MULTIAZ_ variables of the person, decide nothing."""
    kept = {"MULTIAZ_HOME", "MULTIAZ_POSTGRES_BIN", "MULTIAZ_TEST_PATIENCE"}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MULTIAZ_") and name not in kept]:
            patch.delenv(name)
        patch.setenv("MULTIAZ_CONFIG", "")
        yield


@pytest.fixture
def home_folder() -> Iterator[Path]:
    """An empty home under /tmp with a short name, mode 0755; no process may survive in it."""
    folder = make_home()
    yield folder
    remove_home(folder)


@pytest.fixture(scope="module")
def module_home_folder() -> Iterator[Path]:
    """As `home_folder`, shared by the tests of one module."""
    folder = make_home()
    yield folder
    remove_home(folder)


@pytest.fixture(scope="session")
def lend_programs() -> Iterator[Callable[[Home], None]]:
    """Gives a new home PostgreSQL's programs, which are copied once for all homes that borrow them.

    A copy for each home, as the product makes, costs more CPU than most tests.
    """
    folder = make_home()
    found = find_installation(folder, 17)

    def lend(home: Home) -> None:
        if folder in found.bin_folder.parents:  # else the machine has them where the servers' user reaches them
            home.postgres.mkdir(mode=0o755, parents=True)
            (home.postgres / found.version).symlink_to(found.bin_folder.parent)

    yield lend
    remove_home(folder)


@pytest.fixture(scope="session")
def free_port() -> PortAllocator:
    """Call it for a free port below 32768; `.block(n)` gives n in a row."""
    return PortAllocator(worker_number())


@pytest.fixture(scope="session")
def deadline() -> Callable[[float], float]:
    """Turns seconds into seconds times MULTIAZ_TEST_PATIENCE."""
    return lambda seconds: seconds * patience()


@pytest.fixture(scope="session")
def eventually() -> Callable[..., object]:
    """`wait_until`: polls a probe to a deadline. Tests never sleep for a condition."""
    return wait_until
