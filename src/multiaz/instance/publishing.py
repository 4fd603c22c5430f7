"""What a supervisor says: its decisions in the log, and in `observed.json` what it sees."""

from __future__ import annotations

import logging
import os
import time

from multiaz.files import write_atomically
from multiaz.home import InstanceHome
from multiaz.instance.actions import Step
from multiaz.instance.backups import BackupKeeper
from multiaz.instance.observe import Observer
from multiaz.instance.probe import Sight
from multiaz.instance.records import Answer, MemberName, MemberState, ObservedInstance, ObservedMember, RoleRecord
from multiaz.instance.servers import MEMBERS, Servers

log = logging.getLogger("multiaz.instance")

HEARTBEAT_S = 1.0
"""`observed.json` is written at least this often."""
BROKEN_LAG_S = -1.0
"""ReplicaLag while replication is broken. Source: RDS user guide, "Monitoring read replication"."""


def told_answers(memory: RoleRecord) -> tuple[Answer, ...]:
    """The answers whose events are told.

    By the answer the cloud ends an operation, and tells that it is done: what happened on the way must be told before.
    """
    return memory.answers[:-1] if memory.to_announce else memory.answers


class Publisher:
    """Says what was decided and seen; decides and sees nothing itself."""

    def __init__(self, home: InstanceHome, servers: Servers, observer: Observer, backups: BackupKeeper) -> None:
        self._home = home
        self._servers = servers
        self._observer = observer
        self._backups = backups
        self._published = ""
        self._published_at = 0.0
        self._said: tuple[str, str] | None = None

    def say(self, step: Step) -> None:
        """Log a decision, once while it stays the same."""
        if self._said != (step.rule, step.reason):
            self._said = (step.rule, step.reason)
            log.info("%s [%s] %s", step.phase, step.rule, step.reason)

    def publish(self, step: Step, memory: RoleRecord, *, relay_ready: bool = False, storage_full: bool = False) -> None:
        """Replace `observed.json` if something changed, or its heartbeat is due."""
        observed = self._observed(step, memory, relay_ready, storage_full)
        text = observed.model_dump_json(exclude={"written_at"})
        now = time.monotonic()
        if text == self._published and now - self._published_at < HEARTBEAT_S:
            return
        self._published, self._published_at = text, now
        write_atomically(self._home.observed, observed.model_dump_json(indent=1), durable=False)

    def _observed(self, step: Step, memory: RoleRecord, relay_ready: bool, storage_full: bool) -> ObservedInstance:
        desired = self._servers.desired
        sights = {name: self._observer.sight(name) for name in MEMBERS}
        primary = memory.primary
        sight = sights[primary] if primary is not None else None
        writable = sight is not None and sight.in_recovery is memory.following
        follows = primary is not None and memory.following
        error = self._observer.replication_error(primary, sight) if primary is not None and follows else None
        return ObservedInstance(
            resource_id=desired.resource_id,
            written_at=time.time(),
            pid=os.getpid(),
            phase=step.phase,
            reason=step.reason,
            epoch=memory.epoch,
            primary=primary,
            in_sync=memory.in_sync,
            writable=writable,
            redundant=not desired.multi_az or (memory.in_sync and not self._observer.awaiting),
            members=tuple(self._observed_member(name, sights[name]) for name in MEMBERS),
            answers=told_answers(memory),
            master_number=memory.master_number,
            pending_restart=sight.pending_restart if sight else (),
            applied=self._servers.applied.get(primary or "a", {}),
            replication_lag_s=(BROKEN_LAG_S if error else sight.lag_s) if sight and follows else None,
            replication_error=error,
            server_version=sight.version if sight else None,
            relay_ready=relay_ready,
            storage_full=storage_full,
            last_failover=memory.last_failover,
            **self._backups.published(),
        )

    def _observed_member(self, name: MemberName, sight: Sight | None) -> ObservedMember:
        server = self._servers[name]
        pid = server.pid()
        if sight is not None:
            state = MemberState.STANDBY if sight.in_recovery else MemberState.PRIMARY
        elif pid is not None:
            state = MemberState.STARTING
        else:
            state = MemberState.DOWN if server.exists() else MemberState.ABSENT
        return ObservedMember(
            name=name, zone=self._servers.desired.zones.get(name, ""), state=state, pid=pid,
            timeline=sight.timeline if sight else None, flushed=sight.flushed if sight else None,
            replayed=sight.replayed if sight else None, streaming=bool(sight and sight.receiving),
        )  # fmt: skip
