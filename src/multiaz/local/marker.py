"""`home.json`: what makes a folder a home, and the rules for a folder that is to become one."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from multiaz.errors import BadInput, Conflict, Missing, NoProgress, NotFound
from multiaz.files import ProcessLock, write_atomically
from multiaz.home import Home

LAYOUT = 1
"""Version of the folder layout in `multiaz.home`; a home of another version is left untouched."""
DEFAULT_PORT = 4566
START_LOCK = "start.lock"
STARTING_PATIENCE_S = 60.0
"""How long one `start` waits for another one to come to its end."""


@dataclass(frozen=True)
class Marker:
    """The content of `home.json`."""

    layout: int
    port: int
    """Port of the AWS endpoint on 127.0.0.1."""
    port_base: int | None
    """When set, DB instances listen on 127.0.0.1 at ports from here on."""
    created: str


def read_marker(home: Home) -> Marker | None:
    """The marker of `home`, or None if it is not there.

    Raises Conflict if the folder is of another layout version or the marker cannot be read.
    """
    try:
        values = json.loads(home.marker.read_text())
        layout = values["layout"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Conflict(
            f"Cannot use {home.root}",
            f"its {home.marker.name} cannot be read ({type(error).__name__}); nothing was changed",
            "restore that file, or set MULTIAZ_HOME to another folder",
        ) from error
    if layout != LAYOUT:
        raise Conflict(
            f"Cannot use {home.root}",
            f"its data are of layout version {layout}, this multiaz reads version {LAYOUT}; nothing was changed",
            "use the multiaz that made it, or set MULTIAZ_HOME to another folder",
        )
    try:
        port_base = values["port_base"]
        return Marker(
            layout, int(values["port"]), None if port_base is None else int(port_base), str(values["created"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Conflict(
            f"Cannot use {home.root}",
            f"its {home.marker.name} is damaged ({error}); nothing was changed",
            "restore that file, or set MULTIAZ_HOME to another folder",
        ) from error


def require_marker(home: Home) -> Marker:
    """The marker of `home`. Raises NotFound if there is no local cloud."""
    marker = read_marker(home)
    if marker is None:
        raise NotFound(
            f"There is no local cloud in {home.root}",
            f"it has no {home.marker.name}",
            "start one with `multiaz up` or `multiaz local start`, or set MULTIAZ_HOME to the folder of yours",
        )
    return marker


def prepare_folder(home: Home, *, port: int | None, port_base: int | None) -> None:
    """Make the folder of `home` if it is not there, or find that it can be a home; nothing is recorded yet.

    Raises BadInput for impossible ports and for a folder that cannot be made or written, Missing if PostgreSQL's
    user cannot reach the folder, Conflict if the folder holds something else or is a file.
    """
    _check_ports(port, port_base)
    try:
        if read_marker(home) is None:
            _refuse_foreign_folder(home)
        if not home.root.exists():
            _check_reachable(home.root.parent)
            home.root.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # another start may be as far as we are
                home.root.mkdir()
                home.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
        _check_reachable(home.root)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unusable(home, why) from error
    if not os.access(home.root, os.W_OK | os.X_OK):
        raise _unusable(home, "nothing can be written there")


def _unusable(home: Home, why: str) -> BadInput:
    return BadInput(f"Cannot use {home.root}", why, "set MULTIAZ_HOME to a folder you may make or write to")


def plan_marker(home: Home, *, port: int | None, port_base: int | None) -> Marker:
    """What `home.json` is to say: what it says already, but for the ports that were asked for.

    Raises Conflict if DB instances have addresses that another port base would not give.
    """
    known = read_marker(home)
    if known is None:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return Marker(LAYOUT, port or DEFAULT_PORT, port_base, created)
    base = known.port_base if port_base is None else port_base
    if base != known.port_base and home.instances.is_dir() and any(home.instances.iterdir()):
        raise Conflict(
            f"Cannot change the port base of {home.root} to {base}",
            f"its DB instances have addresses already ({_base_words(known.port_base)})",
            "remove them first, or use another MULTIAZ_HOME",
        )
    return Marker(LAYOUT, port or known.port, base, known.created)


def record_marker(home: Home, marker: Marker) -> None:
    """Write `home.json` durably; the folder is a home from now on."""
    if marker != read_marker(home):
        write_atomically(home.marker, json.dumps(asdict(marker), indent=1) + "\n", mode=0o644)
    home.logs.mkdir(mode=0o700, exist_ok=True)


def _base_words(port_base: int | None) -> str:
    return "loopback addresses of their own" if port_base is None else f"ports from {port_base}"


def _check_ports(port: int | None, port_base: int | None) -> None:
    for name, value, least in (("port", port, 1), ("port base", port_base, 1024)):
        if value is not None and not least <= value <= 65535:
            raise BadInput(
                "Cannot start the local cloud", f"{value} is no {name}", f"choose a number from {least} to 65535"
            )


def _refuse_foreign_folder(home: Home) -> None:
    try:
        inside = sorted(path.name for path in home.root.iterdir() if not _is_of_a_start(home, path))
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise Conflict(
            f"Cannot use {home.root}",
            "it is a file" if home.root.is_file() else "a file stands on the way to it",
            "set MULTIAZ_HOME to a folder that is new or empty",
        ) from error
    if inside and read_marker(home) is None:  # looked at again: another start may have made it a home just now
        raise Conflict(
            f"Cannot use {home.root}",
            f"it holds {inside[0]}{' and more' if len(inside) > 1 else ''}, but no {home.marker.name}: "
            "it is not a home of multiaz",
            "set MULTIAZ_HOME to a folder that is new or empty",
        )


def _is_of_a_start(home: Home, path: Path) -> bool:
    """Left by a start that makes the home at this moment, or died while it did."""
    return path.name == START_LOCK or path.name.startswith(f".{home.marker.name}.")


@contextmanager
def starting(home: Home) -> Iterator[None]:
    """Hold the right to start this home's cloud: two starts at once become one after the other."""
    lock = ProcessLock(home.root / START_LOCK)
    deadline = time.monotonic() + STARTING_PATIENCE_S
    while not lock.acquire():
        if time.monotonic() > deadline:
            raise NoProgress(
                f"Cannot start the local cloud in {home.root}",
                f"another start has not come to its end for {STARTING_PATIENCE_S:g} s",
                "look at the processes of this home with `multiaz local status`",
            )
        time.sleep(0.02)
    try:
        yield
    finally:
        lock.release()


# -- who must reach the home ---------------------------------------------------------------------


def _check_reachable(folder: Path) -> None:
    """As root: refuse a folder that the user PostgreSQL runs as cannot enter."""
    if os.geteuid() != 0:
        return
    user = _server_user()
    closed = closed_folder(folder, user)
    if closed is not None:
        raise Missing(
            f"Cannot use {folder}",
            f"PostgreSQL runs as {user.pw_name}, who may not enter {closed} "
            f"(mode {closed.stat().st_mode & 0o7777:04o})",
            f"chmod a+x {closed}, or set MULTIAZ_HOME to a folder that user can enter",
        )


def closed_folder(folder: Path, user: pwd.struct_passwd) -> Path | None:
    """The first folder on the way to `folder` that `user` may not enter; None if the way is open."""
    for part in [*reversed(folder.parents), folder]:
        try:
            info = part.stat()
        except FileNotFoundError:
            return None
        if info.st_uid == user.pw_uid:
            bits = info.st_mode >> 6
        elif info.st_gid == user.pw_gid:
            bits = info.st_mode >> 3
        else:
            bits = info.st_mode
        if not bits & 1:
            return part
    return None


def _server_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Missing(
        "Cannot run PostgreSQL",
        "PostgreSQL refuses to run as root, and this machine lists neither a user postgres nor nobody",
        "create the user postgres, or run multiaz as an ordinary user",
    )
