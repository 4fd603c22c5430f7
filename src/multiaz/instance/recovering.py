"""Watches a follower that answers nobody: is it still recovering, or does it wait for WAL that nobody will send?

Such a server is not hung: its processes sleep, wake every few seconds, ask and are refused. Nothing can be asked of
it, so what it does is read from the titles and the CPU time of its processes.
"""

from __future__ import annotations

import re

from multiaz.instance.progress import Recovery, RecoveryLook
from multiaz.postgres.pulse import pulses_of_server, title_of
from multiaz.postgres.server import Server

LOOK_EVERY_S = 1.0
"""Long enough that a WAL receiver that is refused is not met twice."""
_SEGMENT = re.compile(r"\bstartup .*\b[0-9A-F]{8}([0-9A-F]{16})\b")
"""Source: xlogrecovery.c, XLogFileRead: the process titles itself "recovering SEGMENT" or "waiting for SEGMENT"."""


class RecoveryWatch:
    """Looks after one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._postmaster: int | None = None
        self._recovery: Recovery | None = None

    def idle_s(self, now: float, postmaster: int | None, *, upstream_answers: bool) -> float:
        """For how long it has recovered nothing. `now`: attended time; `postmaster`: None: it answers, or need not."""
        if postmaster is None or postmaster != self._postmaster:
            self._postmaster, self._recovery = postmaster, None
        if postmaster is None:
            return 0.0
        if self._recovery is None:
            self._recovery = Recovery(look_at(self._server, postmaster), now, now)
        elif now - self._recovery.looked_at >= LOOK_EVERY_S:
            look = look_at(self._server, postmaster)
            self._recovery = self._recovery.after(now, look, upstream_answers=upstream_answers)
        return now - self._recovery.moved_at


def look_at(server: Server, postmaster: int) -> RecoveryLook:
    """What its processes say and do."""
    startup, segment, receiver = None, "", None
    for pid, pulse in pulses_of_server(postmaster, server.data).items():
        title = title_of(pid)
        if title.startswith("its startup"):
            named = _SEGMENT.search(title)
            startup, segment = pulse, named.group(1) if named else ""
        elif title.startswith("its walreceiver streaming"):
            receiver = pid
    return RecoveryLook(startup, segment, receiver)
