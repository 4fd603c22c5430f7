"""The watcher: makes what was recorded come true, and turns what is seen into events.

One thread looks at every instance, often while something is in progress and about once a second
otherwise. It holds nothing in memory that matters: after a crash the next one finds all in the Store and in
the instances' folders.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from multiaz.cloud.rds import automated, folders, logfiles
from multiaz.cloud.rds.children import Child, RelayWatch
from multiaz.cloud.rds.core import Core
from multiaz.cloud.rds.model import Instance, OperationKind
from multiaz.cloud.rds.progress import advance, forget, waiting_replicas
from multiaz.cloud.rds.status import Seen
from multiaz.cloud.rds.wanted import desired_of
from multiaz.cloud.service import AwsFault
from multiaz.errors import Missing, MultiazError
from multiaz.files import lock_holder
from multiaz.instance.records import ObservedInstance, Phase

BUSY_S = 0.03
CALM_S = 1.0
LONGEST_PAUSE_S = 5.0
SWEEP_EVERY_S = 600.0
MOST_STARTS = 5
STARTS_WITHIN_S = 300.0
"""A supervisor that had to be started this often in this time is given up, by name, for the rest of it."""

_AT_REST = (Phase.RUNNING, Phase.STOPPED, Phase.FAILED)
_log = logging.getLogger("multiaz.cloud.rds")


@dataclass
class Watched:
    """What the watcher remembers of one instance between two rounds."""

    sight: folders.Sight
    child: Child | None = None
    """The supervisor, if it was started here."""
    relay: RelayWatch = field(default_factory=RelayWatch)
    supervised: bool = False
    supervised_at: float = -1e9
    """Monotonic time the lock was last seen held."""
    starts: list[float] = field(default_factory=list)
    prepared: str = ""
    """The address its certificate was last made sure of for."""
    given_up: str = ""
    deleting: bool = False
    event_bytes: int = -1
    trouble: str = ""
    """What went wrong in the last round, said once."""
    troubles: int = 0
    not_before: float = 0.0
    """Monotonic time of the next round, after trouble."""
    swept_at: float = -1e9
    """Monotonic time old log files were last removed."""


class Watcher:
    """Watches all instances from one thread."""

    def __init__(self, supervisor: Sequence[str] | None = None) -> None:
        self._command = list(supervisor or (sys.executable, "-m", "multiaz.instance"))
        self._watched: dict[str, Watched] = {}
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._ending = False
        self._expired_at = -1e9
        """Monotonic time retained backups were last looked at."""
        self._thread: threading.Thread | None = None
        self.core: Core

    def start(self) -> None:
        """Begin to watch."""
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="rds-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; supervisors and servers go on."""
        self._ending = True
        self.wake()
        if self._thread is not None:
            self._thread.join(timeout=30)
            self._thread = None

    def wake(self) -> None:
        """Look at once."""
        self._bell.set()

    def seen(self, instance: Instance) -> Seen:
        """What is known of an instance: its last observation, and whether that can be believed."""
        watched = self._of(instance)
        return Seen(
            self._look(instance, watched),
            watched.supervised,
            time.monotonic() - watched.supervised_at,
            watched.given_up,
            watched.sight.last,
        )

    def _look(self, instance: Instance, watched: Watched) -> ObservedInstance | None:
        """The last observation; none while the supervisor whose lock is held has not made its first.

        It removes that of the one before as soon as it holds the lock, which may be an instant later.
        """
        observed = watched.sight.look()
        place = self.core.home.instance(instance.resource_id)
        if observed is None or lock_holder(place.lock) in (None, observed.pid):
            return observed
        return None

    def _of(self, instance: Instance) -> Watched:
        with self._lock:
            if instance.resource_id not in self._watched:
                place = self.core.home.instance(instance.resource_id)
                self._watched[instance.resource_id] = Watched(folders.Sight(place.observed))
            return self._watched[instance.resource_id]

    def _run(self) -> None:
        while not self._ending:
            self._bell.clear()
            busy = False
            for instance in self.core.repository.instances.all():
                busy = self._tend_safely(instance) or busy
            self._expire_safely()
            self._bell.wait(BUSY_S if busy else CALM_S)

    def _tend_safely(self, instance: Instance) -> bool:
        """One round; trouble with one instance does not end the watch over the others, and is said once."""
        watched = self._of(instance)
        if time.monotonic() < watched.not_before:
            return False
        try:
            busy = self.tend(instance)
        except (MultiazError, OSError, ValueError, AwsFault) as error:
            self._note_trouble(instance, watched, f"{type(error).__name__}: {error}", exc_info=False)
        except Exception as error:  # noqa: BLE001 - a bug of ours: logged with its traceback
            self._note_trouble(instance, watched, f"{type(error).__name__}: {error}", exc_info=True)
        else:
            if watched.trouble:
                _log.info("%s: all is well again", instance.identifier)
            watched.trouble, watched.troubles = "", 0
            return busy
        return True

    def _expire_safely(self) -> None:
        """Remove retained backups whose time is over, now and then."""
        if time.monotonic() - self._expired_at < SWEEP_EVERY_S:
            return
        self._expired_at = time.monotonic()
        try:
            automated.expire(self.core, time.time())
        except Exception:  # noqa: BLE001 - the watch over the instances goes on
            _log.exception("retained backups could not be looked after")

    def _note_trouble(self, instance: Instance, watched: Watched, trouble: str, *, exc_info: bool) -> None:
        watched.troubles += 1
        watched.not_before = time.monotonic() + min(LONGEST_PAUSE_S, 0.05 * 2.0 ** min(watched.troubles, 10))
        if trouble != watched.trouble:
            watched.trouble = trouble
            _log.error("%s: %s", instance.identifier, trouble, exc_info=exc_info)

    def tend(self, instance: Instance) -> bool:
        """One round for one instance; True if something is in progress."""
        watched = self._of(instance)
        core, place = self.core, self.core.home.instance(instance.resource_id)
        deleting = instance.operation is not None and instance.operation.kind is OperationKind.DELETE
        if watched.child is not None and watched.child.ended():
            watched.child = None
        if deleting and not watched.deleting:
            # What kept the supervisor from running the servers need not keep it from removing them.
            watched.deleting, watched.given_up, watched.starts = True, "", []
        holder = lock_holder(place.lock)
        watched.supervised = holder is not None
        if watched.supervised:
            watched.supervised_at = time.monotonic()
        observed = self._look(instance, watched)
        if watched.given_up and observed is not None and observed.pid == holder:
            # Somebody else has started it since, as the endpoint's process does, and it runs the servers.
            _log.info("%s: its supervisor runs again", instance.identifier)
            watched.given_up = ""
        if deleting and not watched.supervised and self._is_gone(instance, watched):
            self._remove(instance, watched)
            return True
        if watched.prepared != instance.network.address:
            folders.prepare(core.home, instance.resource_id, instance.network.address, instance.name_to_be)
            watched.prepared = instance.network.address
        ready_to_go = not deleting or not waiting_replicas(core, instance)
        desired = desired_of(
            instance,
            core.home,
            self._bin_folder(instance, watched),
            core.judge_url,
            ready_to_go=ready_to_go,
            behaviour=core.behaviour.read(),
        )
        changed = folders.write_desired(place, desired)
        if not watched.supervised and watched.child is None:
            self._start_supervisor(instance, watched)
        if not deleting:
            watched.relay.look(place, time.monotonic())
        self._ingest(instance, watched)
        seen = Seen(observed, watched.supervised, time.monotonic() - watched.supervised_at, watched.given_up,
                    watched.sight.last)  # fmt: skip
        progressed = advance(core, instance, seen)
        self._sweep(instance, watched)
        settled = bool(watched.given_up) or (watched.supervised and observed is not None and observed.phase in _AT_REST)
        return changed or progressed or instance.operation is not None or not settled

    def _bin_folder(self, instance: Instance, watched: Watched) -> str:
        """Where the servers' programs are; once they are not found any more, where they were.

        The supervisor then says what does not start, and can still stop and delete. Raises Missing for an
        instance that never had any and is to be made.
        """
        try:
            return str(self.core.engines.of(instance.major).installation.bin_folder)
        except Missing as error:
            before = folders.read_desired(self.core.home.instance(instance.resource_id))
            if before is not None:
                return before.bin_folder
            if watched.deleting:
                return ""
            watched.given_up = str(error)
            raise

    def _sweep(self, instance: Instance, watched: Watched) -> None:
        """Remove log files older than rds.log_retention_period."""
        if time.monotonic() - watched.swept_at < SWEEP_EVERY_S:
            return
        watched.swept_at = time.monotonic()
        minutes = int(instance.parameters.get("rds.log_retention_period", "4320"))
        place = self.core.home.instance(instance.resource_id)
        for member in instance.network.zones:
            logfiles.remove_old(place.server_logs(member), minutes)

    def _is_gone(self, instance: Instance, watched: Watched) -> bool:
        """The supervisor has stopped everything and said so; or there never was anything."""
        place = self.core.home.instance(instance.resource_id)
        if watched.child is not None or watched.relay.alive():
            return False
        if not place.folder.exists():
            return True
        observed = watched.sight.look()
        return observed is not None and observed.phase is Phase.DELETED

    def _remove(self, instance: Instance, watched: Watched) -> None:
        """Remove what the instance was, but for backups that are to be retained; again in the next round while somebody
        restores from those that are not."""
        retained = automated.retained_of(self.core, instance, Seen(watched.sight.look(), last=watched.sight.last))
        if retained is None and not automated.remove(self.core, instance.resource_id):
            return
        folders.remove(self.core.home, instance.resource_id)
        forget(self.core, instance, retained)
        with self._lock:
            self._watched.pop(instance.resource_id, None)

    def _start_supervisor(self, instance: Instance, watched: Watched) -> None:
        now = time.monotonic()
        watched.starts = [at for at in watched.starts if now - at < STARTS_WITHIN_S]
        if len(watched.starts) >= MOST_STARTS:
            if not watched.given_up:
                log = self.core.home.instance(instance.resource_id).logs / "instance.log"
                watched.given_up = f"its supervisor ended {MOST_STARTS} times; see {log}"
                _log.error("%s: %s", instance.identifier, watched.given_up)
            return
        watched.given_up = ""
        watched.starts.append(now)
        place = self.core.home.instance(instance.resource_id)
        command = [*self._command, str(place.folder), "--home", str(self.core.home.root)]
        watched.child = Child(command, place.folder, place.logs / "instance.log")

    def _ingest(self, instance: Instance, watched: Watched) -> None:
        """Turn new lines of the instance's own list into RDS events."""
        place = self.core.home.instance(instance.resource_id)
        try:
            size = place.events.stat().st_size
        except FileNotFoundError:
            return
        if size == watched.event_bytes:
            return
        repository = self.core.repository
        with repository.transaction():
            fresh = repository.instances.get(instance.region, instance.identifier)
            if fresh is None:
                return
            arrived = folders.new_events(place, fresh.events_seen)
            for event in arrived:
                self.core.tell(fresh, event.code, event.message, event.at)
            if arrived:
                repository.save(fresh.but(events_seen=arrived[-1].number))
        watched.event_bytes = size
