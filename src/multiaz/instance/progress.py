"""Does a server that does not answer hang, or is it merely slow? And does a standby keep up? Pure: no clock, no I/O.

Time here is *attended* time (`Attention`): what passes while the supervisor itself does not run counts for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from multiaz.postgres.pulse import Pulse

LONGEST_GAP_S = 0.3
"""The most that counts of the time between two rounds: the supervisor looks every 0.25 s if it gets to run."""
STOPPED_AFTER_S = 0.3
"""A question that waits so long for a process that is stopped (SIGSTOP) will not be answered."""
STOPPED_FOR_S = 0.15
"""How long a process must have been stopped: a debugger that looks and lets go is no hang."""
HANG_AFTER_S = 1.0
"""A question that waits so long is looked into; without any progress of those it waits on, the server hangs."""
ASLEEP_AFTER_S = 5.0
"""So long nobody wants a CPU or a disk and there is no answer: they wait for each other."""
STUCK_IO_AFTER_S = 10.0
"""One single request to the kernel (a read, a write, an fsync) that takes so long is stuck."""
GIVE_UP_AFTER_S = 30.0
"""A server that moves all the while, has the CPU it asks for, and has not answered for so long is given up."""
SETBACK_S, LONGEST_SETBACK_S = 1.0, 60.0
"""Pause before a standby that fell out although it ran joins again, doubled each time: a join is a CHECKPOINT, and a
disk or wire that is too slow gets slower by it."""
STEADY_AFTER_S = 60.0
"""In sync for so long, a standby's earlier setbacks are forgotten."""
RECOVERS_FROM, STARVED_FROM = 0.01, 0.5
"""Share of the time from which on a startup process is at work: on a CPU, or ready and given none. One that asks in
vain ten times a second is on it for a thousandth, and waits as often for its turn."""
HEARD_WITHIN_S = 0.5
"""The thread that asks must have run so recently, else the answer may lie unread. (It wakes every 0.1 s.)"""
STOPPED = "Tt"
RUNNABLE, IN_KERNEL, ASLEEP = "R", "D", "S"


class Attention:
    """A clock, in seconds, that goes only while we do: each tick counts at most `LONGEST_GAP_S`.

    So a supervisor that was stopped, starved or suspended wakes with the ages it fell asleep with.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._last: float | None = None

    def tick(self, monotonic: float) -> float:
        """A round begins; the attended time."""
        if self._last is not None:
            self.now += min(LONGEST_GAP_S, max(0.0, monotonic - self._last))
        self._last = monotonic
        return self.now


@dataclass(frozen=True)
class Question:
    """What a probe has asked and has no answer to. A new backend answers it, and the postmaster makes that."""

    number: int
    postmaster: int
    backend: int | None = None
    """The backend that was connected to and now commits; None while connecting."""
    asked_boot_s: float = 0.0
    """CLOCK_BOOTTIME when it was asked: a process that began later may be the one that answers."""


@dataclass(frozen=True)
class Watched:
    """What is known of one process since the question was asked; attended seconds."""

    pulse: Pulse
    moved_at: float
    """When it last ran, or could have run, or was first seen."""
    stopped_at: float | None = None
    """Since when it has been stopped."""
    kernel_at: float | None = None
    """Since when it has been in one and the same request to the kernel."""
    first: Pulse | None = None
    """What it was when first seen."""
    first_at: float = 0.0
    counted_at: float = 0.0
    """When the kernel last counted anything for it."""

    @classmethod
    def seen(cls, pulse: Pulse, now: float) -> Watched:
        """A process that is seen for the first time."""
        stopped, waits = pulse.state in STOPPED, pulse.state in IN_KERNEL
        return cls(pulse, now, now if stopped else None, now if waits else None, pulse, now, now)

    def after(self, pulse: Pulse, now: float) -> Watched:
        """The same process, seen again."""
        counted = (pulse.ran_ns, pulse.waited_ns) != (self.pulse.ran_ns, self.pulse.waited_ns)
        moved = counted or pulse.state in RUNNABLE
        stopped = pulse.state in STOPPED
        waits = pulse.state in IN_KERNEL
        return Watched(
            pulse,
            now if moved and not stopped else self.moved_at,
            (self.stopped_at if self.stopped_at is not None else now) if stopped else None,
            (self.kernel_at if self.kernel_at is not None and not moved else now) if waits else None,
            self.first,
            self.first_at,
            now if counted else self.counted_at,
        )

    def starved(self, now: float) -> bool:
        """For most of the time since it was first seen it could have run and was given no CPU.

        The kernel counts such a time when it is over.
        """
        first = self.first or self.pulse
        waited_s = (self.pulse.waited_ns - first.waited_ns) / 1e9
        if self.pulse.state in RUNNABLE:
            waited_s += now - self.counted_at
        return waited_s > STARVED_FROM * (now - self.first_at)


@dataclass(frozen=True)
class Watch:
    """One unanswered question and the processes that could answer it."""

    question: Question
    asked_at: float
    """Attended seconds when it was first seen unanswered."""
    processes: Mapping[int, Watched] = field(default_factory=dict)
    heard_at: float = 0.0
    """When the thread that asks last ran."""
    asker_ran_ns: int = -1

    def after(self, now: float, pulses: Mapping[int, Pulse], asker: Pulse | None) -> Watch:
        """The watch with one more look at the processes, and at the thread that asks."""
        ran_ns = self.asker_ran_ns if asker is None else asker.ran_ns
        return Watch(
            self.question,
            self.asked_at,
            {pid: self._seen(pid, pulse, now) for pid, pulse in pulses.items()},
            now if ran_ns != self.asker_ran_ns else self.heard_at,
            ran_ns,
        )

    def _seen(self, pid: int, pulse: Pulse, now: float) -> Watched:
        known = self.processes.get(pid)
        if known is not None and known.pulse.began_s == pulse.began_s:
            return known.after(pulse, now)
        return Watched.seen(pulse, now)

    def direct(self) -> dict[int, Watched]:
        """Those the question itself waits on: the backend that commits; else the postmaster and newer backends."""
        if self.question.backend is not None:
            return {pid: seen for pid, seen in self.processes.items() if pid == self.question.backend}
        return {
            pid: seen
            for pid, seen in self.processes.items()
            if pid == self.question.postmaster or seen.pulse.began_s >= self.question.asked_boot_s - 0.02
        }


@dataclass(frozen=True)
class Verdict:
    """What an unanswered question means."""

    hung: bool
    why: str
    culprit: int | None = None
    """Pid of the process that does not move, if it is one."""


ANSWERS = Verdict(False, "it answers")


def judge(watch: Watch, now: float) -> Verdict:
    """Whether the server hangs: no answer for long enough *and* no progress of those the answer waits on.

    A process that runs, could run, or ends one request to the kernel after the other is progress: such a server is
    slow, and is given up only after `GIVE_UP_AFTER_S`; never while what it waits on is starved, for the standby
    would be given no more by the same machine.
    """
    waited = now - watch.asked_at
    if waited < STOPPED_AFTER_S:
        return Verdict(False, "it has just been asked")
    if now - watch.heard_at > HEARD_WITHIN_S:
        return Verdict(False, "the probe itself is not scheduled")
    direct = watch.direct()
    essential = {watch.question.postmaster: watch.processes.get(watch.question.postmaster), **direct}
    stopped = [
        pid
        for pid, seen in watch.processes.items()
        if seen.stopped_at is not None and now - seen.stopped_at >= STOPPED_FOR_S
    ]
    for pid in stopped:
        if pid in essential:
            return Verdict(True, "it is stopped and no client is answered", pid)
    if waited < HANG_AFTER_S:
        return Verdict(False, "it is slow")
    moving = any(now - seen.moved_at < HANG_AFTER_S for seen in direct.values())
    if not moving:
        found = _without_progress(watch, now, waited, stopped)
        if found is not None:
            return found
    waits_on = direct if moving else watch.processes
    if any(seen.starved(now) for seen in waits_on.values()):
        return Verdict(False, "it is slow: it is given little CPU")
    if waited >= GIVE_UP_AFTER_S:
        return Verdict(True, f"it moves and has not answered for {GIVE_UP_AFTER_S:g} s")
    return Verdict(False, "it is slow: its processes move")


def _without_progress(watch: Watch, now: float, waited: float, stopped: list[int]) -> Verdict | None:
    """Those the question waits on do not move: does anybody they may wait for?"""
    everybody = watch.processes.items()
    for pid in stopped:
        return Verdict(True, "it is stopped and no commit returns", pid)
    for pid, seen in everybody:
        if seen.kernel_at is not None and now - seen.kernel_at >= STUCK_IO_AFTER_S:
            return Verdict(True, f"it has been in one request to the kernel for {STUCK_IO_AFTER_S:g} s", pid)
    direct = watch.direct()
    postmaster = watch.question.postmaster
    if watch.question.backend is None and list(direct) == [postmaster] and direct[postmaster].pulse.state in ASLEEP:
        return Verdict(True, "it sleeps while a client connects", postmaster)
    busy = [pid for pid, seen in everybody if seen.pulse.state in RUNNABLE + IN_KERNEL]
    if not busy and all(now - seen.moved_at >= HANG_AFTER_S for _, seen in everybody):
        return Verdict(True, "none of its processes moves")
    if not busy and waited >= ASLEEP_AFTER_S:
        return Verdict(True, f"its processes sleep and there is no answer for {ASLEEP_AFTER_S:g} s")
    return None


def judge_start(watch: Watch, needed: Collection[int], now: float) -> Verdict:
    """Whether a server that starts, and answers nobody yet, hangs; `needed`: pids of those its start waits on.

    Recovery may take any time and a standby's may sleep, so only what is certain counts: one of them is stopped, or
    in one single request to the kernel.
    """
    for pid in needed:
        seen = watch.processes.get(pid)
        if seen is not None and seen.stopped_at is not None and now - seen.stopped_at >= HANG_AFTER_S:
            return Verdict(True, "it is stopped while the server starts", pid)
        if seen is not None and seen.kernel_at is not None and now - seen.kernel_at >= STUCK_IO_AFTER_S:
            why = f"it has been in one request to the kernel for {STUCK_IO_AFTER_S:g} s while the server starts"
            return Verdict(True, why, pid)
    return Verdict(False, "it starts")


@dataclass(frozen=True)
class RecoveryLook:
    """The processes of a server that answers nobody, at one moment."""

    startup: Pulse | None
    """Of its startup process; None: it has none."""
    segment: str = ""
    """Number of the WAL segment that one names, 16 hex digits; empty: it names none."""
    receiver: int | None = None
    """Pid of the WAL receiver that says it streams."""


@dataclass(frozen=True)
class Recovery:
    """How far the recovery of a server has come that answers nobody; attended seconds."""

    looked: RecoveryLook
    looked_at: float
    moved_at: float
    """When it last came further, or its upstream was not there to bring it further."""
    furthest: str = ""
    """The greatest segment named so far: one that fails names the same few again and again."""

    def after(self, now: float, look: RecoveryLook, *, upstream_answers: bool) -> Recovery:
        """One more look. Time without an upstream counts for nothing: one late answer of it is no news of this one."""
        before = self.moved_at if upstream_answers else self.moved_at + now - self.looked_at
        moved = look.segment > self.furthest or self._works(now, look) or self._streams(look)
        return Recovery(look, now, now if moved else before, max(self.furthest, look.segment))

    def _works(self, now: float, look: RecoveryLook) -> bool:
        """A startup process that wants a CPU or a disk may read one segment for long. None at all is no evidence."""
        before, startup = self.looked.startup, look.startup
        if before is None or startup is None or before.began_s != startup.began_s or startup.state == IN_KERNEL:
            return True
        passed_ns = (now - self.looked_at) * 1e9
        starved = startup.waited_ns - before.waited_ns > STARVED_FROM * passed_ns
        return starved or startup.ran_ns - before.ran_ns > RECOVERS_FROM * passed_ns

    def _streams(self, look: RecoveryLook) -> bool:
        """One and the same WAL receiver twice: one that is refused streams for an instant."""
        return look.receiver is not None and look.receiver == self.looked.receiver


@dataclass(frozen=True)
class Confirmed:
    """How far a standby has confirmed what its primary has flushed; attended seconds, bytes of WAL."""

    position: int | None = None
    since: float | None = None
    """When the primary was first seen ahead of this position; None while it is not, or the standby is not listed."""
    stuck_s: float = 0.0
    """For how long the primary has been seen ahead of a position that does not move."""

    def after(self, now: float, flushed: int | None, position: int | None) -> Confirmed:
        """One more look at the primary. `position` is None if the standby is not listed there."""
        if flushed is None or position is None or position >= flushed:
            return Confirmed(position)
        if position != self.position or self.since is None:
            return Confirmed(position, now)
        return Confirmed(position, self.since, now - self.since)


@dataclass(frozen=True)
class Setbacks:
    """How often a standby that ran was struck off or ended, one after the other; attended seconds."""

    count: int = 0
    until: float = 0.0
    """When the pause after the latest one is over."""
    steady_since: float | None = None
    """Since when it has been in sync; None while it is not."""

    def another(self, now: float) -> Setbacks:
        """With one more."""
        return Setbacks(self.count + 1, now + min(LONGEST_SETBACK_S, SETBACK_S * 2 ** min(self.count, 16)))

    def after(self, now: float, *, in_sync: bool) -> Setbacks:
        """One more look at whether it is in sync."""
        if not in_sync or not self.count:
            return Setbacks(self.count, self.until)
        since = self.steady_since if self.steady_since is not None else now
        return Setbacks() if now - since >= STEADY_AFTER_S else Setbacks(self.count, self.until, since)
