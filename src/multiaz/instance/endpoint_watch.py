"""Does the endpoint process hang? It does not answer, *and* it is stopped or makes no progress.

To replace a relay cuts every session, so one that moves is left alone, however late it is: it may be busy, starved of
CPU, or out of descriptors. Time is attended time (`progress.Attention`).
"""

from __future__ import annotations

import logging

from multiaz.instance.endpoint_probe import EndpointProbe
from multiaz.instance.progress import (
    ASLEEP,
    ASLEEP_AFTER_S,
    GIVE_UP_AFTER_S,
    HANG_AFTER_S,
    STUCK_IO_AFTER_S,
    Attention,
    Verdict,
    Watched,
)
from multiaz.postgres.pulse import pulse_of

PACE_S = 2.0
"""Between two questions; one that is stopped is asked at once."""

log = logging.getLogger("multiaz.instance")


def judge_endpoint(seen: Watched, silent_s: float | None, now: float) -> Verdict:
    """Whether a relay hangs that has left a question unanswered for `silent_s`; None: it could not be asked.

    It wakes four times a second by itself, so that one that sleeps for seconds waits for what does not come. One that
    cannot be asked, as it does not listen yet or its network is shaped, hangs only if it is stopped.
    """
    if seen.stopped_at is not None and min(now - seen.stopped_at, _or_ever(silent_s)) >= HANG_AFTER_S:
        return Verdict(True, "it is stopped and answers no client")
    if silent_s is None:
        return Verdict(False, "it has not been asked")
    if seen.kernel_at is not None and min(now - seen.kernel_at, silent_s) >= STUCK_IO_AFTER_S:
        return Verdict(True, f"it has been in one request to the kernel for {STUCK_IO_AFTER_S:g} s")
    if seen.pulse.state in ASLEEP and min(now - seen.moved_at, silent_s) >= ASLEEP_AFTER_S:
        return Verdict(True, f"it sleeps and has answered no client for {ASLEEP_AFTER_S:g} s")
    return Verdict(False, "it answers, or it moves")


def _or_ever(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds


class EndpointWatch:
    """Looks after the relay that holds the lock; each look is cheap and never waits."""

    def __init__(self) -> None:
        self.seen: Watched | None = None
        """The process, as it was seen last."""
        self._attention = Attention()
        self._probe = EndpointProbe()
        self._pid: int | None = None
        self._asked_at = float("-inf")
        self._late_said = False

    def tick(self, monotonic: float) -> None:
        """A round of the supervisor begins."""
        self._attention.tick(monotonic)

    def look(self, pid: int | None, where: tuple[str, int] | None) -> Verdict:
        """The verdict on the relay `pid`. `where`: address and port at which it says it listens; None: do not ask."""
        now = self._attention.now
        pulse = None if pid is None else pulse_of(pid)
        if pulse is None:
            self.forget()
            return Verdict(False, "it does not run, or nothing is known of processes here")
        if self.seen is None or pid != self._pid or pulse.began_s != self.seen.pulse.began_s:
            self.forget()
            self.seen = Watched.seen(pulse, now)
        else:
            self.seen = self.seen.after(pulse, now)
        self._pid = pid
        silent_s = self._ask(now, where)
        self._say_late(silent_s)
        return judge_endpoint(self.seen, silent_s, now)

    def forget(self) -> None:
        """What was seen and asked was of another one."""
        self._probe.drop()
        self.seen, self._pid, self._asked_at = None, None, float("-inf")

    def _ask(self, now: float, where: tuple[str, int] | None) -> float | None:
        """For how long a question has been waiting, after one look for its answer; None: there is none."""
        assert self.seen is not None
        if where is None:
            self._probe.drop()
            return None
        self._probe.look()
        if not self._probe.pending and (self.seen.stopped_at is not None or now - self._asked_at >= PACE_S):
            self._asked_at = now
            self._probe.ask(*where)
        return now - self._asked_at if self._probe.pending else None

    def _say_late(self, silent_s: float | None) -> None:
        late = silent_s is not None and silent_s >= GIVE_UP_AFTER_S
        if late and not self._late_said:
            log.warning("the endpoint (%s) moves and has answered no client for %g s", self._pid, GIVE_UP_AFTER_S)
        self._late_said = late
