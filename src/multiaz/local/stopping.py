"""Stops everything of a home, and removes it."""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from multiaz.errors import Conflict, NoProgress
from multiaz.files import lock_holder
from multiaz.home import Home, InstanceHome
from multiaz.local.endpoint import Progress, stop_endpoint
from multiaz.local.faults_processes import thaw_everything, unmount_everything
from multiaz.local.marker import START_LOCK, require_marker, starting
from multiaz.local.processes import HomeProcess, postmasters, processes, send, written_bytes

STOPPING_WITHOUT_PROGRESS_S = 60.0
"""Nobody ends and no server writes for so long: something is stuck."""


@dataclass(frozen=True)
class Stopped:
    """What `stop` did."""

    endpoint: int | None
    """Pid of the AWS endpoint that was stopped; None if none ran."""
    instances: tuple[str, ...]
    """Resource ids of the DB instances that were running and are stopped; their data are kept."""
    running: tuple[str, ...]
    """Resource ids of the DB instances left running (with databases=False)."""
    others: tuple[HomeProcess, ...]
    """Processes of somebody else, a shell for instance, that work below the home; left alone."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "endpoint": self.endpoint,
            "instances": list(self.instances),
            "running": list(self.running),
            "others": [process.as_dict() for process in self.others],
        }


@dataclass(frozen=True)
class Kept:
    """Something that stays after a removal, and why."""

    path: Path
    why: str


@dataclass(frozen=True)
class Removed:
    """What `remove` did."""

    home: Home
    stopped: Stopped
    kept: tuple[Kept, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "home": str(self.home.root),
            "stopped": self.stopped.as_dict(),
            "kept": [{"path": str(kept.path), "why": kept.why} for kept in self.kept],
        }


def stop(home: Home, *, databases: bool = True, progress: Progress = lambda _: None) -> Stopped:
    """Stop the AWS endpoint and, with `databases`, every server; nothing is lost.

    Returns when all locks are free and no process of ours works below the home. Raises NotFound
    without a local cloud, NoProgress naming who does not end.
    """
    require_marker(home)
    with starting(home):
        return _stop(home, databases, progress)


def remove(home: Home, *, everything: bool = False, progress: Progress = lambda _: None) -> Removed:
    """Stop everything and delete the data of `home`; only a folder with our marker is touched.

    Kept, unless `everything`: the marker with the ports, and the copies of PostgreSQL, which hold no
    data and make the next start faster. Raises what `stop` raises; then nothing was deleted.
    """
    require_marker(home)
    with starting(home):
        stopped = _stop(home, True, progress)
        unmount_everything(home)
        run_folder = home.run_folder
        keep = set() if everything else {home.marker, home.postgres}
        progress(f"deleting the data in {home.root}")
        # The marker goes last: an interrupted removal can be repeated.
        for path in sorted(home.root.iterdir()):
            if path not in keep and path not in (home.marker, home.root / START_LOCK):
                _delete(path)
        if not run_folder.is_relative_to(home.root):
            _delete(run_folder)
        if everything:
            _delete(home.marker)
        _delete(home.root / START_LOCK)
    kept = [Kept(home.root, why)] if everything and (why := _remove_folder(home.root)) else []
    left = processes(home).ours
    if left:
        raise Conflict(
            f"Processes of {home.root} came back",
            ", ".join(process.as_text() for process in left),
            "somebody started them meanwhile: repeat the command",
        )
    whys = {home.marker: "the port of the AWS endpoint", home.postgres: "PostgreSQL's programs, no data"}
    kept += [Kept(path, whys[path]) for path in sorted(keep) if path.exists()]
    return Removed(home, stopped, tuple(kept))


def _remove_folder(folder: Path) -> str | None:
    """Remove an emptied folder; why that cannot be (a mount point, a link, no right to its parent), else None."""
    try:
        folder.rmdir()
    except OSError as error:
        return f"the folder itself cannot be removed: {error.strerror or error}"
    return None


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _stop(home: Home, databases: bool, progress: Progress) -> Stopped:
    thaw_everything(home, endpoint_only=not databases)  # a frozen process ends by nothing but SIGKILL
    endpoint = stop_endpoint(home, progress)
    before = tuple(sorted(_running_instances(home)))
    if databases:
        _stop_instances(home, progress)
        left: tuple[str, ...] = ()
    else:
        left, before = before, ()
    others = tuple(process for process in processes(home).found if not process.ours)
    return Stopped(endpoint, before, left, others)


def instance_homes(home: Home) -> list[InstanceHome]:
    """The layout of each DB instance that has a folder."""
    if not home.instances.is_dir():
        return []
    return [home.instance(folder.name) for folder in sorted(home.instances.iterdir()) if folder.is_dir()]


def _running_instances(home: Home) -> set[str]:
    """Resource ids of instances with a supervisor, a relay or a server."""
    running = {data.parent.parent.name for data in postmasters(home).values()}
    for instance in instance_homes(home):
        if lock_holder(instance.lock) is not None or lock_holder(instance.relay_lock) is not None:
            running.add(instance.folder.name)
    return running


def _stop_instances(home: Home, progress: Progress) -> None:
    """End supervisors, relays and servers, as long as they get on with it.

    A supervisor stops its own servers and relay. Where there is none (somebody killed it), the
    relay is told first, because it would start the supervisor again, then the servers themselves.
    """
    told: set[tuple[int, signal.Signals]] = set()

    def tell(pid: int, number: signal.Signals) -> None:
        if pid > 0 and (pid, number) not in told:
            told.add((pid, number))
            send(home, pid, number)

    seen: object = None
    deadline = 0.0
    while True:
        supervised: set[Path] = set()
        held: list[int] = []
        for instance in instance_homes(home):
            supervisor, relay = lock_holder(instance.lock), lock_holder(instance.relay_lock)
            held += [pid for pid in (supervisor, relay) if pid is not None]
            if supervisor is not None:
                supervised.add(instance.folder)
                tell(supervisor, signal.SIGTERM)
            elif relay is not None:
                supervised.add(instance.folder)
                tell(relay, signal.SIGTERM)
        servers = postmasters(home)
        ours = processes(home).ours
        if not held and not servers and not ours:
            return
        for pid, data in servers.items():
            if data.parent.parent not in supervised:
                tell(pid, signal.SIGINT)  # PostgreSQL's fast shutdown
        for process in ours:
            if process.role != "postgres" and not any(
                Path(process.working_directory).is_relative_to(folder.resolve()) for folder in supervised
            ):
                tell(process.pid, signal.SIGTERM)
        writing = sum(written_bytes(process.pid) for process in ours if process.role == "postgres")
        now = (frozenset(held), frozenset(servers), frozenset(process.pid for process in ours), writing)
        if now != seen:
            seen, deadline = now, time.monotonic() + STOPPING_WITHOUT_PROGRESS_S
            progress(f"stopping the databases (servers left: {len(servers)})")
        elif time.monotonic() > deadline:
            names = ", ".join(process.as_text() for process in ours) or ", ".join(map(str, held))
            raise NoProgress(
                "Cannot stop the databases",
                f"these have done nothing for {STOPPING_WITHOUT_PROGRESS_S:g} s: {names}",
                f"read the logs below {home.instances}; then end them by hand and repeat the command",
            )
        time.sleep(0.02)
