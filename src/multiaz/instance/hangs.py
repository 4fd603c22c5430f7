"""Finds out whether one server hangs: brings together its probes, the pulses of its processes and attended time."""

from __future__ import annotations

import os
import time

from multiaz.instance.path_probe import COMMIT_EVERY_S, PathProbe
from multiaz.instance.probe import Probe, Sight
from multiaz.instance.progress import (
    ANSWERS,
    HANG_AFTER_S,
    STOPPED,
    STOPPED_FOR_S,
    Question,
    Verdict,
    Watch,
    judge,
    judge_start,
)
from multiaz.postgres.pulse import pulse_of, pulses_of_server, title_of
from multiaz.postgres.server import Server

STARTERS = ("startup", "checkpointer")
"""Processes a start waits on, beside the postmaster: one recovers, the other makes the checkpoint at its end."""
MUTE_AFTER_S = 5.0
"""A look that is so late while a new connection was answered waits for a backend of its own that is mute."""
LOOK_LATE_S = 0.3
"""A look on the kept connection that takes longer is suspicious: the whole path is tried."""


class HangWatch:
    """Looks after one server. Nothing is known of its processes until something is suspicious."""

    def __init__(self, server: Server, probe: Probe) -> None:
        self._server = server
        self._probe = probe
        self.path = PathProbe(server)
        self._watch: Watch | None = None
        self._stopped_at: float | None = None
        self._stopping_at: float | None = None
        self._start: Watch | None = None
        self._start_looked = 0.0
        self._start_verdict = ANSWERS
        self._flushed: int | None = None
        self._flushed_at = 0.0
        self._unflushed: int | None = None

    def look(
        self, now: float, postmaster: int | None, sight: Sight | None, *, stopping_unasked: bool = False,
        starting: bool = False,
    ) -> Verdict:  # fmt: skip
        """The verdict of this round; `now` is attended time.

        `stopping_unasked`: it was told to stop, and not by us. It takes no client any more, and may wait for its last
        session (SIGTERM, "smart shutdown") for ever; a while is given to one that ends by itself.
        `starting`: it takes nobody yet.
        """
        if postmaster is None:
            self._watch = self._start = self._stopped_at = self._stopping_at = None
            return ANSWERS
        self._stopping_at = (self._stopping_at if self._stopping_at is not None else now) if stopping_unasked else None
        if self._stopping_at is not None and now - self._stopping_at >= HANG_AFTER_S:
            why = "it was told to stop, not by its supervisor, and takes no clients"
            return Verdict(True, f"the postmaster ({postmaster}): {why}", postmaster)
        if self._look_is_late(MUTE_AFTER_S) and self.path.answered_at > (self._probe.asked or 0.0) + MUTE_AFTER_S:
            self._probe.drop()
        pulse = pulse_of(postmaster)
        stopped = pulse is not None and pulse.state in STOPPED
        self._stopped_at = (self._stopped_at if self._stopped_at is not None else now) if stopped else None
        if stopped or self._look_is_late() or self._commits_stand_still(now, sight):
            self.path.poke()
        question = self.path.pending
        if question is None or question.postmaster != postmaster:
            self._watch = None
            if self._stopped_at is not None and now - self._stopped_at >= HANG_AFTER_S:
                return Verdict(True, f"the postmaster ({postmaster}): it is stopped while it starts", postmaster)
            return self._look_at_start(now, postmaster) if starting else ANSWERS
        self._start = None
        if self._watch is None or self._watch.question.number != question.number:
            self._watch = Watch(question, now, heard_at=now)
        elif self._watch.question != question:  # from connecting to committing: others are waited on
            self._watch = Watch(question, self._watch.asked_at, self._watch.processes, now)
        thread = self.path.thread_id
        self._watch = self._watch.after(
            now, pulses_of_server(postmaster, self._server.data), pulse_of(os.getpid(), thread) if thread else None
        )
        verdict = judge(self._watch, now)
        if verdict.hung and verdict.culprit is not None:
            why = f"{verdict.why} ({self.path.unheard})" if self.path.unheard else verdict.why
            return Verdict(True, f"{title_of(verdict.culprit)} ({verdict.culprit}): {why}", verdict.culprit)
        return verdict

    def _look_at_start(self, now: float, postmaster: int) -> Verdict:
        """Whether those hang that the start of the server waits on."""
        if self._start is None or self._start.question.postmaster != postmaster:
            self._start = Watch(Question(0, postmaster), now)
        elif now - self._start_looked < STOPPED_FOR_S:
            return self._start_verdict
        self._start_looked = now
        pulses = pulses_of_server(postmaster, self._server.data)
        self._start = self._start.after(now, pulses, None)
        titles = {pid: title_of(pid) for pid in pulses}
        needed = [pid for pid, title in titles.items() if any(word in title for word in STARTERS)]
        verdict = judge_start(self._start, needed, now)
        if verdict.hung and verdict.culprit is not None:
            why = f"{titles[verdict.culprit]} ({verdict.culprit}): {verdict.why}"
            verdict = Verdict(True, why, verdict.culprit)
        self._start_verdict = verdict
        return verdict

    @property
    def suspicious(self) -> bool:
        """A question waits for its answer: look again soon."""
        return self._watch is not None or self._stopped_at is not None or self._stopping_at is not None

    def stop(self) -> None:
        """End the probe."""
        self.path.stop()

    def _look_is_late(self, after_s: float = LOOK_LATE_S) -> bool:
        asked = self._probe.asked
        return asked is not None and time.monotonic() - asked > after_s

    def _commits_stand_still(self, now: float, sight: Sight | None) -> bool:
        """WAL is written, and between two looks none of it was flushed: commits may be waiting for that."""
        if sight is None or sight.in_recovery or sight.flushed is None:
            return False
        if sight.flushed != self._flushed:
            self._flushed, self._flushed_at, self._unflushed = sight.flushed, now, None
        self.path.commit_due = now - self._flushed_at >= COMMIT_EVERY_S
        if sight.inserted is None or sight.inserted <= sight.flushed:
            self._unflushed = None
            return False
        if self._unflushed is None:
            self._unflushed = sight.number
        return sight.number > self._unflushed
