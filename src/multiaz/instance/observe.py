"""What a supervisor sees of its servers and jobs."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from multiaz.errors import MultiazError
from multiaz.home import InstanceHome
from multiaz.instance.actions import JobKind
from multiaz.instance.decide import view_of
from multiaz.instance.following import NOTHING, Finding, Following
from multiaz.instance.hangs import HangWatch
from multiaz.instance.probe import Probe, Sight
from multiaz.instance.progress import ANSWERS, Attention, Confirmed, Setbacks, Verdict
from multiaz.instance.records import MemberName, Request, RequestKind, RoleRecord
from multiaz.instance.recovering import RecoveryWatch
from multiaz.instance.servers import MEMBERS, JobEnded, Servers, application_name, other_member
from multiaz.instance.storage import is_full
from multiaz.instance.view import LEAVE_AFTER_S, NOT_STREAMING, STRAY_AFTER_S, Seen, SeenMember
from multiaz.postgres.processes import is_doomed

log = logging.getLogger("multiaz.instance")

FRESH_S = 1.5
"""A member answers if its latest successful probe is not older than this."""
SILENT_AFTER_S = 3.0
"""A server that runs and has not answered for so long is said to hang."""
MASTER_PAUSE_S = 2.0
"""Pause after the master user's verifier could not be set."""
RAISED_AGAIN_S = 2.0
"""How often a standby's raised parameters are compared with what it has replayed."""
SUSPICIOUS_S = 0.05
"""Between two rounds while a probe waits for its answer."""
STOPPING = frozenset({JobKind.CREATE, JobKind.CLONE, JobKind.REJOIN, JobKind.RESTART, JobKind.REMOVE})
"""Jobs that stop the member's server; otherwise the loop itself does, and does not look meanwhile."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Pause before the next attempt after a failure, doubled each time."""


@dataclass
class _Member:
    """What is kept of one member between two rounds."""

    probe: Probe
    hangs: HangWatch
    following: Following
    recovery: RecoveryWatch
    found: Finding = NOTHING
    receiver: int | None = None
    """Its WAL receiver when it was last seen streaming."""
    steady: bool = False
    """The WAL receiver that streams is the one of the look before: one that is refused streams for an instant."""
    steady_at: float = 0.0
    """`Sight.at` of that."""
    child: subprocess.Popen[bytes] | None = None
    starting: bool = False
    streaming_at: float = 0.0
    """When it was last seen streaming, or began to answer, or we began to look; attended time, as all below."""
    looked_at: float = 0.0
    """When the round before this one was."""
    progress_at: float = 0.0
    """When it last streamed, replayed something new, or began to answer."""
    replayed: int | None = None
    heard_at: float = 0.0
    """When it last answered, or this postmaster was first seen."""
    heard: float = 0.0
    """`Sight.at` of that answer."""
    confirmed: Confirmed = field(default_factory=Confirmed)
    confirmed_at: float = 0.0
    """`Sight.at` of the primary that says so."""
    former: frozenset[int] = frozenset()
    """Walsenders of the primary that served an earlier postmaster of this member: what they say is not of this one."""
    follower: bool = False
    """It was the standby in the round before."""
    setbacks: Setbacks = field(default_factory=Setbacks)
    verdict: Verdict = ANSWERS
    pid: int | None = None
    answered: int | None = None
    """Postmaster pid that has answered."""
    job: JobKind | None = None
    thread: threading.Thread | None = None
    failures: int = 0
    failed: str | None = None
    next_attempt: float = 0.0


class Observer:
    """Sees; decides nothing."""

    def __init__(self, home: InstanceHome, servers: Servers, wake: Callable[[], None]) -> None:
        self.home = home
        self.servers = servers
        self.acted = False
        self.doubt: str | None = None
        """Why the record may not be the newest."""
        self._wake = wake
        self._attention = Attention()
        probes = {name: Probe(servers[name], wake) for name in MEMBERS}
        self._members = {
            name: _Member(
                probes[name],
                HangWatch(servers[name], probes[name]),
                Following(servers[name], wake),
                RecoveryWatch(servers[name]),
            )
            for name in MEMBERS
        }
        self._joined_epoch: int | None = None
        self._rejoined: frozenset[MemberName] = frozenset()
        self._created = False
        self._restarted: set[MemberName] = set()
        self._request: Request | None = None
        self._master_set = 0
        self._master_wait_until = 0.0
        self._raised_looked = 0.0
        self.awaiting = False
        """Commits wait for a standby that is lost, as is wanted."""
        self._in_sync = (0, False)
        """Epoch and `in_sync` of the memory."""

    # -- told by the supervisor -------------------------------------------------------------------

    def started(self, member: MemberName, child: subprocess.Popen[bytes]) -> None:
        """The member's server was started just now."""
        kept = self._members[member]
        kept.child, kept.starting = child, True
        self._rejoined -= {member}

    def stopped(self, member: MemberName) -> None:
        """The member's server was stopped on purpose."""
        self._members[member].starting = False

    def poke(self, member: MemberName) -> None:
        """Have the member looked at now."""
        self._members[member].probe.poke()

    def forget(self, member: MemberName) -> None:
        """What was seen of the member before now no longer holds: it was promoted."""
        self._members[member].probe.forget()

    def last_heard(self, member: MemberName | None) -> float | None:
        """Unix time when the member last answered; None if it never did."""
        heard = 0.0 if member is None else self._members[member].heard
        return None if not heard else time.time() - (time.monotonic() - heard)

    def remembered(self, memory: RoleRecord) -> None:
        """The memory changed: what was found for the former one is void."""
        if memory.primary is not None and self._in_sync == (memory.epoch, True) and not memory.in_sync:
            kept = self._members[other_member(memory.primary)]
            if kept.pid is not None and kept.job is None and self._fell_out(kept):
                kept.setbacks = kept.setbacks.another(self._attention.now)
        self._in_sync = (memory.epoch, memory.in_sync)
        if memory.in_sync or memory.epoch != self._joined_epoch:
            self._joined_epoch = None
        self._know_request(memory)

    def _know_request(self, memory: RoleRecord) -> None:
        """Restarts for another request than the one in progress do not count."""
        if memory.request != self._request:
            self._request = memory.request
            self._restarted.clear()

    def _fell_out(self, kept: _Member) -> bool:
        """It runs, and takes no commits."""
        away_s = self._attention.now - kept.streaming_at
        return kept.verdict.hung or max(kept.confirmed.stuck_s, away_s) >= LEAVE_AFTER_S

    def begin(self, kind: JobKind, member: MemberName, epoch: int, work: Callable[[], None]) -> None:
        """Do `work` in a thread; its end is seen in a later round."""
        kept = self._members[member]
        if kept.job is not None:
            return
        kept.job = kind
        if kind is JobKind.RESTART:
            self._restarted.discard(member)

        def run() -> None:
            began = time.monotonic()
            try:
                work()
            except JobEnded:
                log.info("%s of %s was ended after %.2f s", kind, member, time.monotonic() - began)
            except Exception as error:  # a failed job, of whatever kind, is data for the next decision
                log.warning("%s of %s failed after %.2f s: %s", kind, member, time.monotonic() - began, error,
                            exc_info=not isinstance(error, MultiazError))  # fmt: skip
                if kind is JobKind.MASTER:
                    self._master_wait_until = time.monotonic() + MASTER_PAUSE_S
                else:
                    self._fail(kept, str(error))
            else:
                log.info("%s of %s took %.2f s", kind, member, time.monotonic() - began)
                if kind is not JobKind.MASTER:
                    kept.failures, kept.failed, kept.next_attempt = 0, None, 0.0
                self._finished(kind, member, epoch)
            kept.probe.poke()
            kept.streaming_at = kept.progress_at = self._attention.now
            kept.confirmed = Confirmed()
            kept.job = None
            self._wake()

        kept.thread = threading.Thread(target=run, name=f"{kind}-{member}", daemon=True)
        kept.thread.start()

    def _finished(self, kind: JobKind, member: MemberName, epoch: int) -> None:
        match kind:
            case JobKind.CREATE:
                self._created = True
            case JobKind.REJOIN:
                self._rejoined |= {member}
            case JobKind.JOIN:
                self._joined_epoch = epoch
            case JobKind.RESTART:
                self._restarted.add(member)
            case JobKind.CLONE | JobKind.REMOVE | JobKind.MASTER:
                pass

    def master_was_set(self, number: int) -> None:
        """The verifier of this number is in force."""
        self._master_set = number

    def _fail(self, kept: _Member, reason: str) -> None:
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**kept.failures)
        kept.failures += 1
        kept.failed, kept.next_attempt = reason, time.monotonic() + pause

    def wait_for_jobs(self, timeout_s: float | None = None) -> bool:
        """Wait until no job is being done, at most `timeout_s` per job; whether that is so."""
        threads = [kept.thread for kept in self._members.values() if kept.thread is not None]
        for thread in threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in threads)

    def at_work(self) -> tuple[MemberName, ...]:
        """Members on which a job is being done."""
        return tuple(name for name, kept in self._members.items() if kept.job is not None)

    def pids(self) -> tuple[int, ...]:
        """The postmasters that ran when they were last looked at."""
        return tuple(kept.pid for kept in self._members.values() if kept.pid is not None)

    def beats(self, member: MemberName) -> frozenset[int]:
        """Transactions on the member in which nobody but the supervisor wrote."""
        return self._members[member].probe.beats

    def stop(self) -> None:
        """End the probes."""
        for kept in self._members.values():
            kept.probe.stop()
            kept.hangs.stop()

    # -- seeing -----------------------------------------------------------------------------------

    def observe(self, memory: RoleRecord) -> Seen:
        """Everything a decision may look at."""
        self._attention.tick(time.monotonic())
        self._know_request(memory)
        sights = {name: self.sight(name) for name in MEMBERS}
        members = {name: self._member(name, sights, memory) for name in MEMBERS}
        joined = self._joined(members, memory)
        primary = sights[memory.primary] if memory.primary is not None else None
        seen = Seen(
            members=members,
            doubt=self.doubt,
            joined_epoch=joined,
            replicas_on_primary=primary is not None and any(name.startswith("replica_") for name in primary.followers),
            creating=self.home.creating.exists(),
            data_exists=any(self.servers[name].data.exists() for name in MEMBERS),
            master_set=self._master_set,
            master_wait=time.monotonic() < self._master_wait_until,
            primary_link=_link(self.home.primary_link),
            upstream_link=_link(self.home.upstream_link),
            source_alive=self._source_alive(),
            rejoined=self._rejoined,
            outdated=self._outdated(members, memory, joined),
            created=self._created,
            restarted=memory.primary in self._restarted,
            now=time.time(),
            standby_restarted=memory.primary is not None and other_member(memory.primary) in self._restarted,
            snapshot_taken=bool(
                self.servers.desired.final_snapshot and Path(self.servers.desired.final_snapshot).exists()
            ),
        )
        self.awaiting = view_of(self.servers.desired, seen, memory).awaited is not None
        return seen

    def _joined(self, members: dict[MemberName, SeenMember], memory: RoleRecord) -> int | None:
        """The epoch of a join that still holds: commits wait because of it, and the standby takes them."""
        if memory.primary is None:
            return self._joined_epoch
        if members[other_member(memory.primary)].job is not JobKind.JOIN:
            lost = view_of(self.servers.desired, Seen(members), memory).lost
            if lost is not None and self._joined_epoch is not None:
                log.info("the join is void: %s", lost)
                self._joined_epoch = None  # else commits would wait for it, on record or not
        if not self.servers.waits.get(memory.primary):
            return None  # the setting the join made is gone: the primary was started or configured again
        return self._joined_epoch

    def _outdated(
        self, members: dict[MemberName, SeenMember], memory: RoleRecord, joined: int | None
    ) -> tuple[MemberName, ...]:
        """Members whose configuration is not the wanted one; raised ones are looked at again now and then."""
        again = time.monotonic() - self._raised_looked > RAISED_AGAIN_S
        found: list[MemberName] = []
        for name in MEMBERS:
            if not members[name].answering:
                continue
            stale = self.servers.is_stale(name, memory)
            waits = self.servers.waits.get(name, False)
            wrong = waits != (name == memory.primary and (memory.in_sync or joined == memory.epoch))
            if stale or wrong or (again and name in self.servers.raised):
                found.append(name)
        if again:
            self._raised_looked = time.monotonic()
        return tuple(found)

    def sight(self, name: MemberName) -> Sight | None:
        """What the member says of itself; None if it does not answer."""
        return self._members[name].probe.latest(within_s=FRESH_S, postmaster=self.servers[name].pid())

    def _member(self, name: MemberName, sights: dict[MemberName, Sight | None], memory: RoleRecord) -> SeenMember:
        kept, server, sight, now = self._members[name], self.servers[name], sights[name], self._attention.now
        pid = server.pid()
        self._notice_exit(name, kept, pid)
        if kept.pid != pid:
            if pid is None and kept.job is None and kept.follower:
                self._notice_end(kept)
            kept.pid, kept.heard_at = pid, now
        if sight is not None:
            if sight.at != kept.heard:
                kept.heard, kept.heard_at = sight.at, now
            if kept.answered != pid:
                kept.answered, kept.streaming_at, kept.progress_at, kept.starting = pid, now, now, False
                kept.failures, kept.failed = 0, None
            if sight.replayed != kept.replayed:
                kept.replayed, kept.progress_at = sight.replayed, now
        streaming = sight is not None and sight.receiving
        if sight is not None and sight.at != kept.steady_at:
            kept.steady, kept.steady_at = sight.receiving and sight.receiver == kept.receiver, sight.at
            kept.receiver = sight.receiver if sight.receiving else None
        if memory.primary in (None, name):
            streaming = streaming and kept.steady
        else:
            upstream = sights[other_member(name)]
            if upstream is None:  # nobody can say, and there may be nobody to stream from
                kept.streaming_at += now - kept.looked_at
            streaming = streaming and upstream is not None and application_name(name) in upstream.followers
        if streaming:
            kept.streaming_at = kept.progress_at = now
        kept.looked_at = now
        kept.setbacks = kept.setbacks.after(now, in_sync=memory.in_sync)
        kept.follower = memory.primary not in (None, name)
        word = None if pid is None else server.status_word()
        self._judge(name, kept, sights, pid, memory, word)
        followed = self.servers.upstream_of(name, memory)
        kept.found = kept.following.look(sight, followed)
        idle_s = kept.recovery.idle_s(
            now,
            pid if sight is None and self._recovers(name, word, sights, memory) else None,
            upstream_answers=self._source_alive() if memory.primary == name else sights[other_member(name)] is not None,
        )
        stuck = self.servers.stuck(name)
        if pid is None and kept.job is None and server.exists() and name not in self._rejoined and not stuck:
            kept.found = kept.following.look_down(followed)
        if kept.follower and pid is not None and sight is None:  # it lacks even the database it is looked at in
            kept.found = Finding(diverged=self.servers.foreign(name) or "")
        started = kept.child is not None and kept.child.poll() is None and not is_doomed(kept.child.pid)
        return SeenMember(
            exists=server.exists(),
            alive=pid is not None or started,
            answering=sight is not None,
            accepting=word == "ready",
            in_recovery=None if sight is None else sight.in_recovery,
            streaming=streaming,
            not_streaming_s=0.0 if pid is None else now - kept.streaming_at,
            diverged=kept.found.diverged,
            paused=kept.found.paused,
            stalled_s=0.0 if sight is None else now - kept.progress_at,
            idle_s=idle_s,
            silent=pid is not None and now - kept.heard_at > SILENT_AFTER_S,
            hung=kept.verdict.hung,
            hung_why=kept.verdict.why if kept.verdict.hung else "",
            stuck_s=kept.confirmed.stuck_s,
            failures=kept.failures,
            pending_restart=bool(sight and sight.pending_restart),
            job=kept.job,
            failed=kept.failed,
            wait_s=max(0.0, kept.next_attempt - time.monotonic()),
            unsteady_s=max(0.0, kept.setbacks.until - now),
            full=kept.follower and self._asked_to_fail_over(memory) and is_full(server.data),
            held=self.servers.faults.held(name) or stuck or (self.servers.misplaced(name) if pid is not None else None),
            stuck=stuck,
        )

    def _asked_to_fail_over(self, memory: RoleRecord) -> bool:
        request = self.servers.desired.request
        return request is not None and request.kind is RequestKind.FAILOVER and request.number > memory.answered

    def _source_alive(self) -> bool:
        """Something listens where a read replica's source is reached."""
        source = self.servers.desired.source
        return source is not None and (Path(source.upstream) / ".s.PGSQL.5432").exists()

    def _recovers(
        self, name: MemberName, word: str | None, sights: dict[MemberName, Sight | None], memory: RoleRecord
    ) -> bool:  # fmt: skip
        """It follows another server, says that it takes nobody yet, and nobody streams to it nor works on it."""
        if self._members[name].job is not None or self.servers.upstream_of(name, memory) is None:
            return False
        primary = None if memory.primary in (None, name) else sights[other_member(name)]
        listed = primary is not None and application_name(name) in primary.followers
        return word in ("starting", "standby") and not listed

    def _judge(
        self, name: MemberName, kept: _Member, sights: dict[MemberName, Sight | None], pid: int | None,
        memory: RoleRecord, word: str | None,
    ) -> None:  # fmt: skip
        """Does it hang, and (the standby) does it confirm what the primary has flushed?"""
        now = self._attention.now
        before = kept.verdict
        kept.verdict = kept.hangs.look(
            now, pid, sights[name], stopping_unasked=word == "stopping" and kept.job not in STOPPING,
            starting=word in ("starting", "standby"),
        )  # fmt: skip
        if kept.verdict.hung and not before.hung:
            log.warning("%s hangs: %s", name, kept.verdict.why)
        primary = sights[other_member(name)]
        if memory.primary in (None, name) or primary is None or pid is None:
            kept.confirmed = Confirmed()
            if primary is not None and pid is None:
                kept.former = frozenset(one.pid for one in primary.senders if one.name == application_name(name))
        elif primary.at != kept.confirmed_at:
            kept.confirmed_at = primary.at
            kept.former &= {one.pid for one in primary.senders}
            position = primary.confirmed(application_name(name), but=kept.former)
            kept.confirmed = kept.confirmed.after(now, primary.flushed, position)

    def _notice_end(self, kept: _Member) -> None:
        """A server that hung or was stuck was ended for it. Where that happens again and again the next start waits."""
        now = self._attention.now
        if (kept.verdict.hung or kept.confirmed.stuck_s > STRAY_AFTER_S) and now >= kept.setbacks.until:
            kept.setbacks = kept.setbacks.another(now)
            pause_s = kept.setbacks.until - now if kept.setbacks.count > 1 else 0.0
            kept.next_attempt = max(kept.next_attempt, time.monotonic() + pause_s)

    def _notice_exit(self, name: MemberName, kept: _Member, pid: int | None) -> None:
        """A server we started ended before it ever answered: that start failed."""
        if kept.child is not None and kept.child.poll() is not None:
            kept.child = None
            if kept.starting and pid is None and kept.job is None:
                kept.starting = False
                self._fail(kept, self.servers[name].last_words())
                log.warning("%s did not start: %s", name, kept.failed)

    def next_look_s(self) -> float:
        """How soon something may change by the mere passing of time."""
        if any(kept.job is not None or kept.starting for kept in self._members.values()):
            return 0.02
        if any(kept.hangs.suspicious for kept in self._members.values()):
            return SUSPICIOUS_S
        return LEAVE_AFTER_S / 4

    def replication_error(self, replica: MemberName, sight: Sight | None) -> str | None:
        """Why a read replica does not follow its source now; None if it does, or does not answer."""
        if sight is None:
            return None
        kept = self._members[replica]
        follows = sight.receiving and kept.steady
        return kept.found.diverged or kept.found.paused or (None if follows else NOT_STREAMING)


def _link(path: Path) -> MemberName | None:
    try:
        target = path.readlink().name
    except OSError:
        return None
    return "a" if target == "a" else "b" if target == "b" else None
