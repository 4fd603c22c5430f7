"""Which operations run: one at a time for each stack, resumed by the next process, awaited at a stop."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from multiaz.cloud.service import Clients
from multiaz.cloud.stacks.faults import Superseded
from multiaz.cloud.stacks.records import StackRecord
from multiaz.cloud.stacks.run import StackRun, Zones
from multiaz.cloud.stacks.run_update import UpdateRun
from multiaz.cloud.stacks.state import Journal

LOG = logging.getLogger(__name__)


@dataclass
class _Slot:
    """One operation that is queued or under way on a stack."""

    thread: threading.Thread | None = None
    run: StackRun | UpdateRun | None = None
    superseded: bool = False


class Engine:
    """Runs operations on stacks, one at a time for each stack."""

    def __init__(self, journal: Journal, clients: Clients) -> None:
        self._journal = journal
        self._clients = clients
        self.zones = Zones(clients)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}

    def resume(self) -> None:
        """Go on with every operation the last process left unfinished."""
        for stack in self._journal.unfinished():
            self.begin(stack)

    def begin(self, stack: StackRecord) -> None:
        """Perform what the stack's (journalled) status says is under way; returns at once.

        An operation already under way on the stack is told to stop, and awaited.
        """
        slot = _Slot()
        with self._lock:
            earlier = self._slots.get(stack.stack_id)
            if earlier is not None:
                earlier.superseded = True
                if earlier.run is not None:
                    earlier.run.supersede()
            slot.thread = threading.Thread(
                target=self._perform,
                args=(stack.region, stack.stack_id, slot, earlier),
                name=f"stack {stack.name}",
                daemon=True,
            )
            self._slots[stack.stack_id] = slot
            slot.thread.start()

    def _perform(self, region: str, stack_id: str, slot: _Slot, earlier: _Slot | None) -> None:
        try:
            if earlier is not None and earlier.thread is not None:
                earlier.thread.join()
            stack = self._journal.stack(region, stack_id)
            if stack is None or not stack.status.endswith("_IN_PROGRESS"):
                return
            with self._lock:
                if slot.superseded or self._stopping.is_set():
                    return
                run = slot.run = self._run_of(stack)
            self._run(run, stack_id)
        finally:
            with self._lock:
                if self._slots.get(stack_id) is slot:
                    del self._slots[stack_id]

    def _run_of(self, stack: StackRecord) -> StackRun | UpdateRun:
        update = self._journal.updates.update(stack.stack_id)
        if update is None:
            return StackRun(self._journal, self._clients, self.zones, stack, self._stopping)
        return UpdateRun(self._journal, self._clients, self.zones, stack, update, self._stopping)

    def _run(self, run: StackRun | UpdateRun, stack_id: str) -> None:
        finished = False
        try:
            run.perform()
            finished = True
        except Superseded:
            finished = True
        finally:
            if not finished:
                LOG.error("the operation on %s ended by an error of ours", stack_id)
                run.fail()

    def wait_idle(self, timeout_s: float) -> bool:
        """True once no operation is under way; for tests and an orderly stop."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._lock:
                threads = [slot.thread for slot in self._slots.values() if slot.thread]
            if not threads:
                return True
            if time.monotonic() >= deadline:
                return False
            threads[0].join(0.05)

    def stop(self) -> None:
        """End the threads; unfinished operations stay journalled and resume at the next start."""
        self._stopping.set()
        with self._lock:
            slots = list(self._slots.values())
        for slot in slots:
            if slot.run is not None:
                slot.run.cancel()
        for slot in slots:
            if slot.thread is not None:
                slot.thread.join(10)
