"""Who asks for all while the primary does not accept: there is always somebody, whoever leaves, and when."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from multiaz.relay.turnstile import Turnstile


async def ticks(count: int) -> None:
    """Let every task that can run do so, `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("apart", range(4))
def test_the_last_client_that_waits_asks_in_whatever_order_the_others_left(apart: int) -> None:
    """Whoever was woken to ask, and left before it had an answer, had no heir: the others slept to their deadline.

    They leave `apart` turns of the loop after one another: an heir is told, woken, or asks a mute primary by then.
    """

    async def run(leaving: Sequence[int]) -> list[int]:
        turnstile = Turnstile()
        asking: list[int] = []
        answer = asyncio.Event()

        async def session(number: int) -> None:
            try:
                await turnstile.turn(number, 0)
                asking.append(number)
                await answer.wait()
            finally:
                turnstile.leave(number)

        sessions = [asyncio.create_task(session(number)) for number in range(4)]
        while not asking:  # the first one's pause before it asks
            await asyncio.sleep(0.001)
        assert asking == [0], "one asks for all"
        for number in leaving:
            sessions[number].cancel()
            await ticks(apart)
        await ticks(5)
        found = list(asking)
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        return found

    for *leaving, last in itertools.permutations(range(4)):
        assert last in asyncio.run(run(leaving)), leaving
