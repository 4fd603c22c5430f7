"""While the primary does not accept: one client asks for all, the others wait for its success."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

FIRST_STEP_S = 0.01
LONGEST_STEP_S = 0.1

log = logging.getLogger("multiaz.relay")


class Turnstile:
    """Keeps two hundred waiting clients from asking a starting server two hundred times at once."""

    def __init__(self) -> None:
        self._asking: object | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._why = ""

    async def turn(self, who: object, tries: int) -> None:
        """Return when `who` should ask again: soon if it asks for all, else once another succeeded."""
        if self._asking is None or self._asking is who:
            self._asking = who
            await asyncio.sleep(min(FIRST_STEP_S * 1.1**tries, LONGEST_STEP_S))
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif self._asking is None:
                self._wake(1)
            raise

    def note(self, why: str) -> None:
        """Log why clients wait, once for each reason."""
        if why != self._why:
            self._why = why
            log.info("clients wait: %s", why)

    def opened(self) -> None:
        """The primary answers: everyone may ask."""
        if self._why:
            log.info("the primary answers again")
        self._why = ""
        self._asking = None
        self._wake(len(self._waiting))

    def leave(self, who: object) -> None:
        """`who` asks no longer; if it asked for all, another one does from now on."""
        if self._asking is who:
            self._asking = None
            self._wake(1)

    def _wake(self, count: int) -> None:
        for _ in range(min(count, len(self._waiting))):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
