"""While the primary does not accept: one client asks for all, the others wait for its success."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

FIRST_STEP_S = 0.01
LONGEST_STEP_S = 0.1

log = logging.getLogger("multiaz.relay")


class Turnstile:
    """Keeps two hundred waiting clients from asking a starting server two hundred times at once."""

    def __init__(self) -> None:
        self._asking: object | None = None
        self._waiting: deque[tuple[object, asyncio.Future[None]]] = deque()
        self._why = ""

    async def turn(self, who: object, tries: int) -> None:
        """Return when `who` should ask again: soon if it asks for all, else once another succeeded or left.

        Whoever had a turn must `leave` in the end.
        """
        if self._asking is None or self._asking is who:
            self._asking = who
            await asyncio.sleep(min(FIRST_STEP_S * 1.1**tries, LONGEST_STEP_S))
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((who, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                self._waiting.remove((who, waiter))
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
        while self._wake() is not None:
            pass

    def leave(self, who: object) -> None:
        """`who` asks no longer; if it asked for all, another one does from now on."""
        if self._asking is who:
            # Named at once: an heir that leaves before it has asked must be missed as well.
            self._asking = self._wake()

    def _wake(self) -> object | None:
        """Wake who has waited longest; None if nobody waits."""
        while self._waiting:
            who, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return who
        return None
